internal import Glibc

// Which kept nodes read and wrote which keys.
//
//   table: hash ─▶ record ─▶ readers: link ⇄ link ⇄ …
//                        └─▶ writers: link ⇄ link ⇄ …    ascending versions
//   ordered: the records with writers in key order; built when the first interval asks, kept up to date from then on,
//            dropped when nobody asked for a while
//
// A record exists while it has a link. Records and links lie in slabs and are named by index. A key's bytes belong to the
// footprint of one of its writers, and move on to another when that one goes.

@unsafe
struct KeyRecord: BitwiseCopyable {
  var hash: UInt64
  var key: UnsafeRawPointer?
  var keyCount: UInt32
  var firstReader: Int32 = -1
  var firstWriter: Int32 = -1
  var lastWriter: Int32 = -1
  var isOrdered = false
}

@unsafe
struct KeyLink: BitwiseCopyable {
  var node: Int32
  var record: Int32
  var next: Int32
  var previous: Int32
  var isWriter: Bool
  var keyCount: UInt32
  var key: UnsafeRawPointer?
}

extension RawList where Element == KeyRecord {
  @inline(__always)
  func key(_ identifier: UInt32) -> UnsafeRawBufferPointer {
    let record = unsafe pointer(Int(identifier))
    return unsafe UnsafeRawBufferPointer(start: record.pointee.key, count: Int(record.pointee.keyCount))
  }
}

@unsafe
struct CertifierKeys {
  private(set) var records = unsafe KeyRecords()
  private var links = unsafe RawList<KeyLink>()
  private var freeRecord: Int32 = -1
  private var freeLink: Int32 = -1
  /// Open addressing: record + 1, 0 for empty.
  private var table = unsafe RawList<UInt32>()
  private(set) var recordCount = 0
  private(set) var ordered = unsafe KeyIndex()
  private var isOrdered = false
  /// Additions since an interval asked last.
  private var unasked = 0

  init() {}

  var isEmpty: Bool { unsafe recordCount == 0 }

  mutating func free() {
    unsafe records.list.free()
    unsafe links.free()
    unsafe table.free()
    unsafe ordered.free()
  }

  // MARK: Looking

  /// The record of a key, or -1.
  @inline(__always)
  func find(_ hash: UInt64) -> Int32 {
    guard unsafe recordCount > 0 else { return -1 }
    let mask = unsafe table.count - 1
    var place = Int(truncatingIfNeeded: hash) & mask
    while true {
      let entry = unsafe table[place]
      if entry == 0 { return -1 }
      if unsafe records.list.pointer(Int(entry) - 1).pointee.hash == hash { return Int32(bitPattern: entry) - 1 }
      place = (place + 1) & mask
    }
  }

  @inline(__always)
  func firstWriter(_ record: Int32) -> Int32 { unsafe records.list.pointer(Int(record)).pointee.firstWriter }
  @inline(__always)
  func lastWriter(_ record: Int32) -> Int32 { unsafe records.list.pointer(Int(record)).pointee.lastWriter }
  @inline(__always)
  func firstReader(_ record: Int32) -> Int32 { unsafe records.list.pointer(Int(record)).pointee.firstReader }
  @inline(__always)
  func next(_ link: Int32) -> Int32 { unsafe links.pointer(Int(link)).pointee.next }
  @inline(__always)
  func node(_ link: Int32) -> Int32 { unsafe links.pointer(Int(link)).pointee.node }

  /// The key as the link's node has it.
  @inline(__always)
  func key(_ link: Int32) -> UnsafeRawBufferPointer {
    let entry = unsafe links.pointer(Int(link))
    return unsafe UnsafeRawBufferPointer(start: entry.pointee.key, count: Int(entry.pointee.keyCount))
  }

  // MARK: Linking

