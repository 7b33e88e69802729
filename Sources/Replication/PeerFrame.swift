internal import Encoding
internal import Log
package import Paxos

// What passes between peers on a stream.
//
//   offset size field
//   0      4    magic "SYP", then the format: 1
//   4      4    size of the head
//   8      4    size of the records behind it
//   12     4    CRC-32C of bytes 0 ..< 12, the kind, and the head
//   16     1    kind: 1 hello, 2 message, 3 pulse, 4 transfer (TransferMessage.swift; its bytes stand where records would)
//   17     7    zero
//   24     …    head: a hello, a message (MessageCodec.swift), nothing
//   …      …    records, one after the other, as the log stores them (Record.swift); each has its own length and hashes
//
//   hello   cluster high u64, low u64 (zero while not founded) · node u64 · flags u8 (1 founded, 2 witness, 4 asks to join, 8 only to learn,
//           16 has been a member, 32 asks to leave)
//           three texts: address for peers, address for clients, secret of its relays' tickets · founders: u16 count, node u64 and witness u8 each ·
//           peers: u16 count, node u64 and two texts each                       (text: u16 length, UTF-8)
//
// Little endian. Who connects says hello, is answered with hello, and from then on sends; the other side only sends a
// pulse now and then, by which the first knows that it is heard. So there is a stream for each direction, and a one-way
// partition is one.
//
// 1. Nothing is allocated for a length before it is found to be possible for the frame's kind. Who has not said hello can say
//    nothing else: an unknown peer makes a node keep a hello's bytes, not those of records.
// 2. A frame that cannot be decoded ends the connection.

/// The head of a frame.
struct PeerFrameHeader {
  enum Kind: UInt8 { case hello = 1, message = 2, pulse = 3, transfer = 4 }

  static let sizeBytes = 24
  static let magic: UInt32 = 0x01_50_59_53
  static let largestHeadSizeBytes = 256 << 10
  /// A synchronisation carries at most what is unchosen, and one record beyond.
  static let largestRecordsSizeBytes = 160 << 20

  var kind: Kind
  var headSizeBytes: Int
  var recordsSizeBytes: Int
  var checksum: UInt32

  /// Nil: not a frame.
  init?(_ bytes: UnsafeRawBufferPointer) {
    func word(_ offset: Int) -> UInt32 {
      UInt32(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
    guard bytes.count >= Self.sizeBytes, word(0) == Self.magic, let kind = unsafe Kind(rawValue: bytes[16]) else {
      return nil
    }
    self.kind = kind
    headSizeBytes = Int(word(4))
    recordsSizeBytes = Int(word(8))
    checksum = word(12)
    let largest =
      switch kind {
      case .hello, .pulse: 0
      case .transfer: TransferMessage.largestChunkSizeBytes
      case .message: Self.largestRecordsSizeBytes
      }
    guard headSizeBytes <= Self.largestHeadSizeBytes, recordsSizeBytes <= largest else { return nil }
  }

  static func checksum(_ frame: UnsafeRawBufferPointer) -> UInt32 {
    let start = unsafe crc32c(UnsafeRawBufferPointer(rebasing: frame[0..<12]))
    return unsafe crc32c(UnsafeRawBufferPointer(rebasing: frame[16...]), seed: start)
  }

  /// A frame without its records.
  static func frame(_ kind: Kind, head: [UInt8], recordsSizeBytes: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: sizeBytes)
    bytes.reserveCapacity(sizeBytes + head.count)
    func put(_ value: UInt32, at offset: Int) {
      for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt32(8 * index)) }
    }
    put(magic, at: 0)
    put(UInt32(head.count), at: 4)
    put(UInt32(recordsSizeBytes), at: 8)
    bytes[16] = kind.rawValue
    bytes += head
    put(unsafe bytes.withUnsafeBytes { unsafe checksum($0) }, at: 12)
    return bytes
  }
}

