internal import Storage
internal import Transactions

// Reading tables: by key, along the table, or along an index.
//
// Values of a row are borrowed from the cursor until it moves. What `Transaction.get` returns lasts only until the next
// call on the transaction, so a row that was fetched by key has its bytes copied to the source's arena.

/// What all table sources share: decoding the columns that are needed, the filter's first.
class TableSource: EvaluatingSource {
  final let plan: ScanPlan
  final let layout: RowLayout
  final let base: FrameSlot
  final let keySlot: FrameSlot
  final let filter: CompiledExpression?
  final let filterPlaces: [Int]
  final let otherPlaces: [Int]
  private final let filterDecoder: RowDecoder
  private final let otherDecoder: RowDecoder
  final let bounds: KeyBounds
  private let asOf: CompiledExpression?
  @exclusivity(unchecked) final var transaction: Transaction

  init(_ state: ExecutionState, _ plan: ScanPlan, transaction: Transaction) throws(SQLError) {
    self.plan = plan
    layout = plan.scan.table.layout
    base = plan.scan.base
    keySlot = plan.scan.keySlot ?? -1
    filter = try plan.filter.map { (f) throws(SQLError) in try CompiledExpression(f, asCondition: true) }
    filterPlaces = plan.filterPlaces
    otherPlaces = plan.otherPlaces
    filterDecoder = RowDecoder(layout, columns: filterPlaces)
    otherDecoder = RowDecoder(layout, columns: otherPlaces)
    bounds = try KeyBounds(plan.path, storage: plan.path.index?.storage ?? plan.scan.table.storage)
    asOf = try plan.scan.asOf.map { (e) throws(SQLError) in try CompiledExpression(e) }
    unsafe self.transaction = transaction
    super.init(state)
  }

  final func begin() throws(SQLError) {
    refresh()
    arena.reset()
    if let asOf {
      let version = unsafe try asOf.value(frame, &context)
      guard !version.isNull, version.int >= 0 else {
        throw SQLError(.invalidParameterValue, "AS OF VERSION needs a version that is not negative")
      }
      unsafe transaction = try state.pastTransaction(UInt64(version.int))
    } else {
      unsafe transaction = unsafe state.transaction
    }
  }

  /// Decodes the row and tests the filter.
  @inline(__always)
  final func accept(_ row: Bytes) throws(SQLError) -> Bool {
    if let filter {
      unsafe try filterDecoder.decode(row, into: frame.base + base)
      guard unsafe try filter.holds(frame, &context) else { return false }
    }
    unsafe try otherDecoder.decode(row, into: frame.base + base)
    return true
  }

  /// Copies what a fetched row lent.
  @inline(__always)
  final func own() {
    for place in filterPlaces { frame[base &+ place] = frame[base &+ place].copied(into: arena) }
    for place in otherPlaces { frame[base &+ place] = frame[base &+ place].copied(into: arena) }
  }

}

/// At most one row, by its primary key or a unique index.
final class PointSource: TableSource {
  @exclusivity(unchecked) private var key = ByteBuffer(capacity: 64)
  @exclusivity(unchecked) private var rowKey = ByteBuffer(capacity: 64)
  @exclusivity(unchecked) private var isDone = false
  private let isPrimaryKey: Bool

  override init(_ state: ExecutionState, _ plan: ScanPlan, transaction: Transaction) throws(SQLError) {
    isPrimaryKey = plan.path.index == nil
    try super.init(state, plan, transaction: transaction)
  }

  override func open() throws(SQLError) {
    try begin()
    unsafe isDone = false
  }

  override func next() throws(SQLError) -> Bool {
    guard unsafe !isDone else { return false }
    unsafe isDone = true
    guard unsafe try bounds.pointKey(frame, &context, &key) else { return false }
    if isPrimaryKey { return try fetch(unsafe key.bytes) }
    guard
      let entry = unsafe try sqlErrors({ () throws(TransactionError) in unsafe try transaction.get(key.bytes.buffer) })
    else { return false }
    unsafe try IndexEntry.rowKey(Bytes(entry), key: key.bytes, table: plan.scan.table.storage, into: &rowKey)
    return try fetch(unsafe rowKey.bytes)
  }

  private func fetch(_ key: Bytes) throws(SQLError) -> Bool {
    guard let row = unsafe try sqlErrors({ () throws(TransactionError) in unsafe try transaction.get(key.buffer) })
    else {
      return false
    }
    guard try accept(unsafe Bytes(row)) else { return false }
    own()
    if keySlot >= 0 { frame[keySlot] = Value(arena.copy(key)) }
    return true
  }
}

