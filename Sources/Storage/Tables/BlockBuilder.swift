package import Encoding

/// Puts a block together (format: `Block.swift`); the memory is kept between blocks.
///
/// Entries arrive in internal order; the builder does not check that (`TableBuilder` does).
package struct BlockBuilder: ~Copyable {
  private var firstKey: [UInt8] = []
  private var lastKey: [UInt8] = []
  private var sinceRestart = 0
  private let restartInterval: Int
  /// Entries keep their versions relative to the smallest, which is known only at the end; until then they are here.
  private var pending: [Pending] = []
  /// Keys' rests and values, in order.
  private var bodies = ByteWriter()

  private struct Pending {
    var head: UInt64
    var unshared: Int
    var valueLength: Int
    var version: UInt64
  }

  private(set) var minimumVersion = UInt64.max
  private(set) var maximumVersion: UInt64 = 0

  package init(restartInterval: Int) {
    precondition(restartInterval > 0)
    self.restartInterval = restartInterval
  }

  var isEmpty: Bool { pending.isEmpty }
  var count: Int { pending.count }

  /// About what `finish` will return.
  var estimatedSizeBytes: Int { bodies.count + pending.count * 6 + (pending.count / restartInterval + 1) * 12 + 16 }

  package mutating func add(
    _ key: UnsafeRawBufferPointer, version: UInt64, isDelete: Bool, value: UnsafeRawBufferPointer
  ) {
    var shared = 0
    if sinceRestart == restartInterval || pending.isEmpty {
      sinceRestart = 0
    } else {
      shared = unsafe lastKey.withUnsafeBytes { last in
        let count = min(last.count, key.count)
        return count == 0 ? 0 : unsafe commonLength(last.baseAddress!, key.baseAddress!, count)
      }
    }
    if pending.isEmpty { unsafe firstKey.replace(with: key, keeping: 0) }
    sinceRestart += 1
    pending.append(
      Pending(
        head: UInt64(shared) << 1 | (isDelete ? 1 : 0), unshared: key.count - shared, valueLength: value.count,
        version: version))
    unsafe bodies.append(UnsafeRawBufferPointer(rebasing: key[shared...]))
    unsafe bodies.append(value)
    unsafe lastKey.replace(with: key, keeping: shared)
    minimumVersion = min(minimumVersion, version)
    maximumVersion = max(maximumVersion, version)
  }

  /// Appends the block to `output`, and begins anew.
  package mutating func finish(into output: inout ByteWriter) {
    let base = pending.isEmpty ? 0 : minimumVersion
    let common = commonPrefixLength
    let restartCount = (pending.count + restartInterval - 1) / restartInterval
    output.bytes.reserveCapacity(output.count + estimatedSizeBytes)
    output.append(integer: UInt32(restartCount))
    output.append(integer: UInt32(common))
    output.append(integer: base)
    let prefixes = output.count
    let offsets = prefixes + 8 * restartCount
    output.append([UInt8](repeating: 0, count: 12 * restartCount))
    let start = output.count
    var body = 0
    for (index, entry) in pending.enumerated() {
      if index % restartInterval == 0 {
        let restart = index / restartInterval
        let prefix = unsafe bodies.bytes.withUnsafeBytes {
          unsafe searchPrefix(UnsafeRawBufferPointer(rebasing: $0[body..<body + entry.unshared]), after: common)
        }
        output.patch(integer: prefix, at: prefixes + 8 * restart)
        output.patch(integer: UInt32(output.count - start), at: offsets + 4 * restart)
      }
      output.append(varint: entry.head)
      output.append(varint: UInt64(entry.unshared))
      output.append(varint: UInt64(entry.valueLength))
      output.append(varint: entry.version - base)
      let end = body + entry.unshared + entry.valueLength
      unsafe bodies.bytes.withUnsafeBytes { unsafe output.append(UnsafeRawBufferPointer(rebasing: $0[body..<end])) }
      body = end
    }
    reset()
  }

  /// What the first key and the last have in common, and so all between them.
  private var commonPrefixLength: Int {
    if pending.isEmpty { return 0 }
    return unsafe firstKey.withUnsafeBytes { first in
      unsafe lastKey.withUnsafeBytes { last in
        let count = min(first.count, last.count)
        return count == 0 ? 0 : unsafe commonLength(first.baseAddress!, last.baseAddress!, count)
      }
    }
  }

  private mutating func reset() {
    pending.removeAll(keepingCapacity: true)
    bodies.removeAll()
    sinceRestart = 0
    minimumVersion = UInt64.max
    maximumVersion = 0
    // A block around one huge value must not keep its memory for ever.
    if bodies.bytes.capacity > 4 << 20 { bodies = ByteWriter() }
  }
}

extension [UInt8] {
  /// Becomes `key`, of which it has the first `count` bytes already.
  mutating func replace(with key: UnsafeRawBufferPointer, keeping count: Int) {
    removeLast(self.count - count)
    unsafe append(contentsOf: UnsafeRawBufferPointer(rebasing: key[count...]))
  }
}
