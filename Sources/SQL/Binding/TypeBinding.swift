/// From written types to types.
package enum TypeBinding {
  /// The type that `name` means, with its modifier.
  ///
  /// - Throws: undefined_object (42704); invalid_parameter_value (22023) for modifiers out of range.
  package static func type(_ name: Syntax.TypeName) throws(SQLError) -> SQLType {
    let position = place(name.position)
    if name.isSet { throw SQLError(.featureNotSupported, "SETOF types are not supported here", position: position) }
    let parts = name.name.parts
    if parts.count > 1, parts[parts.count - 2] != "pg_catalog", parts[parts.count - 2] != "public" {
      throw SQLError(.undefinedObject, "type \"\(parts.joined(separator: "."))\" does not exist", position: position)
    }
    let own = name.name.name
    if let serial = serials[own] {
      _ = serial
      throw SQLError(.undefinedObject, "type \"\(own)\" does not exist", position: position)
    }
    guard let id = TypeTable.named(own) else {
      throw SQLError(.undefinedObject, "type \"\(parts.joined(separator: "."))\" does not exist", position: position)
    }
    var type = SQLType(id, modifier: try modifier(id, name))
    if !name.arrayBounds.isEmpty {
      guard let array = id.info.array else {
        throw SQLError(
          .undefinedObject, "could not find array type for data type \(type.description)", position: position)
      }
      type = SQLType(array, modifier: type.modifier)
    }
    return type
  }

  /// The pseudo-types that make a column with a sequence.
  package static let serials: [String: TypeID] = [
    "serial": .int4, "serial4": .int4, "bigserial": .int8, "serial8": .int8, "smallserial": .int2, "serial2": .int2,
  ]

  private static func modifier(_ id: TypeID, _ name: Syntax.TypeName) throws(SQLError) -> Int32 {
    let position = place(name.position)
    var numbers: [Int] = []
    for expression in name.modifiers {
      guard case .number(let text) = expression.kind, let value = Int(text) else {
        throw SQLError(
          .syntaxError, "type modifiers must be simple constants or identifiers", position: place(expression.position))
      }
      numbers.append(value)
    }
    func limited(_ count: ClosedRange<Int>) throws(SQLError) {
      guard count.contains(numbers.count) else {
        throw SQLError(.invalidParameterValue, "invalid type modifier", position: position)
      }
    }
    switch id {
    case .varchar, .bpchar:
      // `char` is char(1); `bpchar` and `varchar` alone have no limit.
      if numbers.isEmpty { return -1 }
      try limited(1...1)
      guard numbers[0] >= 1 else {
        throw SQLError(
          .invalidParameterValue, "length for type \(id == .varchar ? "varchar" : "char") must be at least 1",
          position: position)
      }
      guard numbers[0] <= 10_485_760 else {
        throw SQLError(
          .invalidParameterValue, "length for type \(id == .varchar ? "varchar" : "char") cannot exceed 10485760",
          position: position)
      }
      return Int32(numbers[0]) + 4
    case .numeric:
      if numbers.isEmpty { return -1 }
      try limited(1...2)
      let scale = numbers.count > 1 ? numbers[1] : 0
      guard (1...1000).contains(numbers[0]) else {
        throw SQLError(
          .invalidParameterValue, "NUMERIC precision \(numbers[0]) must be between 1 and 1000", position: position)
      }
      guard (-1000...1000).contains(scale) else {
        throw SQLError(
          .invalidParameterValue, "NUMERIC scale \(scale) must be between -1000 and 1000", position: position)
      }
      return SQLType.numeric(precision: numbers[0], scale: scale).modifier
    case .time, .timestamp, .timestamptz:
      if numbers.isEmpty { return -1 }
      try limited(1...1)
      guard numbers[0] >= 0 else {
        throw SQLError(
          .invalidParameterValue, "\(id.info.displayName) precision must not be negative", position: position)
      }
      return Int32(min(numbers[0], 6))
    case .interval:
      if numbers.isEmpty, name.intervalFields == nil { return -1 }
      try limited(0...1)
      let range = name.intervalFields.map(Interval.mask) ?? 0x7fff
      return Int32(range) << 16 | (numbers.first.map { Int32(min(max($0, 0), 6)) } ?? 0xffff)
    default:
      guard numbers.isEmpty else {
        throw SQLError(
          .syntaxError, "type modifier is not allowed for type \"\(id.info.name)\"", position: position)
      }
      return -1
    }
  }
}
