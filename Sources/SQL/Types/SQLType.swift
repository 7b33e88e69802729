// The types, with PostgreSQL's oids, so that drivers that know types by number read our results.
//
// `TypeID` names a type (pg_type.oid); `SQLType` adds the modifier (atttypmod):
//   varchar(n), char(n)   n + 4           numeric(p, s)   ((p << 16) | (s & 0x7ff)) + 4
//   time/timestamp(p)     p               interval(p)     0x7fff0000 | p            none: -1

/// A type's oid.
package struct TypeID: RawRepresentable, Hashable, Sendable, Comparable {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
  @inlinable package init(_ rawValue: UInt32) { self.rawValue = rawValue }
  package static func < (a: TypeID, b: TypeID) -> Bool { a.rawValue < b.rawValue }

  package static let bool = TypeID(16)
  package static let bytea = TypeID(17)
  package static let char = TypeID(18)  // "char"
  package static let name = TypeID(19)
  package static let int8 = TypeID(20)
  package static let int2 = TypeID(21)
  package static let int2vector = TypeID(22)
  package static let int4 = TypeID(23)
  package static let regproc = TypeID(24)
  package static let text = TypeID(25)
  package static let oid = TypeID(26)
  package static let xid = TypeID(28)
  package static let oidvector = TypeID(30)
  package static let json = TypeID(114)
  package static let pgNodeTree = TypeID(194)
  package static let float4 = TypeID(700)
  package static let float8 = TypeID(701)
  package static let unknown = TypeID(705)
  package static let bpchar = TypeID(1042)
  package static let varchar = TypeID(1043)
  package static let date = TypeID(1082)
  package static let time = TypeID(1083)
  package static let timestamp = TypeID(1114)
  package static let timestamptz = TypeID(1184)
  package static let interval = TypeID(1186)
  package static let numeric = TypeID(1700)
  package static let regclass = TypeID(2205)
  package static let regtype = TypeID(2206)
  package static let record = TypeID(2249)
  package static let any = TypeID(2276)
  package static let anyarray = TypeID(2277)
  package static let void = TypeID(2278)
  package static let anyelement = TypeID(2283)
  package static let uuid = TypeID(2950)
  package static let jsonb = TypeID(3802)
  package static let regnamespace = TypeID(4089)
  package static let regrole = TypeID(4096)
  package static let anycompatible = TypeID(5077)
  package static let anycompatiblearray = TypeID(5078)
}

/// How a type's values lie in a `Value` and in a row.
package enum StorageClass: UInt8, Sendable {
  case bool, int16, int32, int64, oid, float32, float64, fixed16, numeric, variable
  /// Bytes in a row's fixed section; nil for the variable section.
  package var fixedSize: Int? {
    switch self {
    case .bool: return 1
    case .int16: return 2
    case .int32, .oid, .float32: return 4
    case .int64, .float64: return 8
    case .fixed16: return 16
    case .numeric, .variable: return nil
    }
  }
}

/// pg_type.typcategory.
package enum TypeCategory: UInt8, Sendable {
  case boolean = 66  // B
  case composite = 67  // C
  case datetime = 68  // D
  case numeric = 78  // N
  case pseudo = 80  // P
  case string = 83  // S
  case timespan = 84  // T
  case userDefined = 85  // U
  case unknown = 88  // X
  case internalUse = 90  // Z
  case array = 65  // A
}

