/// information_schema: the standard's views, those that tools read.
enum InformationSchema {
  static func make(
    _ number: UInt32, _ name: String, _ columns: String, _ rows: @escaping SystemCatalog.Rows
  ) -> SystemRelation {
    SystemRelation(
      id: ObjectID(13000 + number), name: name, schema: .informationSchema, columns: SystemCatalog.columns(columns),
      rows: rows)
  }
  static func text(_ string: String?) -> Datum { SystemCatalog.text(string) }
  private static func int(_ number: Int?) -> Datum { number.map { SystemCatalog.int($0) } ?? .null }
  static func yes(_ value: Bool) -> Datum { text(value ? "YES" : "NO") }

  static let all: [SystemRelation] = [
    make(1, "schemata", "catalog_name text, schema_name text, schema_owner text, default_character_set_name text") {
      context throws(SQLError) in
      context.catalog.schemas.map {
        [text(context.database), text($0.name), text(context.roleName($0.owner)), .null]
      }
    },
    make(
      2, "tables",
      """
      table_catalog text, table_schema text, table_name text, table_type text, self_referencing_column_name text,
      reference_generation text, user_defined_type_catalog text, user_defined_type_schema text,
      user_defined_type_name text, is_insertable_into text, is_typed text, commit_action text
      """
    ) { context throws(SQLError) in
      context.classes().filter { $0.kind == "r" || $0.kind == "v" }.map { row in
        [
          text(context.database), text(context.catalog.schema(row.schema)?.name), text(row.name),
          text(row.kind == "v" ? "VIEW" : "BASE TABLE"), .null, .null, .null, .null, .null, yes(row.kind == "r"),
          yes(false), .null,
        ]
      }
    },
    make(
      3, "columns",
      """
      table_catalog text, table_schema text, table_name text, column_name text, ordinal_position int4,
      column_default text, is_nullable text, data_type text, character_maximum_length int4,
      character_octet_length int4, numeric_precision int4, numeric_precision_radix int4, numeric_scale int4,
      datetime_precision int4, interval_type text, collation_name text, domain_name text, udt_catalog text,
      udt_schema text, udt_name text, dtd_identifier text, is_self_referencing text, is_identity text,
      identity_generation text, identity_start text, identity_increment text, identity_maximum text,
      identity_minimum text, identity_cycle text, is_generated text, generation_expression text, is_updatable text
      """
    ) { context throws(SQLError) in
      var rows: [SystemCatalog.Row] = []
      for relation in context.classes() where relation.kind == "r" || relation.kind == "v" {
        for (position, column) in relation.columns.enumerated() {
          let described = relation.table.map { $0.column(column.number) }
          let bits: [TypeID: (Int, Int)] = [
            .int2: (16, 2), .int4: (32, 2), .int8: (64, 2), .float4: (24, 2), .float8: (53, 2),
          ]
          let fixed = bits[column.type.id]
          let numeric = column.type.numericPrecisionAndScale
          let isTime = [.timestamp, .timestamptz, .time, .date].contains(column.type.id)
          rows.append([
            text(context.database), text(context.catalog.schema(relation.schema)?.name), text(relation.name),
            text(column.name), int(position + 1),
            text(described.flatMap { c in c.defaultValue.map { context.shown($0, of: c) } }),
            yes(!column.notNull), text(column.type.isArray ? "ARRAY" : SQLType(column.type.id).description),
            int(column.type.characterLimit), .null, int(fixed?.0 ?? numeric?.precision),
            int(fixed?.1 ?? (column.type.id == .numeric ? 10 : nil)),
            int(fixed != nil && [.int2, .int4, .int8].contains(column.type.id) ? 0 : numeric?.scale),
            int(isTime ? (column.type.id == .date ? 0 : 6) : nil), .null, .null, .null, text(context.database),
            text("pg_catalog"), text(column.type.info.name), text("\(position + 1)"), yes(false),
            yes(described?.identity != nil),
            text(described?.identity == .always ? "ALWAYS" : described?.identity == .byDefault ? "BY DEFAULT" : nil),
            .null, .null, .null, .null, yes(false), text(described?.generated != nil ? "ALWAYS" : "NEVER"),
            text(described?.generated?.text), yes(relation.kind == "r"),
          ])
        }
      }
      return rows
    },
    make(
      4, "table_constraints",
      """
      constraint_catalog text, constraint_schema text, constraint_name text, table_catalog text, table_schema text,
      table_name text, constraint_type text, is_deferrable text, initially_deferred text, enforced text,
      nulls_distinct text
      """
    ) { context throws(SQLError) in
      constraints(context).map { item in
        let schema = text(context.catalog.schema(item.table.schema)?.name)
        return [
          text(context.database), schema, text(item.name), text(context.database), schema, text(item.table.name),
          text(item.kind), yes(item.key?.deferrable ?? false), yes(item.key?.initiallyDeferred ?? false), yes(true),
          item.kind == "UNIQUE" ? yes(true) : .null,
        ]
      }
    },
    make(
      5, "key_column_usage",
      """
      constraint_catalog text, constraint_schema text, constraint_name text, table_catalog text, table_schema text,
      table_name text, column_name text, ordinal_position int4, position_in_unique_constraint int4
      """
    ) { context throws(SQLError) in
      constraints(context).filter { $0.kind != "CHECK" }.flatMap { item in
        item.columns.enumerated().map { position, column in
          let schema = text(context.catalog.schema(item.table.schema)?.name)
          return [
            text(context.database), schema, text(item.name), text(context.database), schema, text(item.table.name),
            text(item.table.column(column).name), int(position + 1), int(item.key == nil ? nil : position + 1),
          ]
        }
      }
    },
    make(
      6, "referential_constraints",
      """
      constraint_catalog text, constraint_schema text, constraint_name text, unique_constraint_catalog text,
      unique_constraint_schema text, unique_constraint_name text, match_option text, update_rule text,
      delete_rule text
      """
    ) { context throws(SQLError) in
      constraints(context).compactMap { item in
        guard let key = item.key else { return nil }
        let words = ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"]
        let schema = text(context.catalog.schema(item.table.schema)?.name)
        return [
          text(context.database), schema, text(item.name), text(context.database), schema,
          text(context.catalog.index(key.referencedIndex)?.name), text(key.matchFull ? "FULL" : "NONE"),
          text(words[Int(key.onUpdate.rawValue)]), text(words[Int(key.onDelete.rawValue)]),
        ]
      }
    },
    make(
      7, "constraint_column_usage",
      "table_catalog text, table_schema text, table_name text, column_name text, constraint_catalog text, constraint_schema text, constraint_name text"
    ) { context throws(SQLError) in
      constraints(context).flatMap { item -> [SystemCatalog.Row] in
        let table = item.key.flatMap { context.catalog.tables[$0.referencedTable] } ?? item.table
        let columns = item.key?.referencedColumns ?? item.columns
        return columns.map { column in
          [
            text(context.database), text(context.catalog.schema(table.schema)?.name), text(table.name),
            text(table.column(column).name), text(context.database),
            text(context.catalog.schema(item.table.schema)?.name), text(item.name),
          ]
        }
      }
    },
    make(
      8, "views",
      "table_catalog text, table_schema text, table_name text, view_definition text, check_option text, is_updatable text, is_insertable_into text"
    ) {
      context throws(SQLError) in
      context.catalog.views.map {
        [
          text(context.database), text(context.catalog.schema($0.schema)?.name), text($0.name), text($0.text + ";"),
          text("NONE"), yes(false), yes(false),
        ]
      }
    },
    make(
      9, "sequences",
      """
      sequence_catalog text, sequence_schema text, sequence_name text, data_type text, numeric_precision int4,
      numeric_precision_radix int4, numeric_scale int4, start_value text, minimum_value text, maximum_value text,
      increment text, cycle_option text
      """
    ) { context throws(SQLError) in
      context.catalog.sequences.map {
        [
          text(context.database), text(context.catalog.schema($0.schema)?.name), text($0.name),
          text($0.type.description),
          int(64), int(2), int(0), text("\($0.start)"), text("\($0.minimum)"), text("\($0.maximum)"),
          text("\($0.increment)"), yes($0.cycles),
        ]
      }
    },
  ]

  private struct Item {
    var table: TableDescriptor
    var name: String
    var kind: String
    var columns: [Int]
    var key: ForeignKey?
  }

  private static func constraints(_ context: SystemContext) -> [Item] {
    context.catalog.allTables.flatMap { table -> [Item] in
      let keys = table.indexes.filter { $0.constraint != nil }.map { index in
        Item(
          table: table, name: index.name, kind: index.isPrimary ? "PRIMARY KEY" : "UNIQUE",
          columns: index.keys.compactMap(\.column))
      }
      let checks = table.checks.map { Item(table: table, name: $0.name, kind: "CHECK", columns: []) }
      let foreign = table.foreignKeys.map {
        Item(table: table, name: $0.name, kind: "FOREIGN KEY", columns: $0.columns, key: $0)
      }
      return keys + checks + foreign
    }
  }
}
