// Messages, configurations and checkpoints as bytes. Little endian, fixed widths, one form for each value: what decodes
// encodes to the same bytes. The records of a message travel behind it, as the log stores them.
//
//   message        u8 version = 1 · u8 kind · cluster u64 high, u64 low · u64 from · u64 to · u32 epoch · content by kind
//   ballot         u32 epoch · u8 priority · u64 round · u64 node                                       (21 bytes)
//   point          u64 slot · u64 chain high · u64 chain low                                            (24 bytes)
//   configuration  u32 epoch · u8 q1 · u8 q2 · three lists (voters, witnesses, learners): u8 count · u64 each
//   checkpoint     point · configuration · point where its epoch began
//
// Kinds, in this order: 1 heartbeat, 2 heartbeatAck, 3 preVote, 4 preVoteReply, 5 prepare, 6 refused, 7 acceptSync,
// 8 accept, 9 acceptRefused, 10 fetch, 11 records, 12 missing, 13 checkpointOffer, 14 startEpoch, 15 readIndex,
// 16 readIndexReply, 17 timeoutNow, 32 promise, 33 accepted. Frames, lengths and checksums are the transport's.

/// Why bytes are not a message. Nothing was changed; drop the connection.
package enum MessageCodecError: Error, Hashable, Sendable {
  case truncated(at: Int)
  case trailingBytes(Int)
  case unknownVersion(UInt8)
  case unknownKind(UInt8)
  /// A value that no sender writes.
  case invalid(at: Int)
}

extension Message {
  /// Longer messages are never written: a promise with all its samples is the longest.
  package static let largestSizeBytes = 4096

  package func encode(into bytes: inout [UInt8]) {
    var writer = MessageWriter(bytes: bytes)
    bytes = []
    writer.put(1 as UInt8)
    let kindAt = writer.bytes.count
    writer.put(0 as UInt8)
    writer.put(cluster.high)
    writer.put(cluster.low)
    writer.put(from.rawValue)
    writer.put(to.rawValue)
    writer.put(epoch)
    switch content {
    case .notice(let notice): writer.bytes[kindAt] = writer.put(notice)
    case .vow(let vow): writer.bytes[kindAt] = writer.put(vow)
    }
    bytes = writer.bytes
  }

  package init(decoding bytes: ArraySlice<UInt8>) throws(MessageCodecError) {
    var reader = MessageReader(bytes: bytes)
    let version = try reader.byte()
    guard version == 1 else { throw .unknownVersion(version) }
    let kind = try reader.byte()
    cluster = ClusterID(high: try reader.long(), low: try reader.long())
    from = NodeID(try reader.long())
    to = NodeID(try reader.long())
    epoch = try reader.word()
    if let vow = try reader.vow(kind) {
      content = .vow(vow)
    } else {
      content = .notice(try reader.notice(kind))
    }
    try reader.finish()
  }
}

extension Configuration {
  package func encode(into bytes: inout [UInt8]) {
    var writer = MessageWriter(bytes: bytes)
    bytes = []
    writer.put(self)
    bytes = writer.bytes
  }

  package init(decoding bytes: ArraySlice<UInt8>) throws(MessageCodecError) {
    var reader = MessageReader(bytes: bytes)
    self = try reader.configuration()
    try reader.finish()
  }
}

extension Checkpoint {
  package func encode(into bytes: inout [UInt8]) {
    var writer = MessageWriter(bytes: bytes)
    bytes = []
    writer.put(point)
    writer.put(configuration)
    writer.put(epochStart)
    bytes = writer.bytes
  }

  package init(decoding bytes: ArraySlice<UInt8>) throws(MessageCodecError) {
    var reader = MessageReader(bytes: bytes)
    point = try reader.point()
    configuration = try reader.configuration()
    epochStart = try reader.point()
    try reader.finish()
  }
}

private struct MessageWriter {
  var bytes: [UInt8]

  mutating func put<T: FixedWidthInteger>(_ value: T) {
    var rest = value.littleEndian
    for _ in 0..<MemoryLayout<T>.size {
      bytes.append(UInt8(truncatingIfNeeded: rest))
      rest = T.bitWidth > 8 ? rest >> 8 : 0
    }
  }
  mutating func put(_ value: Bool) { bytes.append(value ? 1 : 0) }
  mutating func put(_ ballot: Ballot) {
    put(ballot.epoch)
    put(ballot.priority)
    put(ballot.round)
    put(ballot.node.rawValue)
  }
  mutating func put(_ point: ChainPoint) {
    put(point.slot)
    put(point.chain.high)
    put(point.chain.low)
  }
  mutating func put(_ configuration: Configuration) {
    put(configuration.epoch)
    put(UInt8(configuration.electionQuorum))
    put(UInt8(configuration.replicationQuorum))
    for list in [configuration.voters, configuration.witnesses, configuration.learners] {
      put(UInt8(list.count))
      for node in list { put(node.rawValue) }
    }
  }

