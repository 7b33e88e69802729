internal import Encoding
internal import Glibc
internal import Storage

// What one transaction has written, in key order, together with how strongly it has locked each key.
//
// 1. A key has one entry. Its current state is `none` (only locked, or undone), a put or a deletion, set by the operation
//    numbered `sequence`.
// 2. Range deletions lie beside the entries. One that comes later turns the entries that it covers into `none`; hence
//    every entry that is not `none` is newer than the range deletions that cover its key, and a batch of the range
//    deletions followed by the entries has the same effect as the operations in their order.
// 3. An older state is kept in the undo list if somebody can still want it: a savepoint (to return to it), or a cursor
//    (which shows what was written before it was opened). `barrier` is the newest such point; states set after it are
//    simply overwritten.
// 4. Keys and values lie in the transaction's arena until it ends.

/// A state of a key that was overwritten.
@unsafe
struct UndoRecord: BitwiseCopyable {
  var entry: UInt32
  var kind: UInt8
  var valueCount: UInt32
  var value: UnsafeRawPointer?
  var sequence: UInt64
  /// The identifier of the state before it, or 0.
  var older: UInt64
}

@unsafe
struct WriteEntry: BitwiseCopyable {
  static let none: UInt8 = 0

  var key: UnsafeRawPointer?
  var value: UnsafeRawPointer?
  var keyCount: UInt32
  var valueCount: UInt32
  var sequence: UInt64 = 0
  /// The identifier of the newest older state, or 0.
  var older: UInt64 = 0
  /// `none`, or a `WriteBatch.Kind`.
  var kind: UInt8 = unsafe WriteEntry.none
  /// The lock that the transaction holds on the key: 0 or a `LockStrength`.
  var strength: UInt8 = 0
  /// Whether the lock is recorded here alone (LockTable+Claims.swift).
  var isClaimed = false

  var keyBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: key, count: Int(keyCount)) }
  var valueBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: value, count: Int(valueCount)) }
}

@unsafe
struct RangeDeletion: BitwiseCopyable {
  var start: UnsafeRawPointer?
  var end: UnsafeRawPointer?
  var startCount: UInt32
  var endCount: UInt32
  var sequence: UInt64

  var startBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: start, count: Int(startCount)) }
  var endBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: end, count: Int(endCount)) }

  @inline(__always)
  func contains(_ key: UnsafeRawBufferPointer) -> Bool {
    unsafe order(startBytes, key) <= 0 && order(key, endBytes) < 0
  }
}

extension RawList: KeySource where Element == WriteEntry {
  @inline(__always)
  func key(_ identifier: UInt32) -> UnsafeRawBufferPointer { unsafe pointer(Int(identifier)).pointee.keyBytes }
}

@unsafe
struct WriteSet {
  private(set) var entries = unsafe RawList<WriteEntry>()
  private(set) var index = unsafe KeyIndex()
  private(set) var ranges = unsafe RawList<RangeDeletion>()
  private var undo = unsafe RawList<UndoRecord>()
  /// Writes that the index does not have yet; see DeferredWrites.swift.
  private var deferred = unsafe DeferredWrites()
  /// The identifier of the first record of `undo`; earlier ones are gone. Identifiers begin at 1.
  private var undoBase: UInt64 = 1
  /// The number of the last operation.
  private(set) var sequence: UInt64 = 0
  /// States up to this operation are kept when they are overwritten; nil: none.
  private var barrier: UInt64?
  /// The entry that `findOrAdd` came to last.
  private var recent = 0
  private var openCursors = 0
  private var openSavepoints = 0
  /// Entries that are not `none`, and the bytes of their keys and values.
  private(set) var writeCount = 0
  private(set) var writeSizeBytes = 0

  init() {}

  private static let adoptedEntries = 4
  /// The memory that `adopt` takes.
  static let adoptedSizeBytes = unsafe adoptedEntries * MemoryLayout<WriteEntry>.stride + KeyIndex.adoptedSizeBytes

