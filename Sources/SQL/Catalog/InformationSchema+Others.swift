/// Views of information_schema about checks and about what reads what; and those that are empty here, with the columns that
/// tools ask for: there are no routines, triggers, domains or other servers' tables.
extension InformationSchema {
  static let others: [SystemRelation] =
    [
      make(
        10, "check_constraints",
        "constraint_catalog text, constraint_schema text, constraint_name text, check_clause text"
      ) { context throws(SQLError) in
        context.catalog.allTables.flatMap { table in
          let schema = text(context.catalog.schema(table.schema)?.name)
          let database = text(context.database)
          // NOT NULL counts as a check, under a made name, as in PostgreSQL.
          let notNull = table.live.filter(\.notNull).map { column in
            [
              database, schema, text("\(table.schema)_\(table.id)_\(column.number)_not_null"),
              text("\(SQLWriter.quoted(column.name)) IS NOT NULL"),
            ]
          }
          return table.checks.map { check in
            let clause = check.expression.text
            return [database, schema, text(check.name), text(clause.hasPrefix("(") ? "(\(clause))" : "((\(clause)))")]
          } + notNull
        }
      },
      make(11, "information_schema_catalog_name", "catalog_name text") { context throws(SQLError) in
        [[text(context.database)]]
      },
      make(
        12, "character_sets",
        """
        character_set_catalog text, character_set_schema text, character_set_name text, character_repertoire text,
        form_of_use text, default_collate_catalog text, default_collate_schema text, default_collate_name text
        """
      ) { context throws(SQLError) in
        [[.null, .null, text("UTF8"), text("UCS"), text("UTF8"), text(context.database), .null, .null]]
      },
      make(
        13, "constraint_table_usage",
        """
        table_catalog text, table_schema text, table_name text, constraint_catalog text, constraint_schema text,
        constraint_name text
        """
      ) { context throws(SQLError) in
        let database = text(context.database)
        return context.catalog.allTables.flatMap { table in
          let schema = text(context.catalog.schema(table.schema)?.name)
          let own = table.indexes.filter { $0.constraint != nil }.map { index in
            [database, schema, text(table.name), database, schema, text(index.name)]
          }
          let foreign = table.foreignKeys.compactMap { key -> [Datum]? in
            guard let parent = context.catalog.tables[key.referencedTable] else { return nil }
            return [
              database, text(context.catalog.schema(parent.schema)?.name), text(parent.name), database, schema,
              text(key.name),
            ]
          }
          return own + foreign
        }
      },
      make(
        14, "view_table_usage",
        """
        view_catalog text, view_schema text, view_name text, table_catalog text, table_schema text, table_name text
        """
      ) { context throws(SQLError) in
        let database = text(context.database)
        return context.catalog.views.flatMap { view in
          view.dependencies.compactMap { id -> [Datum]? in
            guard let relation = context.catalog.relation(id) else { return nil }
            return [
              database, text(context.catalog.schema(view.schema)?.name), text(view.name), database,
              text(context.catalog.schema(relation.schema)?.name), text(relation.name),
            ]
          }
        }
      },
    ] + absent

  private static let typeColumns = """
    character_maximum_length int4, character_octet_length int4, character_set_catalog text, character_set_schema text,
    character_set_name text, collation_catalog text, collation_schema text, collation_name text,
    numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, datetime_precision int4,
    interval_type text, interval_precision int4
    """

  private static let absent: [SystemRelation] = [
    (
      20, "routines",
      """
      specific_catalog text, specific_schema text, specific_name text, routine_catalog text, routine_schema text,
      routine_name text, routine_type text, module_catalog text, module_schema text, module_name text,
      udt_catalog text, udt_schema text, udt_name text, data_type text, \(typeColumns),
      type_udt_catalog text, type_udt_schema text, type_udt_name text, dtd_identifier text, routine_body text,
      routine_definition text, external_name text, external_language text, parameter_style text,
      is_deterministic text, sql_data_access text, is_null_call text, sql_path text, schema_level_routine text,
      security_type text, is_user_defined_cast text, is_implicitly_invocable text, is_udt_dependent text
      """
    ),
    (
      21, "parameters",
      """
      specific_catalog text, specific_schema text, specific_name text, ordinal_position int4, parameter_mode text,
      is_result text, as_locator text, parameter_name text, data_type text, \(typeColumns), udt_catalog text,
      udt_schema text, udt_name text, dtd_identifier text, parameter_default text
      """
    ),
    (
      22, "triggers",
      """
      trigger_catalog text, trigger_schema text, trigger_name text, event_manipulation text,
      event_object_catalog text, event_object_schema text, event_object_table text, action_order int4,
      action_condition text, action_statement text, action_orientation text, action_timing text,
      action_reference_old_table text, action_reference_new_table text, action_reference_old_row text,
      action_reference_new_row text, created timestamptz
      """
    ),
    (
      23, "domains",
      """
      domain_catalog text, domain_schema text, domain_name text, data_type text, \(typeColumns),
      domain_default text, udt_catalog text, udt_schema text, udt_name text, dtd_identifier text
      """
    ),
    (
      24, "domain_constraints",
      """
      constraint_catalog text, constraint_schema text, constraint_name text, domain_catalog text, domain_schema text,
      domain_name text, is_deferrable text, initially_deferred text
      """
    ),
    (
      25, "element_types",
      """
      object_catalog text, object_schema text, object_name text, object_type text, collection_type_identifier text,
      data_type text, \(typeColumns), udt_catalog text, udt_schema text, udt_name text, dtd_identifier text
      """
    ),
    (
      26, "user_defined_types",
      """
      user_defined_type_catalog text, user_defined_type_schema text, user_defined_type_name text,
      user_defined_type_category text, is_instantiable text, is_final text, data_type text
      """
    ),
    (
      27, "attributes",
      """
      udt_catalog text, udt_schema text, udt_name text, attribute_name text, ordinal_position int4,
      attribute_default text, is_nullable text, data_type text, \(typeColumns), attribute_udt_catalog text,
      attribute_udt_schema text, attribute_udt_name text, dtd_identifier text
      """
    ),
    (
      28, "column_domain_usage",
      "domain_catalog text, domain_schema text, domain_name text, table_catalog text, table_schema text, table_name text, column_name text"
    ),
    (
      29, "foreign_tables",
      "foreign_table_catalog text, foreign_table_schema text, foreign_table_name text, foreign_server_catalog text, foreign_server_name text"
    ),
    (
      30, "foreign_servers",
      "foreign_server_catalog text, foreign_server_name text, foreign_data_wrapper_catalog text, foreign_data_wrapper_name text, foreign_server_type text, foreign_server_version text, authorization_identifier text"
    ),
    (31, "collations", "collation_catalog text, collation_schema text, collation_name text, pad_attribute text"),
    (
      32, "routine_privileges",
      "grantor text, grantee text, specific_catalog text, specific_schema text, specific_name text, routine_catalog text, routine_schema text, routine_name text, privilege_type text, is_grantable text"
    ),
    (
      33, "triggered_update_columns",
      "trigger_catalog text, trigger_schema text, trigger_name text, event_object_catalog text, event_object_schema text, event_object_table text, event_object_column text"
    ),
  ].map { number, name, columns in make(UInt32(number), name, columns) { _ throws(SQLError) in [] } }
}