/// The rows of a table in key order, within bounds; from the cursor by batches.
final class TableScanSource: TableSource {
  private var ranges: [KeyRange] = []
  private var cursor: TransactionCursor?
  private var nextRange = 0
  private var seen = 0
  /// The batch, how many rows are in it, and how many of them were looked at.
  private let rows = RowBatch()
  @exclusivity(unchecked) private var rowCount = 0
  @exclusivity(unchecked) private var position = 0
  /// Whether the cursor must know how far it was read at any time.
  @exclusivity(unchecked) private var isRemembering = false

  override func open() throws(SQLError) {
    try begin()
    close()
    if plan.path.equal.isEmpty, plan.path.lower == nil, plan.path.upper == nil {
      ranges = [KeySpace.range(plan.scan.table.storage)]
    } else {
      ranges = unsafe try bounds.ranges(frame, &context)
      if plan.path.reverse { ranges.reverse() }
    }
    nextRange = 0
    seen = 0
  }

  override func next() throws(SQLError) -> Bool {
    while true {
      while unsafe position < rowCount {
        let place = unsafe position
        unsafe position &+= 1
        arena.reset()
        guard try accept(unsafe Bytes(rows.value(place))) else { continue }
        // There are rows of a batch only while there is the cursor that gave them.
        if unsafe isRemembering { unsafe cursor.unsafelyUnwrapped.taken = unsafe position }
        if keySlot >= 0 { frame[keySlot] = Value(unsafe Bytes(rows.key(place))) }
        return true
      }
      guard try refill() else { return false }
    }
  }

  /// The number of rows that are left, of a scan that has no filter, without looking at them.
  func countRows() throws(SQLError) -> Int {
    precondition(filter == nil)
    var count = 0
    repeat {
      count += unsafe rowCount - position
      unsafe position = unsafe rowCount
    } while try refill()
    return count
  }

  /// The next batch; false after the last.
  private func refill() throws(SQLError) -> Bool {
    while true {
      guard let cursor else {
        guard try advance() else { return false }
        continue
      }
      try state.services.checkInterrupt()
      // The rows of the last batch that were passed over count as read.
      cursor.taken = unsafe position
      let count = try sqlErrors { () throws(TransactionError) in try cursor.nextRows(into: rows, withKeys: keySlot >= 0)
      }
      unsafe position = 0
      unsafe rowCount = count
      seen &+= count
      if count > 0 { return true }
      cursor.close()
      self.cursor = nil
      if plan.path.equal.isEmpty, plan.path.lower == nil, plan.path.upper == nil, plan.scan.asOf == nil {
        state.services.statistics.observed(plan.scan.table.storage, rows: seen)
      }
    }
  }

  private func advance() throws(SQLError) -> Bool {
    guard nextRange < ranges.count else { return false }
    let range = ranges[nextRange]
    nextRange += 1
    let cursor = try sqlErrors { () throws(TransactionError) in
      unsafe try transaction.cursor(range, reverse: plan.path.reverse)
    }
    self.cursor = cursor
    unsafe isRemembering = cursor.isRemembering
    return true
  }

  override func close() {
    if let cursor {
      cursor.taken = unsafe position
      cursor.close()
    }
    cursor = nil
    unsafe position = 0
    unsafe rowCount = 0
  }
}

/// The rows of a table in an index's order, within bounds; from the index alone where it has all columns.
final class IndexScanSource: TableSource {
  private var ranges: [KeyRange] = []
  private var cursor: TransactionCursor?
  private var nextRange = 0
  private let rows = RowBatch()
  @exclusivity(unchecked) private var rowCount = 0
  @exclusivity(unchecked) private var position = 0
  private var rowKey = ByteBuffer(capacity: 64)
  /// Columns to take from the entry: the index's in order, then the primary key's; nil for those that nobody needs.
  private let entryColumns: [(column: KeyColumn, slot: FrameSlot?)]
  private let rowKeyColumns: [(column: KeyColumn, slot: FrameSlot?)]

  override init(_ state: ExecutionState, _ plan: ScanPlan, transaction: Transaction) throws(SQLError) {
    let wanted = Set(plan.filterPlaces + plan.otherPlaces)
    var taken: Set<Int> = []
    func columns(_ keys: [IndexKey]) -> [(column: KeyColumn, slot: FrameSlot?)] {
      keys.map { key in
        let column = KeyColumn(key.type, descending: key.descending, nullsFirst: key.nullsFirst)
        guard let number = key.column, wanted.contains(number - 1), column.isDecodable,
          taken.insert(number - 1).inserted
        else { return (column, nil) }
        return (column, plan.scan.base + number - 1)
      }
    }
    entryColumns = columns(plan.path.index?.keys ?? [])
    rowKeyColumns = columns(plan.scan.table.primaryIndex?.keys ?? [])
    try super.init(state, plan, transaction: transaction)
  }

