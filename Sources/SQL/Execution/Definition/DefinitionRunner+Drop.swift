internal import Transactions

extension DefinitionRunner {
  func drop(_ drop: Syntax.Drop) throws(SQLError) -> String {
    let tag = "DROP \(drop.kind.rawValue.uppercased())"
    if drop.concurrently, session.block == .explicit {
      throw SQLError(.activeTransaction, "DROP INDEX CONCURRENTLY cannot run inside a transaction block")
    }
    if drop.kind == .schema {
      for name in drop.names { try dropSchema(name, drop) }
      return tag
    }
    var targets: [Relation] = []
    for name in drop.names {
      guard let relation = try catalog().relation(name, searchPath: session.searchPath) else {
        guard drop.ifExists else {
          throw SQLError(
            drop.kind == .index ? .undefinedObject : .undefinedTable,
            "\(drop.kind.rawValue) \"\(name.name)\" does not exist")
        }
        notice(.successfulCompletion, "\(drop.kind.rawValue) \"\(name.name)\" does not exist, skipping")
        continue
      }
      try check(relation, is: drop.kind)
      if !targets.contains(where: { $0.id == relation.id }) { targets.append(relation) }
    }
    try dropAll(targets, cascade: drop.behavior == .cascade)
    return tag
  }

  private func check(_ relation: Relation, is kind: Syntax.ObjectKind) throws(SQLError) {
    let matches: Bool
    switch (relation, kind) {
    case (.table, .table), (.view, .view), (.sequence, .sequence), (.index, .index): matches = true
    default: matches = false
    }
    guard !matches else { return }
    if case .system(let system) = relation {
      throw SQLError(
        .insufficientPrivilege, "permission denied: \"\(system.name)\" is a system catalog")
    }
    let (article, actual) = relation.kindName
    throw SQLError(
      .wrongObjectType, "\"\(relation.name)\" is not \(kind == .index ? "an" : "a") \(kind.rawValue)",
      hint: "Use DROP \(actual.uppercased()) to remove \(article) \(actual).")
  }

  /// Drops relations and, with CASCADE, what depends on them.
  func dropAll(_ relations: [Relation], cascade: Bool) throws(SQLError) {
    let catalog = try catalog()
    var doomed = relations
    var isDoomed = Set(relations.map(\.id))
    var lostKeys: [(table: ObjectID, key: ForeignKey)] = []
    var cascaded: [String] = []
    var blockers: [String] = []
    var position = 0
    while position < doomed.count {
      let relation = doomed[position]
      position += 1
      for view in catalog.views where view.dependencies.contains(relation.id) && !isDoomed.contains(view.id) {
        blockers.append("view \(view.name) depends on \(relation.kindName.1) \(relation.name)")
        cascaded.append("view \(view.name)")
        isDoomed.insert(view.id)
        doomed.append(.view(view))
      }
      switch relation {
      case .table(let table):
        for reference in catalog.referencing[table.id] ?? [] where !isDoomed.contains(reference.table) {
          let child = catalog.tables[reference.table]?.name ?? "?"
          blockers.append("constraint \(reference.key.name) on table \(child) depends on table \(table.name)")
          cascaded.append("constraint \(reference.key.name) on table \(child)")
          lostKeys.append((reference.table, reference.key))
        }
        for sequence in catalog.sequences where sequence.ownerTable == table.id && isDoomed.insert(sequence.id).inserted
        {
          doomed.append(.sequence(sequence))
        }
      case .index(let index):
        if index.constraint != nil {
          let owner = catalog.tables[index.table]?.name ?? "?"
          throw SQLError(
            .dependentObjects,
            "cannot drop index \(index.name) because constraint \(index.name) on table \(owner) requires it",
            hint: "You can drop constraint \(index.name) on table \(owner) instead.")
        }
        for table in catalog.allTables {
          for key in table.foreignKeys where key.referencedIndex == index.id {
            blockers.append("constraint \(key.name) on table \(table.name) depends on index \(index.name)")
            cascaded.append("constraint \(key.name) on table \(table.name)")
            lostKeys.append((table.id, key))
          }
        }
      case .sequence(let sequence):
        for table in catalog.allTables where !isDoomed.contains(table.id) {
          for column in table.live where column.uses(sequence.id) {
            if column.identity != nil {
              throw SQLError(
                .dependentObjects,
                "cannot drop sequence \(sequence.name) because column \(column.name) of table \(table.name) requires it",
                hint: "You can drop column \(column.name) of table \(table.name) instead.")
            }
            blockers.append(
              "default value for column \(column.name) of table \(table.name) depends on sequence \(sequence.name)")
            cascaded.append("default value for column \(column.name) of table \(table.name)")
          }
        }
      default: break
      }
    }
    if !blockers.isEmpty, !cascade {
      let what = relations.count == 1 ? "\(relations[0].kindName.1) \(relations[0].name)" : "desired object(s)"
      throw SQLError(
        .dependentObjects,
        "cannot drop \(what) because other objects depend on \(relations.count == 1 ? "it" : "them")",
        detail: blockers.joined(separator: "\n"),
        hint: "Use DROP ... CASCADE to drop the dependent objects too.")
    }
    if cascaded.count == 1 {
      notice(.successfulCompletion, "drop cascades to \(cascaded[0])")
    } else if cascaded.count > 1 {
      sink.notice(
        SQLNotice(
          .notice,
          SQLError(
            .successfulCompletion, "drop cascades to \(cascaded.count) other objects",
            detail: cascaded.map { "drop cascades to \($0)" }.joined(separator: "\n"))))
    }
    for lost in lostKeys where !isDoomed.contains(lost.table) { try removeForeignKey(lost.key, lost.table) }
    // Sequences first: the defaults that take numbers from them lose them.
    for relation in doomed { if case .sequence = relation { try remove(relation) } }
    for relation in doomed { try remove(relation) }
  }

