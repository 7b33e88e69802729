/// The standard's views of roles and privileges: what the current user owns, granted, or was granted.
extension InformationSchema {
  static let privileges: [SystemRelation] = [
    make(
      40, "table_privileges",
      """
      grantor text, grantee text, table_catalog text, table_schema text, table_name text, privilege_type text,
      is_grantable text, with_hierarchy text
      """
    ) { context throws(SQLError) in tableRows(context, rolesOnly: false) },
    make(
      41, "role_table_grants",
      """
      grantor text, grantee text, table_catalog text, table_schema text, table_name text, privilege_type text,
      is_grantable text, with_hierarchy text
      """
    ) { context throws(SQLError) in tableRows(context, rolesOnly: true) },
    make(
      42, "column_privileges",
      """
      grantor text, grantee text, table_catalog text, table_schema text, table_name text, column_name text,
      privilege_type text, is_grantable text
      """
    ) { context throws(SQLError) in columnRows(context, rolesOnly: false) },
    make(
      43, "role_column_grants",
      """
      grantor text, grantee text, table_catalog text, table_schema text, table_name text, column_name text,
      privilege_type text, is_grantable text
      """
    ) { context throws(SQLError) in columnRows(context, rolesOnly: true) },
    make(
      44, "usage_privileges",
      """
      grantor text, grantee text, object_catalog text, object_schema text, object_name text, object_type text,
      privilege_type text, is_grantable text
      """
    ) { context throws(SQLError) in
      var rows: [SystemCatalog.Row] = []
      for sequence in context.catalog.sequences {
        let list = context.catalog.accessList(.sequence, .object(sequence.id), owner: sequence.owner)
        for entry in shown(list, context, rolesOnly: false) where entry.privileges.contains(.usage) {
          rows.append([
            text(context.roleName(entry.grantor)), grantee(entry, context), text(context.database),
            text(context.catalog.schema(sequence.schema)?.name), text(sequence.name), text("SEQUENCE"), text("USAGE"),
            yes(entry.grantable.contains(.usage) || entry.grantee == sequence.owner),
          ])
        }
      }
      return rows
    },
    make(45, "enabled_roles", "role_name text") { context throws(SQLError) in
      let rights = currentRights(context)
      return context.catalog.allRoles.filter { rights.owns($0.id) }.map { [text($0.name)] }
    },
    make(46, "applicable_roles", "grantee text, role_name text, is_grantable text") { context throws(SQLError) in
      let rights = currentRights(context)
      var rows: [SystemCatalog.Row] = []
      for role in context.catalog.roles where rights.owns(role.id) {
        for parent in role.memberOf {
          let entry = context.catalog.access[.object(parent)]?.entries.first { $0.grantee == role.id }
          rows.append([
            text(role.name), text(context.roleName(parent)), yes(entry?.grantable.contains(.member) ?? false),
          ])
        }
      }
      return rows
    },
  ]

  private static func currentRights(_ context: SystemContext) -> Rights {
    Rights(context.catalog.role(named: context.user), context.catalog)
  }

  private static func grantee(_ entry: AccessEntry, _ context: SystemContext) -> Datum {
    text(entry.grantee.map { context.roleName($0) ?? "\($0)" } ?? "PUBLIC")
  }

  /// The entries that the current user may see.
  private static func shown(_ list: AccessList, _ context: SystemContext, rolesOnly: Bool) -> [AccessEntry] {
    let rights = currentRights(context)
    return list.entries.filter { entry in
      guard let grantee = entry.grantee else { return !rolesOnly }
      return rights.owns(entry.grantor) || rights.owns(grantee)
    }
  }

  private static func relations(_ context: SystemContext) -> [Relation] {
    let all = context.catalog.allTables.map { Relation.table($0) } + context.catalog.views.map { Relation.view($0) }
    return all.sorted { $0.id < $1.id }
  }

  private static func tableRows(_ context: SystemContext, rolesOnly: Bool) -> [SystemCatalog.Row] {
    var rows: [SystemCatalog.Row] = []
    for relation in relations(context) {
      let owner = relation.owner(in: context.catalog)
      let list = context.catalog.accessList(.table, .object(relation.id), owner: owner)
      for entry in shown(list, context, rolesOnly: rolesOnly) {
        for (privilege, _, name) in Privileges.named where entry.privileges.contains(privilege) {
          rows.append([
            text(context.roleName(entry.grantor)), grantee(entry, context), text(context.database),
            text(context.catalog.schema(relation.schema)?.name), text(relation.name), text(name),
            yes(entry.grantable.contains(privilege) || entry.grantee == owner), yes(privilege == .select),
          ])
        }
      }
    }
    return rows
  }

  private static func columnRows(_ context: SystemContext, rolesOnly: Bool) -> [SystemCatalog.Row] {
    var rows: [SystemCatalog.Row] = []
    for relation in relations(context) {
      let owner = relation.owner(in: context.catalog)
      let columns: [(number: Int, name: String)] =
        switch relation {
        case .table(let table): table.live.map { ($0.number, $0.name) }
        case .view(let view): view.columns.enumerated().map { ($0 + 1, $1.name) }
        default: []
        }
      let whole = context.catalog.accessList(.table, .object(relation.id), owner: owner)
      for column in columns {
        var entries = shown(whole, context, rolesOnly: rolesOnly)
        if let own = context.catalog.access[.column(relation.id, column.number)] {
          entries += shown(own, context, rolesOnly: rolesOnly)
        }
        for entry in entries {
          for (privilege, _, name) in Privileges.named
          where entry.privileges.contains(privilege) && SecuredKind.column.all.contains(privilege) {
            rows.append([
              text(context.roleName(entry.grantor)), grantee(entry, context), text(context.database),
              text(context.catalog.schema(relation.schema)?.name), text(relation.name), text(column.name),
              text(name), yes(entry.grantable.contains(privilege) || entry.grantee == owner),
            ])
          }
        }
      }
    }
    return rows
  }
}
