// Keys and entries of an index for a row; where they lie is said in KeySpace.swift.

/// An index's entry for a row, compiled.
final class IndexWriter {
  let descriptor: IndexDescriptor
  private let prefix: [UInt8]
  private let columns: [KeyColumn]
  private let places: [Int]
  private let expressions: [CompiledExpression?]
  private let predicate: CompiledExpression?

  init(_ descriptor: IndexDescriptor, _ table: TableDescriptor, _ binder: Binder) throws(SQLError) {
    self.descriptor = descriptor
    prefix = KeySpace.prefix(descriptor.storage)
    columns = descriptor.keys.map { KeyColumn($0.type, descending: $0.descending, nullsFirst: $0.nullsFirst) }
    var places: [Int] = []
    var expressions: [CompiledExpression?] = []
    for key in descriptor.keys {
      if let column = key.column {
        places.append(column - 1)
        expressions.append(nil)
      } else {
        places.append(-1)
        let bound = try binder.rowValue(key.expression!.tree, table, .indexExpression)
        expressions.append(try CompiledExpression(bound.withoutPositions))
      }
    }
    self.places = places
    self.expressions = expressions
    predicate = try descriptor.predicate.map { (stored) throws(SQLError) in
      try CompiledExpression(
        try binder.rowCondition(stored.tree, table, .indexPredicate).withoutPositions, asCondition: true)
    }
  }

  /// Whether the row has an entry.
  func covers(_ row: ValueBuffer, _ context: inout EvaluationContext) throws(SQLError) -> Bool {
    guard let predicate else { return true }
    return try predicate.holds(row.frame, &context)
  }

  func value(_ index: Int, _ row: ValueBuffer, _ context: inout EvaluationContext) throws(SQLError) -> Value {
    if let expression = expressions[index] { return try expression.value(row.frame, &context) }
    return row[places[index]]
  }

  /// Writes the key of the index's columns; true if equal columns must not come twice.
  func key(
    _ row: ValueBuffer, _ context: inout EvaluationContext, into key: inout ByteBuffer
  ) throws(SQLError) -> Bool {
    key.removeAll()
    key.append(prefix)
    var hasNull = false
    for index in columns.indices {
      let value = try self.value(index, row, &context)
      if value.isNull { hasNull = true }
      KeyCodec.append(value, columns[index], to: &key)
    }
    guard key.count <= 1 << 16 else {
      throw SQLError(
        .programLimit, "index row size \(key.count) exceeds maximum \(1 << 16) for index \"\(descriptor.name)\"",
        hint: "Values larger than 64 KiB cannot be indexed. Consider an index on a hash of the value.")
    }
    return descriptor.isUnique && (!hasNull || descriptor.nullsNotDistinct)
  }

  /// The whole entry: a unique key leaves the row's key out of its own (see KeySpace).
  func entry(
    _ row: ValueBuffer, rowKey: Bytes, _ context: inout EvaluationContext, key: inout ByteBuffer,
    value: inout ByteBuffer
  ) throws(SQLError) -> Bool {
    let isUnique = try self.key(row, &context, into: &key)
    let part = rowKey.dropFirst(KeySpace.prefixLength)
    value.removeAll()
    if isUnique {
      value.append(little: UInt16(0))
      value.append(part)
    } else {
      value.append(little: UInt16(part.count))
      key.append(part)
    }
    return isUnique
  }

  /// `(a, b)=(1, 2)`.
  func describe(_ row: ValueBuffer, _ table: TableDescriptor, _ context: inout EvaluationContext) -> String {
    var names: [String] = []
    var values: [String] = []
    for (index, key) in descriptor.keys.enumerated() {
      names.append(key.column.map { table.column($0).name } ?? key.expression?.text ?? "?")
      let value = (try? self.value(index, row, &context)) ?? .null
      values.append(TableWriter.text(value, key.type.id, context.format))
    }
    return "(\(names.joined(separator: ", ")))=(\(values.joined(separator: ", ")))"
  }
}