  private func removeForeignKey(_ key: ForeignKey, _ id: ObjectID) throws(SQLError) {
    guard let table = try catalog().tables[id] else { return }
    var record = table.record
    record.foreignKeys.removeAll { $0.id == key.id }
    let final = record
    try apply { $0.put(.table(final)) }
  }

  /// Removes one relation with everything that is its own.
  private func remove(_ relation: Relation) throws(SQLError) {
    let catalog = try catalog()
    switch relation {
    case .table(let given):
      guard let table = catalog.tables[given.id] else { return }
      let owned = catalog.sequences.filter { $0.ownerTable == table.id }
      let parents = Set(table.foreignKeys.map(\.referencedTable)).subtracting([table.id]).compactMap {
        catalog.tables[$0]
      }
      try lockForRemoval(table)
      try apply { changes in
        changes.remove(.table(table.record))
        for index in table.indexes { changes.remove(.index(index)) }
        for sequence in owned { changes.remove(.sequence(sequence)) }
        for column in table.columns where catalog.comments[.init(table.id, column.number)] != nil {
          changes.comment(.init(table.id, column.number), nil)
        }
        for parent in parents { changes.put(.table(parent.record)) }
      }
      try deleteAll(table.storage)
      for index in table.secondaryIndexes { try deleteAll(index.storage) }
    case .view(let view):
      guard catalog.records[view.id] != nil else { return }
      try apply { $0.remove(.view(view)) }
    case .sequence(let sequence):
      guard catalog.records[sequence.id] != nil else { return }
      let users = catalog.allTables.filter { $0.live.contains { $0.uses(sequence.id) } }
      try apply { changes in
        for table in users {
          var record = table.record
          for place in record.columns.indices where record.columns[place].uses(sequence.id) {
            record.columns[place].defaultValue = nil
            record.columns[place].sequence = nil
          }
          changes.put(.table(record))
        }
        changes.remove(.sequence(sequence))
      }
    case .index(let index):
      guard let table = catalog.tables[index.table] else { return }
      try lockForRemoval(table)
      try apply { changes in
        changes.put(.table(table.record))
        changes.remove(.index(index))
      }
      try deleteAll(index.storage)
    case .system: break
    }
  }

  /// Waits for those who change the table's rows.
  private func lockForRemoval(_ table: TableDescriptor) throws(SQLError) {
    let transaction = self.transaction
    _ = try sqlErrors { () throws(TransactionError) in
      try transaction.lock(KeySpace.object(.table, table.id), .update, .wait)
    }
  }

  /// A relation's name, qualified where it is not visible.
  private func shown(_ relation: Relation, _ schema: SchemaDescriptor) -> String {
    let isVisible = (try? catalog().isVisible(relation, searchPath: session.searchPath)) ?? false
    return isVisible ? relation.name : "\(schema.name).\(relation.name)"
  }