  override func open() throws(SQLError) {
    try begin()
    close()
    if plan.path.equal.isEmpty, plan.path.lower == nil, plan.path.upper == nil, let index = plan.path.index {
      ranges = [KeySpace.range(index.storage)]
    } else {
      ranges = unsafe try bounds.ranges(frame, &context)
      if plan.path.reverse { ranges.reverse() }
    }
    nextRange = 0
  }

  override func next() throws(SQLError) -> Bool {
    while true {
      guard let cursor else {
        guard nextRange < ranges.count else { return false }
        let range = ranges[nextRange]
        nextRange += 1
        self.cursor = try sqlErrors { () throws(TransactionError) in
          unsafe try transaction.cursor(range, reverse: plan.path.reverse)
        }
        continue
      }
      while true {
        if unsafe position == rowCount { guard try refill(cursor) else { break } }
        let place = unsafe position
        unsafe position &+= 1
        cursor.taken = unsafe position
        arena.reset()
        let key = unsafe Bytes(rows.key(place))
        let entry = unsafe Bytes(rows.value(place))
        if plan.path.isIndexOnly {
          try decode(key, entry)
          if let filter, unsafe !(try filter.holds(frame, &context)) { continue }
          return true
        }
        try IndexEntry.rowKey(entry, key: key, table: plan.scan.table.storage, into: &rowKey)
        let fetched = unsafe try sqlErrors({ () throws(TransactionError) in
          unsafe try transaction.get(rowKey.bytes.buffer)
        })
        guard let row = unsafe fetched else { throw IndexEntry.missingRow(plan) }
        guard try accept(unsafe Bytes(row)) else { continue }
        own()
        if keySlot >= 0 { frame[keySlot] = Value(arena.copy(rowKey.bytes)) }
        return true
      }
      cursor.close()
      self.cursor = nil
    }
  }

  private func refill(_ cursor: TransactionCursor) throws(SQLError) -> Bool {
    try state.services.checkInterrupt()
    unsafe position = 0
    unsafe rowCount = 0
    unsafe rowCount = try sqlErrors { () throws(TransactionError) in
      try cursor.nextRows(into: rows, withKeys: true)
    }
    return unsafe rowCount > 0
  }

  private func decode(_ key: Bytes, _ entry: Bytes) throws(SQLError) {
    var offset = KeySpace.prefixLength
    for (column, slot) in entryColumns {
      let value = try KeyCodec.decode(key, &offset, column, arena)
      if let slot { frame[slot] = value }
    }
    guard rowKeyColumns.contains(where: { $0.slot != nil }) else { return }
    let row = try IndexEntry.rowKeyPart(entry, key: key)
    offset = 0
    for (column, slot) in rowKeyColumns {
      let value = try KeyCodec.decode(row, &offset, column, arena)
      if let slot { frame[slot] = value }
    }
  }

  override func close() {
    cursor?.close()
    cursor = nil
    unsafe position = 0
    unsafe rowCount = 0
  }
}

/// The value of an index entry: where the row is (see KeySpace).
enum IndexEntry {
  static func damaged() -> SQLError {
    SQLError(
      .dataCorrupted, "index entry is damaged", hint: "Run synod verify on the data directory; REINDEX the index.")
  }
  static func missingRow(_ plan: ScanPlan) -> SQLError {
    SQLError(
      .dataCorrupted,
      "index \"\(plan.path.index?.name ?? "")\" of table \"\(plan.scan.table.name)\" points at a row that is not there",
      hint: "REINDEX the index; if it happens again, run synod verify.")
  }

  /// The row's key without the table's prefix.
  @inline(__always)
  static func rowKeyPart(_ entry: Bytes, key: Bytes) throws(SQLError) -> Bytes {
    guard entry.count >= 2 else { throw damaged() }
    let length = Int(entry.load(0, as: UInt16.self))
    if length == 0 { return entry.dropFirst(2) }
    guard length <= key.count - KeySpace.prefixLength else { throw damaged() }
    return key[key.count - length..<key.count]
  }

  /// The row's whole key.
  @inline(__always)
  static func rowKey(
    _ entry: Bytes, key: Bytes, table: ObjectID, into buffer: inout ByteBuffer
  ) throws(SQLError) {
    let part = try rowKeyPart(entry, key: key)
    buffer.removeAll()
    buffer.append(KeySpace.relation)
    buffer.append(big: table.rawValue)
    buffer.append(part)
  }
}