/// Who a node is, as it tells its peers.
package struct PeerHello: Hashable, Sendable {
  package var members: Members
  package var isWitness = false
  package var asksToJoin = false
  /// Does not want to vote.
  package var staysLearner = false
  /// Wants to be removed, which only another node's leadership can do.
  package var asksToLeave = false
  package var peerAddress = ""
  package var clientAddress = ""
  /// With what peers sign the tickets of sessions that they relay to this node. Drawn anew at each start.
  package var relaySecret = ""

  package init(members: Members) { self.members = members }

  func encoded() -> [UInt8] {
    var bytes: [UInt8] = []
    func put<T: FixedWidthInteger>(_ value: T) {
      for shift in stride(from: 0, to: T.bitWidth, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> T(shift))) }
    }
    func put(_ text: String) {
      let utf8 = Array(text.utf8.prefix(1024))
      put(UInt16(utf8.count))
      bytes += utf8
    }
    put(members.cluster.high)
    put(members.cluster.low)
    put(members.node.rawValue)
    let flags = [
      members.isFounded, isWitness, asksToJoin, staysLearner, members.hasBeenMember, asksToLeave,
    ]
    put(flags.enumerated().reduce(0) { $0 | ($1.element ? 1 << UInt8($1.offset) : 0) } as UInt8)
    put(peerAddress)
    put(clientAddress)
    put(relaySecret)
    put(UInt16(members.founders.count))
    for founder in members.founders {
      put(founder.node.rawValue)
      put(founder.isWitness ? 1 : 0 as UInt8)
    }
    let peers = members.peers.prefix(ReceivedHello.mostPeers)
    put(UInt16(peers.count))
    for peer in peers {
      put(peer.node.rawValue)
      put(peer.peerAddress)
      put(peer.clientAddress)
    }
    return bytes
  }
}

/// A peer's hello, decoded: what it says of itself and of others.
package struct ReceivedHello: Hashable, Sendable {
  package var cluster: ClusterID
  package var node: NodeID
  package var isFounded: Bool
  package var isWitness: Bool
  package var asksToJoin: Bool
  package var staysLearner: Bool
  /// Has been a member of the cluster once.
  package var hasBeenMember: Bool
  package var asksToLeave: Bool
  package var peerAddress: String
  package var clientAddress: String
  package var relaySecret: String
  package var founders: [Members.Founder] = []
  package var peers: [Members.Peer] = []

  static let mostPeers = 1024

  /// Nil: malformed.
  init?(decoding bytes: UnsafeRawBufferPointer) {
    var at = 0
    func take<T: FixedWidthInteger>(_: T.Type) -> T? {
      guard bytes.count - at >= MemoryLayout<T>.size else { return nil }
      defer { at += MemoryLayout<T>.size }
      return T(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: at, as: T.self))
    }
    func text() -> String? {
      guard let count = take(UInt16.self).map(Int.init), count <= 1024, bytes.count - at >= count else { return nil }
      defer { at += count }
      return unsafe String(decoding: bytes[at..<at + count], as: UTF8.self)
    }
    guard let high = take(UInt64.self), let low = take(UInt64.self), let node = take(UInt64.self), node != 0,
      let flags = take(UInt8.self), let peerAddress = text(), let clientAddress = text(),
      let relaySecret = text(), let founderCount = take(UInt16.self), founderCount <= 64
    else { return nil }
    cluster = ClusterID(high: high, low: low)
    self.node = NodeID(node)
    isFounded = flags & 1 != 0
    isWitness = flags & 2 != 0
    asksToJoin = flags & 4 != 0
    staysLearner = flags & 8 != 0
    hasBeenMember = flags & 16 != 0
    asksToLeave = flags & 32 != 0
    self.peerAddress = peerAddress
    self.clientAddress = clientAddress
    self.relaySecret = relaySecret
    for _ in 0..<founderCount {
      guard let node = take(UInt64.self), let witness = take(UInt8.self) else { return nil }
      founders.append(Members.Founder(node: NodeID(node), isWitness: witness != 0))
    }
    guard let count = take(UInt16.self), count <= Self.mostPeers else { return nil }
    for _ in 0..<count {
      guard let node = take(UInt64.self), let one = text(), let two = text() else { return nil }
      peers.append(Members.Peer(node: NodeID(node), peerAddress: one, clientAddress: two))
    }
    guard at == bytes.count else { return nil }
  }
}