  /// Notes that `node` read or wrote `key`; returns the link.
  mutating func add(_ key: FootprintKey, node: Int32, isWriter: Bool) -> Int32 {
    let record = unsafe findOrAdd(key.hash)
    let link = unsafe takeLink()
    let pointer = unsafe records.list.pointer(Int(record))
    var entry = unsafe KeyLink(
      node: node, record: record, next: -1, previous: -1, isWriter: isWriter, keyCount: key.keyCount, key: key.key)
    if isWriter {
      unsafe entry.previous = unsafe pointer.pointee.lastWriter
      if unsafe entry.previous >= 0 {
        unsafe links.pointer(Int(entry.previous)).pointee.next = link
      } else {
        unsafe pointer.pointee.firstWriter = link
      }
      unsafe pointer.pointee.lastWriter = link
      if unsafe pointer.pointee.key == nil {
        unsafe pointer.pointee.key = unsafe key.key
        unsafe pointer.pointee.keyCount = unsafe key.keyCount
      }
      if unsafe isOrdered && !pointer.pointee.isOrdered { unsafe order(record) }
      unsafe unasked += 1
    } else {
      unsafe entry.next = unsafe pointer.pointee.firstReader
      if unsafe entry.next >= 0 { unsafe links.pointer(Int(entry.next)).pointee.previous = link }
      unsafe pointer.pointee.firstReader = link
    }
    unsafe links[Int(link)] = entry
    return link
  }

  mutating func remove(_ link: Int32) {
    let entry = unsafe links[Int(link)]
    let record = unsafe records.list.pointer(Int(entry.record))
    if unsafe entry.previous >= 0 {
      unsafe links.pointer(Int(entry.previous)).pointee.next = entry.next
    } else if unsafe entry.isWriter {
      unsafe record.pointee.firstWriter = entry.next
    } else {
      unsafe record.pointee.firstReader = entry.next
    }
    if unsafe entry.next >= 0 {
      unsafe links.pointer(Int(entry.next)).pointee.previous = entry.previous
    } else if unsafe entry.isWriter {
      unsafe record.pointee.lastWriter = entry.previous
    }
    if unsafe entry.isWriter && record.pointee.key == entry.key {
      if unsafe record.pointee.firstWriter >= 0 {
        let other = unsafe links.pointer(Int(record.pointee.firstWriter))
        unsafe record.pointee.key = unsafe other.pointee.key
      } else {
        if unsafe record.pointee.isOrdered { unsafe unorder(entry.record) }
        unsafe record.pointee.key = nil
      }
    }
    unsafe links.pointer(Int(link)).pointee.next = freeLink
    unsafe freeLink = link
    if unsafe record.pointee.firstReader < 0 && record.pointee.firstWriter < 0 { unsafe removeRecord(entry.record) }
  }

  private mutating func takeLink() -> Int32 {
    if unsafe freeLink >= 0 {
      let link = unsafe freeLink
      unsafe freeLink = unsafe links.pointer(Int(link)).pointee.next
      return link
    }
    unsafe links.append(
      KeyLink(node: -1, record: -1, next: -1, previous: -1, isWriter: false, keyCount: 0, key: nil))
    return unsafe Int32(links.count - 1)
  }

  // MARK: The table

  private mutating func findOrAdd(_ hash: UInt64) -> Int32 {
    let found = unsafe find(hash)
    if found >= 0 { return found }
    if unsafe (recordCount + 1) * 2 > table.count { unsafe resize(max(64, table.count * 2)) }
    let record: Int32
    if unsafe freeRecord >= 0 {
      record = unsafe freeRecord
      unsafe freeRecord = unsafe records.list.pointer(Int(record)).pointee.firstReader
      unsafe records.list[Int(record)] = unsafe KeyRecord(hash: hash, key: nil, keyCount: 0)
    } else {
      unsafe records.list.append(KeyRecord(hash: hash, key: nil, keyCount: 0))
      record = unsafe Int32(records.list.count - 1)
    }
    unsafe recordCount += 1
    unsafe enter(record, hash)
    return record
  }

