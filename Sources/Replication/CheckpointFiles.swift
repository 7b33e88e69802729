package import Encoding
internal import Paxos

/// A file of a checkpoint.
package struct CheckpointFile: Hashable, Sendable {
  /// Names the content: equal names, equal bytes. Fit to be a file's name.
  package var name: String
  package var sizeBytes: UInt64

  package init(name: String, sizeBytes: UInt64) {
    self.name = name
    self.sizeBytes = sizeBytes
  }
}

/// A node's state as files that stay as they are for as long as this is held.
package protocol PinnedState: AnyObject, Sendable {
  /// Everything through here is in the files, and nothing else.
  var position: (slot: Slot, version: Version) { get }
  /// What whoever installs the files must know; only the state itself reads it.
  var details: [UInt8] { get }
  var files: [CheckpointFile] { get }
  /// Where one of them lies.
  func path(_ index: Int) -> String
}

/// What comes before the files: the point in the log, and the state's own description. Little endian:
///
/// ```
/// u8 version = 1 · u32 length, checkpoint (MessageCodec.swift) · u64 transactions' version there
/// u8 1 if the state's files follow · u32 length, details
/// ```
struct CheckpointDescription: Hashable, Sendable {
  var checkpoint: Checkpoint
  var version: Version
  /// Nil where only the point was asked for.
  var details: [UInt8]?

  func encoded() -> [UInt8] {
    var writer = ByteWriter()
    var point: [UInt8] = []
    checkpoint.encode(into: &point)
    writer.append(1 as UInt8)
    writer.append(integer: UInt32(point.count))
    writer.append(point)
    writer.append(integer: version.rawValue)
    writer.append(details == nil ? 0 : 1 as UInt8)
    writer.append(integer: UInt32(details?.count ?? 0))
    if let details { writer.append(details) }
    return writer.bytes
  }

  init(checkpoint: Checkpoint, version: Version, details: [UInt8]?) {
    self.checkpoint = checkpoint
    self.version = version
    self.details = details
  }

  init(decoding bytes: [UInt8]) throws(DecodingError) {
    let result = unsafe bytes.withUnsafeBytes { bytes -> Result<Self, DecodingError> in
      do throws(DecodingError) { return .success(unsafe try Self(bytes)) } catch { return .failure(error) }
    }
    self = try result.get()
  }

  private init(_ bytes: UnsafeRawBufferPointer) throws(DecodingError) {
    var reader = unsafe ByteReader(bytes)
    guard unsafe try reader.readByte() == 1 else { throw .invalid(offset: 0, reason: "another version") }
    let length = Int(unsafe try reader.readInteger(UInt32.self))
    let point = unsafe Array(try reader.readBytes(length))
    guard let checkpoint = try? Checkpoint(decoding: point[...]) else {
      throw .invalid(offset: 5, reason: "no checkpoint")
    }
    self.checkpoint = checkpoint
    version = Version(unsafe try reader.readInteger(UInt64.self))
    let hasDetails = unsafe try reader.readByte() != 0
    let count = Int(unsafe try reader.readInteger(UInt32.self))
    let details = unsafe Array(try reader.readBytes(count))
    self.details = hasDetails ? details : nil
    guard unsafe reader.isAtEnd else { throw .invalid(offset: bytes.count, reason: "trailing bytes") }
  }
}

/// What catching up and healing did since the node was started.
package struct TransferCounts: Hashable, Sendable {
  /// Checkpoints of other nodes that became this node's state.
  package var installed = 0
  /// Checkpoints sent, and the bytes of files sent and received.
  package var sent = 0
  package var sentSizeBytes: UInt64 = 0
  package var receivedSizeBytes: UInt64 = 0
  /// Damaged records that were replaced by peers' copies.
  package var repairedRecords = 0
  /// Parts of the state that differed between nodes, here or elsewhere.
  package var digestsDiffered = 0
  /// Parts of the state that were found equal on all nodes.
  package var digestsCompared = 0
}

/// Limits bytes in time: a bucket of a fiftieth of a second.
struct RateLimit {
  private var freeAt: UInt64 = 0

  /// How long to wait, in nanoseconds, before `count` bytes may go; they count from then on.
  mutating func delay(for count: Int, sizeBytesPerSecond: UInt64, now: UInt64) -> UInt64 {
    freeAt = max(freeAt, now &- min(now, 20_000_000))
    let delay = freeAt > now ? freeAt - now : 0
    freeAt += UInt64(count) * 1_000_000_000 / max(1, sizeBytesPerSecond)
    return delay
  }
}

/// Tells whether the log grows.
package struct Movement {
  private var slot: UInt64 = 0
  private var movedAt: UInt64?

  package init() {}

  /// Whether it grew within `nanoseconds` before `now`. Unknown counts as yes.
  package mutating func isRecent(_ slot: UInt64, within nanoseconds: UInt64, now: UInt64) -> Bool {
    if slot != self.slot || movedAt == nil { (self.slot, movedAt) = (slot, now) }
    return now &- (movedAt ?? now) < nanoseconds
  }
}
