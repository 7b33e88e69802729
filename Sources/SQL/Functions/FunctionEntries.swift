// The entries of the function registry: scalar functions, set-returning functions, aggregates, operators.
// Entries are immutable objects; a plan refers to them directly.

/// pg_proc.provolatile, from the strictest promise down.
package enum Volatility: UInt8, Comparable, Sendable {
  case immutable, stable, volatile
  package static func < (a: Volatility, b: Volatility) -> Bool { a.rawValue < b.rawValue }
}

/// What a scalar function's code looks like: no captured state, results in `context.arena`.
package typealias ScalarImplementation =
  @Sendable (_ arguments: Arguments, _ context: inout EvaluationContext) throws(SQLError) -> Value

/// A scalar function (or the function behind an operator or a cast).
package final class ScalarFunction: Sendable {
  package let name: String
  package let arguments: [TypeID]
  /// The element type of a variadic last argument (`"any"` takes any types); `arguments` then does not name it.
  package let variadic: TypeID?
  package let result: TypeID
  package let volatility: Volatility
  /// A strict function is null when an argument is, and is not called then.
  package let isStrict: Bool
  /// How many trailing arguments may be left out, and what they are then.
  package let defaults: [Datum]
  package let body: ScalarImplementation
  /// For calls that the compiler turns into an instruction of their own.
  package let intrinsic: Intrinsic?
  /// Makes the function for the actual types of a call, for polymorphic functions whose code depends on them.
  package let specialise: (@Sendable ([SQLType]) throws(SQLError) -> ScalarFunction)?

  package init(
    _ name: String, _ arguments: [TypeID], variadic: TypeID? = nil, returns result: TypeID,
    _ volatility: Volatility = .immutable, strict: Bool = true, defaults: [Datum] = [], intrinsic: Intrinsic? = nil,
    specialise: (@Sendable ([SQLType]) throws(SQLError) -> ScalarFunction)? = nil,
    body: @escaping ScalarImplementation
  ) {
    self.specialise = specialise
    self.name = name
    self.arguments = arguments
    self.variadic = variadic
    self.result = result
    self.volatility = volatility
    isStrict = strict
    self.defaults = defaults
    self.intrinsic = intrinsic
    self.body = body
  }
}

/// What the compiler of expressions knows by itself. Comparisons are over two values of one physical kind.
package enum Intrinsic: Sendable, Hashable {
  package enum Comparison: UInt8, Sendable { case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual }
  package enum Operand: UInt8, Sendable { case int, double, text, bool, numeric }
  package enum Arithmetic: UInt8, Sendable { case add, subtract, multiply, divide, remainder }
  package enum Width: UInt8, Sendable { case int16, int32, int64, double, numeric }
  case compare(Comparison, Operand)
  case arithmetic(Arithmetic, Width)
  case like(caseInsensitive: Bool, negated: Bool)
}

/// A function that returns rows: generate_series, unnest, regexp_matches, ….
package final class SetFunction: Sendable {
  package let name: String
  package let arguments: [TypeID]
  package let variadic: TypeID?
  /// The columns of a row; one column named as the function for most.
  package let columns: [(name: String, type: TypeID)]
  package let volatility: Volatility
  package let isStrict: Bool
  /// As `ScalarFunction.specialise`.
  package let specialise: (@Sendable ([SQLType]) throws(SQLError) -> SetFunction)?
  /// Starts a call. The iterator copies what it needs of its arguments.
  package let begin: @Sendable (Arguments, inout EvaluationContext) throws(SQLError) -> any SetIterator

  package init(
    _ name: String, _ arguments: [TypeID], variadic: TypeID? = nil, columns: [(name: String, type: TypeID)],
    _ volatility: Volatility = .immutable, strict: Bool = true,
    specialise: (@Sendable ([SQLType]) throws(SQLError) -> SetFunction)? = nil,
    _ begin: @escaping @Sendable (Arguments, inout EvaluationContext) throws(SQLError) -> any SetIterator
  ) {
    self.name = name
    self.arguments = arguments
    self.variadic = variadic
    self.columns = columns
    self.volatility = volatility
    isStrict = strict
    self.begin = begin
    self.specialise = specialise
  }
}

/// The rows of one call of a set-returning function, one at a time.
package protocol SetIterator: AnyObject {
  /// Writes the next row (as many values as the function has columns); false at the end.
  /// The values live in `context.arena`, or as long as the iterator.
  func next(_ output: UnsafeMutablePointer<Value>, _ context: inout EvaluationContext) throws(SQLError) -> Bool
}

