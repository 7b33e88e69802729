internal import Storage
internal import Transactions

// Changing rows: constraints are checked, and the row and its index entries are written, as one step.
//
// A row is a `ValueBuffer` by place. Expressions of the catalog (checks, generated columns, index expressions and
// predicates) are compiled over it.
//
// 1. A key that must be unique is locked for update before its newest state is looked at: whoever else wants to make the
//    same key waits until this transaction ends, whether or not the key exists.
// 2. Index entries are derived from the row alone, so the entry of an old row can be named without reading the index.
// 3. A table or an index that the transaction itself has made (CREATE, TRUNCATE, a rewrite) is not known to anybody else:
//    a key there is unique if the transaction has not put it already, and needs no lock.
// 4. What must hold only at the end of the statement (foreign keys) is queued in `pending`.

/// A check that waits for the end of the statement (or of the transaction).
struct PendingCheck {
  enum Kind {
    /// The values of a foreign key must be in the referenced table.
    case reference(TableDescriptor, ForeignKey, [Datum])
    /// Rows that refer to a key that is gone or changed.
    case referenced(TableDescriptor, CatalogSnapshot.Reference, old: [Datum], new: [Datum]?)
  }
  var kind: Kind
  var isDeferred: Bool
}

/// What became of an insert under ON CONFLICT.
enum InsertOutcome {
  case inserted
  /// A row is there already, under this key; the key is valid until the next call.
  case conflict(Bytes)
}

/// Writes the rows of one table.
final class TableWriter {
  let table: TableDescriptor
  let layout: RowLayout
  private let primary: IndexWriter?
  private let indexes: [IndexWriter]
  private let checks: [(name: String, expression: CompiledExpression)]
  private let notNullPlaces: [Int]
  private let generated: [(place: Int, expression: CompiledExpression)]
  private let referencing: [CatalogSnapshot.Reference]
  private let sequences: SequenceStore
  @exclusivity(unchecked) private var key = ByteBuffer(capacity: 64)
  @exclusivity(unchecked) private var entryKey = ByteBuffer(capacity: 64)
  @exclusivity(unchecked) private var entryValue = ByteBuffer(capacity: 64)
  @exclusivity(unchecked) private var oldKey = ByteBuffer(capacity: 64)
  @exclusivity(unchecked) private var oldValue = ByteBuffer(capacity: 64)
  @exclusivity(unchecked) private var rowBytes = ByteBuffer(capacity: 256)
  private var conflictKey = ByteBuffer(capacity: 64)
  /// Whether very many rows are to come: row ids are then taken in bulk. What is left of them at the end is not used.
  var isBulk = false {
    didSet { unsafe rowIDs = 0..<0 }
  }
  @exclusivity(unchecked) private var rowIDs: Range<Int64> = 0..<0
  /// Which of the table (first) and its indexes are the transaction's own: for this transaction, with so many spaces.
  @exclusivity(unchecked) private var own: (transaction: UInt64, spaces: Int, isOwn: [Bool]) = (0, 0, [])
  /// Checks for the end of the statement.
  var pending: [PendingCheck] = []
  /// Rows inserted less rows deleted.
  @exclusivity(unchecked) private(set) var delta = 0

  init(_ table: TableDescriptor, _ binder: Binder, sequences: SequenceStore) throws(SQLError) {
    self.table = table
    self.sequences = sequences
    layout = table.layout
    primary = try table.primaryIndex.map { (i) throws(SQLError) in try IndexWriter(i, table, binder) }
    var indexes: [IndexWriter] = []
    for index in table.secondaryIndexes { indexes.append(try IndexWriter(index, table, binder)) }
    self.indexes = indexes
    var checks: [(name: String, expression: CompiledExpression)] = []
    for check in table.checks.sorted(by: { $0.name < $1.name }) {
      let bound = try binder.rowCondition(check.expression.tree, table, .check)
      checks.append((check.name, try CompiledExpression(bound.withoutPositions)))
    }
    self.checks = checks
    notNullPlaces = table.live.filter(\.notNull).map(\.place)
    var generated: [(place: Int, expression: CompiledExpression)] = []
    for column in table.live {
      guard let stored = column.generated else { continue }
      let bound = try binder.resolver.assign(
        try binder.rowValue(stored.tree, table, .generated), to: column.type, column: column.name)
      generated.append((column.place, try CompiledExpression(bound.withoutPositions)))
    }
    self.generated = generated
    referencing = binder.catalog.referencing[table.id] ?? []
  }

