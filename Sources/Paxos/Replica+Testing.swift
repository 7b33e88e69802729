// For tests: campaign at will, and a digest of the state without its clocks, for searching all interleavings.

extension Replica {
  /// Campaigns without asking first. Safe at any time; it costs the leader its leadership.
  package mutating func campaignNow(now time: Ticks, into actions: inout Actions) {
    advance(to: time)
    guard mayVote, role != .candidate || ownPromise != nil else { return }
    campaign(&actions)
  }

  /// Shows what is chosen, as if every lease that was reported had run out; the clock stays.
  package mutating func expose(now time: Ticks, into actions: inout Actions) {
    guard role == .leader, time >= exposeAfter else { return }
    exposeAfter = 0
    countChosen(&actions)
  }

  /// Durable under the accepted ballot through here; what the leader counts as its own acceptance.
  package var ownDurable: SlotNumber { durableLast }

  /// Everything that decides what this replica will do, but for clocks.
  package func hashState(into hasher: inout Hasher) {
    hasher.combine(id)
    hasher.combine(promised)
    hasher.combine(accepted)
    hasher.combine(log.base)
    var slot = log.base.slot + 1
    while slot <= log.last {
      hasher.combine(log.chain(at: slot))
      slot += 1
    }
    hasher.combine(chosen)
    hasher.combine(counted)
    hasher.combine(role)
    hasher.combine(configuration.epoch)
    hasher.combine(damaged)
    hasher.combine(tailCertain)
    hasher.combine(durableLast)
    hasher.combine(sequence - completedSequence)
    hasher.combine(adoptingFrom)
    hasher.combine(ownPromise != nil)
    hasher.combine(adoptedEnd)
    hasher.combine(greatestRound)
    for peer in peers {
      hasher.combine(peer.promise)
      hasher.combine(peer.match)
      hasher.combine(peer.next)
      switch peer.progress {
      case .probing: hasher.combine(0)
      case .syncing: hasher.combine(1)
      case .streaming: hasher.combine(2)
      }
    }
  }
}