/// A type with its modifier.
package struct SQLType: Hashable, Sendable {
  package var id: TypeID
  /// PostgreSQL's typmod; -1 for none.
  package var modifier: Int32
  @inlinable package init(_ id: TypeID, modifier: Int32 = -1) {
    self.id = id
    self.modifier = modifier
  }

  package static let bool = SQLType(.bool), int2 = SQLType(.int2), int4 = SQLType(.int4), int8 = SQLType(.int8)
  package static let float4 = SQLType(.float4), float8 = SQLType(.float8), numeric = SQLType(.numeric)
  package static let text = SQLType(.text), varchar = SQLType(.varchar), bpchar = SQLType(.bpchar)
  package static let name = SQLType(.name), char = SQLType(.char), bytea = SQLType(.bytea), uuid = SQLType(.uuid)
  package static let date = SQLType(.date), time = SQLType(.time), timestamp = SQLType(.timestamp)
  package static let timestamptz = SQLType(.timestamptz), interval = SQLType(.interval)
  package static let json = SQLType(.json), jsonb = SQLType(.jsonb), oid = SQLType(.oid)
  package static let regclass = SQLType(.regclass), regtype = SQLType(.regtype), regproc = SQLType(.regproc)
  package static let regnamespace = SQLType(.regnamespace), regrole = SQLType(.regrole)
  package static let unknown = SQLType(.unknown), void = SQLType(.void), record = SQLType(.record)

  package static func varchar(_ n: Int) -> SQLType { SQLType(.varchar, modifier: Int32(n) + 4) }
  package static func char(_ n: Int) -> SQLType { SQLType(.bpchar, modifier: Int32(n) + 4) }
  package static func numeric(precision: Int, scale: Int) -> SQLType {
    SQLType(.numeric, modifier: Int32(((precision << 16) | (scale & 0x7ff)) + 4))
  }
  /// The array of `element`.
  package static func array(of element: TypeID) -> SQLType? { element.info.array.map { SQLType($0) } }

  /// numeric(p, s)'s precision and scale; scale may be negative.
  package var numericPrecisionAndScale: (precision: Int, scale: Int)? {
    guard id == .numeric, modifier >= 4 else { return nil }
    let packed = Int(modifier) - 4
    let scale = packed & 0x7ff
    return (packed >> 16 & 0xffff, (scale ^ 1024) - 1024)
  }
  /// varchar(n) and char(n)'s n.
  package var characterLimit: Int? {
    guard id == .varchar || id == .bpchar, modifier >= 4 else { return nil }
    return Int(modifier) - 4
  }

  package var info: TypeInfo { id.info }
  package var storage: StorageClass { id.info.storage }
  package var element: TypeID? { id.info.element }
  package var isArray: Bool { id.info.category == .array && id.info.element != nil }

  /// As `format_type(oid, typmod)` prints it: `character varying(10)`, `timestamp with time zone`, `integer[]`.
  package var description: String {
    if let element = id.info.element, id.info.category == .array, id != .int2vector, id != .oidvector {
      return SQLType(element, modifier: modifier).description + "[]"
    }
    let base = id.info.displayName
    guard modifier >= 0 else { return base }
    switch id {
    case .varchar, .bpchar: return "\(base)(\(modifier - 4))"
    case .numeric:
      guard let (precision, scale) = numericPrecisionAndScale else { return base }
      return "numeric(\(precision),\(scale))"
    case .time: return "time(\(modifier)) without time zone"
    case .timestamp: return "timestamp(\(modifier)) without time zone"
    case .timestamptz: return "timestamp(\(modifier)) with time zone"
    case .interval:
      let fields = Interval.fieldsName(Int(modifier >> 16)).map { " " + $0 } ?? ""
      return "interval\(fields)" + (modifier & 0xffff != 0xffff ? "(\(modifier & 0xffff))" : "")
    default: return base
    }
  }
}

/// What pg_type says of a type.
package struct TypeInfo: Sendable {
  package let id: TypeID
  /// pg_type.typname.
  package let name: String
  /// The SQL spelling.
  package let displayName: String
  package let array: TypeID?
  package let element: TypeID?
  package let category: TypeCategory
  package let isPreferred: Bool
  /// pg_type.typlen: bytes, -1 for variable, -2 for a C string.
  package let length: Int
  package let storage: StorageClass
  package var isPseudo: Bool { category == .pseudo }
}

extension TypeID {
  /// The description of this type; that of `unknown` if there is no such type.
  package var info: TypeInfo { TypeTable.info(self) }
  /// Whether the number names a type.
  package var exists: Bool { TypeTable.byID[self] != nil }
}

