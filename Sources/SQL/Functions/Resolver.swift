// Which function, operator or coercion a statement means: PostgreSQL's rules (its manual, chapter 10), in its order.
//
//   1. A candidate whose argument types are the actual ones wins (an unknown literal beside a known type of an operator
//      counts as that type).
//   2. Otherwise candidates remain that every argument can be coerced to implicitly. One left: it wins.
//   3. Those with the most exact matches remain; then those with the most exact or preferred types.
//   4. For unknown literals: string if any candidate takes a string there, else the one category that all take; then the
//      preferred type of that category where a candidate has it.
//   5. Unknown literals are taken to be of the type that all known arguments share, if that leaves one.
//   6. Still several: 42725; none: 42883.

/// Resolves calls and coercions of one statement, and finds the types of its parameters on the way.
package final class Resolver {
  package let registry: FunctionRegistry
  package var format: TextFormat
  /// The types of $1, $2, …; unknown where nothing has decided yet.
  package private(set) var parameterTypes: [SQLType]
  /// False where no values can be given: in a simple query.
  package var allowsParameters = true
  /// Holds the values of literals while they are read.
  let arena = Arena()
  /// The relations that constants of type regclass name.
  var relationsNamed: Set<ObjectID> = []

  package init(registry: FunctionRegistry, format: TextFormat = TextFormat(), parameterTypes: [SQLType] = []) {
    self.registry = registry
    self.format = format
    self.parameterTypes = parameterTypes
  }

  /// The parameter $n as an expression of what is known of its type.
  package func parameter(_ n: Int, at position: Int?) throws(SQLError) -> TypedExpression {
    guard n >= 1, n <= 65535, allowsParameters else {
      throw SQLError(.undefinedParameter, "there is no parameter $\(n)", position: position)
    }
    while parameterTypes.count < n { parameterTypes.append(.unknown) }
    return TypedExpression(.parameter(n), parameterTypes[n - 1], at: position)
  }

  func decideParameter(_ n: Int, _ type: SQLType, at position: Int?) throws(SQLError) {
    while parameterTypes.count < n { parameterTypes.append(.unknown) }
    let known = parameterTypes[n - 1]
    if known.id == .unknown {
      parameterTypes[n - 1] = SQLType(type.id)
    } else if known.id != type.id {
      throw SQLError(
        SQLState(rawValue: "42P08"), "inconsistent types deduced for parameter $\(n)",
        detail: "\(known.description) versus \(SQLType(type.id).description)", position: position)
    }
  }

  // MARK: Functions

  private struct Candidate {
    let types: [TypeID]
    let function: ResolvedFunction?
    let entry: Operator?
    /// Whether the candidate got its types by expanding a variadic tail.
    let isExpanded: Bool
  }

  /// The function that `name(arguments)` means, and its coerced arguments.
  ///
  /// - Throws: undefined_function (42883), ambiguous_function (42725), or what reading a literal throws.
  package func call(
    _ name: String, _ arguments: [TypedExpression], at position: Int?
  ) throws(SQLError) -> ResolvedCall {
    let actual = arguments.map(\.type.id)
    var candidates: [Candidate] = []
    func consider(_ types: [TypeID], _ variadic: TypeID?, _ defaults: Int, _ function: ResolvedFunction) {
      if types.count == actual.count, variadic == nil {
        candidates.append(Candidate(types: types, function: function, entry: nil, isExpanded: false))
      } else if let variadic, actual.count > types.count {
        let tail = Array(repeating: variadic, count: actual.count - types.count)
        candidates.append(Candidate(types: types + tail, function: function, entry: nil, isExpanded: true))
      } else if variadic == nil, actual.count < types.count, types.count - actual.count <= defaults {
        candidates.append(
          Candidate(types: Array(types.prefix(actual.count)), function: function, entry: nil, isExpanded: false))
      }
    }
    for f in registry.scalars[name] ?? [] { consider(f.arguments, f.variadic, f.defaults.count, .scalar(f)) }
    for f in registry.aggregates[name] ?? [] { consider(f.arguments, f.variadic, 0, .aggregate(f)) }
    for f in registry.sets[name] ?? [] { consider(f.arguments, f.variadic, 0, .set(f)) }

    let signature = "\(name)(\(arguments.map { SQLType($0.type.id).description }.joined(separator: ", ")))"
    let chosen: Candidate
    switch choose(candidates, actual) {
    case .one(let index): chosen = candidates[index]
    case .several:
      throw SQLError(
        .ambiguousFunction, "function \(signature) is not unique",
        hint: "Could not choose a best candidate function. You might need to add explicit type casts.",
        position: position)
    case .none:
      // A call named like a type, with one argument, is a cast where the conversion is a relabelling or goes by text.
      if arguments.count == 1, let target = TypeTable.byName[name]?.id, canCoerce(actual[0], to: target, .explicit) {
        let value = try coerce(arguments[0], to: SQLType(target), .explicit, at: position)
        return ResolvedCall(function: .scalar(Resolver.identity), arguments: [value], type: SQLType(target))
      }
      throw SQLError(
        .undefinedFunction, "function \(signature) does not exist",
        hint: "No function matches the given name and argument types. You might need to add explicit type casts.",
        position: position)
    }
    return try finish(chosen.function!, chosen.types, arguments, name: name, at: position)
  }

  /// Stands for a function-style cast whose work the argument has already done.
  static let identity = ScalarFunction("identity", [.any], returns: .any, strict: false) {
    (arguments, _) throws(SQLError) in arguments[0]
  }

  private func finish(
    _ function: ResolvedFunction, _ types: [TypeID], _ arguments: [TypedExpression], name: String, at position: Int?
  ) throws(SQLError) -> ResolvedCall {
    let declaredResult: TypeID
    var defaults: [Datum] = []
    var all: [TypeID]
    switch function {
    case .scalar(let f): (declaredResult, defaults, all) = (f.result, f.defaults, f.arguments)
    case .set(let f): (declaredResult, all) = (f.columns.count == 1 ? f.columns[0].type : .record, f.arguments)
    case .aggregate(let f): (declaredResult, all) = (f.result, f.arguments)
    }
    var (coerced, binding) = try coerceArguments(arguments, to: types, name: name, at: position)
    let missing = all.count - coerced.count
    if missing > 0, missing <= defaults.count {
      for offset in 0..<missing {
        coerced.append(
          .constant(defaults[defaults.count - missing + offset], SQLType(all[all.count - missing + offset])))
      }
    }
    let actualTypes = coerced.map(\.type)
    // A specialised function knows its result; otherwise the polymorphic one is what its arguments make it.
    func resultType(_ special: TypeID, _ isSpecial: Bool) throws(SQLError) -> SQLType {
      if isSpecial, !special.info.isPseudo || special == .record || special == .void { return SQLType(special) }
      return SQLType(try binding.resolve(declaredResult, name: name, at: position))
    }
    switch function {
    case .scalar(let f):
      let special = try f.specialise?(actualTypes) ?? f
      let type = try resultType(special.result, f.specialise != nil)
      return ResolvedCall(function: .scalar(special), arguments: coerced, type: type)
    case .set(let f):
      let special = try f.specialise?(actualTypes) ?? f
      let only = special.columns.count == 1 ? special.columns[0].type : .record
      return ResolvedCall(
        function: .set(special), arguments: coerced, type: try resultType(only, f.specialise != nil))
    case .aggregate(let f):
      let special = try f.specialise?(actualTypes) ?? f
      let type = try resultType(special.result, f.specialise != nil)
      return ResolvedCall(function: .aggregate(special), arguments: coerced, type: type)
    }
  }

  /// A scalar call as an expression.
  package func scalarCall(
    _ name: String, _ arguments: [TypedExpression], at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let resolved = try call(name, arguments, at: position)
    return try scalar(resolved, name: name, at: position)
  }

  /// The expression for a call that must be scalar.
  package func scalar(_ resolved: ResolvedCall, name: String, at position: Int?) throws(SQLError) -> TypedExpression {
    guard case .scalar(let function) = resolved.function else {
      throw SQLError(
        .featureNotSupported, "\(name) is not a scalar function and is not allowed here", position: position)
    }
    if function === Resolver.identity { return resolved.arguments[0] }
    return TypedExpression(.call(function, resolved.arguments), resolved.type, at: position)
  }

  // MARK: Operators

  /// The meaning of `left name right`, or of the prefix operator when `left` is nil.
  ///
  /// - Throws: undefined_function (42883), ambiguous_function (42725), or what reading a literal throws.
  package func operatorCall(
    _ name: String, _ left: TypedExpression?, _ right: TypedExpression, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let entry = try operatorEntry(name, left?.type, right.type, at: position)
    let operands = left.map { [$0, right] } ?? [right]
    let declared = left == nil ? [entry.right] : [entry.left ?? .unknown, entry.right]
    let resolved = try finish(.scalar(entry.function), declared, operands, name: name, at: position)
    guard case .scalar(let function) = resolved.function else {
      preconditionFailure("an operator is a scalar function")
    }
    return TypedExpression(.call(function, resolved.arguments), resolved.type, at: position)
  }

  package func operatorEntry(
    _ name: String, _ left: SQLType?, _ right: SQLType, at position: Int?
  ) throws(SQLError) -> Operator {
    var l = left?.id
    var r = right.id
    // An unknown beside a known type is first tried as that type.
    if let known = l {
      if known == .unknown, r != .unknown { l = r } else if r == .unknown, known != .unknown { r = known }
    }
    if let exact = registry.exactOperator(name, l, r) { return exact }
    // NULL || array and '{3}' || array join two arrays: PostgreSQL's last rule, which says that both are of one type.
    if name == "||", let known = left, (known.id == .unknown) != (right.id == .unknown),
      (known.id == .unknown ? right : known).id.info.element != nil,
      let both = registry.exactOperator(name, .anycompatiblearray, .anycompatiblearray)
    {
      return both
    }
    let actual = left.map { [$0.id, right.id] } ?? [right.id]
    var candidates: [Candidate] = []
    for entry in registry.operators[name] ?? [] {
      if let entryLeft = entry.left, left != nil {
        candidates.append(Candidate(types: [entryLeft, entry.right], function: nil, entry: entry, isExpanded: false))
      } else if entry.left == nil, left == nil {
        candidates.append(Candidate(types: [entry.right], function: nil, entry: entry, isExpanded: false))
      }
    }
    let shown = left.map { "\(SQLType($0.id).description) " } ?? ""
    switch choose(candidates, actual) {
    case .one(let index): return candidates[index].entry!
    case .several:
      throw SQLError(
        .ambiguousFunction, "operator is not unique: \(shown)\(name) \(SQLType(right.id).description)",
        hint: "Could not choose a best candidate operator. You might need to add explicit type casts.",
        position: position)
    case .none:
      throw SQLError(
        .undefinedFunction, "operator does not exist: \(shown)\(name) \(SQLType(right.id).description)",
        hint: left == nil
          ? "No operator matches the given name and argument type. You might need to add an explicit type cast."
          : "No operator matches the given name and argument types. You might need to add explicit type casts.",
        position: position)
    }
  }

  // MARK: The choice

  private enum Choice {
    case one(Int), several, none
  }

  private func choose(_ candidates: [Candidate], _ actual: [TypeID]) -> Choice {
    // 1. Exact, in any number of polymorphic or expanded disguises: plain ones first.
    for (index, candidate) in candidates.enumerated() where candidate.types == actual { return .one(index) }
    // 2. Coercible.
    var left = candidates.indices.filter { matches(candidates[$0].types, actual) }
    if left.isEmpty { return .none }
    if left.count == 1 { return .one(left[0]) }
    func keepBest(_ score: (Int) -> Int) {
      let best = left.map(score).max() ?? 0
      left = left.filter { score($0) == best }
    }
    // 3. Most exact matches, then most exact or preferred.
    let base = actual.map { $0 == .varchar ? TypeID.varchar : $0 }
    keepBest { index in
      zip(candidates[index].types, base).reduce(0) { $0 + ($1.1 != .unknown && $1.0 == $1.1 ? 1 : 0) }
    }
    if left.count == 1 { return .one(left[0]) }
    let categories = base.map(\.info.category)
    keepBest { index in
      zip(zip(candidates[index].types, base), categories).reduce(0) { sum, item in
        let ((declared, given), category) = item
        guard given != .unknown else { return sum }
        let isPreferred = declared.info.isPreferred && declared.info.category == category
        return sum + (declared == given || isPreferred ? 1 : 0)
      }
    }
    if left.count == 1 { return .one(left[0]) }
    let unknowns = actual.indices.filter { actual[$0] == .unknown }
    if unknowns.isEmpty {
      // Non-polymorphic before polymorphic, plain before expanded.
      keepBest { candidates[$0].types.contains { $0.info.isPseudo } ? 0 : 1 }
      keepBest { candidates[$0].isExpanded ? 0 : 1 }
      return left.count == 1 ? .one(left[0]) : .several
    }
    // 4. The category of each unknown.
    var chosenCategory: [TypeCategory?] = Array(repeating: nil, count: actual.count)
    var resolved = true
    for position in unknowns {
      let offered = Set(left.map { candidates[$0].types[position].info.category })
      if offered.contains(.string) {
        chosenCategory[position] = .string
      } else if offered.count == 1 {
        chosenCategory[position] = offered.first
      } else {
        resolved = false
      }
    }
    if resolved {
      var kept = left.filter { index in
        unknowns.allSatisfy { candidates[index].types[$0].info.category == chosenCategory[$0] }
      }
      for position in unknowns {
        let preferred = kept.filter { candidates[$0].types[position].info.isPreferred }
        if !preferred.isEmpty { kept = preferred }
      }
      if !kept.isEmpty { left = kept }
      if left.count == 1 { return .one(left[0]) }
    }
    // 5. All known arguments share a type.
    let known = Set(actual.filter { $0 != .unknown })
    if known.count == 1, let type = known.first {
      let assumed = Array(repeating: type, count: actual.count)
      let fitting = left.filter { matches(candidates[$0].types, assumed) }
      if fitting.count == 1 { return .one(fitting[0]) }
    }
    keepBest { candidates[$0].types.contains { $0.info.isPseudo } ? 0 : 1 }
    keepBest { candidates[$0].isExpanded ? 0 : 1 }
    return left.count == 1 ? .one(left[0]) : .several
  }

  private func matches(_ declared: [TypeID], _ actual: [TypeID]) -> Bool {
    for (target, source) in zip(declared, actual) where !canCoerce(source, to: target, .implicit) { return false }
    var binding = PolymorphicBinding(self)
    for (target, source) in zip(declared, actual) where !binding.note(target, source) { return false }
    return true
  }

  // MARK: Polymorphic arguments

  private func coerceArguments(
    _ arguments: [TypedExpression], to types: [TypeID], name: String, at position: Int?
  ) throws(SQLError) -> ([TypedExpression], PolymorphicBinding) {
    var binding = PolymorphicBinding(self)
    for (declared, argument) in zip(types, arguments) {
      if !binding.note(declared, argument.type.id) {
        throw SQLError(
          .datatypeMismatch, "arguments declared \"\(declared.info.name)\" are not all alike",
          detail: "\(binding.element?.info.displayName ?? "unknown") versus \(argument.type.description)",
          position: argument.position ?? position)
      }
    }
    if binding.isUsed, binding.element == nil, binding.sawUnknown { binding.element = .text }
    var coerced: [TypedExpression] = []
    for (declared, argument) in zip(types, arguments) {
      if declared == .any {
        coerced.append(argument.type.id == .unknown ? try coerce(argument, to: .text, .implicit) : argument)
        continue
      }
      let target = try binding.resolve(declared, name: name, at: position)
      if argument.type.id == target {
        coerced.append(argument)
      } else {
        coerced.append(try coerce(argument, to: SQLType(target), .implicit, at: argument.position ?? position))
      }
    }
    return (coerced, binding)
  }
}

