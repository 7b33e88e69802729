package import Encoding
package import Paxos

// What two nodes say to each other while one gives the other its checkpoint. It is no part of the protocol that decides
// anything: whatever is lost or forged here costs time only, for every file is verified against the description, and the
// description against the chain.
//
//   receiver                                   sender
//   want(minimum) ───────────────────────────▶ flushes, pins its tables
//               ◀─────────────────────────────  offer(size and hash of the description)     or refused(why)
//   read(file, offset, count) ───────────────▶                      several at a time; file 0 is the description
//               ◀─────────────────────────────  chunk(file, offset, bytes)
//   done ────────────────────────────────────▶ lets go; after a minute without a word it lets go by itself
//
// The head of a frame (PeerFrame.swift, kind 4), little endian; a chunk's bytes follow it where a message has its records:
//
//   u8 version = 1 · u8 kind · cluster u64 high, u64 low · u64 from · u64 to · u64 id of the transfer · by kind:
//   1 want     u64 smallest slot that is of use · u8 1 if tables are wanted, 0 for the description alone
//   2 offer    u32 size of the description · hash u64 low, u64 high
//   3 read     u32 file · u64 offset · u32 count
//   4 chunk    u32 file · u64 offset · u32 count · u32 CRC-32C of the bytes
//   5 refused  u16 length · text
//   6 done
//   7 digest   u64 version · u64 keys · u64 low, u64 high: of the part that the CHECKSUM record at slot "id" names
//              (StateDigests.swift); no part of a transfer

/// One word about a transfer.
package struct TransferMessage: Hashable, Sendable {
  package enum Content: Hashable, Sendable {
    case want(minimum: SlotNumber, tables: Bool)
    case offer(sizeBytes: UInt32, hash: Hash128)
    case read(file: UInt32, offset: UInt64, count: UInt32)
    case chunk(file: UInt32, offset: UInt64, bytes: [UInt8])
    case refused(String)
    case done
    case digest(PartDigest)
  }

  package var cluster: ClusterID
  package var from: NodeID
  package var to: NodeID
  /// Drawn by the receiver: what belongs to an earlier attempt is told by it.
  package var id: UInt64
  package var content: Content

  package static let largestChunkSizeBytes = 256 << 10
  package static let largestDescriptionSizeBytes = 256 << 20

  package init(cluster: ClusterID, from: NodeID, to: NodeID, id: UInt64, content: Content) {
    self.cluster = cluster
    self.from = from
    self.to = to
    self.id = id
    self.content = content
  }

  /// The bytes behind the head.
  var body: [UInt8] { if case .chunk(_, _, let bytes) = content { bytes } else { [] } }

  /// The head, without a chunk's bytes.
  func encodedHead() -> [UInt8] {
    var writer = ByteWriter()
    writer.append(1 as UInt8)
    switch content {
    case .want: writer.append(1 as UInt8)
    case .offer: writer.append(2 as UInt8)
    case .read: writer.append(3 as UInt8)
    case .chunk: writer.append(4 as UInt8)
    case .refused: writer.append(5 as UInt8)
    case .done: writer.append(6 as UInt8)
    case .digest: writer.append(7 as UInt8)
    }
    for word in [cluster.high, cluster.low, from.rawValue, to.rawValue, id] { writer.append(integer: word) }
    switch content {
    case .want(let minimum, let tables):
      writer.append(integer: minimum)
      writer.append(tables ? 1 : 0 as UInt8)
    case .offer(let size, let hash):
      writer.append(integer: size)
      writer.append(integer: hash.low)
      writer.append(integer: hash.high)
    case .read(let file, let offset, let count):
      writer.append(integer: file)
      writer.append(integer: offset)
      writer.append(integer: count)
    case .chunk(let file, let offset, let bytes):
      writer.append(integer: file)
      writer.append(integer: offset)
      writer.append(integer: UInt32(bytes.count))
      writer.append(integer: crc32c(bytes))
    case .refused(let text):
      let utf8 = Array(text.utf8.prefix(1024))
      writer.append(integer: UInt16(utf8.count))
      writer.append(utf8)
    case .digest(let digest):
      for word in [digest.version, digest.keys, digest.low, digest.high] { writer.append(integer: word) }
    case .done: break
    }
    return writer.bytes
  }

  /// Decodes a head with the bytes behind it.
  init(head: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer) throws(DecodingError) {
    var reader = unsafe ByteReader(head)
    guard unsafe try reader.readByte() == 1 else { throw .invalid(offset: 0, reason: "another version") }
    let kind = unsafe try reader.readByte()
    cluster = ClusterID(
      high: unsafe try reader.readInteger(UInt64.self), low: unsafe try reader.readInteger(UInt64.self))
    from = NodeID(unsafe try reader.readInteger(UInt64.self))
    to = NodeID(unsafe try reader.readInteger(UInt64.self))
    id = unsafe try reader.readInteger(UInt64.self)
    switch kind {
    case 1:
      let minimum = unsafe try reader.readInteger(UInt64.self)
      content = .want(minimum: minimum, tables: unsafe try reader.readByte() != 0)
    case 2:
      let size = unsafe try reader.readInteger(UInt32.self)
      guard Int(size) <= Self.largestDescriptionSizeBytes else {
        throw .invalid(offset: 42, reason: "impossible length")
      }
      let low = unsafe try reader.readInteger(UInt64.self)
      content = .offer(sizeBytes: size, hash: Hash128(low: low, high: unsafe try reader.readInteger(UInt64.self)))
    case 3:
      let file = unsafe try reader.readInteger(UInt32.self)
      let offset = unsafe try reader.readInteger(UInt64.self)
      let count = unsafe try reader.readInteger(UInt32.self)
      guard Int(count) <= Self.largestChunkSizeBytes else { throw .invalid(offset: 54, reason: "impossible length") }
      content = .read(file: file, offset: offset, count: count)
    case 4:
      let file = unsafe try reader.readInteger(UInt32.self)
      let offset = unsafe try reader.readInteger(UInt64.self)
      let count = unsafe try reader.readInteger(UInt32.self)
      let checksum = unsafe try reader.readInteger(UInt32.self)
      guard Int(count) == body.count, body.count <= Self.largestChunkSizeBytes else {
        throw .invalid(offset: 54, reason: "a chunk of another length")
      }
      guard unsafe crc32c(body) == checksum else { throw .invalid(offset: 58, reason: "a chunk with a wrong checksum") }
      content = .chunk(file: file, offset: offset, bytes: unsafe Array(body))
    case 5:
      let count = Int(unsafe try reader.readInteger(UInt16.self))
      content = .refused(unsafe String(decoding: try reader.readBytes(count), as: UTF8.self))
    case 6: content = .done
    case 7:
      let version = unsafe try reader.readInteger(UInt64.self)
      let keys = unsafe try reader.readInteger(UInt64.self)
      let low = unsafe try reader.readInteger(UInt64.self)
      let high = unsafe try reader.readInteger(UInt64.self)
      content = .digest(PartDigest(version: version, keys: keys, low: low, high: high))
    default: throw .invalid(offset: 1, reason: "unknown kind \(kind)")
    }
    guard unsafe reader.isAtEnd, unsafe kind == 4 || body.isEmpty else {
      throw .invalid(offset: head.count, reason: "trailing bytes")
    }
  }
}