  mutating func put(_ vow: Vow) -> UInt8 {
    switch vow {
    case .promise(let promise):
      put(promise.ballot)
      put(promise.accepted)
      put(promise.last)
      put(promise.chosen)
      put(promise.certain)
      put(promise.leaseRemaining)
      put(promise.leaseBallot)
      put(UInt8(truncatingIfNeeded: promise.samples.count))
      for sample in promise.samples { put(sample) }
      return 32
    case .accepted(let accepted):
      put(accepted.ballot)
      put(accepted.point)
      return 33
    }
  }

  mutating func put(_ notice: Notice) -> UInt8 {
    switch notice {
    case .heartbeat(let beat):
      put(beat.ballot)
      for flag in [beat.leads, beat.quorumConnected, beat.diskFit, beat.leased] { put(flag) }
      put(beat.round)
      put(beat.chosen)
      put(beat.checkpoint)
      put(beat.sent)
      put(beat.echo)
      return 1
    case .heartbeatAck(let ack):
      put(ack.ballot)
      put(ack.round)
      put(ack.granted)
      put(ack.accepted)
      put(ack.last)
      put(ack.sent)
      put(ack.echo)
      return 2
    case .preVote(let ballot):
      put(ballot)
      return 3
    case .preVoteReply(let ballot, let granted, let promised):
      put(ballot)
      put(granted)
      put(promised)
      return 4
    case .prepare(let ballot, let released):
      put(ballot)
      put(released)
      return 5
    case .refused(let promised):
      put(promised)
      return 6
    case .acceptSync(let sync):
      put(sync.ballot)
      put(sync.previous)
      put(sync.adoptedEnd)
      put(sync.chosen)
      return 7
    case .accept(let accept):
      put(accept.ballot)
      put(accept.previous)
      put(accept.chosen)
      return 8
    case .acceptRefused(let ballot, let accepted, let last):
      put(ballot)
      put(accepted)
      put(last)
      return 9
    default: return putRest(notice)
    }
  }

  private mutating func putRest(_ notice: Notice) -> UInt8 {
    switch notice {
    case .fetch(let fetch):
      put(fetch.purpose.rawValue)
      put(fetch.previous)
      put(fetch.ballot)
      put(fetch.end)
      return 10
    case .records(let reply):
      put(reply.purpose.rawValue)
      put(reply.previous)
      put(reply.ballot)
      put(reply.chosen)
      return 11
    case .missing(let purpose, let slot):
      put(purpose.rawValue)
      put(slot)
      return 12
    case .checkpointOffer(let point):
      put(point)
      return 13
    case .startEpoch(let point):
      put(point)
      return 14
    case .readIndex(let nonce):
      put(nonce)
      return 15
    case .readIndexReply(let nonce, let slot):
      put(nonce)
      put(slot != nil)
      put(slot ?? 0)
      return 16
    case .timeoutNow(let ballot, let last):
      put(ballot)
      put(last)
      return 17
    default: preconditionFailure("written by put(_:)")
    }
  }
}

private struct MessageReader {
  let bytes: ArraySlice<UInt8>
  var at: Int

  init(bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    at = bytes.startIndex
  }

  var offset: Int { at - bytes.startIndex }