  /// Begins in memory of somebody else's: room for a few writes.
  mutating func adopt(_ memory: UnsafeMutableRawPointer) {
    guard unsafe entries.capacity == 0 else { return }
    unsafe entries = unsafe RawList(borrowing: memory, capacity: WriteSet.adoptedEntries)
    unsafe index.adopt(memory + WriteSet.adoptedEntries * MemoryLayout<WriteEntry>.stride)
  }

  /// Nothing to look up: neither entries (of any kind) nor ranges.
  var isUntouched: Bool { unsafe entries.isEmpty && ranges.isEmpty }
  /// Whether a cursor over `range` has anything to look up.
  func touches(_ range: KeyRange) -> Bool {
    if unsafe isUntouched { return false }
    if unsafe !ranges.isEmpty { return true }
    let first = unsafe range.lower.withUnsafeBytes { unsafe index.lowerBound($0, in: entries) }
    guard unsafe !index.isEnd(first) else { return false }
    return unsafe range.contains(entries.key(index.identifier(at: first)))
  }
  /// Something to commit.
  var hasWrites: Bool { unsafe writeCount > 0 || !ranges.isEmpty || !deferred.isEmpty }
  /// About the memory that is taken beside keys and values.
  var overheadSizeBytes: Int {
    unsafe entries.count * (MemoryLayout<WriteEntry>.stride + 32)
      + deferred.count * (MemoryLayout<DeferredWrite>.stride + 32) + undo.count * MemoryLayout<UndoRecord>.stride
  }

  // MARK: Deferred writes

  /// So many, which are 450 MB, are taken in.
  private static let mostDeferred = 8 << 20

  var hasDeferred: Bool { unsafe !deferred.isEmpty }
  /// Whether the key's state may be among the deferred writes.
  @inline(__always)
  func isDeferred(_ key: UnsafeRawBufferPointer) -> Bool { unsafe deferred.covers(key) }

  /// Notes a write that is taken in later; false if it must be made now: there are fewer than `threshold` entries.
  mutating func `defer`(
    _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ kind: WriteBatch.Kind, _ arena: inout Arena,
    _ values: inout Arena, from threshold: Int
  ) -> Bool {
    guard unsafe entries.count >= threshold, unsafe deferred.count < WriteSet.mostDeferred else {
      return false
    }
    let isTaken = unsafe deferred.add(key, value, kind: kind.rawValue, sequence: sequence &+ 1, &arena, &values)
    guard isTaken else { return false }
    unsafe sequence &+= 1
    return true
  }

  /// Takes in what is deferred. Changes the index.
  mutating func settle() {
    guard unsafe !deferred.isEmpty else { return }
    var taken = unsafe deferred
    unsafe deferred = unsafe DeferredWrites()
    unsafe taken.take { write, head in
      let identifier = unsafe UInt32(truncatingIfNeeded: entries.count)
      let place: Int
      if let found = unsafe index.find(write.key, head, orAdd: identifier, in: entries) {
        place = Int(found)
      } else {
        unsafe entries.append(WriteEntry(key: write.bytes, value: nil, keyCount: write.keyCount, valueCount: 0))
        place = Int(identifier)
      }
      unsafe set(place, write.kind, write.value, write.sequence)
    }
  }

  // MARK: Entries

  @inline(__always)
  func find(_ key: UnsafeRawBufferPointer) -> Int? {
    guard let identifier = unsafe index.find(key, in: entries) else { return nil }
    return Int(identifier)
  }

  /// The entry that `findOrAdd` came to last, if it is that of `key`.
  @inline(__always)
  func recentEntry(_ key: UnsafeRawBufferPointer) -> Int? {
    guard unsafe recent < entries.count else { return nil }
    let entry = unsafe entries.pointer(recent)
    guard unsafe Int(entry.pointee.keyCount) == key.count else { return nil }
    return unsafe order(entry.pointee.keyBytes, key) == 0 ? recent : nil
  }

