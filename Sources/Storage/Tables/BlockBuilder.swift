internal import Encoding

/// Puts a block together (format: `Block.swift`); the memory is kept between blocks.
///
/// Entries arrive in internal order; the builder does not check that (`TableBuilder` does).
struct BlockBuilder: ~Copyable {
  private var restarts: [UInt32] = []
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

  init(restartInterval: Int) {
    precondition(restartInterval > 0)
    self.restartInterval = restartInterval
  }

  var isEmpty: Bool { pending.isEmpty }
  var count: Int { pending.count }

  /// About what `finish` will return.
  var estimatedSizeBytes: Int { bodies.count + pending.count * 6 + (pending.count / restartInterval + 1) * 12 + 16 }

  mutating func add(
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
    let isRestart = sinceRestart == 1
    pending.append(
      Pending(
        head: UInt64(shared) << 1 | (isDelete ? 1 : 0), unshared: isRestart ? -1 - key.count : key.count - shared,
        valueLength: value.count, version: version))
    unsafe bodies.append(UnsafeRawBufferPointer(rebasing: key[shared...]))
    unsafe bodies.append(value)
    unsafe lastKey.replace(with: key, keeping: shared)
    minimumVersion = min(minimumVersion, version)
    maximumVersion = max(maximumVersion, version)
  }

  /// Appends the block to `output`, and begins anew.
  mutating func finish(into output: inout ByteWriter) {
    let start = output.count
    output.bytes.reserveCapacity(start + estimatedSizeBytes)
    var body = 0
    let base = pending.isEmpty ? 0 : minimumVersion
    for entry in pending {
      // A negative length marks a restart: its key is whole.
      let unshared = entry.unshared < 0 ? -1 - entry.unshared : entry.unshared
      if entry.unshared < 0 { restarts.append(UInt32(output.count - start)) }
      output.append(varint: entry.head)
      output.append(varint: UInt64(unshared))
      output.append(varint: UInt64(entry.valueLength))
      output.append(varint: entry.version - base)
      let end = body + unshared + entry.valueLength
      unsafe bodies.bytes.withUnsafeBytes { unsafe output.append(UnsafeRawBufferPointer(rebasing: $0[body..<end])) }
      body = end
    }
    let common = unsafe firstKey.withUnsafeBytes { first in
      unsafe lastKey.withUnsafeBytes { last in
        let count = pending.isEmpty ? 0 : min(first.count, last.count)
        return count == 0 ? 0 : unsafe commonLength(first.baseAddress!, last.baseAddress!, count)
      }
    }
    for offset in restarts { output.append(integer: offset) }
    for offset in restarts {
      let prefix = unsafe output.bytes.withUnsafeBytes { all -> UInt64 in
        let block = unsafe UnsafeRawBufferPointer(rebasing: all[start...])
        var reader = unsafe ByteReader(block, offset: Int(offset))
        // What was just written can be read.
        _ = unsafe try! reader.readVarint()
        let length = unsafe Int(try! reader.readVarint())
        _ = unsafe try! reader.readVarint()
        _ = unsafe try! reader.readVarint()
        return unsafe searchPrefix(try! reader.readBytes(length), after: common)
      }
      output.append(integer: prefix)
    }
    output.append(integer: base)
    output.append(integer: UInt32(common))
    output.append(integer: UInt32(restarts.count))
    reset()
  }

  private mutating func reset() {
    pending.removeAll(keepingCapacity: true)
    bodies.removeAll()
    restarts.removeAll(keepingCapacity: true)
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
