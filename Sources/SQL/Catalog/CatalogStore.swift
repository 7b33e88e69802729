internal import Encoding
internal import Storage
internal import Synchronization
package import Transactions

// Reading and writing the catalog within transactions.
//
// 1. Every transaction that changes the catalog first locks the key of its version for update, then reads the newest
//    catalog, and writes the version plus one. So catalog changes follow one another; statements do not wait for them.
// 2. A statement that changes rows of a table first locks the table's record for key share. Changing the table writes
//    its record, which waits for those locks and makes later ones report the change. Reading needs no lock: the rows of a
//    snapshot lie where the catalog of that snapshot says.
// 3. A snapshot is cached by version only when it was read from committed records; what a transaction changed itself it
//    keeps for itself until it commits.

/// The catalogs in use, by version; shared by all sessions.
package final class CatalogCache: Sendable {
  private let recent: Mutex<[CatalogSnapshot]> = Mutex([])
  package init() {}

  func find(_ version: UInt64) -> CatalogSnapshot? { recent.withLock { $0.first { $0.version == version } } }
  func newest() -> CatalogSnapshot? { recent.withLock { $0.last } }
  /// Remembers a snapshot of committed records.
  func add(_ snapshot: CatalogSnapshot) {
    recent.withLock { list in
      if list.contains(where: { $0.version == snapshot.version }) { return }
      list.append(snapshot)
      list.sort { $0.version < $1.version }
      if list.count > 4 { list.removeFirst() }
    }
  }
}

