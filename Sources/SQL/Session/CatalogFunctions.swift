// Functions over the catalog: pg_get_…def, …_is_visible, comments, privileges, sizes. What clients call when they look at
// the schema.

extension FunctionRegistry {
  mutating func addCatalogFunctions() {
    addDefinitions()
    addVisibility()
    addPrivileges()
    addSessionState()
  }

  private mutating func addDefinitions() {
    for arguments in [[TypeID.pgNodeTree, .oid], [.pgNodeTree, .oid, .bool], [.text, .oid], [.text, .oid, .bool]] {
      define("pg_get_expr", arguments, .text, .stable, again: true) { a, c throws(SQLError) in
        // The tree is kept as its text.
        Value(c.arena.copy(CatalogCall.unwrapped(a[0].string)))
      }
    }
    for arguments in [[TypeID.oid], [.oid, .int4, .bool]] {
      define("pg_get_indexdef", arguments, .text, .stable, again: true) { a, c throws(SQLError) in
        let system = try CatalogCall.context(c)
        guard let index = system.catalog.index(CatalogCall.id(a[0])) else { return .null }
        if a.count == 3, a[1].int > 0 {
          guard a[1].int <= Int64(index.keys.count), let table = system.catalog.tables[index.table] else {
            return Value(c.arena.copy(""))
          }
          return Value(c.arena.copy(CatalogText.key(index.keys[Int(a[1].int) - 1], table, options: false)))
        }
        let isPretty = a.count == 3 && a[2].bool
        return Value(c.arena.copy(CatalogText.index(index, system.catalog, pretty: isPretty)))
      }
    }
    for arguments in [[TypeID.oid], [.oid, .bool]] {
      define("pg_get_constraintdef", arguments, .text, .stable, again: true) { a, c throws(SQLError) in
        let system = try CatalogCall.context(c)
        let text = CatalogText.constraint(
          CatalogCall.id(a[0]), system.catalog, searchPath: system.searchPath,
          pretty: a.count > 1 && a[1].bool)
        return CatalogCall.text(text, c)
      }
      define("pg_get_viewdef", arguments, .text, .stable, again: true) { a, c throws(SQLError) in
        let system = try CatalogCall.context(c)
        guard case .view(let view)? = system.catalog.relation(CatalogCall.id(a[0])) else { return .null }
        return Value(c.arena.copy(" \(view.text);"))
      }
    }
    define("pg_get_userbyid", [.oid], .name, .stable) { a, c throws(SQLError) in
      let id = CatalogCall.id(a[0])
      let role = try CatalogCall.context(c).catalog.role(id)
      return Value(c.arena.copy(role?.name ?? "unknown (OID=\(id))"))
    }
    define("pg_get_serial_sequence", [.text, .text], .text, .stable) { a, c throws(SQLError) in
      let system = try CatalogCall.context(c)
      let name = try SQLParser.parseQualifiedName(a[0].string)
      guard case .table(let table)? = try system.catalog.relation(name, searchPath: system.searchPath) else {
        throw SQLError(.undefinedTable, "relation \"\(a[0].string)\" does not exist")
      }
      guard let column = table.column(named: a[1].string) else {
        throw SQLError(
          .undefinedColumn, "column \"\(a[1].string)\" of relation \"\(table.name)\" does not exist")
      }
      let sequence = system.catalog.sequences.first { $0.ownerTable == table.id && $0.ownerColumn == column.number }
      return CatalogCall.text(sequence.map { CatalogText.qualified($0.name, $0.schema, system.catalog) }, c)
    }
    for arguments in [[TypeID.oid], [.oid, .bool]] {
      define("pg_get_triggerdef", arguments, .text, .stable, again: true) { _, _ throws(SQLError) in .null }
      define("pg_get_ruledef", arguments, .text, .stable, again: true) { _, _ throws(SQLError) in .null }
    }
    define("pg_tablespace_location", [.oid], .text, .stable) { _, c throws(SQLError) in Value(c.arena.copy("")) }
    // There are no partitions: no table has ancestors.
    if sets["pg_partition_ancestors"] == nil {
      add(
        SetFunction("pg_partition_ancestors", [.regclass], columns: [("relid", .regclass)], .stable) {
          (_, _) throws(SQLError) in NoRows()
        })
    }
    define("pg_get_statisticsobjdef_columns", [.oid], .text, .stable) { _, _ throws(SQLError) in .null }
    define("pg_get_function_sqlbody", [.oid], .text, .stable) { _, _ throws(SQLError) in .null }
    define("pg_get_function_result", [.oid], .text, .stable) { _, _ throws(SQLError) in .null }
    define("pg_get_function_arguments", [.oid], .text, .stable) { _, _ throws(SQLError) in .null }
    define("pg_get_function_identity_arguments", [.oid], .text, .stable) { _, _ throws(SQLError) in .null }
    for (name, kinds) in [
      ("obj_description", [[TypeID.oid, .name], [.oid]]), ("shobj_description", [[.oid, .name]]),
    ] {
      for arguments in kinds {
        define(name, arguments, .text, .stable, again: true) { a, c throws(SQLError) in
          CatalogCall.text(try CatalogCall.context(c).catalog.comments[.init(CatalogCall.id(a[0]))], c)
        }
      }
    }
    define("col_description", [.oid, .int4], .text, .stable) { a, c throws(SQLError) in
      let comments = try CatalogCall.context(c).catalog.comments
      return CatalogCall.text(comments[.init(CatalogCall.id(a[0]), Int(a[1].int))], c)
    }
  }

