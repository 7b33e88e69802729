extension SystemCatalog {
  /// Roles, the database, and what else is not a relation.
  static let rolesAndDatabase: [SystemRelation] = [
    make(
      1262, "pg_database",
      """
      oid oid, datname name, datdba oid, encoding int4, datlocprovider char, datistemplate bool, datallowconn bool,
      datconnlimit int4, datfrozenxid xid, datminmxid xid, dattablespace oid, datcollate text, datctype text,
      daticulocale text, datcollversion text, datacl text[]
      """
    ) { context throws(SQLError) in
      [
        [
          int(5), text(context.database), oid(.bootstrapRole), int(6), text("c"), flag(false), flag(true), int(-1),
          int(0), int(0), int(1663), text("C"), text("C"), .null, .null,
          try context.accessList(.object(.database)),
        ]
      ]
    },
    make(
      12000, "pg_roles",
      """
      rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, rolcanlogin bool,
      rolreplication bool, rolconnlimit int4, rolpassword text, rolvaliduntil timestamptz, rolbypassrls bool,
      rolconfig text[], oid oid
      """
    ) { context throws(SQLError) in
      var rows: [Row] = []
      for role in context.catalog.allRoles {
        rows.append([
          text(role.name), flag(role.isSuperuser), flag(role.inherits), flag(role.canCreateRole),
          flag(role.canCreateDatabase), flag(role.canLogin), flag(role.isReplication), int(role.connectionLimit),
          text("********"), try context.validUntil(role), flag(role.bypassesRowSecurity),
          try context.settings(of: role), oid(role.id),
        ])
      }
      return rows
    },
    make(
      1260, "pg_authid",
      """
      oid oid, rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, rolcanlogin bool,
      rolreplication bool, rolbypassrls bool, rolconnlimit int4, rolpassword text, rolvaliduntil timestamptz
      """
    ) { context throws(SQLError) in
      var rows: [Row] = []
      for role in context.catalog.allRoles {
        rows.append([
          oid(role.id), text(role.name), flag(role.isSuperuser), flag(role.inherits), flag(role.canCreateRole),
          flag(role.canCreateDatabase), flag(role.canLogin), flag(role.isReplication),
          flag(role.bypassesRowSecurity), int(role.connectionLimit), text(role.verifier),
          try context.validUntil(role),
        ])
      }
      return rows
    },
    make(
      12004, "pg_user",
      "usename name, usesysid oid, usecreatedb bool, usesuper bool, userepl bool, usebypassrls bool, passwd text, valuntil timestamptz, useconfig text[]"
    ) { context throws(SQLError) in
      context.catalog.roles.filter(\.canLogin).map {
        [
          text($0.name), oid($0.id), flag($0.canCreateDatabase), flag($0.isSuperuser), flag($0.isReplication),
          flag($0.bypassesRowSecurity), text("********"), .null, .null,
        ]
      }
    },
    make(1261, "pg_auth_members", "roleid oid, member oid, grantor oid, admin_option bool") {
      context throws(SQLError) in
      context.catalog.roles.flatMap { role in
        role.memberOf.map { parent in
          let entry = context.catalog.access[.object(parent)]?.entries.first { $0.grantee == role.id }
          return [
            oid(parent), oid(role.id), oid(entry?.grantor ?? .bootstrapRole),
            flag(entry?.grantable.contains(.member) ?? false),
          ]
        }
      }
    },
    make(2964, "pg_db_role_setting", "setdatabase oid, setrole oid, setconfig text[]") { context throws(SQLError) in
      var rows: [Row] = []
      for role in context.catalog.roles where !role.settings.isEmpty {
        rows.append([int(0), oid(role.id), try context.settings(of: role)])
      }
      return rows
    },
    make(
      826, "pg_default_acl",
      "oid oid, defaclrole oid, defaclnamespace oid, defaclobjtype char, defaclacl text[]"
    ) { context throws(SQLError) in
      var rows: [Row] = []
      let keys = context.catalog.access.keys.filter { $0.kind != 0 }
      for (index, key) in keys.sorted(by: { $0.bytes.lexicographicallyPrecedes($1.bytes) }).enumerated() {
        rows.append([
          int(9000 + index), oid(key.object), int(Int(key.sub)),
          text(String(UnicodeScalar(key.kind))), try context.accessList(key),
        ])
      }
      return rows
    },
    make(1213, "pg_tablespace", "oid oid, spcname name, spcowner oid, spcacl text[], spcoptions text[]") {
      _ throws(SQLError) in
      [[int(1663), text("pg_default"), oid(.bootstrapRole), .null, .null]]
    },
    make(
      12056, "pg_settings",
      """
      name text, setting text, unit text, category text, short_desc text, extra_desc text, context text,
      vartype text, source text, min_val text, max_val text, enumvals text[], boot_val text, reset_val text,
      sourcefile text, sourceline int4, pending_restart bool
      """
    ) { context throws(SQLError) in
      context.settings.map {
        [
          text($0.name), text($0.value), .null, text("Session"), text($0.description), .null, text("user"),
          text("string"), text("default"), .null, .null, .null, text($0.value), text($0.value), .null, .null,
          flag(false),
        ]
      }
    },
    make(
      1255, "pg_proc",
      """
      oid oid, proname name, pronamespace oid, proowner oid, prolang oid, procost float4, prorows float4,
      provariadic oid, prokind char, prosecdef bool, proleakproof bool, proisstrict bool, proretset bool,
      provolatile char, proparallel char, pronargs int2, pronargdefaults int2, prorettype oid, proargtypes oidvector,
      proallargtypes oid[], proargmodes char[], proargnames text[], proargdefaults pg_node_tree, prosrc text,
      probin text, proacl text[]
      """
    ) { _ throws(SQLError) in
      var rows: [Row] = []
      for (index, f) in FunctionNumbers.all.enumerated() {
        rows.append([
          int(FunctionNumbers.first + index), text(f.name), oid(.systemSchema), oid(.bootstrapRole), int(12),
          .double(1),
          .double(f.isSet ? 100 : 0), int(0), text(f.kind), flag(false), flag(false), flag(true), flag(f.isSet),
          text("i"), text("s"), int(f.arguments.count), int(0), int(Int(f.result.rawValue)),
          try vector(f.arguments.map { Int($0.rawValue) }, .oid), .null, .null, .null, .null, text(f.name), .null,
          .null,
        ])
      }
      for f in TypeFunctions.entries {
        rows.append([
          int(f.number), text(f.name), oid(.systemSchema), oid(.bootstrapRole), int(12), .double(1), .double(0), int(0),
          text("f"), flag(false), flag(false), flag(true), flag(false), text("i"), text("s"), int(1), int(0),
          int(Int(f.result.rawValue)), try vector([Int(TypeID.text.rawValue)], .oid), .null, .null, .null, .null,
          text(f.name), .null, .null,
        ])
      }
      return rows
    },
    make(
      2612, "pg_language",
      """
      oid oid, lanname name, lanowner oid, lanispl bool, lanpltrusted bool, lanplcallfoid oid, laninline oid,
      lanvalidator oid, lanacl text[]
      """
    ) { _ throws(SQLError) in
      [[int(12), text("internal"), oid(.bootstrapRole), flag(false), flag(false), int(0), int(0), int(0), .null]]
    },
  ]

  /// The views that spare people joins.
  static let convenience: [SystemRelation] = [
    make(
      12010, "pg_tables",
      "schemaname name, tablename name, tableowner name, tablespace name, hasindexes bool, hasrules bool, hastriggers bool, rowsecurity bool"
    ) { context throws(SQLError) in
      context.classes().filter { $0.kind == "r" }.map { row in
        [
          text(context.catalog.schema(row.schema)?.name), text(row.name), text(context.roleName(row.owner)), .null,
          flag(!(row.table?.indexes.isEmpty ?? true)), flag(false), flag(false), flag(false),
        ]
      }
    },
    make(12014, "pg_views", "schemaname name, viewname name, viewowner name, definition text") {
      context throws(SQLError) in
      context.catalog.views.map {
        [
          text(context.catalog.schema($0.schema)?.name), text($0.name), text(context.roleName($0.owner)),
          text($0.text + ";"),
        ]
      }
    },
    make(12018, "pg_indexes", "schemaname name, tablename name, indexname name, tablespace name, indexdef text") {
      context throws(SQLError) in
      context.catalog.indexes.map {
        [
          text(context.catalog.schema($0.schema)?.name), text(context.catalog.tables[$0.table]?.name), text($0.name),
          .null, text(CatalogText.index($0, context.catalog)),
        ]
      }
    },
    make(
      12022, "pg_sequences",
      """
      schemaname name, sequencename name, sequenceowner name, data_type regtype, start_value int8, min_value int8,
      max_value int8, increment_by int8, cycle bool, cache_size int8, last_value int8
      """
    ) { context throws(SQLError) in
      var rows: [Row] = []
      for sequence in context.catalog.sequences {
        let state = try context.sequences.current(sequence.storage, SequenceStore.Rule(sequence))
        rows.append([
          text(context.catalog.schema(sequence.schema)?.name), text(sequence.name),
          text(context.roleName(sequence.owner)),
          int(Int(sequence.type.id.rawValue)), .int(sequence.start), .int(sequence.minimum), .int(sequence.maximum),
          .int(sequence.increment), flag(sequence.cycles), .int(sequence.cache),
          state.isCalled ? .int(state.last) : .null,
        ])
      }
      return rows
    },
    make(
      12030, "pg_stat_user_tables",
      "relid oid, schemaname name, relname name, seq_scan int8, idx_scan int8, n_live_tup int8, n_dead_tup int8"
    ) { context throws(SQLError) in
      context.catalog.allTables.map {
        [
          oid($0.id), text(context.catalog.schema($0.schema)?.name), text($0.name), int(0), int(0),
          int(Int(max(0, context.rowCount($0)))), int(0),
        ]
      }
    },
  ]

  /// What we have no such thing of: the columns that clients name, and no rows.
  static let absent: [SystemRelation] = [
    (
      3256, "pg_policy",
      "oid oid, polname name, polrelid oid, polcmd char, polpermissive bool, polroles oid[], polqual pg_node_tree, polwithcheck pg_node_tree"
    ),
    (
      3381, "pg_statistic_ext",
      "oid oid, stxrelid oid, stxname name, stxnamespace oid, stxowner oid, stxstattarget int4, stxkeys int2vector, stxkind char[], stxexprs pg_node_tree"
    ),
    (
      6104, "pg_publication",
      "oid oid, pubname name, pubowner oid, puballtables bool, pubinsert bool, pubupdate bool, pubdelete bool, pubtruncate bool, pubviaroot bool"
    ),
    (6106, "pg_publication_rel", "oid oid, prpubid oid, prrelid oid, prqual pg_node_tree, prattrs int2vector"),
    (6237, "pg_publication_namespace", "oid oid, pnpubid oid, pnnspid oid"),
    (
      2620, "pg_trigger",
      "oid oid, tgrelid oid, tgparentid oid, tgname name, tgfoid oid, tgtype int2, tgenabled char, tgisinternal bool, tgconstrrelid oid, tgconstrindid oid, tgconstraint oid, tgdeferrable bool, tginitdeferred bool, tgnargs int2, tgattr int2vector, tgargs bytea, tgqual pg_node_tree, tgoldtable name, tgnewtable name"
    ),
    (2611, "pg_inherits", "inhrelid oid, inhparent oid, inhseqno int4, inhdetachpending bool"),
    (
      2618, "pg_rewrite",
      "oid oid, rulename name, ev_class oid, ev_type char, ev_enabled char, is_instead bool, ev_qual pg_node_tree, ev_action pg_node_tree"
    ),
    (3501, "pg_enum", "oid oid, enumtypid oid, enumsortorder float4, enumlabel name"),
    (
      3541, "pg_range",
      "rngtypid oid, rngsubtype oid, rngmultitypid oid, rngcollation oid, rngsubopc oid, rngcanonical regproc, rngsubdiff regproc"
    ),
    (
      3079, "pg_extension",
      "oid oid, extname name, extowner oid, extnamespace oid, extrelocatable bool, extversion text, extconfig oid[], extcondition text[]"
    ),
    (2396, "pg_shdescription", "objoid oid, classoid oid, description text"),
    (3118, "pg_foreign_table", "ftrelid oid, ftserver oid, ftoptions text[]"),
    (
      1417, "pg_foreign_server",
      "oid oid, srvname name, srvowner oid, srvfdw oid, srvtype text, srvversion text, srvacl text[], srvoptions text[]"
    ),
    (
      3350, "pg_partitioned_table",
      "partrelid oid, partstrat char, partnatts int2, partdefid oid, partattrs int2vector, partclass oidvector, partcollation oidvector, partexprs pg_node_tree"
    ),
    (
      2617, "pg_operator",
      "oid oid, oprname name, oprnamespace oid, oprowner oid, oprkind char, oprcanmerge bool, oprcanhash bool, oprleft oid, oprright oid, oprresult oid, oprcom oid, oprnegate oid, oprcode regproc, oprrest regproc, oprjoin regproc"
    ),
    (2600, "pg_aggregate", "aggfnoid regproc, aggkind char, aggnumdirectargs int2"),
    (2605, "pg_cast", "oid oid, castsource oid, casttarget oid, castfunc oid, castcontext char, castmethod char"),
    (
      2607, "pg_conversion",
      "oid oid, conname name, connamespace oid, conowner oid, conforencoding int4, contoencoding int4, conproc regproc, condefault bool"
    ),
    (
      2328, "pg_foreign_data_wrapper",
      "oid oid, fdwname name, fdwowner oid, fdwhandler oid, fdwvalidator oid, fdwacl text[], fdwoptions text[]"
    ),
    (2753, "pg_opfamily", "oid oid, opfmethod oid, opfname name, opfnamespace oid, opfowner oid"),
    (1418, "pg_user_mapping", "oid oid, umuser oid, umserver oid, umoptions text[]"),
    (12050, "pg_user_mappings", "umid oid, srvid oid, srvname name, umuser oid, usename name, umoptions text[]"),
    (
      6100, "pg_subscription",
      "oid oid, subdbid oid, subskiplsn text, subname name, subowner oid, subenabled bool, subbinary bool, substream bool, subtwophasestate char, subdisableonerr bool, subconninfo text, subslotname name, subsynccommit text, subpublications text[]"
    ),
    (2995, "pg_largeobject_metadata", "oid oid, lomowner oid, lomacl text[]"),
    (
      3600, "pg_ts_dict",
      "oid oid, dictname name, dictnamespace oid, dictowner oid, dicttemplate oid, dictinitoption text"
    ),
    (
      3601, "pg_ts_parser",
      "oid oid, prsname name, prsnamespace oid, prsstart regproc, prstoken regproc, prsend regproc, prsheadline regproc, prslextype regproc"
    ),
    (3764, "pg_ts_template", "oid oid, tmplname name, tmplnamespace oid, tmplinit regproc, tmpllexize regproc"),
    (3466, "pg_seclabel", "objoid oid, classoid oid, objsubid int4, provider text, label text"),
    (3592, "pg_shseclabel", "objoid oid, classoid oid, provider text, label text"),
    (
      1214, "pg_shdepend", "dbid oid, classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, deptype char"
    ),
    (12038, "pg_prepared_xacts", "transaction xid, gid text, prepared timestamptz, owner name, database name"),
    (
      12042, "pg_matviews",
      "schemaname name, matviewname name, matviewowner name, tablespace name, hasindexes bool, ispopulated bool, definition text"
    ),
    (
      12046, "pg_event_trigger",
      "oid oid, evtname name, evtevent name, evtowner oid, evtfoid oid, evtenabled char, evttags text[]"
    ),
    (3602, "pg_ts_config", "oid oid, cfgname name, cfgnamespace oid, cfgowner oid, cfgparser oid"),
    (3394, "pg_init_privs", "objoid oid, classoid oid, objsubid int4, privtype char, initprivs text[]"),
    (3576, "pg_transform", "oid oid, trftype oid, trflang oid, trffromsql regproc, trftosql regproc"),
    (
      2602, "pg_amop",
      "oid oid, amopfamily oid, amoplefttype oid, amoprighttype oid, amopstrategy int2, amoppurpose char, amopopr oid, amopmethod oid, amopsortfamily oid"
    ),
    (
      2603, "pg_amproc",
      "oid oid, amprocfamily oid, amproclefttype oid, amprocrighttype oid, amprocnum int2, amproc regproc"
    ),
    (
      12060, "pg_seclabels",
      "objoid oid, classoid oid, objsubid int4, objtype text, objnamespace oid, objname text, provider text, label text"
    ),
    (
      12061, "pg_policies",
      "schemaname name, tablename name, policyname name, permissive text, roles name[], cmd text, qual text, with_check text"
    ),
    (12062, "pg_available_extensions", "name name, default_version text, installed_version text, comment text"),
    (
      12063, "pg_available_extension_versions",
      "name name, version text, installed bool, superuser bool, trusted bool, relocatable bool, schema name, requires name[], comment text"
    ),
    (12064, "pg_rules", "schemaname name, tablename name, rulename name, definition text"),
    (12065, "pg_publication_tables", "pubname name, schemaname name, tablename name, attnames name[], rowfilter text"),
    (
      12066, "pg_stat_progress_vacuum",
      "pid int4, datid oid, datname name, relid oid, phase text, heap_blks_total int8, heap_blks_scanned int8, heap_blks_vacuumed int8, index_vacuum_count int8, max_dead_tuples int8, num_dead_tuples int8"
    ),
    (3603, "pg_ts_config_map", "mapcfg oid, maptokentype int4, mapseqno int4, mapdict oid"),
  ].map { id, name, columns in make(UInt32(id), name, columns) { _ throws(SQLError) in [] } }
}

