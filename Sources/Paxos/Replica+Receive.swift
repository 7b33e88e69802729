// The door for messages. What is malformed, foreign, stale or hostile is refused here without a change of state.

/// Why a message was not looked at.
package enum MessageRefusal: Error, Hashable, Sendable {
  case foreignCluster
  case notForThisNode
  /// Records that are not contiguous, or a number beyond all reason.
  case malformed
  /// Of another epoch than this node's, and of no use across epochs.
  case otherEpoch
}

extension Replica {
  /// A message, with the entries of the records that came with it.
  /// - Parameters:
  ///   - records: verified by the driver: payload hashes, the link of the first record to the chain value that the
  ///     message names as previous, and the links between them.
  ///   - stop: the configuration announced by the last record, if that is a stop record.
  /// - Returns: why it was refused, or nil.
  @discardableResult
  package mutating func receive(
    _ message: Message, records: [Entry] = [], stop: Configuration? = nil, now time: Ticks, into actions: inout Actions
  ) -> MessageRefusal? {
    guard message.cluster == cluster else { return .foreignCluster }
    guard message.to == id, message.from != id else { return .notForThisNode }
    guard isWellFormed(message, records) else { return .malformed }
    advance(to: time)
    switch message.content {
    case .vow(let vow):
      guard message.epoch == configuration.epoch else { return .otherEpoch }
      switch vow {
      case .promise(let promise): receivePromise(promise, from: message.from, &actions)
      case .accepted(let accepted): receiveAccepted(accepted, from: message.from, &actions)
      }
      return nil
    case .notice(let notice):
      if message.epoch != configuration.epoch {
        return receiveAcrossEpochs(notice, records, stop, from: message.from, epoch: message.epoch, &actions)
      }
      receive(notice, records, stop, from: message.from, epoch: message.epoch, &actions)
      return nil
    }
  }

  private mutating func receive(
    _ notice: Notice, _ records: [Entry], _ stop: Configuration?, from node: NodeID, epoch: UInt32,
    _ actions: inout Actions
  ) {
    switch notice {
    case .heartbeat(let beat): receiveHeartbeat(beat, from: node, epoch: epoch, &actions)
    case .heartbeatAck(let ack): receiveHeartbeatAck(ack, from: node, &actions)
    case .preVote(let ballot): receivePreVote(ballot, from: node, &actions)
    case .preVoteReply(let ballot, let granted, let promised):
      receivePreVoteReply(ballot, granted: granted, promised: promised, from: node, &actions)
    case .prepare(let ballot, let released):
      receivePrepare(ballot, released: released, from: node, &actions)
    case .refused(let promised): receiveRefused(promised, from: node, &actions)
    case .acceptSync(let sync): receiveAcceptSync(sync, records: records, stop: stop, from: node, &actions)
    case .accept(let accept): receiveAccept(accept, records: records, stop: stop, from: node, &actions)
    case .acceptRefused(let ballot, let accepted, let last):
      receiveAcceptRefused(ballot, accepted: accepted, last: last, from: node, &actions)
    case .fetch(let fetch): receiveFetch(fetch, from: node, &actions)
    case .records(let reply):
      receiveRecords(reply, records: records, stop: stop, from: node, epoch: epoch, &actions)
    case .missing: if fetchPending?.from == node { fetchPending = nil }
    case .checkpointOffer(let point): receiveCheckpointOffer(point, from: node, &actions)
    case .startEpoch(let point): receiveStartEpoch(point, from: node, &actions)
    case .readIndex(let nonce): receiveReadIndex(nonce, from: node, &actions)
    case .readIndexReply(let nonce, let slot):
      guard node == leader else { return }
      actions.reads.append(ReadAnswer(nonce: nonce, slot: slot))
    case .timeoutNow(let ballot, let last): receiveTimeoutNow(ballot, last: last, from: node, &actions)
    }
  }

  /// Only facts about what is chosen hold across epochs.
  private mutating func receiveAcrossEpochs(
    _ notice: Notice, _ records: [Entry], _ stop: Configuration?, from node: NodeID, epoch: UInt32,
    _ actions: inout Actions
  ) -> MessageRefusal? {
    switch notice {
    case .heartbeat, .fetch, .checkpointOffer, .missing:
      receive(notice, records, stop, from: node, epoch: epoch, &actions)
    case .records(let reply) where reply.purpose != .adopt:
      receive(notice, records, stop, from: node, epoch: epoch, &actions)
    case .startEpoch where epoch > configuration.epoch:
      receive(notice, records, stop, from: node, epoch: epoch, &actions)
    case .preVote, .prepare, .accept, .acceptSync: break
    default: return .otherEpoch
    }
    // Whoever is behind is told so.
    if epoch < configuration.epoch {
      switch notice {
      case .heartbeat, .preVote, .prepare, .accept, .acceptSync:
        send(.startEpoch(epochStart), to: node, &actions)
      default: break
      }
    }
    return nil
  }

