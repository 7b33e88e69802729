internal import Transactions

extension DefinitionRunner {
  // MARK: Renaming

  func rename(_ rename: Syntax.Rename) throws(SQLError) -> String {
    let tag = "ALTER \(rename.kind.rawValue.uppercased())"
    let catalog = try catalog()
    let new = rename.newName.text
    if rename.kind == .schema {
      guard case .schema(var schema)? = catalog.schema(named: rename.name.name).flatMap({ catalog.records[$0.id] })
      else {
        throw SQLError(.invalidSchema, "schema \"\(rename.name.name)\" does not exist")
      }
      guard catalog.schema(named: new) == nil else {
        throw SQLError(SQLState(rawValue: "42P06"), "schema \"\(new)\" already exists")
      }
      schema.name = new
      try put(.schema(schema))
      return tag
    }
    if rename.kind == .role {
      guard var role = catalog.role(named: rename.name.name) else {
        throw SQLError(.undefinedObject, "role \"\(rename.name.name)\" does not exist")
      }
      role.name = new
      try put(.role(role))
      return tag
    }
    guard let relation = try catalog.relation(rename.name, searchPath: session.searchPath) else {
      if rename.ifExists {
        notice(.successfulCompletion, "relation \"\(rename.name.name)\" does not exist, skipping")
        return tag
      }
      throw Binder.undefinedRelation(rename.name)
    }
    switch rename.target {
    case .object: try rename_(relation, new)
    case .column(let name): try renameColumn(relation, name, new)
    case .constraint(let name): try renameConstraint(relation, name, new)
    }
    return tag
  }

  private func refuseViews(of relation: Relation, _ what: String) throws(SQLError) {
    if let view = try catalog().views.first(where: { $0.dependencies.contains(relation.id) }) {
      // A view keeps its query as text, in which the old name stands.
      throw SQLError(
        .featureNotSupported, "cannot rename \(what) that a view reads",
        detail: "view \(view.name) depends on \(relation.kindName.1) \(relation.name)",
        hint: "Drop the view, rename, and create the view again.")
    }
  }

  private func rename_(_ relation: Relation, _ new: String) throws(SQLError) {
    if try catalog().relation(new, in: relation.schema) != nil {
      throw SQLError(.duplicateTable, "relation \"\(new)\" already exists")
    }
    try refuseViews(of: relation, "a relation")
    switch relation {
    case .table(let table):
      var record = table.record
      record.name = new
      try put(.table(record))
    case .view(var view):
      view.name = new
      try put(.view(view))
    case .sequence(var sequence):
      sequence.name = new
      try put(.sequence(sequence))
    case .index(var index):
      index.name = new
      try put(.index(index))
    case .system(let system):
      throw SQLError(.insufficientPrivilege, "permission denied: \"\(system.name)\" is a system catalog")
    }
  }

  private func renameColumn(_ relation: Relation, _ name: Syntax.Name, _ new: String) throws(SQLError) {
    guard case .table(let table) = relation else {
      throw SQLError(.featureNotSupported, "columns of \"\(relation.name)\" cannot be renamed")
    }
    let column = try column(name, table)
    guard table.column(named: new) == nil else {
      throw SQLError(.duplicateColumn, "column \"\(new)\" of relation \"\(table.name)\" already exists")
    }
    if let view = try views(reading: column, of: table).first {
      // A view keeps its query as text, in which the old name stands.
      throw SQLError(
        .featureNotSupported, "cannot rename a column that a view reads",
        detail: "view \(view.name) depends on column \(column.name) of table \(table.name)",
        hint: "Drop the view, rename, and create the view again.")
    }
    var record = table.record
    record.columns[column.place].name = new
    for index in record.checks.indices {
      record.checks[index].expression = record.checks[index].expression.renaming(name.text, new)
    }
    for place in record.columns.indices {
      record.columns[place].generated = record.columns[place].generated?.renaming(name.text, new)
    }
    var indexes: [IndexDescriptor] = []
    for index in table.indexes {
      var copy = index
      for position in copy.keys.indices {
        copy.keys[position].expression = copy.keys[position].expression?.renaming(name.text, new)
      }
      copy.predicate = copy.predicate?.renaming(name.text, new)
      if copy != index { indexes.append(copy) }
    }
    let final = record
    let changed = indexes
    try apply { changes in
      changes.put(.table(final))
      for index in changed { changes.put(.index(index)) }
    }
  }

  private func renameConstraint(_ relation: Relation, _ name: Syntax.Name, _ new: String) throws(SQLError) {
    guard case .table(let table) = relation else {
      throw SQLError(.wrongObjectType, "\"\(relation.name)\" is not a table")
    }
    var record = table.record
    if let index = record.checks.firstIndex(where: { $0.name == name.text }) {
      record.checks[index].name = new
    } else if let index = record.foreignKeys.firstIndex(where: { $0.name == name.text }) {
      record.foreignKeys[index].name = new
    } else if var index = table.indexes.first(where: { $0.constraint != nil && $0.name == name.text }) {
      if try catalog().relation(new, in: table.schema) != nil {
        throw SQLError(.duplicateTable, "relation \"\(new)\" already exists")
      }
      index.name = new
      let renamed = index
      try apply { changes in
        changes.put(.table(table.record))
        changes.put(.index(renamed))
      }
      return
    } else {
      throw SQLError(
        .undefinedObject, "constraint \"\(name.text)\" for table \"\(table.name)\" does not exist")
    }
    try put(.table(record))
  }

  func alterSchema(_ alter: Syntax.AlterSchema) throws(SQLError) -> String {
    let tag = "ALTER \(alter.kind.rawValue.uppercased())"
    guard let relation = try catalog().relation(alter.name, searchPath: session.searchPath) else {
      if alter.ifExists { return tag }
      throw Binder.undefinedRelation(alter.name)
    }
    let schema = try schema(
      for: Syntax.QualifiedName([alter.schema.text, relation.name], position: alter.schema.position))
    if try catalog().relation(relation.name, in: schema.id) != nil {
      throw SQLError(.duplicateTable, "relation \"\(relation.name)\" already exists in schema \"\(schema.name)\"")
    }
    try refuseViews(of: relation, "a relation")
    switch relation {
    case .table(let table):
      var record = table.record
      record.schema = schema.id
      let final = record
      let owned = try catalog().sequences.filter { $0.ownerTable == table.id }
      try apply { changes in
        changes.put(.table(final))
        for var index in table.indexes {
          index.schema = schema.id
          changes.put(.index(index))
        }
        for var sequence in owned {
          sequence.schema = schema.id
          changes.put(.sequence(sequence))
        }
      }
    case .view(var view):
      view.schema = schema.id
      try put(.view(view))
    case .sequence(var sequence):
      sequence.schema = schema.id
      try put(.sequence(sequence))
    default: throw SQLError(.wrongObjectType, "cannot change schema of \"\(relation.name)\"")
    }
    return tag
  }
}

extension StoredExpression {
  /// The expression with a column's new name.
  func renaming(_ old: String, _ new: String) -> StoredExpression { StoredExpression(tree.renaming(old, new)) }
}

extension Syntax.Expression {
  /// The tree with column `old` called `new`; the table's name may stand before it.
  func renaming(_ old: String, _ new: String) -> Syntax.Expression {
    mapped { node in
      guard case .column(let parts) = node.kind, parts.last == old else { return node }
      var copy = node
      copy.kind = .column(Array(parts.dropLast()) + [new])
      return copy
    }
  }
}