  /// The entry of `key`, which is added when it is missing.
  @inline(__always)
  mutating func findOrAdd(_ key: UnsafeRawBufferPointer, _ arena: inout Arena) -> Int {
    let identifier = unsafe UInt32(truncatingIfNeeded: entries.count)
    if let found = unsafe index.find(key, orAdd: identifier, in: entries) {
      unsafe recent = Int(found)
      return Int(found)
    }
    unsafe recent = unsafe entries.count
    let copy = unsafe arena.copy(key)
    unsafe entries.append(
      WriteEntry(key: copy.baseAddress, value: nil, keyCount: UInt32(truncatingIfNeeded: copy.count), valueCount: 0))
    return Int(identifier)
  }

  @inline(__always)
  func strength(_ entry: Int) -> UInt8 { unsafe entries.pointer(entry).pointee.strength }
  @inline(__always)
  func setStrength(_ entry: Int, _ strength: UInt8) { unsafe entries.pointer(entry).pointee.strength = strength }

  /// Notes a lock that is recorded here alone; strength 0: there is none any more.
  @inline(__always)
  func setClaimed(_ entry: Int, _ strength: UInt8) {
    let entry = unsafe entries.pointer(entry)
    unsafe entry.pointee.strength = strength
    unsafe entry.pointee.isClaimed = strength > 0
  }

  /// The strength of a lock that is recorded here alone, or nil.
  func claim(_ entry: Int) -> UInt8? {
    let entry = unsafe entries.pointer(entry)
    return unsafe entry.pointee.isClaimed ? entry.pointee.strength : nil
  }

  /// Whether any key in `range` is locked here alone.
  func hasClaimed(in range: KeyRange) -> Bool {
    var position = unsafe range.lower.withUnsafeBytes { unsafe index.lowerBound($0, in: entries) }
    while unsafe !index.isEnd(position) {
      let identifier = unsafe Int(index.identifier(at: position))
      guard unsafe range.contains(entries.pointer(identifier).pointee.keyBytes) else { return false }
      if unsafe claim(identifier) != nil { return true }
      position = unsafe index.after(position)
    }
    return false
  }

  /// What the transaction itself says about `key`.
  @unsafe
  enum Own {
    case nothing
    case deleted
    case value(UnsafeRawBufferPointer)
  }

  @inline(__always)
  func get(_ key: UnsafeRawBufferPointer) -> Own {
    if let found = unsafe find(key) { return unsafe own(found, key) }
    return unsafe !ranges.isEmpty && isRangeDeleted(key, asOf: sequence) ? .deleted : .nothing
  }

  /// What the transaction said of `key` up to operation `sequence`, which a cursor keeps.
  func get(_ key: UnsafeRawBufferPointer, asOf sequence: UInt64) -> Own {
    if let found = unsafe find(key) {
      let state = unsafe state(found, asOf: sequence)
      if unsafe state.kind == WriteBatch.Kind.put.rawValue { return unsafe .value(state.value) }
      if unsafe state.kind != WriteEntry.none { return unsafe .deleted }
    }
    return unsafe !ranges.isEmpty && isRangeDeleted(key, asOf: sequence) ? .deleted : .nothing
  }

  /// The same for the entry of `key`.
  @inline(__always)
  func own(_ identifier: Int, _ key: UnsafeRawBufferPointer) -> Own {
    let entry = unsafe entries.pointer(identifier)
    if unsafe entry.pointee.kind == WriteBatch.Kind.put.rawValue { return unsafe .value(entry.pointee.valueBytes) }
    if unsafe entry.pointee.kind != WriteEntry.none { return unsafe .deleted }
    return unsafe !ranges.isEmpty && isRangeDeleted(key, asOf: sequence) ? .deleted : .nothing
  }

  func isRangeDeleted(_ key: UnsafeRawBufferPointer, asOf sequence: UInt64) -> Bool {
    for index in 0..<(unsafe ranges.count) {
      let range = unsafe ranges.pointer(index)
      if unsafe range.pointee.sequence <= sequence && range.pointee.contains(key) { return true }
    }
    return false
  }

  // MARK: Writing

  mutating func put(_ entry: Int, _ value: UnsafeRawBufferPointer, _ arena: inout Arena) {
    let copy = unsafe arena.copy(value)
    unsafe set(entry, WriteBatch.Kind.put.rawValue, copy)
  }