  private func isWellFormed(_ message: Message, _ records: [Entry]) -> Bool {
    guard message.epoch > 0, message.epoch < UInt32.max, ballotIsOfItsEpoch(message) else { return false }
    guard case .notice(let notice) = message.content else {
      switch message.content {
      case .vow(.promise(let promise)):
        return sane(promise.ballot) && sane(promise.accepted) && promise.last < largestNumber
          && promise.chosen <= promise.last && promise.leaseRemaining < largestNumber && records.isEmpty
          && ascending(promise.samples, through: promise.last)
      case .vow(.accepted(let vow)): return sane(vow.ballot) && vow.point.slot < largestNumber && records.isEmpty
      case .notice: return true
      }
    }
    switch notice {
    case .acceptSync(let sync):
      return sane(sync.ballot) && sync.adoptedEnd < largestNumber && contiguous(records, after: sync.previous.slot)
    case .accept(let accept): return sane(accept.ballot) && contiguous(records, after: accept.previous.slot)
    case .records(let reply): return contiguous(records, after: reply.previous.slot)
    default: break
    }
    guard records.isEmpty else { return false }
    switch notice {
    case .heartbeat(let beat):
      return sane(beat.ballot) && beat.chosen.slot < largestNumber && beat.checkpoint < largestNumber
        && beat.sent < largestNumber && beat.echo < largestNumber && beat.round < largestNumber
    case .heartbeatAck(let ack):
      return sane(ack.ballot) && sane(ack.accepted) && ack.last < largestNumber && ack.round < largestNumber
        && ack.sent < largestNumber && ack.echo < largestNumber
    case .preVote(let ballot): return sane(ballot)
    case .preVoteReply(let ballot, _, let promised): return sane(ballot) && sane(promised)
    case .prepare(let ballot, let released): return sane(ballot) && sane(released)
    case .refused(let promised): return sane(promised)
    case .acceptRefused(let ballot, let accepted, let last):
      return sane(ballot) && sane(accepted) && last < largestNumber
    case .fetch(let fetch):
      return sane(fetch.ballot) && fetch.previous.slot < largestNumber && fetch.end.slot < largestNumber
    case .missing(_, let slot): return slot < largestNumber
    case .checkpointOffer(let point), .startEpoch(let point): return point.slot < largestNumber
    case .readIndex: return true
    case .readIndexReply(_, let slot): return (slot ?? 0) < largestNumber
    case .timeoutNow(let ballot, let last): return sane(ballot) && last < largestNumber
    case .acceptSync, .accept, .records: return false
    }
  }

  /// Nobody campaigns or leads in an epoch other than the one it speaks in.
  private func ballotIsOfItsEpoch(_ message: Message) -> Bool {
    guard case .notice(let notice) = message.content else { return true }
    switch notice {
    case .prepare(let ballot, _), .preVote(let ballot), .timeoutNow(let ballot, _):
      return ballot.epoch == message.epoch
    case .accept(let accept): return accept.ballot.epoch == message.epoch
    case .acceptSync(let sync): return sync.ballot.epoch == message.epoch
    case .heartbeat(let beat): return !beat.leads || beat.ballot.epoch == message.epoch
    default: return true
    }
  }

  private func sane(_ ballot: Ballot) -> Bool { ballot.round < largestNumber && ballot.epoch < UInt32.max }

  private func ascending(_ samples: [ChainPoint], through last: SlotNumber) -> Bool {
    guard samples.count <= 80 else { return false }
    var previous: SlotNumber?
    for sample in samples {
      if let previous, sample.slot <= previous { return false }
      previous = sample.slot
    }
    return (previous ?? 0) <= last
  }

  /// Slots follow one another; a stop record, if there is one, is the last.
  private func contiguous(_ records: [Entry], after slot: SlotNumber) -> Bool {
    guard slot < largestNumber, records.count < 1 << 30 else { return false }
    var at = slot
    for i in records.indices {
      at += 1
      if records[i].slot != at || records[i].chain == .zero { return false }
      if records[i].kind == .stop, i != records.count - 1 { return false }
    }
    return true
  }
}