/// What anyelement, anyarray and anycompatible stand for in one call.
struct PolymorphicBinding {
  let resolver: Resolver
  var element: TypeID?
  var isUsed = false
  var sawUnknown = false

  init(_ resolver: Resolver) { self.resolver = resolver }

  mutating func note(_ declared: TypeID, _ actual: TypeID) -> Bool {
    let candidate: TypeID
    switch declared {
    case .anyelement, .anycompatible: candidate = actual
    case .anyarray, .anycompatiblearray:
      isUsed = true
      if actual == .unknown {
        sawUnknown = true
        return true
      }
      guard let item = actual.info.element else { return false }
      candidate = item
    default: return true
    }
    isUsed = true
    if candidate == .unknown {
      sawUnknown = true
      return true
    }
    guard let known = element else {
      element = candidate
      return true
    }
    if known == candidate { return true }
    guard declared == .anycompatible || declared == .anycompatiblearray else { return false }
    if resolver.canCoerce(candidate, to: known, .implicit) { return true }
    if resolver.canCoerce(known, to: candidate, .implicit) {
      element = candidate
      return true
    }
    return false
  }

  func resolve(_ declared: TypeID, name: String, at position: Int?) throws(SQLError) -> TypeID {
    switch declared {
    case .anyelement, .anycompatible:
      if let element { return element }
    case .anyarray, .anycompatiblearray:
      if let array = element?.info.array { return array }
    default: return declared
    }
    throw SQLError(
      .datatypeMismatch, "could not determine polymorphic type because input has type unknown", position: position)
  }
}