  static func text(_ value: Value, _ type: TypeID, _ format: TextFormat) -> String {
    if value.isNull { return "null" }
    return (try? TypeCodec.string(value, type, format)) ?? "?"
  }

  // MARK: Constraints of the row itself

  private func failingRow(_ row: ValueBuffer, _ context: EvaluationContext) -> String {
    let values = table.live.map { column in
      let text = TableWriter.text(row[column.place], column.type.id, context.format)
      return text.utf8.count > 64 ? String(decoding: text.utf8.prefix(64), as: UTF8.self) + "..." : text
    }
    return "Failing row contains (\(values.joined(separator: ", ")))."
  }

  private func check(_ row: ValueBuffer, _ context: inout EvaluationContext) throws(SQLError) {
    for (place, expression) in generated { row[place] = try expression.value(row.frame, &context) }
    for place in notNullPlaces where row[place].isNull {
      let name = table.columns[place].name
      throw SQLError(
        .notNullViolation,
        "null value in column \"\(name)\" of relation \"\(table.name)\" violates not-null constraint",
        detail: failingRow(row, context), table: table.name, column: name)
    }
    for (name, expression) in checks {
      let result = try expression.value(row.frame, &context)
      guard result.isNull || result.bool else {
        throw SQLError(
          .checkViolation, "new row for relation \"\(table.name)\" violates check constraint \"\(name)\"",
          detail: failingRow(row, context), table: table.name, constraint: name)
      }
    }
  }

  private func duplicate(
    _ index: IndexWriter, _ row: ValueBuffer, _ context: inout EvaluationContext
  ) -> SQLError {
    SQLError(
      .uniqueViolation, "duplicate key value violates unique constraint \"\(index.descriptor.name)\"",
      detail: "Key \(index.describe(row, table, &context)) already exists.", table: table.name,
      constraint: index.descriptor.name)
  }

  // MARK: Insert

  /// The key under which `row` is stored: its primary key, or a new row id.
  private func rowKey(_ row: ValueBuffer, _ context: inout EvaluationContext) throws(SQLError) {
    if let primary {
      _ = unsafe try primary.key(row, &context, into: &key)
    } else {
      let id = UInt64(bitPattern: try newRowID()) ^ (1 << 63)
      unsafe key.removeAll()
      unsafe key.append(KeySpace.prefix(table.storage))
      unsafe key.append(big: id)
    }
  }

  private func newRowID() throws(SQLError) -> Int64 {
    guard isBulk else { return try sequences.newRowID(table.storage) }
    if unsafe rowIDs.isEmpty { unsafe rowIDs = try sequences.newRowIDs(table.storage, atMost: 256) }
    let ids = unsafe rowIDs
    unsafe rowIDs = ids.lowerBound + 1..<ids.upperBound
    return ids.lowerBound
  }

  /// The key of the row that was inserted last; valid until the next call.
  var lastKey: Bytes { unsafe key.bytes }

  /// Whether the key exists, after locking it against others who would make it.
  private func claims(_ transaction: Transaction, _ key: Bytes) throws(SQLError) -> Bool {
    try sqlErrors { () throws(TransactionError) in
      _ = unsafe try transaction.lock(key.buffer, .update, .wait)
      return unsafe try transaction.getLatest(key.buffer) == nil
    }
  }

  /// Looks up what is the transaction's own, if it may have changed.
  @inline(__always)
  private func refreshOwn(_ transaction: Transaction) {
    if unsafe transaction.id == own.transaction && transaction.ownSpaces.count == own.spaces { return }
    let storages = [table.storage] + indexes.map(\.descriptor.storage)
    unsafe own = (
      transaction.id, transaction.ownSpaces.count, storages.map { transaction.ownSpaces.contains($0.rawValue) }
    )
  }