package enum CatalogStore {
  /// The version that `transaction` sees; 0 in an empty database.
  package static func version(_ transaction: Transaction) throws(SQLError) -> UInt64 {
    let bytes = try sqlErrors { () throws(TransactionError) in try transaction.get(KeySpace.catalogVersion) }
    return try decode(bytes)
  }

  /// Whether `transaction` sees the catalog that the snapshot `version` shows. False where that is not known at once.
  static func isUnchanged(_ transaction: Transaction, since version: Version) throws(SQLError) -> Bool {
    try sqlErrors { () throws(TransactionError) in
      try transaction.isUnchanged(KeySpace.catalogVersion, since: version)
    }
  }

  static func decode(_ bytes: [UInt8]?) throws(SQLError) -> UInt64 {
    guard let bytes else { return 0 }
    guard bytes.count == 8 else { throw CatalogReader.damaged("the version has \(bytes.count) bytes") }
    return bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }

  static func encode(_ version: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: version >> UInt64(56 - 8 * $0)) }
  }

  /// The catalog that `transaction` sees, which has not changed it itself.
  package static func load(_ transaction: Transaction, _ cache: CatalogCache) throws(SQLError) -> CatalogSnapshot {
    let version = try version(transaction)
    if let known = cache.find(version) { return known }
    let snapshot = try read(transaction, version, like: cache.newest())
    cache.add(snapshot)
    return snapshot
  }

  private static func read(
    _ transaction: Transaction, _ version: UInt64, like old: CatalogSnapshot?
  ) throws(SQLError) -> CatalogSnapshot {
    var records: [ObjectID: CatalogRecord] = [:]
    try forEach(transaction, KeySpace.catalogObjects) { (key, value) throws(SQLError) in
      guard key.count == 7, let kind = CatalogObjectKind(rawValue: key[2]) else {
        throw CatalogReader.damaged("a key of \(key.count) bytes")
      }
      let record = try CatalogRecord(kind, value)
      records[record.id] = record
    }
    var comments: [CatalogSnapshot.CommentKey: String] = [:]
    try forEach(transaction, KeySpace.comments) { (key, value) throws(SQLError) in
      guard key.count == 10 else { throw CatalogReader.damaged("a comment's key of \(key.count) bytes") }
      let words = [2, 6].map { start in key[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
      comments[.init(ObjectID(words[0]), Int(words[1]))] = String(decoding: value, as: UTF8.self)
    }
    var access: [AccessKey: AccessList] = [:]
    try forEach(transaction, KeySpace.accessLists) { (key, value) throws(SQLError) in
      access[try AccessKey(key: key)] = try AccessList(value)
    }
    return CatalogSnapshot(version: version, records: records, comments: comments, access: access, like: old)
  }

  private static func forEach(
    _ transaction: Transaction, _ range: KeyRange, _ body: ([UInt8], [UInt8]) throws(SQLError) -> Void
  ) throws(SQLError) {
    let cursor = try sqlErrors { () throws(TransactionError) in try transaction.cursor(range) }
    defer { cursor.close() }
    while try sqlErrors({ () throws(TransactionError) in try cursor.next() }) {
      try body(unsafe [UInt8](cursor.key), unsafe [UInt8](cursor.value))
    }
  }

  /// What an empty database begins with.
  package static func bootstrap(_ transaction: Transaction) throws(SQLError) {
    let records: [CatalogRecord] = [
      .schema(SchemaDescriptor(id: .publicSchema, name: "public")),
      .role(
        RoleDescriptor(
          id: .bootstrapRole, name: "synod", isSuperuser: true, canLogin: true, canCreateRole: true,
          canCreateDatabase: true, isReplication: true, bypassesRowSecurity: true)),
    ]
    try sqlErrors { () throws(TransactionError) in
      for record in records { try transaction.put(record.key, record.encoded()) }
      try transaction.put(KeySpace.catalogVersion, encode(1))
    }
  }
}

/// The changes of one DDL statement.
package struct CatalogChanges: Sendable {
  package private(set) var records: [ObjectID: CatalogRecord?] = [:]
  package private(set) var removed: [CatalogRecord] = []
  package private(set) var comments: [CatalogSnapshot.CommentKey: String?] = [:]
  package private(set) var access: [AccessKey: AccessList?] = [:]
  package var isEmpty: Bool { records.isEmpty && comments.isEmpty && access.isEmpty }

  package init() {}
  package mutating func put(_ record: CatalogRecord) { records[record.id] = .some(record) }
  package mutating func remove(_ record: CatalogRecord) {
    records[record.id] = .some(nil)
    removed.append(record)
    comments[.init(record.id)] = .some(nil)
  }
  package mutating func comment(_ key: CatalogSnapshot.CommentKey, _ text: String?) { comments[key] = .some(text) }

  package mutating func access(_ key: AccessKey, _ list: AccessList?) { access[key] = .some(list) }

  /// The access lists with these changes; those of removed objects go with them.
  private func accessLists(over old: CatalogSnapshot) -> [AccessKey: AccessList] {
    var all = old.access
    if !removed.isEmpty, !all.isEmpty {
      let gone = Set(removed.map(\.id))
      all = all.filter { !gone.contains($0.key.object) && !($0.key.kind != 0 && gone.contains(ObjectID($0.key.sub))) }
    }
    for (key, list) in access { all[key] = list }
    return all
  }

  /// The catalog with these changes, at the next version.
  package func applied(to old: CatalogSnapshot) -> CatalogSnapshot {
    var all = old.records
    for (id, record) in records { all[id] = record }
    var texts = old.comments
    for (key, text) in comments { texts[key] = text }
    return CatalogSnapshot(
      version: old.version + 1, records: all, comments: texts, access: accessLists(over: old), like: old)
  }

  /// Writes the changes, and the version after that of `old`.
  package func write(_ transaction: Transaction, over old: CatalogSnapshot) throws(SQLError) {
    let lists = accessLists(over: old)
    try sqlErrors { () throws(TransactionError) in
      for record in removed { try transaction.delete(record.key) }
      for (_, record) in records { if let record { try transaction.put(record.key, record.encoded()) } }
      for (key, text) in comments {
        let bytes = KeySpace.comment(key.object, key.subobject)
        if let text {
          try transaction.put(bytes, [UInt8](text.utf8))
        } else if old.comments[key] != nil {
          try transaction.delete(bytes)
        }
      }
      for (key, list) in lists where old.access[key] != list { try transaction.put(key.bytes, list.encoded()) }
      for key in old.access.keys where lists[key] == nil { try transaction.delete(key.bytes) }
      try transaction.put(KeySpace.catalogVersion, CatalogStore.encode(old.version + 1))
    }
  }
}
