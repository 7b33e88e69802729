internal import Encoding
internal import Paxos
internal import Platform
internal import Synchronization

// Reads that miss nothing acknowledged anywhere (Replica+Lease.swift): by the lease, or by a round of messages.

/// What became of asking for a read.
package enum ReadConfirmation: Sendable {
  /// The snapshot that was taken before shows everything.
  case fresh
  /// A snapshot taken from now on does.
  case readAgain
}

extension ReplicatedLog {
  /// Asked after a snapshot was taken on this node. Blocks for a round of messages where there is no lease.
  ///
  /// - Throws: `notLeading` where this node does not lead, or no leader is there.
  package func confirmRead() throws(ReplicationFailure) -> ReadConfirmation {
    // The clock is read after the snapshot was taken.
    if now < leaseUntil.load(ordering: .acquiring) { return .fresh }
    return try EventLoop.blocking { () throws(ReplicationFailure) in try confirmByRound() }
  }

  /// Asks the leader, wherever it is, how far it is, and waits until that is applied here: what is read then misses nothing
  /// that was acknowledged before.
  package func confirmLocalRead() throws(ReplicationFailure) {
    if now < leaseUntil.load(ordering: .acquiring) { return }
    let deadline = clock.bootNanoseconds &+ options.readTimeoutNanoseconds
    try EventLoop.blocking { () throws(ReplicationFailure) in
      while true {
        let seen = standingWord.load()
        if isStopping.load(ordering: .acquiring) { throw .closed }
        if try readByRound(deadline) { return }
        let left = deadline &- clock.bootNanoseconds
        guard left < UInt64.max / 2, left > 0 else { throw .notLeading("no leader answers") }
        standingWord.wait(while: seen, timeoutNanoseconds: min(left, 10_000_000))
      }
    }
  }

  /// Waits until this node has applied everything through `version`.
  package func waitUntilDelivered(_ version: UInt64) throws(ReplicationFailure) {
    if delivered.load(ordering: .acquiring) >= version { return }
    let deadline = clock.bootNanoseconds &+ options.readTimeoutNanoseconds
    try EventLoop.blocking { () throws(ReplicationFailure) in
      while delivered.load(ordering: .acquiring) < version {
        let seen = appliedWord.load()
        if delivered.load(ordering: .acquiring) >= version { return }
        if isStopping.load(ordering: .acquiring) { throw .closed }
        let left = deadline &- clock.bootNanoseconds
        guard left < UInt64.max / 2, left > 0 else {
          throw .notLeading("version \(delivered.load(ordering: .acquiring)) is applied here")
        }
        appliedWord.wait(while: seen, timeoutNanoseconds: left)
      }
    }
  }

  private func confirmByRound() throws(ReplicationFailure) -> ReadConfirmation {
    let deadline = clock.bootNanoseconds &+ options.readTimeoutNanoseconds
    while true {
      let seen = standingWord.load()
      if isStopping.load(ordering: .acquiring) { throw .closed }
      if takesCommits.load(ordering: .acquiring), try readByRound(deadline) { return .readAgain }
      let (leads, leader) = core.withLock { ($0.replica.isLeader, $0.replica.leader) }
      if !leads, let leader, leader != node {
        throw .notLeading("node \(leader.rawValue) leads; this node serves reads of its own state only")
      }
      let left = deadline &- clock.bootNanoseconds
      guard left < UInt64.max / 2, left > 0 else { throw .notLeading("no leader is known") }
      standingWord.wait(while: seen, timeoutNanoseconds: min(left, 50_000_000))
    }
  }

  private func readByRound(_ deadline: UInt64) throws(ReplicationFailure) -> Bool {
    let wait = ReadWait()
    let asked = enter { core -> UInt64? in
      let nonce = core.nextNonce
      core.nextNonce += 1
      core.reads[nonce] = wait
      guard core.replica.read(nonce: nonce, now: self.now, into: &core.front) != nil else { return nonce }
      core.reads[nonce] = nil
      return nil
    }
    guard let nonce = asked else { return false }
    // The answer of a leader that is gone never comes.
    defer { if wait.slot.load(ordering: .acquiring) == 0 { core.withLock { $0.reads[nonce] = nil } } }
    while true {
      let seen = wait.word.load()
      let slot = wait.slot.load(ordering: .acquiring)
      if slot == UInt64.max { return false }
      if slot > 0 {
        try waitUntilApplied(slot, deadline)
        return true
      }
      let left = deadline &- clock.bootNanoseconds
      guard left < UInt64.max / 2, left > 0 else { throw .notLeading("no leader answers") }
      wait.word.wait(while: seen, timeoutNanoseconds: left)
    }
  }

  /// Waits until everything through `slot` is applied here.
  func waitUntilApplied(_ slot: SlotNumber, _ deadline: UInt64) throws(ReplicationFailure) {
    while applied.load(ordering: .acquiring) < slot {
      let seen = appliedWord.load()
      if applied.load(ordering: .acquiring) >= slot { return }
      if isStopping.load(ordering: .acquiring) { throw .closed }
      let left = deadline &- clock.bootNanoseconds
      guard left < UInt64.max / 2, left > 0 else { throw .notLeading("slot \(slot) was not applied in time") }
      appliedWord.wait(while: seen, timeoutNanoseconds: left)
    }
  }

  static func answer(_ wait: ReadWait, _ slot: SlotNumber?) {
    wait.slot.store(slot.map { max($0, 1) } ?? .max, ordering: .releasing)
    wait.word.increment()
    wait.word.wake()
  }

  static func refuse(_ wait: ReadWait) { answer(wait, nil) }
}
