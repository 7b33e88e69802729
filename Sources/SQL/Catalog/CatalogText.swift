/// Definitions of catalog objects as PostgreSQL's pg_get_… functions print them.
enum CatalogText {
  static func qualified(_ name: String, _ schema: ObjectID, _ catalog: CatalogSnapshot) -> String {
    let space = catalog.schema(schema)?.name ?? "public"
    return "\(SQLWriter.quoted(space)).\(SQLWriter.quoted(name))"
  }

  /// One column of an index's key.
  static func key(_ key: IndexKey, _ table: TableDescriptor, options: Bool) -> String {
    var text =
      key.column.map { SQLWriter.quoted(table.column($0).name) }
      ?? (key.expression.map { $0.tree.isCall ? $0.text : $0.text.hasPrefix("(") ? $0.text : "(\($0.text))" } ?? "?")
    guard options else { return text }
    if key.descending { text += " DESC" }
    if key.nullsFirst != key.descending { text += key.nullsFirst ? " NULLS FIRST" : " NULLS LAST" }
    return text
  }

  /// pg_get_indexdef(index).
  /// `pretty`: without the parentheses that nothing needs.
  static func index(_ index: IndexDescriptor, _ catalog: CatalogSnapshot, pretty: Bool = false) -> String {
    guard let table = catalog.tables[index.table] else { return "" }
    let keys = index.keys.map { key($0, table, options: true) }.joined(separator: ", ")
    var text = "CREATE \(index.isUnique ? "UNIQUE " : "")INDEX \(SQLWriter.quoted(index.name)) ON "
    text += "\(qualified(table.name, table.schema, catalog)) USING btree (\(keys))"
    if index.nullsNotDistinct { text += " NULLS NOT DISTINCT" }
    if let predicate = index.predicate, pretty {
      var writer = SQLWriter()
      writer.expression(predicate.tree)
      text += " WHERE \(writer.text)"
    } else if let predicate = index.predicate {
      text += " WHERE \(predicate.text.hasPrefix("(") ? predicate.text : "(\(predicate.text))")"
    }
    return text
  }

  /// pg_get_constraintdef(constraint).
  /// `pretty`: without the parentheses that nothing needs.
  static func constraint(
    _ id: ObjectID, _ catalog: CatalogSnapshot, searchPath: [String], pretty: Bool = false
  ) -> String? {
    for table in catalog.allTables {
      func names(_ columns: [Int], _ table: TableDescriptor) -> String {
        columns.map { SQLWriter.quoted(table.column($0).name) }.joined(separator: ", ")
      }
      for index in table.indexes where index.constraint == id {
        let word = index.isPrimary ? "PRIMARY KEY" : index.nullsNotDistinct ? "UNIQUE NULLS NOT DISTINCT" : "UNIQUE"
        return "\(word) (\(names(index.keys.compactMap(\.column), table)))"
      }
      for check in table.checks where check.id == id {
        if pretty {
          var writer = SQLWriter()
          writer.expression(check.expression.tree)
          return "CHECK (\(writer.text))" + (check.isValidated ? "" : " NOT VALID")
        }
        let text = check.expression.text
        let isWrapped = text.hasPrefix("(")
        return "CHECK (\(isWrapped ? text : "(\(text))"))" + (check.isValidated ? "" : " NOT VALID")
      }
      for key in table.foreignKeys where key.id == id {
        guard let parent = catalog.tables[key.referencedTable] else { return nil }
        let isVisible = catalog.isVisible(.table(parent), searchPath: searchPath)
        var text = "FOREIGN KEY (\(names(key.columns, table))) REFERENCES "
        text += isVisible ? SQLWriter.quoted(parent.name) : qualified(parent.name, parent.schema, catalog)
        text += "(\(names(key.referencedColumns, parent)))"
        if key.matchFull { text += " MATCH FULL" }
        let words = ["", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"]
        if key.onUpdate != .noAction { text += " ON UPDATE \(words[Int(key.onUpdate.rawValue)])" }
        if key.onDelete != .noAction { text += " ON DELETE \(words[Int(key.onDelete.rawValue)])" }
        if key.deferrable { text += " DEFERRABLE" }
        if key.initiallyDeferred { text += " INITIALLY DEFERRED" }
        return text + (key.isValidated ? "" : " NOT VALID")
      }
    }
    return nil
  }
}

extension Syntax.Expression {
  fileprivate var isCall: Bool {
    if case .function = kind { true } else { false }
  }
}
