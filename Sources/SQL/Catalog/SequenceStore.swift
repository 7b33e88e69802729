internal import Encoding
internal import Synchronization
package import Transactions

// Numbers that are given out once: sequences, object ids, row ids.
//
// As in PostgreSQL, taking a number is not undone by a rollback: it is reserved by a transaction of its own. To spare
// most of these commits, numbers are reserved in advance and given out from memory; after a crash the rest of a
// reservation is skipped. The reserving commit need not be durable when it returns: it precedes, in the log, every
// commit that uses the number, so whenever one of those survives, so does the reservation.
//
//   key      04 · storage id
//   value    last value given out or reserved, i64 little endian · 1 if it was given out, 0 if it is the next one
//   absent   nothing was taken yet
//
// 1. The state in memory is never ahead of what the last committed reservation allows.
// 2. A state that someone else may have changed (a new leader took over) is forgotten by `forget()`.

/// Gives out numbers; shared by all sessions.
package final class SequenceStore: Sendable {
  /// How a sequence counts.
  package struct Rule: Sendable, Hashable {
    package var start: Int64 = 1
    package var increment: Int64 = 1
    package var minimum: Int64 = 1
    package var maximum: Int64 = .max
    package var cycles = false
    /// How many numbers are reserved at a time.
    package var reservation: Int64 = 32

    package init() {}
    package init(_ sequence: SequenceDescriptor) {
      start = sequence.restart ?? sequence.start
      increment = sequence.increment
      minimum = sequence.minimum
      maximum = sequence.maximum
      cycles = sequence.cycles
      reservation = max(32, sequence.cache)
    }
  }
  private struct Reserved {
    var rule: Rule
    var next: Int64
    var count: Int64
    /// How many were reserved together, and when.
    var size: Int64
    var time: Int64
  }
  /// A reservation that was used up faster than this is followed by one of twice its size.
  private static let haste: Int64 = 20_000_000
  /// So many numbers a crash may skip.
  private static let largestReservation: Int64 = 1024

  private let manager: TransactionManager
  private let reserved: Mutex<[ObjectID: Reserved]> = Mutex([:])

  package init(manager: TransactionManager) { self.manager = manager }

  /// Forgets what is reserved: after a change of leadership.
  package func forget() { reserved.withLock { $0.removeAll() } }
  package func forget(_ storage: ObjectID) { reserved.withLock { $0[storage] = nil } }

  /// The next number of the sequence at `storage`.
  ///
  /// - Throws: 2200H when the sequence is exhausted, under `name`.
  package func next(_ storage: ObjectID, _ rule: Rule, name: String = "") throws(SQLError) -> Int64 {
    if let number = takeReserved(storage, rule) { return number }
    return try reserve(storage, rule, name)
  }

  private func takeReserved(_ storage: ObjectID, _ rule: Rule) -> Int64? {
    reserved.withLock { map -> Int64? in
      guard var state = map[storage], state.count > 0, state.rule == rule else { return nil }
      let number = state.next
      state.count -= 1
      state.next = number &+ rule.increment
      map[storage] = state
      return number
    }
  }

  /// Reservations are made while a transaction of the same session is open, perhaps with the right of way.
  private static var own: TransactionOptions {
    var options = TransactionOptions()
    options.givesWay = false
    return options
  }

  private func reserve(_ storage: ObjectID, _ rule: Rule, _ name: String) throws(SQLError) -> Int64 {
    while true {
      let transaction = try sqlErrors { () throws(TransactionError) in try manager.begin(SequenceStore.own) }
      // Not touched here any more once it is in the log, whose thread ends it.
      var isOpen = true
      defer { if isOpen { transaction.rollback() } }
      let key = KeySpace.sequence(storage)
      _ = try sqlErrors { () throws(TransactionError) in try transaction.lock(key, .update, .wait) }
      // Whoever held the lock may have reserved for all of us.
      if let number = takeReserved(storage, rule) { return number }
      let now = monotonicNanoseconds()
      let size = nextSize(storage, rule, now)
      let (first, count) = try plan(try state(transaction, key), rule, size, name)
      let last = first &+ (count - 1) &* rule.increment
      let progress = try sqlErrors { () throws(TransactionError) in
        try transaction.put(key, SequenceStore.encode(last, isCalled: true))
        return try transaction.beginCommit(isInline: false)
      }
      isOpen = false
      reserved.withLock { map in
        // Whoever was quicker keeps what it has; the rest of ours is skipped.
        if let other = map[storage], other.rule == rule, other.count > 0 { return }
        map[storage] = Reserved(
          rule: rule, next: first &+ rule.increment, count: count - 1, size: size, time: now)
      }
      // In the log before anything that uses the number: nobody has to wait for it. Its lock goes when it is delivered.
      if case .pending = progress { transaction.whenCommitted(durable: false) { _ in } }
      return first
    }
  }

  /// How many to reserve now.
  private func nextSize(_ storage: ObjectID, _ rule: Rule, _ now: Int64) -> Int64 {
    let before = reserved.withLock { $0[storage] }
    guard let before, before.rule == rule, now - before.time < SequenceStore.haste else { return rule.reservation }
    return max(rule.reservation, min(before.size * 2, SequenceStore.largestReservation))
  }

  /// The first number to give out and how many follow without a gap.
  private func plan(
    _ state: (last: Int64, isCalled: Bool)?, _ rule: Rule, _ size: Int64, _ name: String
  ) throws(SQLError) -> (first: Int64, count: Int64) {
    var first: Int64
    if let state {
      if !state.isCalled {
        first = state.last
      } else {
        let (sum, overflow) = state.last.addingReportingOverflow(rule.increment)
        if overflow || sum > rule.maximum || sum < rule.minimum {
          guard rule.cycles else {
            let up = rule.increment > 0
            throw SQLError(
              SQLState(rawValue: "2200H"),
              "nextval: reached \(up ? "maximum" : "minimum") value of sequence \"\(name)\" (\(up ? rule.maximum : rule.minimum))"
            )
          }
          first = rule.increment > 0 ? rule.minimum : rule.maximum
        } else {
          first = sum
        }
      }
    } else {
      first = rule.start
    }
    // Within the bounds the distance fits an unsigned word, whatever the signs.
    let room =
      rule.increment > 0
      ? UInt64(bitPattern: rule.maximum &- first) : UInt64(bitPattern: first &- rule.minimum)
    let steps = room / rule.increment.magnitude
    let wanted = UInt64(max(1, min(size, 1 << 20)))
    return (first, Int64(min(wanted - 1, steps)) + 1)
  }

  private func state(
    _ transaction: Transaction, _ key: [UInt8]
  ) throws(SQLError) -> (last: Int64, isCalled: Bool)? {
    let bytes = try unsafe key.withUnsafeBytesThrowing { (raw) throws(SQLError) -> [UInt8]? in
      try sqlErrors { () throws(TransactionError) in unsafe try transaction.getLatest(raw).map { unsafe [UInt8]($0) } }
    }
    return try SequenceStore.decode(bytes)
  }

  static func encode(_ last: Int64, isCalled: Bool) -> [UInt8] {
    var writer = ByteWriter(capacity: 9)
    writer.append(integer: last)
    writer.append(isCalled ? 1 : 0 as UInt8)
    return writer.bytes
  }
  static func decode(_ bytes: [UInt8]?) throws(SQLError) -> (last: Int64, isCalled: Bool)? {
    guard let bytes else { return nil }
    guard bytes.count == 9 else { throw CatalogReader.damaged("a sequence's state has \(bytes.count) bytes") }
    var raw: UInt64 = 0
    for index in 0..<8 { raw |= UInt64(bytes[index]) << UInt64(8 * index) }
    return (Int64(bitPattern: raw), bytes[8] != 0)
  }

  /// setval(): the next number is `value`, or the one after it when `isCalled`.
  package func set(_ storage: ObjectID, to value: Int64, isCalled: Bool) throws(SQLError) {
    let transaction = try sqlErrors { () throws(TransactionError) in try manager.begin(SequenceStore.own) }
    defer { transaction.rollback() }
    let key = KeySpace.sequence(storage)
    try sqlErrors { () throws(TransactionError) in
      _ = try transaction.lock(key, .update, .wait)
      try transaction.put(key, SequenceStore.encode(value, isCalled: isCalled))
      try transaction.commit(durable: false)
    }
    forget(storage)
  }

  /// What `SELECT * FROM sequence` shows: the last value, and whether it was given out. Reservations show as in memory.
  package func current(_ storage: ObjectID, _ rule: Rule) throws(SQLError) -> (last: Int64, isCalled: Bool) {
    if let state = reserved.withLock({ $0[storage] }) { return (state.next &- state.rule.increment, true) }
    let transaction = try sqlErrors { () throws(TransactionError) in try manager.begin() }
    defer { transaction.rollback() }
    return try state(transaction, KeySpace.sequence(storage)) ?? (rule.start, false)
  }

  /// A number for a new object.
  package func newObjectID() throws(SQLError) -> ObjectID {
    var rule = Rule()
    rule.start = Int64(ObjectID.firstUser.rawValue)
    rule.minimum = rule.start
    rule.maximum = Int64(UInt32.max)
    return ObjectID(UInt32(truncatingIfNeeded: try next(ObjectID(1), rule, name: "object ids")))
  }

  static let rowIDs: Rule = {
    var rule = Rule()
    rule.reservation = 4096
    return rule
  }()
  /// A number for a new row of a table without a primary key.
  package func newRowID(_ storage: ObjectID) throws(SQLError) -> Int64 {
    try next(storage, SequenceStore.rowIDs, name: "row ids")
  }

  /// Numbers for at least one and at most `count` new rows.
  package func newRowIDs(_ storage: ObjectID, atMost count: Int64) throws(SQLError) -> Range<Int64> {
    let first = try newRowID(storage)
    let more = reserved.withLock { map -> Int64 in
      guard var state = map[storage], state.rule == SequenceStore.rowIDs, state.next == first &+ 1 else { return 0 }
      let more = max(0, min(count - 1, state.count))
      state.count -= more
      state.next += more
      map[storage] = state
      return more
    }
    return first..<first + 1 + more
  }
}

extension Array where Element == UInt8 {
  /// `withUnsafeBytes` for a body with a typed error.
  @inline(__always)
  func withUnsafeBytesThrowing<R, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    let result: Result<R, E> = unsafe withUnsafeBytes { (raw) -> Result<R, E> in
      do throws(E) { return .success(unsafe try body(raw)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}