  /// Puts `value` under `key`, unless it is there.
  @inline(__always)
  private func insertUnique(
    _ key: Bytes, _ value: Bytes, isOwn: Bool, _ transaction: Transaction
  ) throws(SQLError) -> Bool {
    try sqlErrors { () throws(TransactionError) in
      isOwn
        ? unsafe try transaction.insertUnshared(key.buffer, value.buffer)
        : unsafe try transaction.insert(key.buffer, value.buffer)
    }
  }

  /// Inserts `row`; its generated columns are filled in.
  func insert(
    _ row: ValueBuffer, _ transaction: Transaction, _ context: inout EvaluationContext
  ) throws(SQLError) {
    try check(row, &context)
    try rowKey(row, &context)
    unsafe rowBytes.removeAll()
    try unsafe layout.encode(row.pointer, into: &rowBytes)
    refreshOwn(transaction)
    if let primary {
      guard unsafe try insertUnique(key.bytes, rowBytes.bytes, isOwn: own.isOwn[0], transaction) else {
        throw duplicate(primary, row, &context)
      }
    } else {
      try sqlErrors { () throws(TransactionError) in
        unsafe try transaction.putUnshared(key.bytes.buffer, rowBytes.bytes.buffer)
      }
    }
    for place in indexes.indices {
      unsafe try addEntry(indexes[place], isOwn: own.isOwn[place + 1], row, transaction, &context)
    }
    for foreign in table.foreignKeys { try require(foreign, row) }
    unsafe delta += 1
  }

  private func addEntry(
    _ index: IndexWriter, isOwn: Bool, _ row: ValueBuffer, _ transaction: Transaction,
    _ context: inout EvaluationContext
  ) throws(SQLError) {
    guard try index.covers(row, &context) else { return }
    let isUnique = unsafe try index.entry(row, rowKey: key.bytes, &context, key: &entryKey, value: &entryValue)
    guard isUnique else {
      // Who writes this entry has the lock of the row, whose key is part of it.
      return try sqlErrors { () throws(TransactionError) in
        unsafe try transaction.putUnshared(entryKey.bytes.buffer, entryValue.bytes.buffer)
      }
    }
    guard unsafe try insertUnique(entryKey.bytes, entryValue.bytes, isOwn: isOwn, transaction) else {
      throw duplicate(index, row, &context)
    }
  }

  /// Adds to `builder` the entry that an index, which is being built and is the transaction's own, has for a row that is
  /// there already.
  func index(
    _ descriptor: IndexDescriptor, _ row: ValueBuffer, rowKey: Bytes, _ builder: IndexBuilder,
    _ context: inout EvaluationContext
  ) throws(SQLError) {
    guard let index = indexes.first(where: { $0.descriptor.id == descriptor.id }) else { return }
    guard try index.covers(row, &context) else { return }
    let isUnique = unsafe try index.entry(row, rowKey: rowKey, &context, key: &entryKey, value: &entryValue)
    unsafe builder.add(entryKey.bytes, entryValue.bytes, isUnique: isUnique)
  }

  /// What is wrong when an index that is being built has the same key for two rows.
  func duplicate(
    _ descriptor: IndexDescriptor, key: Bytes, value: Bytes, _ transaction: Transaction,
    _ context: inout EvaluationContext
  ) -> SQLError {
    let row = ValueBuffer(table.columns.count)
    var detail: String?
    do throws(SQLError) {
      try IndexEntry.rowKey(value, key: key, table: table.storage, into: &conflictKey)
      let found = unsafe try sqlErrors { () throws(TransactionError) in
        unsafe try transaction.get(conflictKey.bytes.buffer)
      }
      if let found = unsafe found, let index = indexes.first(where: { $0.descriptor.id == descriptor.id }) {
        let view = try RowView(unsafe Bytes(found), layout: layout)
        for place in 0..<row.count { row[place] = try view.value(place, layout) }
        detail = "Key \(index.describe(row, table, &context)) is duplicated."
      }
    } catch { return error }
    return SQLError(
      .uniqueViolation, "could not create unique index \"\(descriptor.name)\"", detail: detail, table: table.name,
      constraint: descriptor.name)
  }

