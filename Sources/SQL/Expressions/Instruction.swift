// The instructions of compiled expressions: 16 bytes each, over registers of `Value`.
//
//   offset  size  field
//   0       1     op
//   1       1     aux: a comparison's mask, a flag
//   2       2     dst: the register that receives the result
//   4       4     a, an operand
//   8       4     b, an operand, or an index into one of the program's tables
//   12      4     c, a jump's target or a count
//
// An operand is two bits of space and thirty of index: registers, the input row, the constants, the parameters.
// A comparison's mask has bit 0 for less, bit 1 for equal, bit 2 for greater: `<=` is 0b011.

enum Opcode: UInt8 {
  case move
  case loadSlot
  case call
  case callStrict
  // Comparisons: to a register, or as a branch taken when the result is (not) true.
  case compareInt, compareDouble, compareBytes, compareOther
  case branchInt, branchDouble, branchBytes, branchOther
  case addInt, subtractInt, multiplyInt, divideInt, remainderInt
  case addDouble, subtractDouble, multiplyDouble, divideDouble
  case addNumeric, subtractNumeric, multiplyNumeric
  case andStep, orStep
  case not
  case isNull
  case isTruth
  case isDistinct
  case jump
  case branchTrue
  case jumpIfNotNull
  case extremeStep
  case inSet
  case quantified
  case viaText
  case modifier
  case elements
  case makeArray
  case makeRow
  case subscripts
  case slice
  case rowCompare
  case nullif
  case subplan
  case finish
}

struct Instruction {
  var op: Opcode
  var aux: UInt8 = 0
  var dst: UInt16 = 0
  var a: UInt32 = 0
  var b: UInt32 = 0
  var c: UInt32 = 0
}

/// An operand's space, in the upper two bits.
enum OperandSpace: UInt32 {
  case register = 0, row = 1, constant = 2, parameter = 3
}

struct Operand {
  let raw: UInt32
  init(_ space: OperandSpace, _ index: Int) { raw = space.rawValue << 30 | UInt32(index) }
  init(raw: UInt32) { self.raw = raw }
  var isRegister: Bool { raw >> 30 == 0 }
}

/// Bits of `aux`.
enum Aux {
  static let branchWhenTrue: UInt8 = 0x80
  static let negated: UInt8 = 0x40
}

extension Intrinsic.Comparison {
  var mask: UInt8 {
    switch self {
    case .equal: return 0b010
    case .notEqual: return 0b101
    case .less: return 0b001
    case .lessOrEqual: return 0b011
    case .greater: return 0b100
    case .greaterOrEqual: return 0b110
    }
  }
}

/// What instructions refer to by index.
struct ProgramTables {
  var functions: [ScalarFunction] = []
  var orders: [ValueOrder] = []
  var sets: [ValueSet] = []
  var conversions: [(from: SQLType, to: SQLType)] = []
  var elementCasts: [ElementCast] = []
  var rowComparisons: [(comparison: TypedExpression.RowComparison, orders: [ValueOrder])] = []
  /// For `slice`: which bounds are given, per dimension.
  var slices: [[(lower: Bool, upper: Bool)]] = []
}

/// How the elements of an array are cast.
struct ElementCast {
  let from: TypeID
  let to: TypeID
  /// Over a row of one value.
  let body: CompiledExpression
}

/// The constants of an IN list, found by hash.
final class ValueSet: Sendable {
  let order: ValueOrder
  let pool: ConstantPool
  let hasNull: Bool
  /// Open addressing; -1 is empty. As many slots as the power of two at or above twice the constants.
  private let slots: [Int32]
  private let mask: Int

  init(_ data: [Datum], _ order: ValueOrder) {
    self.order = order
    hasNull = data.contains { $0.isNull }
    let kept = data.filter { !$0.isNull }
    pool = ConstantPool(kept)
    var size = 4
    while size < kept.count * 2 { size *= 2 }
    var slots = [Int32](repeating: -1, count: size)
    for index in kept.indices {
      var at = Int(truncatingIfNeeded: order.hash(pool[index])) & (size - 1)
      // What is there already is not there twice: the ways past equal values would become long.
      while slots[at] >= 0, !order.equal(pool[Int(slots[at])], pool[index]) { at = (at + 1) & (size - 1) }
      if slots[at] < 0 { slots[at] = Int32(index) }
    }
    self.slots = slots
    mask = size - 1
  }

  func contains(_ value: Value) -> Bool {
    var at = Int(truncatingIfNeeded: order.hash(value)) & mask
    while slots[at] >= 0 {
      if order.equal(pool[Int(slots[at])], value) { return true }
      at = (at + 1) & mask
    }
    return false
  }
}