  private mutating func addVisibility() {
    define("pg_table_is_visible", [.oid], .bool, .stable) { a, c throws(SQLError) in
      let system = try CatalogCall.context(c)
      guard let relation = system.catalog.relation(CatalogCall.id(a[0])) else { return .null }
      return Value(system.catalog.isVisible(relation, searchPath: system.searchPath))
    }
    for name in [
      "pg_type_is_visible", "pg_function_is_visible", "pg_operator_is_visible", "pg_collation_is_visible",
      "pg_opclass_is_visible", "pg_ts_config_is_visible", "pg_statistics_obj_is_visible", "pg_conversion_is_visible",
      "pg_ts_dict_is_visible", "pg_ts_parser_is_visible", "pg_ts_template_is_visible", "pg_opfamily_is_visible",
    ] {
      define(name, [.oid], .bool, .stable) { _, _ throws(SQLError) in Value(true) }
    }
    define("to_regclass", [.text], .regclass, .stable) { a, c throws(SQLError) in
      let system = try CatalogCall.context(c)
      guard let name = try? SQLParser.parseQualifiedName(a[0].string),
        let relation = try system.catalog.relation(name, searchPath: system.searchPath)
      else { return .null }
      return Value(Int64(relation.id.rawValue))
    }
    define("to_regtype", [.text], .regtype, .stable) { a, _ throws(SQLError) in
      guard let name = try? SQLParser.parseTypeName(a[0].string), let type = try? TypeBinding.type(name) else {
        return .null
      }
      return Value(Int64(type.id.rawValue))
    }
    define("pg_relation_is_publishable", [.regclass], .bool, .stable) { _, _ throws(SQLError) in Value(true) }
    define("pg_my_temp_schema", [], .oid, .stable) { _, _ throws(SQLError) in Value(0) }
    define("pg_is_other_temp_schema", [.oid], .bool, .stable) { _, _ throws(SQLError) in Value(false) }
    // What an object's access list is while none is written: pg_dump compares with it.
    for kind in [TypeID.text, TypeID(18)] {
      define("acldefault", [kind, .oid], TypeID.text.info.array ?? .text, .stable, again: true) {
        a, c throws(SQLError) in
        let system = try CatalogCall.context(c)
        let letter = a[0].string.first
        let owner = CatalogCall.id(a[1])
        var items: [String] = []
        if let letter, let secured = SecuredKind(rawValue: letter == "s" ? "S" : letter) {
          items = AccessList.initial(secured, owner: owner, object: ObjectID(0)).entries.map(system.accessItem)
        } else if let name = system.roleName(owner).map(SQLWriter.quoted) {
          switch letter {
          case "f": items = ["=X/\(name)", "\(name)=X/\(name)"]
          case "T", "l": items = ["=U/\(name)", "\(name)=U/\(name)"]
          default: items = ["\(name)=C/\(name)"]
          }
        }
        let values = items.map { Value(c.arena.copy($0)) }
        let dimensions = items.isEmpty ? [] : [(length: items.count, lowerBound: 1)]
        return try ArrayBuilder.make(values, element: .text, dimensions: dimensions, c.arena)
      }
    }
    for name in ["pg_get_functiondef", "pg_get_partkeydef", "pg_get_ruledef", "pg_get_triggerdef"] {
      if !hasFunction(name) { define(name, [.oid], .text, .stable) { _, _ throws(SQLError) in .null } }
    }
    for name in ["pg_stat_get_numscans", "pg_stat_get_live_tuples", "pg_stat_get_dead_tuples"] {
      if !hasFunction(name) { define(name, [.oid], .int8, .stable) { _, _ throws(SQLError) in Value(0) } }
    }
    add(
      SetFunction(
        "pg_options_to_table", [TypeID.text.info.array ?? .text],
        columns: [(name: "option_name", type: .text), (name: "option_value", type: .text)], .stable
      ) { a, c throws(SQLError) in
        var rows: [[Value]] = []
        for value in try ArrayView(a[0].bytes).values where !value.isNull {
          let parts = value.string.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
          let name = Value(c.stateArena.copy(String(parts[0])))
          rows.append([name, parts.count > 1 ? Value(c.stateArena.copy(String(parts[1]))) : .null])
        }
        return RowsIterator(rows)
      })
    add(
      SetFunction(
        "pg_get_keywords", [],
        columns: [
          (name: "word", type: .text), (name: "catcode", type: TypeID(18)), (name: "barelabel", type: .bool),
          (name: "catdesc", type: .text), (name: "baredesc", type: .text),
        ], .stable
      ) { _, c throws(SQLError) in RowsIterator(CatalogCall.keywords(c.stateArena)) })
    define("pg_relation_filenode", [.regclass], .oid, .stable) { a, _ throws(SQLError) in a[0] }
  }

