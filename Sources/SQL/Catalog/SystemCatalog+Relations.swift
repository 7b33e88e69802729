extension SystemCatalog {
  /// Schemas, relations, columns, indexes, constraints, types.
  static let relations: [SystemRelation] = [
    make(2615, "pg_namespace", "oid oid, nspname name, nspowner oid, nspacl text[]") { context throws(SQLError) in
      var rows: [Row] = []
      for schema in context.catalog.schemas.sorted(by: { $0.id < $1.id }) {
        rows.append([oid(schema.id), text(schema.name), oid(schema.owner), try context.accessList(.object(schema.id))])
      }
      return rows
    },
    make(
      1259, "pg_class",
      """
      oid oid, relname name, relnamespace oid, reltype oid, reloftype oid, relowner oid, relam oid, relfilenode oid,
      reltablespace oid, relpages int4, reltuples float4, relallvisible int4, reltoastrelid oid, relhasindex bool,
      relisshared bool, relpersistence char, relkind char, relnatts int2, relchecks int2, relhasrules bool,
      relhastriggers bool, relhassubclass bool, relrowsecurity bool, relforcerowsecurity bool, relispopulated bool,
      relreplident char, relispartition bool, relrewrite oid, relfrozenxid xid, relminmxid xid, relacl text[],
      reloptions text[], relpartbound pg_node_tree
      """
    ) { context throws(SQLError) in
      var rows: [Row] = []
      for row in context.classes() {
        let tuples = row.table.map { context.rowCount($0) } ?? -1
        let hasTriggers =
          row.table.map { !$0.foreignKeys.isEmpty || context.catalog.referencing[$0.id] != nil } ?? false
        rows.append([
          oid(row.id), text(row.name), oid(row.schema), int(0), int(0), oid(row.owner),
          int(row.kind == "i" ? 403 : row.kind == "r" ? 2 : 0), oid(row.id), int(0),
          int(tuples > 0 ? Int(tuples / 100) + 1 : 0), .double(tuples), int(0), int(0),
          flag(!(row.table?.indexes.isEmpty ?? true)), flag(false), text("p"), text(row.kind), int(row.columns.count),
          int(row.table?.checks.count ?? 0), flag(row.kind == "v"), flag(hasTriggers), flag(false), flag(false),
          flag(false), flag(true), text(row.kind == "r" ? "d" : "n"), flag(false), int(0), int(0), int(0),
          try context.accessList(.object(row.id)), .null, .null,
        ])
      }
      return rows
    },
    make(
      1249, "pg_attribute",
      """
      attrelid oid, attname name, atttypid oid, attstattarget int4, attlen int2, attnum int2, attndims int4,
      attcacheoff int4, atttypmod int4, attbyval bool, attalign char, attstorage char, attcompression char,
      attnotnull bool, atthasdef bool, atthasmissing bool, attidentity char, attgenerated char, attisdropped bool,
      attislocal bool, attinhcount int4, attcollation oid, attacl text[], attoptions text[], attfdwoptions text[]
      """
    ) { context throws(SQLError) in
      var rows: [Row] = []
      for relation in context.classes() {
        for column in relation.columns {
          let described = relation.table.map { $0.column(column.number) }
          let info = column.type.info
          rows.append([
            oid(relation.id), text(column.name), int(Int(column.type.id.rawValue)), int(-1), int(info.length),
            int(column.number), int(column.type.isArray ? 1 : 0), int(-1), int(Int(column.type.modifier)),
            flag(info.length > 0 && info.length <= 8), text(info.length == 8 ? "d" : "i"),
            text(info.length < 0 ? "x" : "p"), text(""), flag(column.notNull),
            flag(described?.defaultValue != nil || described?.generated != nil), flag(false),
            text(described?.identity == .always ? "a" : described?.identity == .byDefault ? "d" : ""),
            text(described?.generated != nil ? "s" : ""), flag(false), flag(true), int(0),
            int(info.category == .string ? (info.id == .name ? 950 : 100) : 0),
            try context.accessList(.column(relation.id, column.number)), .null, .null,
          ])
        }
      }
      return rows
    },
    make(2604, "pg_attrdef", "oid oid, adrelid oid, adnum int2, adbin pg_node_tree") { context throws(SQLError) in
      var rows: [Row] = []
      for table in context.catalog.allTables {
        for column in table.live {
          guard let value = column.generated ?? column.defaultValue else { continue }
          rows.append([
            int(Int(table.id.rawValue) * 2048 + column.number), oid(table.id), int(column.number),
            text(context.shown(value, of: column)),
          ])
        }
      }
      return rows
    },
    make(
      2610, "pg_index",
      """
      indexrelid oid, indrelid oid, indnatts int2, indnkeyatts int2, indisunique bool, indnullsnotdistinct bool,
      indisprimary bool, indisexclusion bool, indimmediate bool, indisclustered bool, indisvalid bool,
      indcheckxmin bool, indisready bool, indislive bool, indisreplident bool, indkey int2vector,
      indcollation oidvector, indclass oidvector, indoption int2vector, indexprs pg_node_tree, indpred pg_node_tree
      """
    ) { context throws(SQLError) in
      var rows: [Row] = []
      for index in context.catalog.indexes {
        let expressions = index.keys.compactMap { $0.expression?.text }
        rows.append([
          oid(index.id), oid(index.table), int(index.keys.count), int(index.keys.count), flag(index.isUnique),
          flag(index.nullsNotDistinct), flag(index.isPrimary), flag(false), flag(!index.deferrable), flag(false),
          flag(true), flag(false), flag(true), flag(true), flag(false),
          try vector(index.keys.map { $0.column ?? 0 }, .int2),
          try vector(index.keys.map { $0.type.info.category == .string ? 100 : 0 }, .oid),
          try vector(index.keys.map { _ in 1978 }, .oid),
          try vector(index.keys.map { ($0.descending ? 1 : 0) | ($0.nullsFirst ? 2 : 0) }, .int2),
          expressions.isEmpty ? .null : text(expressions.joined(separator: ", ")), text(index.predicate?.text),
        ])
      }
      return rows
    },
    make(
      2224, "pg_sequence",
      "seqrelid oid, seqtypid oid, seqstart int8, seqincrement int8, seqmax int8, seqmin int8, seqcache int8, seqcycle bool"
    ) { context throws(SQLError) in
      context.catalog.sequences.map {
        [
          oid($0.id), int(Int($0.type.id.rawValue)), .int($0.start), .int($0.increment), .int($0.maximum),
          .int($0.minimum), .int($0.cache), flag($0.cycles),
        ]
      }
    },
    make(2609, "pg_description", "objoid oid, classoid oid, objsubid int4, description text") {
      context throws(SQLError) in
      context.catalog.comments.sorted { ($0.key.object, $0.key.subobject) < ($1.key.object, $1.key.subobject) }.map {
        let isRelation = context.catalog.relation($0.key.object) != nil
        let isSchema = context.catalog.schema($0.key.object) != nil
        return [
          oid($0.key.object), int(isRelation ? 1259 : isSchema ? 2615 : 2606), int($0.key.subobject), text($0.value),
        ]
      }
    },
    make(
      2608, "pg_depend",
      "classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, refobjsubid int4, deptype char"
    ) { context throws(SQLError) in
      context.catalog.sequences.compactMap { sequence in
        guard let table = sequence.ownerTable, let column = sequence.ownerColumn else { return nil }
        return [
          int(1259), oid(sequence.id), int(0), int(1259), oid(table), int(column),
          text(sequence.isIdentity ? "i" : "a"),
        ]
      }
    },
  ]

  static let constraintsAndTypes: [SystemRelation] = [
    make(
      2606, "pg_constraint",
      """
      oid oid, conname name, connamespace oid, contype char, condeferrable bool, condeferred bool, convalidated bool,
      conrelid oid, contypid oid, conindid oid, conparentid oid, confrelid oid, confupdtype char, confdeltype char,
      confmatchtype char, conislocal bool, coninhcount int4, connoinherit bool, conkey int2[], confkey int2[],
      conpfeqop oid[], conppeqop oid[], conffeqop oid[], confdelsetcols int2[], conexclop oid[], conbin pg_node_tree
      """
    ) { context throws(SQLError) in
      var rows: [Row] = []
      func add(
        _ id: ObjectID, _ name: String, _ type: String, _ table: TableDescriptor, _ columns: [Int],
        index: ObjectID? = nil, foreign: ForeignKey? = nil, valid: Bool = true, text expression: String? = nil
      ) throws(SQLError) {
        let letters = ["a", "r", "c", "n", "d"]
        rows.append([
          oid(id), text(name), oid(table.schema), text(type), flag(foreign?.deferrable ?? false),
          flag(foreign?.initiallyDeferred ?? false), flag(valid), oid(table.id), int(0), oid(index), int(0),
          oid(foreign?.referencedTable), text(foreign.map { letters[Int($0.onUpdate.rawValue)] } ?? " "),
          text(foreign.map { letters[Int($0.onDelete.rawValue)] } ?? " "),
          text(foreign.map { $0.matchFull ? "f" : "s" } ?? " "), flag(true), int(0), flag(true),
          try array(columns.map { int($0) }, .int2),
          foreign == nil ? .null : try array(foreign!.referencedColumns.map { int($0) }, .int2), .null, .null, .null,
          .null, .null, text(expression),
        ])
      }
      for table in context.catalog.allTables {
        for index in table.indexes {
          guard let id = index.constraint else { continue }
          try add(id, index.name, index.isPrimary ? "p" : "u", table, index.keys.compactMap(\.column), index: index.id)
        }
        for check in table.checks {
          try add(check.id, check.name, "c", table, [], valid: check.isValidated, text: check.expression.text)
        }
        for key in table.foreignKeys {
          try add(
            key.id, key.name, "f", table, key.columns, index: key.referencedIndex, foreign: key, valid: key.isValidated)
        }
      }
      return rows
    },
    make(
      1247, "pg_type",
      """
      oid oid, typname name, typnamespace oid, typowner oid, typlen int2, typbyval bool, typtype char,
      typcategory char, typispreferred bool, typisdefined bool, typdelim char, typrelid oid, typsubscript regproc,
      typelem oid, typarray oid, typinput regproc, typoutput regproc, typreceive regproc, typsend regproc,
      typmodin regproc, typmodout regproc, typanalyze regproc, typalign char, typstorage char, typnotnull bool,
      typbasetype oid, typtypmod int4, typndims int4, typcollation oid, typdefaultbin pg_node_tree, typdefault text,
      typacl text[]
      """
    ) { _ throws(SQLError) in
      TypeTable.all.sorted { $0.id < $1.id }.map { info in
        let category = String(UnicodeScalar(info.category.rawValue))
        let functions = TypeFunctions.numbers(of: info)
        return [
          int(Int(info.id.rawValue)), text(info.name), oid(.systemSchema), oid(.bootstrapRole), int(info.length),
          flag(info.length > 0 && info.length <= 8), text(info.isPseudo ? "p" : "b"), text(category),
          flag(info.isPreferred), flag(true), text(","), int(0), int(0), int(Int(info.element?.rawValue ?? 0)),
          int(Int(info.array?.rawValue ?? 0)), int(functions.input), int(functions.output),
          int(functions.receive), int(functions.send), int(0), int(0), int(0),
          text(info.length == 8 ? "d" : "i"), text(info.length < 0 ? "x" : "p"), flag(false), int(0), int(-1), int(0),
          int(info.category == .string ? 100 : 0), .null, .null, .null,
        ]
      }
    },
    make(
      3456, "pg_collation",
      """
      oid oid, collname name, collnamespace oid, collowner oid, collprovider char, collisdeterministic bool,
      collencoding int4, collcollate text, collctype text, colliculocale text, collversion text
      """
    ) { _ throws(SQLError) in
      [(100, "default"), (950, "C"), (951, "POSIX")].map { id, name in
        [
          int(id), text(name), oid(.systemSchema), oid(.bootstrapRole), text(id == 100 ? "d" : "c"), flag(true),
          int(-1), text("C"), text("C"), .null, .null,
        ]
      }
    },
    make(2601, "pg_am", "oid oid, amname name, amhandler regproc, amtype char") { _ throws(SQLError) in
      [[int(2), text("heap"), int(0), text("t")], [int(403), text("btree"), int(0), text("i")]]
    },
    make(
      2616, "pg_opclass",
      "oid oid, opcmethod oid, opcname name, opcnamespace oid, opcowner oid, opcfamily oid, opcintype oid, opcdefault bool, opckeytype oid"
    ) { _ throws(SQLError) in
      [
        [
          int(1978), int(403), text("int4_ops"), oid(.systemSchema), oid(.bootstrapRole), int(1976), int(23),
          flag(true), int(0),
        ]
      ]
    },
  ]
}