extension SystemContext {
  func roleName(_ id: ObjectID) -> String? { catalog.role(id)?.name }

  /// An access list as `aclitem[]`: `grantee=rights/grantor`; null for what has the initial one.
  func accessList(_ key: AccessKey) throws(SQLError) -> Datum {
    guard let list = catalog.access[key] else { return .null }
    return try SystemCatalog.array(list.entries.map { .text(accessItem($0)) }, .text)
  }

  func accessItem(_ entry: AccessEntry) -> String {
    func name(_ id: ObjectID) -> String { SQLWriter.quoted(roleName(id) ?? "\(id)") }
    var text = entry.grantee.map(name) ?? ""
    text += "="
    for (privilege, letter, _) in Privileges.named where entry.privileges.contains(privilege) {
      text.append(letter)
      if entry.grantable.contains(privilege) { text += "*" }
    }
    return text + "/" + name(entry.grantor)
  }

  func validUntil(_ role: RoleDescriptor) throws(SQLError) -> Datum {
    guard let text = role.validUntil else { return .null }
    let arena = Arena()
    defer { withExtendedLifetime(arena) {} }
    return try Bytes.with(text) { (bytes) throws(SQLError) in
      Datum(try TypeCodec.parse(bytes, .timestamptz, arena, TextFormat()))
    }
  }

  func settings(of role: RoleDescriptor) throws(SQLError) -> Datum {
    guard !role.settings.isEmpty else { return .null }
    return try SystemCatalog.array(
      role.settings.sorted { $0.key < $1.key }.map { .text("\($0.key)=\($0.value)") }, .text)
  }
}
