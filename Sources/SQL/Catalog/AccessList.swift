internal import Encoding

// Who may do what: access lists, as PostgreSQL's `aclitem[]`.
//
// An object without a list has the default one: everything for its owner, and for PUBLIC what the table below says. The
// first GRANT or REVOKE writes the list down, and from then on it alone counts (the owner may take rights from himself;
// what he cannot lose is the right to grant).
//
//   kind       owner has   PUBLIC has
//   table      arwdDxt     –              views likewise
//   column     –           –              adds to the table's
//   sequence   rwU         –
//   schema     UC          – (public: U)
//   database   CTc         Tc
//
// Stored at `02 03` of the key space (see KeySpace), removed with its object:
//   byte 0   format version, 1
//   then     number of entries, varint; for each: grantee (0: PUBLIC), grantor, rights, rights with grant option: varints

/// Rights on an object; the bits are those of PostgreSQL's `acl.h`.
package struct Privileges: OptionSet, Hashable, Sendable {
  package let rawValue: UInt16
  package init(rawValue: UInt16) { self.rawValue = rawValue }

  package static let insert = Privileges(rawValue: 1 << 0)
  package static let select = Privileges(rawValue: 1 << 1)
  package static let update = Privileges(rawValue: 1 << 2)
  package static let delete = Privileges(rawValue: 1 << 3)
  package static let truncate = Privileges(rawValue: 1 << 4)
  package static let references = Privileges(rawValue: 1 << 5)
  package static let trigger = Privileges(rawValue: 1 << 6)
  package static let execute = Privileges(rawValue: 1 << 7)
  package static let usage = Privileges(rawValue: 1 << 8)
  package static let create = Privileges(rawValue: 1 << 9)
  package static let temporary = Privileges(rawValue: 1 << 10)
  package static let connect = Privileges(rawValue: 1 << 11)
  /// Membership of a role: with grant option it is ADMIN OPTION.
  package static let member = Privileges(rawValue: 1 << 12)

  static let named: [(privilege: Privileges, letter: Character, name: String)] = [
    (.insert, "a", "INSERT"), (.select, "r", "SELECT"), (.update, "w", "UPDATE"), (.delete, "d", "DELETE"),
    (.truncate, "D", "TRUNCATE"), (.references, "x", "REFERENCES"), (.trigger, "t", "TRIGGER"),
    (.execute, "X", "EXECUTE"), (.usage, "U", "USAGE"), (.create, "C", "CREATE"), (.temporary, "T", "TEMPORARY"),
    (.connect, "c", "CONNECT"),
  ]

  /// The right that SQL calls `name`.
  static func named(_ name: String) -> Privileges? {
    let upper = name.uppercased()
    return upper == "TEMP" ? .temporary : named.first { $0.name == upper }?.privilege
  }
}

/// Kinds of objects that have access lists.
package enum SecuredKind: Character, Sendable {
  case table = "r"
  case column = "c"
  case sequence = "S"
  case schema = "n"
  case database = "d"

  /// All rights that there are on such an object.
  var all: Privileges {
    switch self {
    case .table: [.insert, .select, .update, .delete, .truncate, .references, .trigger]
    case .column: [.insert, .select, .update, .references]
    case .sequence: [.select, .update, .usage]
    case .schema: [.usage, .create]
    case .database: [.create, .temporary, .connect]
    }
  }
  /// As messages call it.
  var word: String {
    switch self {
    case .table: "table"
    case .column: "column"
    case .sequence: "sequence"
    case .schema: "schema"
    case .database: "database"
    }
  }
}

/// What one role granted another (or everybody).
package struct AccessEntry: Hashable, Sendable {
  /// Nil is PUBLIC.
  package var grantee: ObjectID?
  package var grantor: ObjectID
  package var privileges: Privileges
  /// Of these, what the grantee may grant on.
  package var grantable: Privileges = []
}

