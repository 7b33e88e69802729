internal import Encoding
internal import Log
package import Paxos
internal import Platform
internal import Synchronization

// Comparing states: see StateDigests.swift.

extension ReplicatedLog {
  /// What the leader has gone through, and what waits to be read here.
  struct Digests: Sendable {
    var table = DigestTable()
    /// The first key of the next part; empty: the state's first.
    var next: [UInt8] = []
    /// The version at which the round before began; when nothing was committed since there is nothing to compare.
    var roundVersion: UInt64?
    var work: [(slot: SlotNumber, held: any HeldState)] = []
    /// What came of it last, by member, as this node decided.
    var checks: [NodeID: StateCheck] = [:]

    mutating func noteChecks(_ now: UInt64) {
      for (node, standing) in table.standing where checks[node]?.slot ?? 0 < standing.slot {
        checks[node] = StateCheck(slot: standing.slot, agrees: standing.agrees, at: now)
      }
    }
  }

  /// How the members' states did when they were last compared, as far as this node knows.
  package var stateChecks: [NodeID: StateCheck] { digests.withLock { $0.checks } }

  /// On the clock's thread: proposes the next part, when it is time.
  func considerDigest() {
    let now = clock.bootNanoseconds
    guard takesCommits.load(ordering: .acquiring), now >= nextDigest.load(ordering: .relaxed) else { return }
    nextDigest.store(now &+ options.digestNanoseconds, ordering: .relaxed)
    let version = delivered.load(ordering: .acquiring)
    let part = digests.withLock { digests -> DigestPart? in
      if digests.next.isEmpty {
        if digests.roundVersion == version { return nil }
        digests.roundVersion = version
      }
      return DigestPart(limitSizeBytes: options.digestSizeBytes, first: digests.next)
    }
    guard let payload = part?.encoded() else { return }
    enter { core in
      guard core.leadership?.isOpen == true, core.replica.proposalRefusal == nil else { return }
      let record = unsafe payload.withUnsafeBytes { bytes in
        unsafe self.makeRecord(
          .checksum, slot: core.replica.last + 1, previous: core.replica.lastChain, origin: core.replica.ballot,
          count: 0, payload: bytes, &core)
      }
      core.incoming.append(record)
      _ = core.replica.propose(record.entry, now: self.now, into: &core.front)
    }
  }

  /// On the delivery's thread, where a CHECKSUM record is applied.
  func holdForDigest(_ record: StoredRecord, _ scratch: inout [UInt8]) {
    // Old ones, applied anew after a restart, nobody compares any more.
    guard options.keepsState, record.slot &+ 4096 > target.load(ordering: .acquiring) else { return }
    var part: DigestPart?
    _ = try? unsafe record.withPayload(&scratch) { bytes throws(DeliveryError) in
      part = unsafe try? DigestPart(decoding: bytes)
    }
    guard let part, let held = state.hold(part) else { return }
    digests.withLock { digests in
      // Who cannot keep up leaves some out.
      if digests.work.count >= 2 { digests.work.removeFirst() }
      digests.work.append((record.slot, held))
    }
    digestWord.increment()
    digestWord.wake(1)
  }

  func digestLoop() {
    while true {
      let seen = digestWord.load()
      if isStopping.load(ordering: .acquiring) { return }
      let work = digests.withLock { $0.work.isEmpty ? nil : $0.work.removeFirst() }
      guard let work else {
        digestWord.wait(while: seen)
        continue
      }
      let result = work.held.digest {
        // A piece of 64 KiB at a time, at 64 MiB/s.
        pacingWord.wait(while: pacingWord.load(), timeoutNanoseconds: 1_000_000)
        return !isStopping.load(ordering: .acquiring)
      }
      guard let (digest, next) = result else { continue }
      digests.withLock { $0.next = next }
      for member in stateKeepers where member != node {
        transport.send(
          TransferMessage(
            cluster: cluster, from: node, to: member, id: work.slot, content: .digest(digest)))
      }
      compare(digest, of: node, at: work.slot)
    }
  }

  /// The members that have state to compare.
  private var stateKeepers: [NodeID] {
    core.withLock { $0.replica.configuration.voters + $0.replica.configuration.learners }
  }

  /// A node's digest is known: this one's, or a peer's.
  func compare(_ digest: PartDigest, of teller: NodeID, at slot: SlotNumber) {
    let members = stateKeepers
    let leader = core.withLock { $0.replica.leader }
    let verdicts = digests.withLock { digests -> [(SlotNumber, DigestTable.Verdict)] in
      digests.table.note(digest, of: teller, at: slot)
      var verdicts: [(SlotNumber, DigestTable.Verdict)] = []
      if teller == node {
        for late in digests.table.undecided(before: slot) {
          verdicts.append(
            (late, digests.table.decide(late, own: node, members: members, leader: leader, isLate: true)))
        }
      }
      verdicts.append(
        (slot, digests.table.decide(slot, own: node, members: members, leader: leader, isLate: false)))
      digests.noteChecks(clock.bootNanoseconds)
      return verdicts
    }
    for (slot, verdict) in verdicts {
      switch verdict {
      case .undecided: break
      case .agreed: transfers.withLock { $0.digestsCompared += 1 }
      case .othersDiffer(let nodes):
        transfers.withLock { $0.digestsDiffered += 1 }
        options.note(
          "at slot \(slot) the state of node \(nodes.map { "\($0.rawValue)" }.joined(separator: ", ")) differs from that of "
            + "this node and those that agree with it")
      case .ownDiffers(let nodes):
        transfers.withLock { $0.digestsDiffered += 1 }
        stateIsDamaged(
          "at slot \(slot) it differs from that of node \(nodes.map { "\($0.rawValue)" }.joined(separator: ", ")), though "
            + "all applied the same log")
      }
    }
  }
}
