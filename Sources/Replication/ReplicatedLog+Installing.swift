internal import Encoding
package import Log
internal import Paxos
package import Platform
internal import Synchronization

// The switch to another node's checkpoint, on the delivery's thread.
//
//   1  `members` notes the checkpoint as incoming                                  durable
//   2  the state becomes it                                                        one manifest edit
//   3  commits of this node that were proposed and undecided are unknown for good  (the checkpoint does not tell)
//   4  the replica is told; the log begins behind it                               one frame (INSTALL), by the disk's thread
//   5  `members` has it as the point where the log begins; the files that came go
//
// A crash before 2 finds the old state; after 2 `adoptIncoming` finds that the state is the incoming checkpoint and carries
// out what is missing of 4 and 5. Should the replica not take it in 4, since it learnt of more meanwhile, then the log has,
// or will have, what lies before the point, and the state is merely ahead: `applied` passes over it.

extension ReplicatedLog {
  /// Installs what was received, if something was.
  func installReceived() {
    let waiting = installing.withLock { installing in
      defer { installing = nil }
      return installing
    }
    guard let waiting else { return }
    do throws(InstallFailure) {
      try install(waiting.received)
      waiting.finish("")
    } catch { waiting.finish(error.reason) }
  }

  private struct InstallFailure: Error { var reason: String }

  private func install(_ received: ReceivedCheckpoint) throws(InstallFailure) {
    let description = received.description
    let checkpoint = description.checkpoint
    let slot = checkpoint.point.slot
    let known = core.withLock { core in core.replica.chain(at: slot).map { ($0, slot <= core.replica.chosen) } }
    if let (chain, isChosen) = known, isChosen, chain != .zero, chain != checkpoint.point.chain {
      let reason =
        "at slot \(slot) node \(received.from.rawValue) has another history than this node, and both count as chosen"
      stopForGood(reason)
      throw InstallFailure(reason: reason)
    }
    if let details = description.details {
      guard slot >= stateSlot.load(ordering: .acquiring) else {
        throw InstallFailure(reason: "slot \(slot) is behind this node's own state")
      }
      try replaceState(details, description)
    } else if options.keepsState {
      // The point stands for state that is here: see to it that it is in tables.
      do throws(DeliveryError) { _ = try state.pinCheckpoint() } catch { throw InstallFailure(reason: "\(error)") }
    } else {
      pass(through: slot, description.version)
    }
    let position = LogPosition(slot: Slot(slot), chain: Hash128(checkpoint.point.chain), version: description.version)
    let isTaken = enter { core -> Bool in
      core.installPosition = position
      return core.replica.install(checkpoint, now: self.now, into: &core.front)
    }
    if !isTaken {
      enter { $0.replica.transferProgress(failed: true, now: self.now) }
      request(.installed(nil))
    }
    if lacksState.exchange(false, ordering: .acquiringAndReleasing) {
      options.note("the state is whole again: node \(received.from.rawValue)'s checkpoint at slot \(slot)")
    }
    if description.details != nil {
      transfers.withLock { $0.installed += 1 }
      options.note("the checkpoint at slot \(slot) is installed; the log goes on from there")
    }
  }

  private func replaceState(
    _ details: [UInt8], _ description: CheckpointDescription
  ) throws(InstallFailure) {
    do throws(LogError) {
      try writeMembers { $0.incoming = description.checkpoint }
    } catch { throw InstallFailure(reason: "\(error)") }
    let point = description.checkpoint.point
    do throws(DeliveryError) {
      try state.install(
        details, slot: Slot(point.slot), version: description.version, chain: Hash128(point.chain),
        directory: incomingDirectory)
    } catch { throw InstallFailure(reason: "\(error)") }
    let undecided = commits.withLock { $0.takeProposed() }
    for group in undecided {
      group.finish(
        .failure(
          .unknown("leadership was lost, and this node learnt what was chosen only as part of another node's state")))
    }
    if let first = undecided.first { state.discard(from: first.batches.firstVersion) }
    pass(through: point.slot, description.version)
  }

  private func pass(through slot: SlotNumber, _ version: Version) {
    delivered.store(max(version.rawValue, delivered.load(ordering: .relaxed)), ordering: .releasing)
    applied.store(max(slot, applied.load(ordering: .relaxed)), ordering: .releasing)
    stateSlot.store(max(slot, stateSlot.load(ordering: .relaxed)), ordering: .releasing)
    appliedWord.increment()
    appliedWord.wake()
  }

  /// The log begins behind the checkpoint, durably: the list of members may say so, and what came in may go.
  func finishInstallation(_ checkpoint: Checkpoint?, _ truncation: inout Truncation) {
    do throws(LogError) {
      try writeMembers { members in
        if let checkpoint, checkpoint.point.slot > members.checkpoint?.point.slot ?? 0 {
          members.checkpoint = checkpoint
        }
        members.incoming = nil
      }
      if let checkpoint { truncation.through = Slot(checkpoint.point.slot) }
    } catch {
      // The next start does it.
      return
    }
    Self.removeIncoming(log.directory, disk)
  }

  /// Changes the list of members, in memory and then durably.
  func writeMembers(_ change: (inout Members) -> Void) throws(LogError) {
    try memberWrites.withLock { (_: inout Void) throws(LogError) in
      let next = members.withLock { members in
        change(&members)
        return members
      }
      try next.write(log.directory, disk: disk)
    }
  }

  static func removeIncoming(_ directory: String, _ disk: any Disk) {
    let incoming = directory + "/incoming"
    guard let names = try? disk.list(incoming) else { return }
    for name in names { try? disk.remove("\(incoming)/\(name)") }
    try? disk.remove(incoming)
  }

  /// Brings log and list of members in line with a checkpoint that the state became just before a crash.
  ///
  /// - Parameter installed: where the state stands, with the chain that an installed checkpoint leaves there.
  package static func adoptIncoming(
    _ members: inout Members, _ log: Log, installed: LogPosition, disk: any Disk
  ) throws(LogError) {
    guard let incoming = members.incoming else { return }
    let point = incoming.point
    if installed.slot.rawValue == point.slot, Chain(installed.chain) == point.chain,
      point.slot > members.checkpoint?.point.slot ?? 0
    {
      if log.base.slot.rawValue < point.slot {
        let keeps = log.chain(at: installed.slot).map { Chain($0) == point.chain } ?? false
        try log.install(CheckpointMark(position: installed, manifest: 0), keepsLog: keeps)
      }
      members.checkpoint = incoming
    }
    members.incoming = nil
    try members.write(log.directory, disk: disk)
  }
}
