internal import Encoding
internal import Storage
internal import Transactions

// Foreign keys. Both sides are looked at when the statement's own changes are made.
//
// The referencing side locks the referenced row for key share and looks at its newest version: from then on it cannot go
// away before this transaction ends. The referenced side, which holds its row for update, looks for referring rows over a
// fresh snapshot: whoever added one held the key share lock until its commit, so it is visible by now. (At the higher
// levels the snapshot cannot be fresh: rows that came after it are looked for through a second, newest one.)

extension SQLSession {
  /// Runs checks, and the actions of foreign keys, until none is left.
  func runChecks(_ checks: [PendingCheck], _ transaction: Transaction) throws(SQLError) {
    try freshSnapshot()
    for check in checks {
      switch check.kind {
      case .reference(let table, let key, let values): try require(table, key, values, transaction)
      case .referenced(let table, let reference, let old, let new):
        try referenced(table, reference, old, new, transaction)
      }
    }
  }

  private func describe(_ table: TableDescriptor, _ columns: [Int], _ values: [Datum]) -> String {
    let arena = Arena()
    defer { withExtendedLifetime(arena) {} }
    let names = columns.map { table.column($0).name }.joined(separator: ", ")
    let texts = zip(columns, values).map {
      TableWriter.text($1.value(in: arena), table.column($0).type.id, textFormat)
    }
    return "(\(names))=(\(texts.joined(separator: ", ")))"
  }

  /// The values must be a key of the referenced table, now and until the transaction ends.
  private func require(
    _ table: TableDescriptor, _ key: ForeignKey, _ values: [Datum], _ transaction: Transaction
  ) throws(SQLError) {
    let catalog = try catalog()
    guard let parent = catalog.tables[key.referencedTable],
      let index = parent.indexes.first(where: { $0.id == key.referencedIndex })
    else { return }
    let arena = Arena()
    defer { withExtendedLifetime(arena) {} }
    var bytes = ByteBuffer(capacity: 64)
    bytes.append(KeySpace.prefix(index.storage))
    var fits = true
    for part in index.keys {
      guard let position = key.referencedColumns.firstIndex(of: part.column ?? -1) else { continue }
      let value = values[position].value(in: arena)
      if value.kind == .int, part.type.id == .int4, Int32(exactly: value.int) == nil { fits = false }
      if value.kind == .int, part.type.id == .int2, Int16(exactly: value.int) == nil { fits = false }
      KeyCodec.append(
        value, KeyColumn(part.type, descending: part.descending, nullsFirst: part.nullsFirst), to: &bytes)
    }
    if fits, try lockReferenced(parent, index, bytes.bytes, transaction) { return }
    throw SQLError(
      .foreignKeyViolation,
      "insert or update on table \"\(table.name)\" violates foreign key constraint \"\(key.name)\"",
      detail: "Key \(describe(table, key.columns, values)) is not present in table \"\(parent.name)\".",
      table: table.name, constraint: key.name)
  }

  private func lockReferenced(
    _ parent: TableDescriptor, _ index: IndexDescriptor, _ key: Bytes, _ transaction: Transaction
  ) throws(SQLError) -> Bool {
    var rowKey = ByteBuffer(capacity: 64)
    if index.isPrimary {
      rowKey.append(key)
    } else {
      guard
        let entry = unsafe try sqlErrors({ () throws(TransactionError) in unsafe try transaction.getLatest(key.buffer) }
        )
      else { return false }
      try IndexEntry.rowKey(unsafe Bytes(entry), key: key, table: parent.storage, into: &rowKey)
    }
    return try sqlErrors { () throws(TransactionError) in
      _ = unsafe try transaction.lock(rowKey.bytes.buffer, .keyShare, .wait)
      guard unsafe try transaction.getLatest(rowKey.bytes.buffer) != nil else { return false }
      return index.isPrimary ? true : unsafe try transaction.getLatest(key.buffer) != nil
    }
  }

  // MARK: The referenced side

