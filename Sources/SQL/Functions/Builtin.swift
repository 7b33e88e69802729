// The built-in registry, assembled from the families of functions, one file each.

extension FunctionRegistry {
  /// Everything that needs no catalog. Catalog functions are added to a copy.
  package static let builtin: FunctionRegistry = {
    var registry = FunctionRegistry()
    registry.addComparisons()
    registry.addArithmetic()
    registry.addMath()
    registry.addCasts()
    registry.addText()
    registry.addPatterns()
    registry.addBinary()
    registry.addDateTime()
    registry.addDateTimeFields()
    registry.addFormatting()
    registry.addJSON()
    registry.addArrays()
    registry.addSystem()
    registry.addSets()
    registry.addAggregates()
    registry.addStatistics()
    return registry
  }()

  /// A scalar function in one line.
  mutating func scalar(
    _ name: String, _ arguments: [TypeID], _ result: TypeID, _ volatility: Volatility = .immutable, strict: Bool = true,
    variadic: TypeID? = nil, defaults: [Datum] = [], _ body: @escaping ScalarImplementation
  ) {
    add(
      ScalarFunction(
        name, arguments, variadic: variadic, returns: result, volatility, strict: strict, defaults: defaults, body: body
      ))
  }

  /// A binary operator with its function.
  mutating func infix(
    _ name: String, _ left: TypeID, _ right: TypeID, _ result: TypeID, function: String? = nil,
    _ volatility: Volatility = .immutable, intrinsic: Intrinsic? = nil, commutator: String? = nil,
    negator: String? = nil, _ body: @escaping ScalarImplementation
  ) {
    let entry = ScalarFunction(
      function ?? name, [left, right], returns: result, volatility, intrinsic: intrinsic, body: body)
    add(Operator(name, left, right, entry, commutator: commutator, negator: negator))
    if function != nil { add(entry) }
  }

  mutating func prefix(
    _ name: String, _ right: TypeID, _ result: TypeID, function: String? = nil, _ body: @escaping ScalarImplementation
  ) {
    let entry = ScalarFunction(function ?? name, [right], returns: result, body: body)
    add(Operator(name, nil, right, entry))
    if function != nil { add(entry) }
  }
}