/// Cuts what a stream brings into frames.
struct PeerFrameParser {
  enum Frame {
    case hello(ReceivedHello)
    case message(Message, [StoredRecord])
    case transfer(TransferMessage)
    case pulse
  }

  /// Why a connection must end.
  struct Malformed: Error { var reason: String }

  private var kept: [UInt8] = []
  private var start = 0
  private var hasHello = false

  /// Takes bytes and calls `body` for each frame that is complete.
  mutating func receive(_ bytes: UnsafeRawBufferPointer, _ body: (Frame) -> Void) throws(Malformed) {
    unsafe kept.append(contentsOf: bytes)
    var frames: [Frame] = []
    var failure: Malformed?
    unsafe kept.withUnsafeBytes { all in
      while failure == nil {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: all[start...])
        guard rest.count >= PeerFrameHeader.sizeBytes else { return }
        guard let header = unsafe PeerFrameHeader(rest) else { return failure = Malformed(reason: "no frame") }
        guard hasHello || header.kind == .hello else { return failure = Malformed(reason: "something before a hello") }
        let head = PeerFrameHeader.sizeBytes + header.headSizeBytes
        guard rest.count >= head + header.recordsSizeBytes else { return }
        let frame = unsafe UnsafeRawBufferPointer(rebasing: rest[0..<head + header.recordsSizeBytes])
        do throws(Malformed) { frames.append(unsafe try Self.decode(frame, header)) } catch { return failure = error }
        hasHello = true
        start += frame.count
      }
    }
    if start == kept.count {
      kept.removeAll(keepingCapacity: kept.capacity <= 1 << 20)
      start = 0
    } else if start > 1 << 16 {
      kept.removeFirst(start)
      start = 0
    }
    for frame in frames { body(frame) }
    if let failure { throw failure }
  }

  private static func decode(_ frame: UnsafeRawBufferPointer, _ header: PeerFrameHeader) throws(Malformed) -> Frame {
    let headEnd = PeerFrameHeader.sizeBytes + header.headSizeBytes
    guard unsafe PeerFrameHeader.checksum(UnsafeRawBufferPointer(rebasing: frame[0..<headEnd])) == header.checksum
    else {
      throw Malformed(reason: "a frame with a wrong checksum")
    }
    let head = unsafe UnsafeRawBufferPointer(rebasing: frame[PeerFrameHeader.sizeBytes..<headEnd])
    switch header.kind {
    case .pulse: return .pulse
    case .transfer:
      let body = unsafe UnsafeRawBufferPointer(rebasing: frame[headEnd...])
      do throws(DecodingError) { return .transfer(unsafe try TransferMessage(head: head, body: body)) } catch {
        throw Malformed(reason: "a word about a checkpoint that cannot be decoded: \(error)")
      }
    case .hello:
      guard let hello = unsafe ReceivedHello(decoding: head) else { throw Malformed(reason: "a malformed hello") }
      return .hello(hello)
    case .message:
      guard let message = unsafe try? Message(decoding: [UInt8](head)[...]) else {
        throw Malformed(reason: "a message that cannot be decoded")
      }
      var records: [StoredRecord] = []
      var at = headEnd
      while at < frame.count {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: frame[at...])
        guard let record = unsafe try? RecordHeader(from: rest), record.recordSizeBytes <= rest.count,
          let stored = unsafe try? StoredRecord(
            copying: UnsafeRawBufferPointer(rebasing: rest[0..<record.recordSizeBytes]))
        else { throw Malformed(reason: "a record that cannot be decoded") }
        records.append(stored)
        at += record.recordSizeBytes
      }
      return .message(message, records)
    }
  }
}