  mutating func delete(_ entry: Int) {
    unsafe set(entry, WriteBatch.Kind.delete.rawValue, UnsafeRawBufferPointer(start: nil, count: 0))
  }

  private mutating func set(_ identifier: Int, _ kind: UInt8, _ value: UnsafeRawBufferPointer) {
    unsafe sequence &+= 1
    unsafe set(identifier, kind, value, sequence)
  }

  private mutating func set(_ identifier: Int, _ kind: UInt8, _ value: UnsafeRawBufferPointer, _ sequence: UInt64) {
    let entry = unsafe entries.pointer(identifier)
    if let barrier = unsafe barrier, unsafe entry.pointee.sequence <= barrier {
      unsafe undo.append(
        UndoRecord(
          entry: UInt32(truncatingIfNeeded: identifier), kind: entry.pointee.kind, valueCount: entry.pointee.valueCount,
          value: entry.pointee.value, sequence: entry.pointee.sequence, older: entry.pointee.older))
      unsafe entry.pointee.older = unsafe undoBase + UInt64(undo.count) - 1
    }
    unsafe count(entry, -1)
    unsafe entry.pointee.kind = kind
    unsafe entry.pointee.value = value.baseAddress
    unsafe entry.pointee.valueCount = UInt32(truncatingIfNeeded: value.count)
    unsafe entry.pointee.sequence = sequence
    unsafe count(entry, 1)
  }

  @inline(__always)
  private mutating func count(_ entry: UnsafeMutablePointer<WriteEntry>, _ sign: Int) {
    guard unsafe entry.pointee.kind != WriteEntry.none else { return }
    unsafe writeCount &+= sign
    unsafe writeSizeBytes &+= sign &* Int(entry.pointee.keyCount &+ entry.pointee.valueCount)
  }

  mutating func deleteRange(
    _ start: UnsafeRawBufferPointer, _ end: UnsafeRawBufferPointer, _ arena: inout Arena
  ) {
    guard unsafe order(start, end) < 0 else { return }
    unsafe sequence &+= 1
    var position = unsafe index.lowerBound(start, in: entries)
    while unsafe !index.isEnd(position) {
      let identifier = unsafe Int(index.identifier(at: position))
      let entry = unsafe entries.pointer(identifier)
      guard unsafe order(entry.pointee.keyBytes, end) < 0 else { break }
      if unsafe entry.pointee.kind != WriteEntry.none {
        unsafe set(identifier, WriteEntry.none, UnsafeRawBufferPointer(start: nil, count: 0), sequence)
      }
      position = unsafe index.after(position)
    }
    let start = unsafe arena.copy(start)
    let end = unsafe arena.copy(end)
    unsafe ranges.append(
      RangeDeletion(
        start: start.baseAddress, end: end.baseAddress, startCount: UInt32(truncatingIfNeeded: start.count),
        endCount: UInt32(truncatingIfNeeded: end.count), sequence: sequence))
    unsafe writeSizeBytes += start.count + end.count
  }

  // MARK: Points to return to

  /// What a savepoint remembers of the write set.
  struct Mark: BitwiseCopyable {
    var sequence: UInt64
    var undoIdentifier: UInt64
    var rangeCount: Int
  }

  mutating func openSavepoint() -> Mark {
    unsafe assert(deferred.isEmpty)
    unsafe openSavepoints += 1
    unsafe barrier = unsafe sequence
    return unsafe Mark(sequence: sequence, undoIdentifier: undoBase + UInt64(undo.count), rangeCount: ranges.count)
  }

  mutating func closeSavepoint() {
    unsafe openSavepoints -= 1
    unsafe forgetUndoIfUnused()
  }

