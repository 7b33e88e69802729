internal import Storage

// From a path's conditions to key intervals.
//
// With P the prefix of the relation and of the equal columns' encodings, and c the column after them:
//
//   nothing on c            [P, P FF)
//   c ≥ a / c > a           from P enc(a) / from P enc(a) FF     otherwise from P 01: nulls are not in any range
//   c ≤ b / c < b           to P enc(b) FF / to P enc(b)         otherwise to P 02
//
// and with the ends exchanged where c is descending. FF is above every byte that a column can begin with. An integer that
// the column's width cannot hold equals nothing, and bounds nothing or everything.

/// Evaluates the bounds of a path.
final class KeyBounds {
  private enum Equal {
    case one(CompiledExpression)
    case list([CompiledExpression])
    case array(CompiledExpression, element: TypeID)
    case null
  }
  private let prefix: [UInt8]
  private let columns: [KeyColumn]
  private let equal: [Equal]
  /// The equalities, where each has one value.
  private let single: [CompiledExpression]?
  private let lower: (expression: CompiledExpression, inclusive: Bool)?
  private let upper: (expression: CompiledExpression, inclusive: Bool)?

  init(_ path: AccessPath, storage: ObjectID) throws(SQLError) {
    prefix = KeySpace.prefix(storage)
    columns = path.keyColumns
    var equal: [Equal] = []
    for bound in path.equal {
      switch bound {
      case .equal(let expression): equal.append(.one(try CompiledExpression(expression)))
      case .anyOf(let list): equal.append(.list(try compile(list)))
      case .anyElement(let array):
        equal.append(.array(try CompiledExpression(array), element: array.type.element ?? .text))
      case .isNull: equal.append(.null)
      }
    }
    self.equal = equal
    var single: [CompiledExpression] = []
    for case .one(let expression) in equal { single.append(expression) }
    self.single = single.count == equal.count ? single : nil
    lower = try path.lower.map { (b) throws(SQLError) in (try CompiledExpression(b.expression), b.inclusive) }
    upper = try path.upper.map { (b) throws(SQLError) in (try CompiledExpression(b.expression), b.inclusive) }
  }

  private enum Fit { case fits, below, above }
  private static func fit(_ value: Value, _ column: KeyColumn) -> Fit {
    guard value.kind == .int else { return .fits }
    switch column.type.id {
    case .int4: return value.int > Int64(Int32.max) ? .above : value.int < Int64(Int32.min) ? .below : .fits
    case .int2: return value.int > Int64(Int16.max) ? .above : value.int < Int64(Int16.min) ? .below : .fits
    default: return .fits
    }
  }

  /// Writes the one key that single equalities name; false if none can be equal.
  func pointKey(
    _ frame: Frame, _ context: inout EvaluationContext, _ key: inout ByteBuffer
  ) throws(SQLError) -> Bool {
    guard let single else { return false }
    key.removeAll()
    key.append(prefix)
    for index in single.indices {
      let value = try single[index].value(frame, &context)
      if value.isNull || KeyBounds.fit(value, columns[index]) != .fits { return false }
      KeyCodec.append(value, columns[index], to: &key)
    }
    return true
  }

  /// The key intervals in order, without overlap.
  func ranges(_ frame: Frame, _ context: inout EvaluationContext) throws(SQLError) -> [KeyRange] {
    var prefixes: [[UInt8]] = [prefix]
    for (index, bound) in equal.enumerated() {
      let encodings = try self.encodings(bound, columns[index], frame, &context)
      if encodings.isEmpty { return [] }
      if encodings.count == 1 {
        for position in prefixes.indices { prefixes[position] += encodings[0] }
      } else {
        prefixes = prefixes.flatMap { prefix in encodings.map { prefix + $0 } }
      }
    }
    guard lower != nil || upper != nil, equal.count < columns.count else {
      return prefixes.map { KeyRange(lower: $0, upper: $0 + [KeyCodec.afterAll]) }
    }
    let column = columns[equal.count]
    var start: [UInt8] = [KeyCodec.present]
    var end: [UInt8] = [KeyCodec.present + 1]
    for (bound, isLower) in [(lower, true), (upper, false)] {
      guard let bound else { continue }
      let value = try bound.expression.value(frame, &context)
      if value.isNull { return [] }
      switch KeyBounds.fit(value, column) {
      case .above:
        if isLower { return [] }
        continue
      case .below:
        if !isLower { return [] }
        continue
      case .fits: break
      }
      let encoded = KeyBounds.encode(value, column)
      if isLower != column.descending {
        start = bound.inclusive ? encoded : encoded + [KeyCodec.afterAll]
      } else {
        end = bound.inclusive ? encoded + [KeyCodec.afterAll] : encoded
      }
    }
    return prefixes.compactMap { prefix in
      let range = KeyRange(lower: prefix + start, upper: prefix + end)
      return range.isEmpty ? nil : range
    }
  }

  private static func encode(_ value: Value, _ column: KeyColumn) -> [UInt8] {
    var buffer = ByteBuffer(capacity: 32)
    KeyCodec.append(value, column, to: &buffer)
    return buffer.array
  }

  /// The different encodings of an equality's values, in order.
  private func encodings(
    _ bound: Equal, _ column: KeyColumn, _ frame: Frame, _ context: inout EvaluationContext
  ) throws(SQLError) -> [[UInt8]] {
    var found: [[UInt8]] = []
    func add(_ value: Value) {
      if !value.isNull, KeyBounds.fit(value, column) == .fits { found.append(KeyBounds.encode(value, column)) }
    }
    switch bound {
    case .one(let expression): add(try expression.value(frame, &context))
    case .null: found.append(KeyBounds.encode(.null, column))
    case .list(let list): for item in list { add(try item.value(frame, &context)) }
    case .array(let expression, _):
      let array = try expression.value(frame, &context)
      if array.isNull { return [] }
      let view = try ArrayView(array.bytes)
      for index in 0..<view.count { add(try view.value(index)) }
    }
    guard found.count > 1 else { return found }
    found.sort { a, b in a.lexicographicallyPrecedes(b) }
    var unique: [[UInt8]] = []
    for encoding in found where unique.last != encoding { unique.append(encoding) }
    return unique
  }
}