  private func dropSchema(_ name: Syntax.QualifiedName, _ drop: Syntax.Drop) throws(SQLError) {
    let catalog = try catalog()
    guard let schema = catalog.schema(named: name.name) else {
      guard drop.ifExists else {
        throw SQLError(.invalidSchema, "schema \"\(name.name)\" does not exist")
      }
      notice(.successfulCompletion, "schema \"\(name.name)\" does not exist, skipping")
      return
    }
    guard catalog.records[schema.id] != nil else {
      throw SQLError(
        .dependentObjects, "cannot drop schema \(schema.name) because it is required by the database system")
    }
    let inside =
      catalog.allTables.filter { $0.schema == schema.id }.map { Relation.table($0) }
      + catalog.views.filter { $0.schema == schema.id }.map { Relation.view($0) }
      + catalog.sequences.filter { $0.schema == schema.id && $0.ownerTable == nil }.map { Relation.sequence($0) }
    if !inside.isEmpty {
      guard drop.behavior == .cascade else {
        throw SQLError(
          .dependentObjects, "cannot drop schema \(schema.name) because other objects depend on it",
          detail: inside.map { "\($0.kindName.1) \(shown($0, schema)) depends on schema \(schema.name)" }
            .joined(separator: "\n"), hint: "Use DROP ... CASCADE to drop the dependent objects too.")
      }
      if inside.count == 1 {
        notice(.successfulCompletion, "drop cascades to \(inside[0].kindName.1) \(shown(inside[0], schema))")
      } else {
        let lines = inside.map { "drop cascades to \($0.kindName.1) \(shown($0, schema))" }
        sink.notice(
          SQLNotice(
            .notice,
            SQLError(
              .successfulCompletion, "drop cascades to \(inside.count) other objects",
              detail: lines.joined(separator: "\n"))))
      }
      try dropAll(inside, cascade: true)
    }
    try apply { $0.remove(.schema(schema)) }
  }

  // MARK: TRUNCATE

  func truncate(_ truncate: Syntax.Truncate) throws(SQLError) -> String {
    let binder = try session.makeBinder()
    var tables: [TableDescriptor] = []
    for name in truncate.tables {
      let table = try binder.table(name.name, for: "truncate")
      if !tables.contains(where: { $0.id == table.id }) { tables.append(table) }
    }
    var position = 0
    let catalog = try catalog()
    while position < tables.count {
      let table = tables[position]
      position += 1
      for reference in catalog.referencing[table.id] ?? [] {
        guard !tables.contains(where: { $0.id == reference.table }), let child = catalog.tables[reference.table] else {
          continue
        }
        guard truncate.behavior == .cascade else {
          throw SQLError(
            .featureNotSupported, "cannot truncate a table referenced in a foreign key constraint",
            detail: "Table \"\(child.name)\" references \"\(table.name)\".",
            hint: "Truncate table \"\(child.name)\" at the same time, or use TRUNCATE ... CASCADE.")
        }
        notice(.successfulCompletion, "truncate cascades to table \"\(child.name)\"")
        tables.append(child)
      }
    }
    for table in tables {
      try lockForRemoval(table)
      var record = table.record
      record.storage = try newID()
      var indexes: [IndexDescriptor] = []
      for index in table.indexes {
        var fresh = index
        fresh.storage = index.isPrimary ? record.storage : try newID()
        indexes.append(fresh)
      }
      var sequences: [SequenceDescriptor] = []
      if truncate.restartIdentity {
        for sequence in catalog.sequences where sequence.ownerTable == table.id {
          var fresh = sequence
          fresh.storage = try newID()
          fresh.restart = nil
          sequences.append(fresh)
        }
      }
      let final = record
      try apply { changes in
        changes.put(.table(final))
        for index in indexes { changes.put(.index(index)) }
        for sequence in sequences { changes.put(.sequence(sequence)) }
      }
      try deleteAll(table.storage)
      for index in table.secondaryIndexes { try deleteAll(index.storage) }
    }
    return "TRUNCATE TABLE"
  }
}

extension Relation {
  /// The article and the kind, for messages.
  var kindName: (String, String) {
    switch self {
    case .table: ("a", "table")
    case .view: ("a", "view")
    case .sequence: ("a", "sequence")
    case .index: ("an", "index")
    case .system: ("a", "table")
    }
  }
}

extension ColumnDescriptor {
  /// Whether the column's default takes numbers from the sequence.
  func uses(_ id: ObjectID) -> Bool {
    if sequence == id { return true }
    guard let defaultValue, defaultValue.text.contains("\(id.rawValue)") else { return false }
    return defaultValue.tree.namesRelation(id)
  }
}

extension Syntax.Expression {
  /// Whether a constant of the tree names the relation by its number: `16400::regclass`.
  func namesRelation(_ id: ObjectID) -> Bool {
    var found = false
    _ = mapped { node in
      if case .cast(let inner, let type, _) = node.kind, type.name.name == "regclass",
        case .number("\(id.rawValue)") = inner.kind
      {
        found = true
      }
      return node
    }
    return found
  }
}

extension SQLState {
  /// Notices that report nothing wrong.
  static let successfulCompletion = SQLState(rawValue: "00000")
}