/// An aggregate: a state machine over memory that the executor gives it.
///
/// The state is `stateSize` bytes aligned to 16, zeroed before `initialize`. A state that grows takes memory from
/// `context.stateArena`. There is nothing to destroy: the executor drops the arena.
@safe package final class AggregateFunction: Sendable {
  package typealias State = UnsafeMutableRawPointer
  package let name: String
  package let arguments: [TypeID]
  package let variadic: TypeID?
  package let result: TypeID
  package let stateSize: Int
  /// A strict aggregate is not given rows in which an argument is null (nearly all; not count(*), array_agg).
  package let isStrict: Bool
  package let initialize: @Sendable (State) -> Void
  package let accumulate: @Sendable (State, Arguments, inout EvaluationContext) throws(SQLError) -> Void
  /// Adds the second state to the first; nil where order matters.
  package let combine: (@Sendable (State, State, inout EvaluationContext) throws(SQLError) -> Void)?
  /// The result; the state stays valid (windows ask again and again).
  package let finish: @Sendable (State, inout EvaluationContext) throws(SQLError) -> Value
  /// For count(*) and min/max, which planners treat specially.
  package let kind: Kind
  package enum Kind: Sendable { case countAll, minimum, maximum, other }
  /// What the executor may do itself with the state, instead of calling `accumulate` with one argument.
  let shape: Shape
  enum Shape: Sendable {
    case other
    /// The state is an Int64: one more.
    case count
    /// The state is an `IntegerSum`.
    case integerSum
    /// The state is a `DoubleSum` of double precision.
    case doubleSum
    /// The state is a `HeldValue`, of values that are integers or doubles inside.
    case extreme(ValueOrder, wanted: Int)
  }
  /// As `ScalarFunction.specialise`.
  package let specialise: (@Sendable ([SQLType]) throws(SQLError) -> AggregateFunction)?

  package convenience init(
    _ name: String, _ arguments: [TypeID], variadic: TypeID? = nil, returns result: TypeID, stateSize: Int,
    strict: Bool = true, kind: Kind = .other,
    specialise: (@Sendable ([SQLType]) throws(SQLError) -> AggregateFunction)? = nil,
    initialize: @escaping @Sendable (State) -> Void = { _ in },
    accumulate: @escaping @Sendable (State, Arguments, inout EvaluationContext) throws(SQLError) -> Void,
    combine: (@Sendable (State, State, inout EvaluationContext) throws(SQLError) -> Void)? = nil,
    finish: @escaping @Sendable (State, inout EvaluationContext) throws(SQLError) -> Value
  ) {
    unsafe self.init(
      name, arguments, variadic: variadic, returns: result, stateSize: stateSize, strict: strict, kind: kind,
      shape: .other, specialise: specialise, initialize: initialize, accumulate: accumulate, combine: combine,
      finish: finish)
  }

  init(
    _ name: String, _ arguments: [TypeID], variadic: TypeID?, returns result: TypeID, stateSize: Int, strict: Bool,
    kind: Kind, shape: Shape,
    specialise: (@Sendable ([SQLType]) throws(SQLError) -> AggregateFunction)? = nil,
    initialize: @escaping @Sendable (State) -> Void,
    accumulate: @escaping @Sendable (State, Arguments, inout EvaluationContext) throws(SQLError) -> Void,
    combine: (@Sendable (State, State, inout EvaluationContext) throws(SQLError) -> Void)?,
    finish: @escaping @Sendable (State, inout EvaluationContext) throws(SQLError) -> Value
  ) {
    self.shape = shape
    self.name = name
    self.arguments = arguments
    self.variadic = variadic
    self.result = result
    self.stateSize = stateSize
    isStrict = strict
    self.kind = kind
    self.specialise = specialise
    unsafe self.initialize = initialize
    unsafe self.accumulate = accumulate
    unsafe self.combine = combine
    unsafe self.finish = finish
  }
}

/// An operator: a name, its operand types (nil left for a prefix operator) and its function.
package final class Operator: Sendable {
  package let name: String
  package let left: TypeID?
  package let right: TypeID
  package let function: ScalarFunction
  /// The operator that means the same with the operands exchanged, and the one that means the opposite.
  package let commutator: String?
  package let negator: String?

  package init(
    _ name: String, _ left: TypeID?, _ right: TypeID, _ function: ScalarFunction, commutator: String? = nil,
    negator: String? = nil
  ) {
    self.name = name
    self.left = left
    self.right = right
    self.function = function
    self.commutator = commutator
    self.negator = negator
  }
}
