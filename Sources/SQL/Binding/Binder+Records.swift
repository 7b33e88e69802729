// Fields of composite values: `(value).field`.
//
// A record has no type of its own that would know its fields, so the binder remembers where the fields of those records are
// that can be asked for: rows of a set-returning function with several columns in a select list (what drivers do with
// `information_schema._pg_expandarray`), also when a subquery hands them on, and the rows of an item of FROM.

extension Binder {
  /// The rows of a set-returning function as one value: a record of its columns, whose names are remembered.
  func record(of function: SetFunction, _ slots: [FrameSlot], at position: Int?) -> TypedExpression {
    recordNames[slots] = function.columns.map(\.name)
    let fields = zip(slots, function.columns).map { TypedExpression.column($0, SQLType($1.type), at: position) }
    return TypedExpression(.row(fields), .record, at: position)
  }

  /// Remembers the fields of a record that a subquery puts into `slot`.
  func noteRecord(_ value: TypedExpression, in slot: FrameSlot, _ produced: Set<FrameSlot>) {
    guard let fields = fields(of: value), fields.allSatisfy({ produced.contains($0.value.columnSlot ?? -1) }) else {
      return
    }
    recordFields[slot] = fields
  }

  /// Binds `(base).name`.
  func field(
    _ base: Syntax.Expression, _ name: String, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    // `(item).column` of FROM is `item.column`.
    if case .column(let parts) = base.kind, parts.count == 1,
      try scope.column(parts[0], at: base.position) == nil,
      try scope.item(parts[0], schema: nil, at: base.position) != nil
    {
      return try bind(Syntax.Expression(.column(parts + [name]), base.position), scope, clause)
    }
    let value = try bind(base, scope, clause)
    guard value.type == .record else {
      throw SQLError(
        .wrongObjectType,
        "column notation .\(name) applied to type \(value.type.description), which is not a composite type",
        position: position)
    }
    guard let found = fields(of: value)?.first(where: { $0.name == name }) else {
      throw SQLError(
        .undefinedColumn, "could not identify column \"\(name)\" in record data type", position: position)
    }
    return found.value
  }

  /// A record whose fields are known as a JSON object, records in it as well; nil for anything else.
  func jsonObject(_ value: TypedExpression) throws(SQLError) -> TypedExpression? {
    guard value.type == .record, let fields = fields(of: value) else { return nil }
    var parts: [TypedExpression] = []
    for field in fields {
      if let object = try jsonObject(field.value) {
        parts.append(object)
      } else {
        parts.append(try resolver.settle(field.value))
      }
    }
    let function = JSONRecords.object(fields.map(\.name), parts.map(\.type.id))
    return TypedExpression(.call(function, parts), .json, at: value.position)
  }

  /// The fields of a record whose names are known.
  private func fields(of value: TypedExpression) -> [(name: String, value: TypedExpression)]? {
    switch value.node {
    case .row(let parts):
      // The fields of ROW(…) are f1, f2, ….
      let names = recordNames[parts.map { $0.columnSlot ?? -1 }] ?? parts.indices.map { "f\($0 + 1)" }
      return zip(names, parts).map { (name: $0, value: $1) }
    case .column(let slot): return recordFields[slot]
    default: return nil
    }
  }
}