  private mutating func addSessionState() {
    define("current_schemas", [.bool], TypeID.name.info.array ?? .text, .stable) { a, c throws(SQLError) in
      let system = try CatalogCall.context(c)
      var names = system.searchPath.filter { system.catalog.schema(named: $0) != nil }
      if a[0].bool, !names.contains("pg_catalog") { names.insert("pg_catalog", at: 0) }
      let values = names.map { Value(c.arena.copy($0)) }
      let dimensions = names.isEmpty ? [] : [(length: names.count, lowerBound: 1)]
      return try ArrayBuilder.make(values, element: .name, dimensions: dimensions, c.arena)
    }
    define("set_config", [.text, .text, .bool], .text, .volatile) { a, c throws(SQLError) in
      let value = try ExecutionState.of(c).services.setSetting(a[0].string, a[1].string, local: a[2].bool)
      return Value(c.arena.copy(value))
    }
    define("pg_encoding_to_char", [.int4], .name, .stable) { a, c throws(SQLError) in
      Value(c.arena.copy(a[0].int == 6 ? "UTF8" : a[0].int == 0 ? "SQL_ASCII" : ""))
    }
    define("pg_char_to_encoding", [.name], .int4, .stable) { a, _ throws(SQLError) in
      Value(a[0].string.uppercased().hasPrefix("UTF") ? 6 : -1)
    }
    define("getdatabaseencoding", [], .name, .stable) { _, c throws(SQLError) in Value(c.arena.copy("UTF8")) }
    for arguments in [[TypeID.name], [.oid]] {
      define("pg_database_size", arguments, .int8, .volatile, again: true) { _, c throws(SQLError) in
        let system = try CatalogCall.context(c)
        return Value(Int64(system.catalog.allTables.reduce(0.0) { $0 + max(0, system.rowCount($1)) * 100 }))
      }
      define("pg_tablespace_size", arguments, .int8, .volatile, again: true) { _, c throws(SQLError) in
        let system = try CatalogCall.context(c)
        return Value(Int64(system.catalog.allTables.reduce(0.0) { $0 + max(0, system.rowCount($1)) * 100 }))
      }
    }
    define("pg_client_encoding", [], .name, .stable) { _, c throws(SQLError) in Value(c.arena.copy("UTF8")) }
    for name in ["pg_relation_size", "pg_total_relation_size", "pg_table_size", "pg_indexes_size"] {
      define(name, [.regclass], .int8, .volatile) { a, c throws(SQLError) in
        // An estimate: the rows that the planner knows of, at a hundred bytes.
        let system = try CatalogCall.context(c)
        guard case .table(let table)? = system.catalog.relation(CatalogCall.id(a[0])) else { return Value(0) }
        return Value(Int64(max(0, system.rowCount(table)) * 100))
      }
    }
    define("pg_size_pretty", [.int8], .text) { a, c throws(SQLError) in
      var size = a[0].int
      var unit = 0
      let units = ["bytes", "kB", "MB", "GB", "TB", "PB"]
      while size.magnitude >= 10 * 1024, unit < units.count - 1 {
        size = (size + 512) / 1024
        unit += 1
      }
      return Value(c.arena.copy("\(size) \(units[unit])"))
    }
    define("pg_postmaster_start_time", [], .timestamptz, .stable) { _, c throws(SQLError) in Value(c.statementTime) }
    // Addresses are text: there is no type inet.
    define("inet_client_addr", [], .text, .stable) { _, c throws(SQLError) in
      guard let own = try CatalogCall.activity(c), !own.clientAddress.isEmpty else { return .null }
      return Value(c.arena.copy(own.clientAddress))
    }
    define("inet_client_port", [], .int4, .stable) { _, c throws(SQLError) in
      guard let own = try CatalogCall.activity(c), !own.clientAddress.isEmpty else { return .null }
      return Value(own.clientPort)
    }
    define("inet_server_addr", [], .text, .stable) { _, _ throws(SQLError) in .null }
    define("inet_server_port", [], .int4, .stable) { _, _ throws(SQLError) in .null }
    define("pg_conf_load_time", [], .timestamptz, .stable) { _, c throws(SQLError) in Value(c.statementTime) }
  }
}