/// All types, looked up by oid and by name.
package enum TypeTable {
  package static let all: [TypeInfo] = build()
  package static let byID: [TypeID: TypeInfo] = Dictionary(uniqueKeysWithValues: all.map { ($0.id, $0) })
  /// By pg_type.typname (`int4`, `_int4`).
  package static let byName: [String: TypeInfo] = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  static func info(_ id: TypeID) -> TypeInfo { byID[id] ?? unknownInfo }
  private static let unknownInfo = byID[.unknown]!

  /// The type that SQL calls `name`: pg_type's name or a spelling such as `integer`, `double precision`, `decimal`.
  package static func named(_ name: String) -> TypeID? {
    if let info = byName[name] { return info.id }
    return spellings[name]
  }

  private static let spellings: [String: TypeID] = [
    "boolean": .bool, "smallint": .int2, "int": .int4, "integer": .int4, "bigint": .int8, "real": .float4,
    "double precision": .float8, "decimal": .numeric, "dec": .numeric, "character varying": .varchar,
    "character": .bpchar, "national character": .bpchar, "nchar": .bpchar,
    "timestamp without time zone": .timestamp, "timestamp with time zone": .timestamptz,
    "time without time zone": .time,
  ]

  private static func build() -> [TypeInfo] {
    typealias Row = (UInt32, String, String, UInt32, TypeCategory, Bool, Int, StorageClass)
    let rows: [Row] = [
      (16, "bool", "boolean", 1000, .boolean, true, 1, .bool),
      (17, "bytea", "bytea", 1001, .userDefined, false, -1, .variable),
      (18, "char", "\"char\"", 1002, .internalUse, false, 1, .variable),
      (19, "name", "name", 1003, .string, false, 64, .variable),
      (20, "int8", "bigint", 1016, .numeric, false, 8, .int64),
      (21, "int2", "smallint", 1005, .numeric, false, 2, .int16),
      (23, "int4", "integer", 1007, .numeric, false, 4, .int32),
      (24, "regproc", "regproc", 1008, .numeric, false, 4, .oid),
      (25, "text", "text", 1009, .string, true, -1, .variable),
      (26, "oid", "oid", 1028, .numeric, true, 4, .oid),
      (28, "xid", "xid", 1011, .userDefined, false, 4, .oid),
      (114, "json", "json", 199, .userDefined, false, -1, .variable),
      (194, "pg_node_tree", "pg_node_tree", 0, .internalUse, false, -1, .variable),
      (700, "float4", "real", 1021, .numeric, false, 4, .float32),
      (701, "float8", "double precision", 1022, .numeric, true, 8, .float64),
      (705, "unknown", "unknown", 0, .unknown, false, -2, .variable),
      (1042, "bpchar", "character", 1014, .string, false, -1, .variable),
      (1043, "varchar", "character varying", 1015, .string, false, -1, .variable),
      (1082, "date", "date", 1182, .datetime, false, 4, .int32),
      (1083, "time", "time without time zone", 1183, .datetime, false, 8, .int64),
      (1114, "timestamp", "timestamp without time zone", 1115, .datetime, false, 8, .int64),
      (1184, "timestamptz", "timestamp with time zone", 1185, .datetime, true, 8, .int64),
      (1186, "interval", "interval", 1187, .timespan, true, 16, .fixed16),
      (1700, "numeric", "numeric", 1231, .numeric, false, -1, .numeric),
      (2205, "regclass", "regclass", 2210, .numeric, false, 4, .oid),
      (2206, "regtype", "regtype", 2211, .numeric, false, 4, .oid),
      (2249, "record", "record", 2287, .pseudo, false, -1, .variable),
      (2276, "any", "\"any\"", 0, .pseudo, false, 4, .variable),
      (2277, "anyarray", "anyarray", 0, .pseudo, false, -1, .variable),
      (2278, "void", "void", 0, .pseudo, false, 4, .variable),
      (2283, "anyelement", "anyelement", 0, .pseudo, false, 4, .variable),
      (2950, "uuid", "uuid", 2951, .userDefined, false, 16, .fixed16),
      (3802, "jsonb", "jsonb", 3807, .userDefined, false, -1, .variable),
      (4089, "regnamespace", "regnamespace", 4090, .numeric, false, 4, .oid),
      (4096, "regrole", "regrole", 4097, .numeric, false, 4, .oid),
      (5077, "anycompatible", "anycompatible", 0, .pseudo, false, 4, .variable),
      (5078, "anycompatiblearray", "anycompatiblearray", 0, .pseudo, false, -1, .variable),
    ]
    var all: [TypeInfo] = []
    for (oid, name, display, array, category, preferred, length, storage) in rows {
      all.append(
        TypeInfo(
          id: TypeID(oid), name: name, displayName: display, array: array == 0 ? nil : TypeID(array), element: nil,
          category: category, isPreferred: preferred, length: length, storage: storage))
      guard array != 0 else { continue }
      all.append(
        TypeInfo(
          id: TypeID(array), name: "_" + name, displayName: display + "[]", array: nil, element: TypeID(oid),
          category: .array, isPreferred: false, length: -1, storage: .variable))
    }
    // The two fixed vector types of the catalog: arrays with their own names.
    for (oid, name, element) in [(22, "int2vector", 21), (30, "oidvector", 26)] as [(UInt32, String, UInt32)] {
      all.append(
        TypeInfo(
          id: TypeID(oid), name: name, displayName: name, array: nil, element: TypeID(element), category: .array,
          isPreferred: false, length: -1, storage: .variable))
    }
    return all
  }
}