  /// The row that stands in the way of `row` in one of the arbiters (nil: any unique index), locked; nil if none does.
  func conflicting(
    _ row: ValueBuffer, _ arbiters: Set<ObjectID>?, lockRow: Bool, _ transaction: Transaction,
    _ context: inout EvaluationContext
  ) throws(SQLError) -> Bytes? {
    for (place, expression) in generated { row[place] = try expression.value(row.frame, &context) }
    if let primary, arbiters?.contains(primary.descriptor.id) ?? true {
      // A null in the key is not a conflict: it is an error of the insert.
      if !primary.descriptor.keys.contains(where: { row[$0.column! - 1].isNull }) {
        _ = try primary.key(row, &context, into: &conflictKey)
        if !lockRow, try exists(transaction, conflictKey.bytes) { return conflictKey.bytes }
        if !(try claims(transaction, conflictKey.bytes)) { return conflictKey.bytes }
      }
    }
    for index in indexes where index.descriptor.isUnique && (arbiters?.contains(index.descriptor.id) ?? true) {
      guard try index.covers(row, &context), unsafe try index.key(row, &context, into: &entryKey) else { continue }
      if unsafe !(try claims(transaction, entryKey.bytes)) {
        guard
          let entry = unsafe try sqlErrors({ () throws(TransactionError) in
            unsafe try transaction.getLatest(entryKey.bytes.buffer)
          })
        else { continue }
        unsafe try IndexEntry.rowKey(
          unsafe Bytes(entry), key: entryKey.bytes, table: table.storage, into: &conflictKey)
        return conflictKey.bytes
      }
    }
    return nil
  }

  /// Whether the key exists now, without locking it. From repeatable read on one that exists must exist in the snapshot.
  private func exists(_ transaction: Transaction, _ key: Bytes) throws(SQLError) -> Bool {
    try sqlErrors { () throws(TransactionError) in
      guard transaction.isolation == .repeatableRead else { return unsafe try transaction.getLatest(key.buffer) != nil }
      if unsafe try transaction.get(key.buffer) != nil { return true }
      if unsafe try transaction.getLatest(key.buffer) != nil {
        try transaction.needNewerSnapshot(for: key.array)
      }
      return false
    }
  }

  // MARK: Update and delete

  /// Whether an update of `places` changes a key that other tables refer to, or the row's own: it needs the stronger lock.
  func changesKey(_ places: Set<Int>) -> Bool {
    table.indexes.contains { index in
      index.isUnique && index.keys.contains { key in key.column.map { places.contains($0 - 1) } ?? true }
    }
  }

  /// Replaces the row under `rowKey`, which is locked.
  func update(
    _ rowKey: Bytes, old: ValueBuffer, new: ValueBuffer, _ transaction: Transaction,
    _ context: inout EvaluationContext
  ) throws(SQLError) {
    try check(new, &context)
    var moved = false
    if let primary {
      _ = unsafe try primary.key(new, &context, into: &key)
      moved = unsafe !key.bytes.equals(rowKey)
      if moved, unsafe !(try claims(transaction, key.bytes)) { throw duplicate(primary, new, &context) }
    } else {
      unsafe key.removeAll()
      unsafe key.append(rowKey)
    }
    unsafe rowBytes.removeAll()
    try unsafe layout.encode(new.pointer, into: &rowBytes)
    try sqlErrors { () throws(TransactionError) in
      if moved { unsafe try transaction.delete(rowKey.buffer) }
      unsafe try transaction.put(key.bytes.buffer, rowBytes.bytes.buffer)
    }
    for index in indexes { try moveEntry(index, old, new, oldRowKey: rowKey, transaction, &context) }
    for foreign in table.foreignKeys where foreign.columns.contains(where: { !isSame(old, new, $0 - 1) }) {
      try require(foreign, new)
    }
    for reference in referencing where reference.key.referencedColumns.contains(where: { !isSame(old, new, $0 - 1) }) {
      let columns = reference.key.referencedColumns
      release(reference, old, new: columns.map { Datum(new[$0 - 1]) })
    }
  }

  private func isSame(_ old: ValueBuffer, _ new: ValueBuffer, _ place: Int) -> Bool {
    let (a, b) = (old[place], new[place])
    if a.isNull || b.isNull { return a.isNull && b.isNull }
    return ValueOrder(table.columns[place].type.id)?.equal(a, b) ?? false
  }