enum CatalogCall {
  /// What the server knows of the calling session; nil without a server.
  static func activity(_ context: EvaluationContext) throws(SQLError) -> SessionActivity? {
    let services = try ExecutionState.of(context).services
    let own = Int64(services.sessionID)
    return services.systemContext().server?.activities().first { $0.process == own }
  }
  /// The rows of pg_get_keywords().
  static func keywords(_ arena: Arena) -> [[Value]] {
    Keyword.allCases.map { keyword in
      let (code, text) =
        switch keyword.category {
        case .unreserved: ("U", "unreserved")
        case .columnName: ("C", "unreserved (cannot be function or type name)")
        case .typeFunction: ("T", "reserved (can be function or type name)")
        case .reserved: ("R", "reserved")
        }
      return [
        Value(arena.copy(keyword.text)), Value(arena.copy(code)), Value(keyword.isBareLabel), Value(arena.copy(text)),
        Value(arena.copy(keyword.isBareLabel ? "can be bare label" : "requires AS")),
      ]
    }
  }
  static func context(_ context: EvaluationContext) throws(SQLError) -> SystemContext {
    try ExecutionState.of(context).services.systemContext()
  }
  static func id(_ value: Value) -> ObjectID { ObjectID(UInt32(truncatingIfNeeded: value.int)) }
  static func text(_ string: String?, _ context: EvaluationContext) -> Value {
    string.map { Value(context.arena.copy($0)) } ?? .null
  }
  /// An expression's text without the parentheses around all of it.
  static func unwrapped(_ text: String) -> String {
    guard text.hasPrefix("("), text.hasSuffix(")") else { return text }
    var depth = 0
    for (index, byte) in text.utf8.enumerated() {
      if byte == UInt8(ascii: "(") { depth += 1 }
      if byte == UInt8(ascii: ")") { depth -= 1 }
      if depth == 0, index < text.utf8.count - 1 { return text }
    }
    return text
  }
}

/// A call that returns nothing.
private final class NoRows: SetIterator {
  func next(_ output: UnsafeMutablePointer<Value>, _ context: inout EvaluationContext) throws(SQLError) -> Bool {
    false
  }
}