/// The rights on one object.
package struct AccessList: Hashable, Sendable {
  package var entries: [AccessEntry] = []

  /// The list of an object that has none.
  static func initial(_ kind: SecuredKind, owner: ObjectID, object: ObjectID) -> AccessList {
    guard kind != .column else { return AccessList() }
    var list = AccessList(entries: [AccessEntry(grantee: owner, grantor: owner, privileges: kind.all)])
    switch kind {
    case .database:
      list.entries.append(AccessEntry(grantee: nil, grantor: owner, privileges: [.temporary, .connect]))
    case .schema where object == .publicSchema || object == .systemSchema || object == .informationSchema:
      list.entries.append(AccessEntry(grantee: nil, grantor: owner, privileges: .usage))
    default: break
    }
    return list
  }

  /// What those who are `roles` have, PUBLIC's part included.
  func privileges(of roles: Set<ObjectID>) -> Privileges {
    entries.reduce(into: []) { if $1.grantee.map(roles.contains) ?? true { $0.formUnion($1.privileges) } }
  }
  func grantable(by roles: Set<ObjectID>) -> Privileges {
    entries.reduce(into: []) { if $1.grantee.map(roles.contains) ?? false { $0.formUnion($1.grantable) } }
  }

  mutating func grant(_ privileges: Privileges, to grantee: ObjectID?, by grantor: ObjectID, grantable: Bool) {
    if let index = entries.firstIndex(where: { $0.grantee == grantee && $0.grantor == grantor }) {
      entries[index].privileges.formUnion(privileges)
      if grantable { entries[index].grantable.formUnion(privileges) }
    } else {
      entries.append(
        AccessEntry(
          grantee: grantee, grantor: grantor, privileges: privileges, grantable: grantable ? privileges : []))
    }
  }

  /// Takes rights back, or only the right to grant them.
  ///
  /// - Returns: what the grantee may no longer grant: what he had granted is to be looked at.
  mutating func revoke(
    _ privileges: Privileges, from grantee: ObjectID?, by grantor: ObjectID, optionOnly: Bool
  ) -> Privileges {
    guard let index = entries.firstIndex(where: { $0.grantee == grantee && $0.grantor == grantor }) else { return [] }
    let lost = entries[index].grantable.intersection(privileges)
    entries[index].grantable.subtract(privileges)
    if !optionOnly { entries[index].privileges.subtract(privileges) }
    if entries[index].privileges.isEmpty { entries.remove(at: index) }
    return lost
  }

  // MARK: As stored and as shown

  func encoded() -> [UInt8] {
    var w = CatalogWriter()
    w.writer.append(1 as UInt8)
    w.put(entries) { w, entry in
      w.writer.append(varint: UInt64(entry.grantee?.rawValue ?? 0))
      w.put(entry.grantor)
      w.writer.append(varint: UInt64(entry.privileges.rawValue))
      w.writer.append(varint: UInt64(entry.grantable.rawValue))
    }
    return w.writer.bytes
  }

  init(entries: [AccessEntry] = []) { self.entries = entries }

  init(_ bytes: [UInt8]) throws(SQLError) {
    var r = CatalogReader(bytes)
    let version = try r.byte()
    guard version == 1 else {
      throw SQLError(
        .objectNotInState, "access list has format version \(version), this program reads 1",
        hint: "Open the database with the program that wrote it, or a later one.")
    }
    entries = try r.list { r throws(SQLError) in
      let grantee = try r.id()
      return AccessEntry(
        grantee: grantee.rawValue == 0 ? nil : grantee, grantor: try r.id(),
        privileges: Privileges(rawValue: UInt16(truncatingIfNeeded: try r.varint())),
        grantable: Privileges(rawValue: UInt16(truncatingIfNeeded: try r.varint())))
    }
    guard r.offset == bytes.count else { throw CatalogReader.damaged("bytes left after an access list") }
  }
}

/// Which list: an object's, a column's, or the defaults that a role's new objects get.
package struct AccessKey: Hashable, Sendable {
  /// 0 for an object or column; else the kind of the objects that defaults are for.
  package var kind: UInt8
  package var object: ObjectID
  /// A column's number; for defaults the schema in which they count, 0 for all.
  package var sub: UInt32

  package static func object(_ id: ObjectID) -> AccessKey { AccessKey(kind: 0, object: id, sub: 0) }
  package static func column(_ table: ObjectID, _ number: Int) -> AccessKey {
    AccessKey(kind: 0, object: table, sub: UInt32(number))
  }
  package static func defaults(_ role: ObjectID, _ kind: SecuredKind, in schema: ObjectID?) -> AccessKey {
    AccessKey(kind: kind.rawValue.asciiValue ?? 0, object: role, sub: schema?.rawValue ?? 0)
  }

  var bytes: [UInt8] { KeySpace.access(kind, object, sub) }

  init(kind: UInt8, object: ObjectID, sub: UInt32) {
    self.kind = kind
    self.object = object
    self.sub = sub
  }
  init(key: [UInt8]) throws(SQLError) {
    guard key.count == 11 else { throw CatalogReader.damaged("an access list's key of \(key.count) bytes") }
    let words = [3, 7].map { start in key[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
    self.init(kind: key[2], object: ObjectID(words[0]), sub: words[1])
  }
}