  mutating func byte() throws(MessageCodecError) -> UInt8 {
    guard at < bytes.endIndex else { throw .truncated(at: offset) }
    defer { at += 1 }
    return bytes[at]
  }
  mutating func flag() throws(MessageCodecError) -> Bool {
    let value = try byte()
    guard value <= 1 else { throw .invalid(at: offset - 1) }
    return value == 1
  }
  mutating func word() throws(MessageCodecError) -> UInt32 {
    var value: UInt32 = 0
    for k in 0..<4 { value |= UInt32(try byte()) << UInt32(8 * k) }
    return value
  }
  mutating func long() throws(MessageCodecError) -> UInt64 {
    guard bytes.endIndex - at >= 8 else { throw .truncated(at: offset) }
    var value: UInt64 = 0
    for k in 0..<8 { value |= UInt64(bytes[at + k]) << UInt64(8 * k) }
    at += 8
    return value
  }
  mutating func ballot() throws(MessageCodecError) -> Ballot {
    let epoch = try word()
    let priority = try byte()
    let round = try long()
    return Ballot(epoch: epoch, round: round, priority: priority, node: NodeID(try long()))
  }
  mutating func point() throws(MessageCodecError) -> ChainPoint {
    let slot = try long()
    let high = try long()
    return ChainPoint(slot: slot, chain: Chain(high: high, low: try long()))
  }
  mutating func purpose() throws(MessageCodecError) -> Fetch.Purpose {
    guard let purpose = Fetch.Purpose(rawValue: try byte()) else { throw .invalid(at: offset - 1) }
    return purpose
  }
  mutating func configuration() throws(MessageCodecError) -> Configuration {
    let start = offset
    let epoch = try word()
    let q1 = Int(try byte())
    let q2 = Int(try byte())
    var lists: [[NodeID]] = []
    for _ in 0..<3 {
      let count = Int(try byte())
      guard count <= Configuration.largestLearnerCount else { throw .invalid(at: offset - 1) }
      var list: [NodeID] = []
      for _ in 0..<count { list.append(NodeID(try long())) }
      // One form only: the lists are ascending.
      for (a, b) in zip(list, list.dropFirst()) where a >= b { throw .invalid(at: start) }
      lists.append(list)
    }
    do {
      return try Configuration(
        epoch: epoch, voters: lists[0], witnesses: lists[1], learners: lists[2], electionQuorum: q1,
        replicationQuorum: q2)
    } catch { throw .invalid(at: start) }
  }
  mutating func finish() throws(MessageCodecError) {
    guard at == bytes.endIndex else { throw .trailingBytes(bytes.endIndex - at) }
  }

  mutating func vow(_ kind: UInt8) throws(MessageCodecError) -> Vow? {
    switch kind {
    case 32:
      var promise = Promise(
        ballot: try ballot(), accepted: try ballot(), last: try long(), chosen: try long(), samples: [],
        certain: try flag(), leaseRemaining: try long(), leaseBallot: try ballot())
      let count = Int(try byte())
      guard count <= 80 else { throw .invalid(at: offset - 1) }
      for _ in 0..<count { promise.samples.append(try point()) }
      return .promise(promise)
    case 33: return .accepted(Accepted(ballot: try ballot(), point: try point()))
    default: return nil
    }
  }

  mutating func notice(_ kind: UInt8) throws(MessageCodecError) -> Notice {
    switch kind {
    case 1:
      let ballot = try ballot()
      let leads = try flag()
      let connected = try flag()
      let fit = try flag()
      let leased = try flag()
      return .heartbeat(
        Heartbeat(
          ballot: ballot, leads: leads, quorumConnected: connected, diskFit: fit, round: try long(),
          chosen: try point(), checkpoint: try long(), sent: try long(), echo: try long(), leased: leased))
    case 2:
      return .heartbeatAck(
        HeartbeatAck(
          ballot: try ballot(), round: try long(), granted: try flag(), accepted: try ballot(), last: try long(),
          sent: try long(), echo: try long()))
    case 3: return .preVote(ballot: try ballot())
    case 4: return .preVoteReply(ballot: try ballot(), granted: try flag(), promised: try ballot())
    case 5: return .prepare(ballot: try ballot(), released: try ballot())
    case 6: return .refused(promised: try ballot())
    case 7:
      return .acceptSync(
        AcceptSync(ballot: try ballot(), previous: try point(), adoptedEnd: try long(), chosen: try long()))
    case 8: return .accept(Accept(ballot: try ballot(), previous: try point(), chosen: try long()))
    case 9: return .acceptRefused(ballot: try ballot(), accepted: try ballot(), last: try long())
    case 10:
      return .fetch(Fetch(purpose: try purpose(), previous: try point(), ballot: try ballot(), end: try point()))
    case 11:
      return .records(
        Records(purpose: try purpose(), previous: try point(), ballot: try ballot(), chosen: try long()))
    case 12: return .missing(purpose: try purpose(), previousSlot: try long())
    case 13: return .checkpointOffer(try point())
    case 14: return .startEpoch(try point())
    case 15: return .readIndex(nonce: try long())
    case 16:
      let nonce = try long()
      let present = try flag()
      let slot = try long()
      guard present || slot == 0 else { throw .invalid(at: offset - 8) }
      return .readIndexReply(nonce: nonce, slot: present ? slot : nil)
    case 17: return .timeoutNow(ballot: try ballot(), last: try long())
    default: throw .unknownKind(kind)
    }
  }
}
