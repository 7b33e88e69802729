internal import Encoding
internal import Glibc

// An entry of a memtable, written once and then never changed; at a multiple of 8 bytes in the arena.
//
//   offset  size  field
//   0       8     version << 8 | kind        (host order: this never leaves memory)
//   8       4     k, the length of the key
//   12      4     v, the length of the value
//   16      k     key
//   16+k    v     value

/// Where an entry's parts are.
enum RecordLayout {
  static let headSizeBytes = 16
}

/// A view of an entry in an arena.
@unsafe
struct MemtableRecord {
  let address: UnsafeRawPointer

  @inline(__always)
  init(_ address: UnsafeRawPointer) { unsafe self.address = address }

  @inline(__always)
  init(_ base: UnsafeMutableRawPointer, _ offset: UInt32) {
    unsafe address = UnsafeRawPointer(arenaAddress(base, offset))
  }

  @inline(__always) private var word: UInt64 { unsafe address.load(as: UInt64.self) }
  @inline(__always) var version: Version { unsafe Version(word >> 8) }
  @inline(__always) var kind: EntryKind { unsafe word & 0xFF == 1 ? .put : .delete }
  @inline(__always) var keyCount: Int { unsafe Int(address.load(fromByteOffset: 8, as: UInt32.self)) }
  @inline(__always) var valueCount: Int { unsafe Int(address.load(fromByteOffset: 12, as: UInt32.self)) }

  @inline(__always) var key: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: address + RecordLayout.headSizeBytes, count: keyCount)
  }

  @inline(__always) var value: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: address + RecordLayout.headSizeBytes + keyCount, count: valueCount)
  }

  /// Neighbours differ at their ends, if anywhere: most comparisons are over after one word.
  @inline(__always)
  func hasSameKey(as other: MemtableRecord) -> Bool {
    let count = unsafe keyCount
    guard unsafe count == other.keyCount else { return false }
    let mine = unsafe address + RecordLayout.headSizeBytes
    let theirs = unsafe other.address + RecordLayout.headSizeBytes
    if count >= 8 {
      let last = count &- 8
      guard
        unsafe (mine + last).loadUnaligned(as: UInt64.self) == (theirs + last).loadUnaligned(as: UInt64.self)
      else { return false }
    }
    return unsafe memcmp(mine, theirs, count) == 0
  }

  /// Writes an entry at `address`.
  @inline(__always)
  static func write(
    _ key: UnsafeRawBufferPointer, _ version: Version, _ kind: EntryKind, _ value: UnsafeRawBufferPointer,
    at address: UnsafeMutableRawPointer
  ) {
    unsafe address.storeBytes(of: version.rawValue << 8 | UInt64(kind.rawValue), as: UInt64.self)
    unsafe address.storeBytes(of: UInt32(truncatingIfNeeded: key.count), toByteOffset: 8, as: UInt32.self)
    unsafe address.storeBytes(of: UInt32(truncatingIfNeeded: value.count), toByteOffset: 12, as: UInt32.self)
    unsafe memcpy(address + RecordLayout.headSizeBytes, key.baseAddress.unsafelyUnwrapped, key.count)
    if value.count > 0 {
      unsafe memcpy(address + RecordLayout.headSizeBytes + key.count, value.baseAddress.unsafelyUnwrapped, value.count)
    }
  }

  /// The order of this entry relative to (key, version), when the first `skip` bytes of both keys and the eight bytes
  /// after them (missing ones read as zero) are known to be equal.
  @inline(__always)
  func compare(_ target: SeekTarget, skip: Int) -> Int {
    let count = unsafe keyCount
    let common = unsafe min(count, target.key.count)
    if common > skip + 8 {
      let order = unsafe memcmp(
        address + RecordLayout.headSizeBytes + skip + 8, target.key.baseAddress.unsafelyUnwrapped + skip + 8,
        common - skip - 8)
      if order != 0 { return Int(order) }
    }
    // Where one key ends within the eight bytes, the other has zeros there: the shorter comes first.
    let order = unsafe count - target.key.count
    if order != 0 { return order }
    let version = unsafe self.version
    return unsafe version > target.version ? -1 : version < target.version ? 1 : 0
  }
}

/// A place in internal order.
@unsafe
struct SeekTarget {
  let key: UnsafeRawBufferPointer
  let version: Version

  @inline(__always)
  init(_ key: UnsafeRawBufferPointer, _ version: Version) {
    unsafe self.key = key
    unsafe self.version = version
  }

  @inline(__always)
  init(_ record: MemtableRecord) { unsafe self.init(record.key, record.version) }

  /// Before every entry of `key`.
  @inline(__always)
  static func before(_ key: UnsafeRawBufferPointer) -> SeekTarget { unsafe SeekTarget(key, Version(UInt64.max)) }

  /// The eight bytes of the key after the first `skip`, big endian, missing ones as zero.
  @inline(__always)
  func head(_ skip: Int) -> UInt64 {
    let left = unsafe key.count - skip
    if left >= 8 {
      return unsafe UInt64(bigEndian: key.loadUnaligned(fromByteOffset: skip, as: UInt64.self))
    }
    var head: UInt64 = 0
    var index = 0
    while index < left {
      head |= unsafe UInt64(key[skip + index]) << UInt64(56 - 8 * index)
      index += 1
    }
    return head
  }
}