  private func moveEntry(
    _ index: IndexWriter, _ old: ValueBuffer, _ new: ValueBuffer, oldRowKey: Bytes, _ transaction: Transaction,
    _ context: inout EvaluationContext
  ) throws(SQLError) {
    let had = try index.covers(old, &context)
    let has = try index.covers(new, &context)
    var wasUnique = false
    if had { wasUnique = unsafe try index.entry(old, rowKey: oldRowKey, &context, key: &oldKey, value: &oldValue) }
    guard has else {
      if had { try removeEntry(isUnique: wasUnique, transaction) }
      return
    }
    let isUnique = unsafe try index.entry(new, rowKey: key.bytes, &context, key: &entryKey, value: &entryValue)
    if had {
      let isSameKey = unsafe oldKey.bytes.equals(entryKey.bytes)
      if isSameKey, unsafe oldValue.bytes.equals(entryValue.bytes) { return }
      if !isSameKey { try removeEntry(isUnique: wasUnique, transaction) }
      if isUnique, !isSameKey, unsafe !(try claims(transaction, entryKey.bytes)) {
        throw duplicate(index, new, &context)
      }
    } else if isUnique, unsafe !(try claims(transaction, entryKey.bytes)) {
      throw duplicate(index, new, &context)
    }
    try sqlErrors { () throws(TransactionError) in
      isUnique
        ? unsafe try transaction.put(entryKey.bytes.buffer, entryValue.bytes.buffer)
        : unsafe try transaction.putUnshared(entryKey.bytes.buffer, entryValue.bytes.buffer)
    }
  }

  /// Deletes the entry under `oldKey`. One that is not unique holds the row's key, and so is guarded by the row's lock.
  private func removeEntry(isUnique: Bool, _ transaction: Transaction) throws(SQLError) {
    try sqlErrors { () throws(TransactionError) in
      isUnique
        ? unsafe try transaction.delete(oldKey.bytes.buffer)
        : unsafe try transaction.deleteUnshared(oldKey.bytes.buffer)
    }
  }

  /// Deletes the row under `rowKey`, which is locked.
  func delete(
    _ rowKey: Bytes, old: ValueBuffer, _ transaction: Transaction, _ context: inout EvaluationContext
  ) throws(SQLError) {
    try sqlErrors { () throws(TransactionError) in unsafe try transaction.delete(rowKey.buffer) }
    for index in indexes where try index.covers(old, &context) {
      let isUnique = unsafe try index.entry(old, rowKey: rowKey, &context, key: &oldKey, value: &oldValue)
      try removeEntry(isUnique: isUnique, transaction)
    }
    for reference in referencing { release(reference, old, new: nil) }
    unsafe delta -= 1
  }

  // MARK: Foreign keys

  private func require(_ foreign: ForeignKey, _ row: ValueBuffer) throws(SQLError) {
    let values = foreign.columns.map { row[$0 - 1] }
    let nulls = values.filter(\.isNull).count
    if nulls == values.count { return }
    if nulls > 0 {
      guard foreign.matchFull else { return }
      throw SQLError(
        .foreignKeyViolation,
        "insert or update on table \"\(table.name)\" violates foreign key constraint \"\(foreign.name)\"",
        detail: "MATCH FULL does not allow mixing of null and nonnull key values.", table: table.name,
        constraint: foreign.name)
    }
    pending.append(
      PendingCheck(
        kind: .reference(table, foreign, values.map { Datum($0) }),
        isDeferred: foreign.deferrable && foreign.initiallyDeferred))
  }

  private func release(_ reference: CatalogSnapshot.Reference, _ old: ValueBuffer, new: [Datum]?) {
    let values = reference.key.referencedColumns.map { old[$0 - 1] }
    if values.contains(where: \.isNull) { return }
    pending.append(
      PendingCheck(
        kind: .referenced(table, reference, old: values.map { Datum($0) }, new: new),
        isDeferred: reference.key.deferrable && reference.key.initiallyDeferred))
  }

  /// The change of the table's size since it was last asked for.
  func takeDelta() -> Int {
    defer { unsafe delta = 0 }
    return unsafe delta
  }
}