  mutating func rollback(to mark: Mark) {
    unsafe assert(deferred.isEmpty)
    while unsafe undoBase + UInt64(undo.count) > mark.undoIdentifier {
      let record = unsafe undo.removeLast()
      let entry = unsafe entries.pointer(Int(record.entry))
      unsafe count(entry, -1)
      unsafe entry.pointee.kind = unsafe record.kind
      unsafe entry.pointee.value = unsafe record.value
      unsafe entry.pointee.valueCount = unsafe record.valueCount
      unsafe entry.pointee.sequence = unsafe record.sequence
      unsafe entry.pointee.older = unsafe record.older
      unsafe count(entry, 1)
    }
    while unsafe ranges.count > mark.rangeCount {
      let range = unsafe ranges.removeLast()
      unsafe writeSizeBytes -= Int(range.startCount) + Int(range.endCount)
    }
    // Numbers go on: a cursor opened before the savepoint must not show what is written from now on.
    unsafe barrier = unsafe sequence
  }

  /// A cursor that shows the states up to the operation that is returned.
  mutating func openCursor() -> UInt64 {
    unsafe assert(deferred.isEmpty)
    unsafe openCursors += 1
    unsafe barrier = unsafe sequence
    return unsafe sequence
  }

  mutating func closeCursor() {
    unsafe openCursors -= 1
    unsafe forgetUndoIfUnused()
  }

  private mutating func forgetUndoIfUnused() {
    guard unsafe openCursors == 0 && openSavepoints == 0 else { return }
    unsafe barrier = nil
    unsafe undoBase += UInt64(undo.count)
    unsafe undo.removeAll()
  }

  /// The state of an entry as of operation `sequence`: its kind and value.
  @inline(__always)
  func state(_ identifier: Int, asOf sequence: UInt64) -> (kind: UInt8, value: UnsafeRawBufferPointer) {
    let entry = unsafe entries.pointer(identifier)
    if unsafe entry.pointee.sequence <= sequence { return unsafe (entry.pointee.kind, entry.pointee.valueBytes) }
    var older = unsafe entry.pointee.older
    while unsafe older >= undoBase {
      let record = unsafe undo.pointer(Int(older - undoBase))
      if unsafe record.pointee.sequence <= sequence {
        return unsafe (
          record.pointee.kind,
          UnsafeRawBufferPointer(start: record.pointee.value, count: Int(record.pointee.valueCount))
        )
      }
      older = unsafe record.pointee.older
    }
    return unsafe (WriteEntry.none, UnsafeRawBufferPointer(start: nil, count: 0))
  }

  // MARK: Ending

  /// Announces the values that `encode` will read.
  func expect(in drain: inout ArenaDrain) {
    for place in 0..<(unsafe entries.count) {
      let entry = unsafe entries.pointer(place)
      if unsafe entry.pointee.kind == WriteBatch.Kind.put.rawValue { unsafe drain.expect(entry.pointee.value) }
    }
  }

  /// Appends the operations of a batch: range deletions first, then the entries in key order. `drain` gives back the values
  /// that lie in its arena.
  func encode(into output: inout RawWriter, _ drain: inout ArenaDrain) {
    unsafe assert(deferred.isEmpty)
    let drains = unsafe !drain.isEmpty
    for index in 0..<(unsafe ranges.count) {
      let range = unsafe ranges.pointer(index)
      unsafe output.append(WriteBatch.Kind.deleteRange.rawValue)
      unsafe output.append(lengthPrefixed: range.pointee.startBytes)
      unsafe output.append(lengthPrefixed: range.pointee.endBytes)
    }
    var position = unsafe index.start
    while unsafe !index.isEnd(position) {
      let entry = unsafe entries.pointer(Int(index.identifier(at: position)))
      if unsafe entry.pointee.kind != WriteEntry.none {
        unsafe output.append(unsafe entry.pointee.kind)
        unsafe output.append(lengthPrefixed: entry.pointee.keyBytes)
        if unsafe entry.pointee.kind == WriteBatch.Kind.put.rawValue {
          unsafe output.append(lengthPrefixed: entry.pointee.valueBytes)
          if drains { unsafe drain.passed(entry.pointee.value) }
        }
      }
      position = unsafe index.after(position)
    }
  }

  mutating func free() {
    unsafe deferred.free()
    unsafe entries.free()
    unsafe index.free()
    unsafe ranges.free()
    unsafe undo.free()
  }
}