  @inline(__always)
  private func enter(_ record: Int32, _ hash: UInt64) {
    let mask = unsafe table.count - 1
    var place = Int(truncatingIfNeeded: hash) & mask
    while unsafe table[place] != 0 { place = (place + 1) & mask }
    unsafe table[place] = UInt32(bitPattern: record + 1)
  }

  private mutating func resize(_ size: Int) {
    let old = unsafe table
    unsafe table = unsafe RawList<UInt32>()
    unsafe table.reserve(size)
    for _ in 0..<size { unsafe table.append(0) }
    for place in unsafe 0..<old.count where unsafe old[place] != 0 {
      let record = unsafe Int32(bitPattern: old[place]) - 1
      unsafe enter(record, records.list.pointer(Int(record)).pointee.hash)
    }
    var forgotten = unsafe old
    unsafe forgotten.free()
  }

  private mutating func removeRecord(_ record: Int32) {
    let mask = unsafe table.count - 1
    var place = unsafe Int(truncatingIfNeeded: records.list.pointer(Int(record)).pointee.hash) & mask
    while unsafe table[place] != UInt32(bitPattern: record + 1) { place = (place + 1) & mask }
    // Move up what was displaced, so that searches find no gap.
    var gap = place
    var probe = (place + 1) & mask
    while unsafe table[probe] != 0 {
      let other = unsafe Int(table[probe]) - 1
      let home = unsafe Int(truncatingIfNeeded: records.list.pointer(other).pointee.hash) & mask
      if (probe - home) & mask >= (probe - gap) & mask {
        unsafe table[gap] = unsafe table[probe]
        gap = probe
      }
      probe = (probe + 1) & mask
    }
    unsafe table[gap] = 0
    unsafe records.list.pointer(Int(record)).pointee.firstReader = freeRecord
    unsafe freeRecord = record
    unsafe recordCount -= 1
    if unsafe recordCount == 0 { unsafe shrink() }
  }

  /// Nothing is kept: gives back what a burst took.
  private mutating func shrink() {
    unsafe ordered.free()
    unsafe isOrdered = false
    guard unsafe records.list.count > 4096 else { return }
    unsafe records.list.free()
    unsafe table.free()
    unsafe links.free()
    unsafe freeRecord = -1
    unsafe freeLink = -1
  }

  // MARK: Order

  /// Makes `ordered` complete.
  mutating func orderWriters() {
    unsafe unasked = 0
    guard unsafe !isOrdered else { return }
    unsafe isOrdered = true
    for place in unsafe 0..<table.count where unsafe table[place] != 0 {
      let record = unsafe Int32(bitPattern: table[place]) - 1
      if unsafe records.list.pointer(Int(record)).pointee.firstWriter >= 0 { unsafe order(record) }
    }
  }

  private mutating func order(_ record: Int32) {
    if unsafe unasked > 10_000 {
      unsafe disorder()
      return
    }
    let identifier = UInt32(bitPattern: record)
    unsafe ordered.insert(records.key(identifier), identifier: identifier, in: records)
    unsafe records.list.pointer(Int(record)).pointee.isOrdered = true
  }

  private mutating func disorder() {
    unsafe isOrdered = false
    unsafe ordered.free()
    for index in unsafe 0..<records.list.count { unsafe records.list.pointer(index).pointee.isOrdered = false }
  }

  private mutating func unorder(_ record: Int32) {
    let identifier = UInt32(bitPattern: record)
    unsafe ordered.remove(at: ordered.lowerBound(records.key(identifier), in: records))
    unsafe records.list.pointer(Int(record)).pointee.isOrdered = false
  }
}

/// The records as the source of the index's keys.
@unsafe
struct KeyRecords: KeySource {
  var list = unsafe RawList<KeyRecord>()

  @inline(__always)
  func key(_ identifier: UInt32) -> UnsafeRawBufferPointer { unsafe list.key(identifier) }
}
