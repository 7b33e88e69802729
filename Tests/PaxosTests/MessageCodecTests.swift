import Paxos
import Simulation
import Testing

/// Draws messages of every kind, with reasonable and with extreme numbers.
struct MessageDraw {
  var dice: Dice

  mutating func number() -> UInt64 {
    switch dice.below(6) {
    case 0: return 0
    case 1: return UInt64.max - UInt64(dice.below(3))
    case 2: return 1 << 62
    default: return UInt64(dice.below(12))
    }
  }
  mutating func ballot() -> Ballot {
    Ballot(
      epoch: dice.chance(50) ? .max : UInt32(dice.below(3)), round: number(), priority: UInt8(dice.below(256)),
      node: NodeID(UInt64(dice.below(5))))
  }
  mutating func point() -> ChainPoint {
    ChainPoint(slot: number(), chain: Chain(high: number(), low: number()))
  }
  mutating func flag() -> Bool { dice.chance(500) }
  mutating func purpose() -> Fetch.Purpose { [.learn, .adopt, .repair][dice.below(3)] }

  mutating func content() -> Message.Content {
    switch dice.below(19) {
    case 0:
      return .notice(
        .heartbeat(
          Heartbeat(
            ballot: ballot(), leads: flag(), quorumConnected: flag(), diskFit: flag(), round: number(),
            chosen: point(), checkpoint: number(), sent: number(), echo: number(), leased: flag())))
    case 1:
      return .notice(
        .heartbeatAck(
          HeartbeatAck(
            ballot: ballot(), round: number(), granted: flag(), accepted: ballot(), last: number(), sent: number(),
            echo: number())))
    case 2: return .notice(.preVote(ballot: ballot()))
    case 3: return .notice(.preVoteReply(ballot: ballot(), granted: flag(), promised: ballot()))
    case 4: return .notice(.prepare(ballot: ballot(), released: ballot()))
    case 5: return .notice(.refused(promised: ballot()))
    case 6:
      return .notice(
        .acceptSync(AcceptSync(ballot: ballot(), previous: point(), adoptedEnd: number(), chosen: number())))
    case 7: return .notice(.accept(Accept(ballot: ballot(), previous: point(), chosen: number())))
    case 8: return .notice(.acceptRefused(ballot: ballot(), accepted: ballot(), last: number()))
    case 9:
      return .notice(.fetch(Fetch(purpose: purpose(), previous: point(), ballot: ballot(), end: point())))
    case 10:
      return .notice(.records(Records(purpose: purpose(), previous: point(), ballot: ballot(), chosen: number())))
    case 11: return .notice(.missing(purpose: purpose(), previousSlot: number()))
    case 12: return .notice(.checkpointOffer(point()))
    case 13: return .notice(.startEpoch(point()))
    case 14: return .notice(.readIndex(nonce: number()))
    case 15: return .notice(.readIndexReply(nonce: number(), slot: flag() ? number() : nil))
    case 16: return .notice(.timeoutNow(ballot: ballot(), last: number()))
    case 17:
      let samples = (0..<dice.below(5)).map { _ in point() }
      return .vow(
        .promise(
          Promise(
            ballot: ballot(), accepted: ballot(), last: number(), chosen: number(), samples: samples, certain: flag(),
            leaseRemaining: number(), leaseBallot: ballot())))
    default: return .vow(.accepted(Accepted(ballot: ballot(), point: point())))
    }
  }

  mutating func message(to node: NodeID = NodeID(1), cluster: ClusterID) -> Message {
    Message(
      cluster: cluster, from: NodeID(UInt64(2 + dice.below(3))), to: node, epoch: UInt32(dice.below(3)),
      content: content())
  }
}

@Suite struct MessageCodecTests {
  static let cluster = ClusterID(high: 7, low: 8)

  @Test func roundTrip() throws {
    var draw = MessageDraw(dice: Dice(seed: 1))
    for _ in 0..<4_000 {
      let message = draw.message(cluster: Self.cluster)
      var bytes: [UInt8] = []
      message.encode(into: &bytes)
      #expect(try Message(decoding: bytes[...]) == message)
      #expect(bytes.count <= Message.largestSizeBytes)
      // No proper prefix is a message.
      let cut = draw.dice.below(bytes.count)
      #expect(throws: MessageCodecError.self) { try Message(decoding: bytes.prefix(cut)) }
      #expect(throws: MessageCodecError.self) { try Message(decoding: (bytes + [0])[...]) }
    }
  }

  /// Bytes flipped at random decode to a message that encodes to the same bytes, or are refused; never a trap.
  @Test func fuzz() {
    var draw = MessageDraw(dice: Dice(seed: 2))
    for _ in 0..<20_000 {
      var bytes: [UInt8] = []
      if draw.dice.chance(800) {
        draw.message(cluster: Self.cluster).encode(into: &bytes)
        for _ in 0...draw.dice.below(3) { bytes[draw.dice.below(bytes.count)] = UInt8(draw.dice.below(256)) }
      } else {
        bytes = (0..<draw.dice.below(200)).map { _ in UInt8(draw.dice.below(256)) }
        if !bytes.isEmpty { bytes[0] = 1 }
      }
      guard let message = try? Message(decoding: bytes[...]) else { continue }
      var again: [UInt8] = []
      message.encode(into: &again)
      #expect(again == bytes)
    }
  }

  @Test func configurationsAndCheckpoints() throws {
    let configuration = try Configuration(
      epoch: 3, voters: [NodeID(9), NodeID(2)], witnesses: [NodeID(5)], learners: [NodeID(7)])
    var bytes: [UInt8] = []
    configuration.encode(into: &bytes)
    #expect(try Configuration(decoding: bytes[...]) == configuration)
    let point = ChainPoint(slot: 5, chain: Chain(high: 1, low: 2))
    let checkpoint = Checkpoint(point: point, configuration: configuration, epochStart: point)
    var more: [UInt8] = []
    checkpoint.encode(into: &more)
    #expect(try Checkpoint(decoding: more[...]) == checkpoint)
    // Quorums that do not meet are refused however they arrive.
    bytes[4] = 1
    bytes[5] = 1
    #expect(throws: MessageCodecError.self) { try Configuration(decoding: bytes[...]) }
    var dice = Dice(seed: 3)
    for _ in 0..<20_000 {
      var spoilt = more
      for _ in 0...dice.below(3) { spoilt[dice.below(spoilt.count)] = UInt8(dice.below(256)) }
      guard let decoded = try? Checkpoint(decoding: spoilt[...]) else { continue }
      var again: [UInt8] = []
      decoded.encode(into: &again)
      #expect(again == spoilt)
    }
  }
}