  private func referenced(
    _ parent: TableDescriptor, _ reference: CatalogSnapshot.Reference, _ old: [Datum], _ new: [Datum]?,
    _ transaction: Transaction
  ) throws(SQLError) {
    let catalog = try catalog()
    guard let child = catalog.tables[reference.table] else { return }
    let key = reference.key
    // The key may be there again: another row took it, or this one came back.
    if try isPresent(parent, key, old, transaction) { return }
    if transaction.isolation != .readCommitted { try refuseNewerRows(reference, child, old, transaction) }
    let action = new == nil ? key.onDelete : key.onUpdate
    let columns = key.columns.map { SQLWriter.quoted(child.column($0).name) }
    let schema = catalog.schema(child.schema)?.name ?? "public"
    let name = "\(SQLWriter.quoted(schema)).\(SQLWriter.quoted(child.name))"
    let condition = columns.enumerated().map { "\($1) = $\($0 + 1)" }.joined(separator: " AND ")
    switch action {
    case .noAction, .restrict:
      let found = try runReference("SELECT 1 FROM \(name) WHERE \(condition) LIMIT 1", old, key, child)
      guard found == 0 else {
        throw SQLError(
          .foreignKeyViolation,
          "update or delete on table \"\(parent.name)\" violates foreign key constraint \"\(key.name)\" on table \"\(child.name)\"",
          detail:
            "Key \(describe(parent, key.referencedColumns, old)) is still referenced from table \"\(child.name)\".",
          table: child.name, constraint: key.name)
      }
    case .cascade:
      if let new {
        let sets = columns.enumerated().map { "\($1) = $\(old.count + $0 + 1)" }.joined(separator: ", ")
        _ = try runReference("UPDATE \(name) SET \(sets) WHERE \(condition)", old + new, key, child)
      } else {
        _ = try runReference("DELETE FROM \(name) WHERE \(condition)", old, key, child)
      }
    case .setNull, .setDefault:
      let chosen = new == nil && !key.setColumns.isEmpty ? key.setColumns : key.columns
      let word = action == .setNull ? "NULL" : "DEFAULT"
      let sets = chosen.map { "\(SQLWriter.quoted(child.column($0).name)) = \(word)" }.joined(separator: ", ")
      _ = try runReference("UPDATE \(name) SET \(sets) WHERE \(condition)", old, key, child)
    }
  }

  /// From repeatable read on a transaction does not see rows that began to refer to the key after its snapshot: if there
  /// are any, it needs a newer one. Serializable needs this too: whoever added them may run at a lower level.
  private func refuseNewerRows(
    _ reference: CatalogSnapshot.Reference, _ child: TableDescriptor, _ values: [Datum], _ own: Transaction
  ) throws(SQLError) {
    let snapshot = try sqlErrors { () throws(TransactionError) in try own.snapshot }
    let schema = try catalog().schema(child.schema)?.name ?? "public"
    let condition = reference.key.columns.enumerated().map {
      "\(SQLWriter.quoted(child.column($1).name)) = $\($0 + 1)"
    }
    let text =
      "SELECT 1 FROM \(SQLWriter.quoted(schema)).\(SQLWriter.quoted(child.name)) WHERE \(condition.joined(separator: " AND "))"
    func count(_ asOf: Version?) throws(SQLError) -> Int {
      let database = self.database
      let id = self.id
      let probe = try sqlErrors { () throws(TransactionError) in
        try database.manager.begin(
          TransactionOptions(isolation: .repeatableRead, isReadOnly: true, asOf: asOf, session: id))
      }
      self.transaction = probe
      defer {
        self.transaction = own
        probe.rollback()
      }
      return try runReference(text, values, reference.key, child)
    }
    guard try count(nil) > count(snapshot) else { return }
    try sqlErrors { () throws(TransactionError) in try own.needNewerSnapshot(for: KeySpace.range(child.storage)) }
  }

  private func isPresent(
    _ parent: TableDescriptor, _ key: ForeignKey, _ values: [Datum], _ transaction: Transaction
  ) throws(SQLError) -> Bool {
    guard let index = parent.indexes.first(where: { $0.id == key.referencedIndex }) else { return false }
    let arena = Arena()
    defer { withExtendedLifetime(arena) {} }
    var bytes = ByteBuffer(capacity: 64)
    bytes.append(KeySpace.prefix(index.storage))
    for part in index.keys {
      guard let position = key.referencedColumns.firstIndex(of: part.column ?? -1) else { continue }
      KeyCodec.append(
        values[position].value(in: arena),
        KeyColumn(part.type, descending: part.descending, nullsFirst: part.nullsFirst), to: &bytes)
    }
    return try sqlErrors { () throws(TransactionError) in
      unsafe try transaction.getLatest(bytes.bytes.buffer) != nil
    }
  }

  /// Runs a statement of the system's own in the transaction; returns how many rows it gave or changed.
  private func runReference(
    _ text: String, _ parameters: [Datum], _ key: ForeignKey, _ child: TableDescriptor
  ) throws(SQLError) -> Int {
    referenceDepth += 1
    defer { referenceDepth -= 1 }
    guard referenceDepth <= 64 else {
      throw SQLError(.tooComplex, "foreign key actions are nested too deeply")
    }
    let statement: PreparedStatement
    if let known = referenceStatements[text] {
      statement = known
    } else {
      let types = key.columns.map { SQLType(child.column($0).type.id) }
      let all = parameters.count > types.count ? types + types : types
      guard let parsed = try SQLParser.parseStatement(text) else { return 0 }
      statement = PreparedStatement(text: text, statement: parsed.statement, position: 0, parameterTypes: all)
      statement.isInternal = true
      if referenceStatements.count > 256 { referenceStatements.removeAll() }
      referenceStatements[text] = statement
    }
    let runner = try self.runner(statement)
    var count = 0
    let tag = unsafe try runner.run(self, parameters) { (_) throws(SQLError) in count += 1 }
    return tag.hasPrefix("SELECT") ? count : Int(tag.split(separator: " ").last ?? "0") ?? 0
  }
}
