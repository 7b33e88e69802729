internal import Encoding
package import Storage

/// The keys and values of a range as one transaction sees them when it opens the cursor: its snapshot, and its own writes
/// up to then. Remembers, for a serializable transaction, exactly the interval that it passed over.
@safe
package final class TransactionCursor {
  private enum Source { case none, engine, own }

  private let transaction: Transaction
  private let engineCursor: EngineCursor
  private let hold: SnapshotHold
  private let range: KeyRange
  private let isReverse: Bool
  private let isRemembered: Bool
  /// The last of the transaction's operations that shows.
  private let sequence: UInt64
  private let mergesOwn: Bool
  private var isOpen = true

  // Both sides are one step ahead of what was returned.
  private var hasEngine = false
  private var isEngineDone = false
  private var mustSeekEngine = false
  private var ownEntry = -1
  private var ownPosition = KeyIndex.Position(leaf: 0, slot: 0)
  private var ownChanges: UInt64 = 0
  private var isOwnStarted = false
  /// Where the own side starts, if not at the range's end.
  private var ownStart: [UInt8]?
  private var isOwnDone = false
  private var current = Source.none
  private var isAtEnd = false
  private var ownValue = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
  private var ownKind: UInt8 = 0
  /// Where the interval that is being passed over began, if not at the range's end.
  private var passedFrom: [UInt8]?

  init(
    _ transaction: Transaction, _ range: KeyRange, isReverse: Bool, isRemembered: Bool = true
  ) throws(TransactionError) {
    self.transaction = transaction
    self.range = range
    self.isReverse = isReverse
    self.isRemembered = isRemembered
    do throws(StorageError) {
      hold = unsafe try transaction.manager.engine.retain(snapshot: transaction.hold.unsafelyUnwrapped.version)
    } catch { throw .storage(error) }
    do throws(StorageError) {
      engineCursor = try transaction.manager.engine.makeCursor(
        range, at: hold.version, direction: isReverse ? .reverse : .forward)
    } catch {
      transaction.manager.engine.release(hold)
      throw .storage(error)
    }
    transaction.settle()
    mergesOwn = unsafe transaction.writes.touches(range)
    let newest = unsafe mergesOwn ? transaction.writes.openCursor() : 0
    sequence = unsafe min(newest, transaction.view ?? newest)
    if unsafe transaction.remembersReads && isRemembered {
      unsafe transaction.openCursors.append(Unmanaged.passUnretained(self))
    }
  }

  deinit { close() }

  /// Valid after `next()` returned true, until the next call of it.
  package var key: UnsafeRawBufferPointer {
    // `nextRows` sets `isBatched` behind `rows`.
    if isBatched { return unsafe rows.unsafelyUnwrapped.key(max(taken, 1) - 1) }
    return unsafe current == .own ? transaction.writes.entries.key(UInt32(ownEntry)) : engineCursor.key
  }
  package var value: UnsafeRawBufferPointer { unsafe current == .own ? ownValue : engineCursor.value }

  /// Moves on; false at the end.
  package func next() throws(TransactionError) -> Bool {
    try transaction.checkActive()
    guard isOpen && !isAtEnd else { return false }
    do throws(StorageError) {
      guard mergesOwn else {
        if try nextOfEngine() {
          current = .engine
          return true
        }
        finishRange()
        return false
      }
      return try nextMerged()
    } catch { throw .storage(error) }
  }

  /// Several seeks in a row cost one.
  @inline(__always)
  private func nextOfEngine() throws(StorageError) -> Bool {
    if mustSeekEngine {
      mustSeekEngine = false
      if let passedFrom {
        unsafe try withBytes(passedFrom) { (key) throws(StorageError) in unsafe try engineCursor.seek(to: key) }
      }
    }
    return try engineCursor.next()
  }

  private func nextMerged() throws(StorageError) -> Bool {
    if current == .own { isOwnConsumed = true }
    if current == .engine { hasEngine = false }
    current = .none
    while true {
      if !hasEngine && !isEngineDone {
        hasEngine = try nextOfEngine()
        isEngineDone = !hasEngine
      }
      advanceOwn()
      if isOwnDone {
        guard hasEngine else {
          finishRange()
          return false
        }
        if unsafe transaction.writes.isRangeDeleted(engineCursor.key, asOf: sequence) {
          hasEngine = false
          continue
        }
        current = .engine
        return true
      }
      if hasEngine {
        let comparison = unsafe order(engineCursor.key, transaction.writes.entries.key(UInt32(ownEntry)))
        if isReverse ? comparison > 0 : comparison < 0 {
          if unsafe transaction.writes.isRangeDeleted(engineCursor.key, asOf: sequence) {
            hasEngine = false
            continue
          }
          current = .engine
          return true
        }
        // The own state of a key hides the snapshot's.
        if comparison == 0 { hasEngine = false }
      }
      if ownKind == WriteBatch.Kind.put.rawValue {
        current = .own
        return true
      }
      isOwnConsumed = true
    }
  }

  // MARK: Many at once

  /// Where `nextRows` put what it came to.
  private var rows: RowBatch?
  /// How many of them count as read, at least one: to be set, where reads are remembered, before anything else is asked of
  /// the transaction.
  @exclusivity(unchecked) package var taken = 0
  private var isBatched = false
  private var batchLimit = 4
  /// Whether `taken` matters.
  package var isRemembering: Bool { unsafe transaction.remembersReads && isRemembered }

  /// Moves on by some rows, which `batch` (always the same one) then has, and returns how many, 0 at the end; they are
  /// valid until the next call. Few at first, and more from call to call. Use either this or `next`, and `seek` only with
  /// `next`.
  ///
  /// - Parameter withKeys: whether the keys will be looked at.
  package func nextRows(into batch: RowBatch, withKeys: Bool) throws(TransactionError) -> Int {
    try transaction.checkActive()
    guard isOpen && !isAtEnd else { return 0 }
    rows = batch
    unsafe taken = 0
    let withKeys = withKeys || isRemembering
    guard !mergesOwn else {
      batch.begin(1, withKeys: withKeys)
      if try next() { unsafe batch.add(key, value) }
      return batch.count
    }
    do throws(StorageError) {
      try engineCursor.next(into: batch, atMost: batchLimit, withKeys: withKeys)
    } catch {
      isBatched = false
      current = .none
      throw .storage(error)
    }
    batchLimit = min(batchLimit * 4, RowBatch.mostRows)
    isBatched = batch.count > 0
    if isBatched { current = .engine } else { finishRange() }
    return batch.count
  }

  // MARK: The transaction's own writes

  private var isOwnConsumed = true

  /// Makes `ownEntry` the next entry in the range that says something, if it was consumed.
  private func advanceOwn() {
    guard isOwnConsumed && !isOwnDone else { return }
    isOwnConsumed = false
    while true {
      step()
      if isOwnDone { return }
      let key = unsafe transaction.writes.entries.key(UInt32(ownEntry))
      let isInside =
        unsafe isReverse
        ? range.lower.withUnsafeBytes { unsafe order(key, $0) >= 0 }
        : range.upper.map { unsafe $0.withUnsafeBytes { unsafe order(key, $0) < 0 } } ?? true
      guard isInside else {
        isOwnDone = true
        return
      }
      let state = unsafe transaction.writes.state(ownEntry, asOf: sequence)
      if unsafe state.kind != WriteEntry.none {
        ownKind = unsafe state.kind
        unsafe ownValue = unsafe state.value
        return
      }
    }
  }

  private func step() {
    if !isOwnStarted {
      isOwnStarted = true
      startOwn()
      return
    }
    if unsafe ownChanges != transaction.writes.index.changes {
      // Keys were added since: look for the place again.
      ownPosition = unsafe transaction.writes.index.lowerBound(
        transaction.writes.entries.key(UInt32(ownEntry)), in: transaction.writes.entries)
    }
    if isReverse { moveBefore(ownPosition) } else { unsafe move(to: transaction.writes.index.after(ownPosition)) }
  }

  private func startOwn() {
    let writes = unsafe transaction.writes
    guard let bound = ownStart ?? (isReverse ? range.upper : range.lower) else {
      unsafe moveBefore(writes.index.end)
      return
    }
    unsafe bound.withUnsafeBytes { bound in
      var position = unsafe writes.index.lowerBound(bound, in: writes.entries)
      guard isReverse else {
        move(to: position)
        return
      }
      // A place that was sought is included, the range's end is not.
      if ownStart != nil, unsafe !writes.index.isEnd(position),
        unsafe order(writes.entries.key(writes.index.identifier(at: position)), bound) == 0
      {
        position = unsafe writes.index.after(position)
      }
      moveBefore(position)
    }
  }

  private func moveBefore(_ position: KeyIndex.Position) {
    guard let before = unsafe transaction.writes.index.before(position) else {
      isOwnDone = true
      return
    }
    move(to: before)
  }

  private func move(to position: KeyIndex.Position) {
    guard unsafe !transaction.writes.index.isEnd(position) else {
      isOwnDone = true
      return
    }
    ownPosition = position
    ownChanges = unsafe transaction.writes.index.changes
    ownEntry = unsafe Int(transaction.writes.index.identifier(at: position))
  }

  // MARK: Moving ahead

  /// Makes the next `next()` return the first key at or after `key` (reverse: at or before it). Never goes back over what
  /// was passed. What is skipped does not count as read.
  package func seek(to key: UnsafeRawBufferPointer) throws(TransactionError) {
    try transaction.checkActive()
    guard isOpen && !isAtEnd else { return }
    if current != .none {
      let comparison = unsafe order(key, self.key)
      if isReverse ? comparison >= 0 : comparison <= 0 { return }
    }
    if current == .none, let passedFrom {
      let comparison = unsafe passedFrom.withUnsafeBytes { unsafe order(key, $0) }
      if isReverse ? comparison >= 0 : comparison <= 0 { return }
    }
    // Before the range's beginning there is nothing to skip.
    let isBefore =
      isReverse
      ? range.upper.map { unsafe $0.withUnsafeBytes { unsafe order(key, $0) >= 0 } } ?? false
      : unsafe range.lower.withUnsafeBytes { unsafe order(key, $0) <= 0 }
    if isBefore { return }
    notePassed()
    passedFrom = unsafe Array(key)
    if hasEngine {
      let comparison = unsafe order(engineCursor.key, key)
      if current == .engine || (isReverse ? comparison > 0 : comparison < 0) { hasEngine = false }
    }
    current = .none
    mustSeekEngine = !hasEngine && !isEngineDone
    guard mergesOwn else { return }
    ownStart = passedFrom
    isOwnStarted = false
    isOwnConsumed = true
    if isReverse { isOwnDone = false }
  }

  // MARK: What was passed over

  private func finishRange() {
    current = .none
    isAtEnd = true
    notePassed()
  }

  /// Remembers the interval from where the cursor began (or last sought) to where it is.
  func notePassed() {
    guard unsafe transaction.remembersReads && isRemembered,
      transaction.state == .active || transaction.state == .failed
    else { return }
    let empty = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    let start = passedFrom ?? (isReverse ? range.upper : range.lower)
    guard isAtEnd || current != .none else { return }
    func add(_ start: UnsafeRawBufferPointer) {
      if isReverse {
        let hasUpper = unsafe start.baseAddress != nil || self.passedFrom != nil || self.range.upper != nil
        let isInclusive = self.passedFrom != nil
        let low = unsafe isAtEnd ? nil : self.key
        unsafe self.range.lower.withUnsafeBytes { rangeLower in
          unsafe self.transaction.footprint.addInterval(
            low ?? rangeLower, hasUpper ? start : empty, isUpperInclusive: isInclusive, isUnbounded: !hasUpper)
        }
      } else if isAtEnd {
        if let upper = self.range.upper {
          unsafe upper.withUnsafeBytes {
            unsafe self.transaction.footprint.addInterval(start, $0, isUpperInclusive: false, isUnbounded: false)
          }
        } else {
          unsafe self.transaction.footprint.addInterval(start, empty, isUpperInclusive: false, isUnbounded: true)
        }
      } else {
        unsafe self.transaction.footprint.addInterval(start, self.key, isUpperInclusive: true, isUnbounded: false)
      }
    }
    if let start { unsafe start.withUnsafeBytes { unsafe add($0) } } else { unsafe add(empty) }
  }

  /// Ends the use; dropping the cursor does too.
  package func close() {
    guard isOpen else { return }
    isOpen = false
    if !isAtEnd { notePassed() }
    if unsafe transaction.remembersReads && isRemembered {
      let me = unsafe Unmanaged.passUnretained(self).toOpaque()
      if let index = unsafe transaction.openCursors.lastIndex(where: { unsafe $0.toOpaque() == me }) {
        unsafe transaction.openCursors.remove(at: index)
      }
    }
    if mergesOwn { unsafe transaction.writes.closeCursor() }
    rows?.clear()
    rows = nil
    isBatched = false
    transaction.manager.engine.release(hold)
    current = .none
  }
}
