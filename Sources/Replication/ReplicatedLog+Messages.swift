internal import Encoding
internal import Log
package import Paxos
internal import Platform
internal import Synchronization

// What peers send, on its way to the replica, or to the threads that serve and take checkpoints.

extension ReplicatedLog: PeerReceiver {
  package func receive(_ message: Message, records: [StoredRecord], isFollowed: Bool) {
    guard Self.areLinked(message, records) else { return }
    let entries = records.map(\.entry)
    var stop: Configuration?
    if let last = records.last, last.header.type == .configurationStop {
      guard let next = last.announced else { return }
      stop = next
    }
    enter(caring: isFollowed ? [.writes, .delivery] : []) { core in
      core.incoming = records
      core.replica.receive(message, records: entries, stop: stop, now: self.now, into: &core.front)
    }
  }

  package func endTurn() {
    guard isDiskBusy.load(ordering: .acquiring) || isDeliveryDue else { return }
    EventLoop.mayRunLong()
    if isDiskBusy.load(ordering: .acquiring) { writeHere() }
    if isDeliveryDue { deliverHere() }
  }

  package func receive(_ transfer: TransferMessage) {
    guard transfer.cluster == cluster, transfer.to == node, transfer.from != node else { return }
    switch transfer.content {
    case .want, .read, .done:
      outbox.withLock { if $0.count < 4096 { $0.append(transfer) } }
      sendingWord.increment()
      sendingWord.wake(1)
    case .digest(let digest): compare(digest, of: transfer.from, at: transfer.id)
    case .offer, .chunk, .refused:
      inbox.withLock { if $0.id == transfer.id, $0.messages.count < 64 { $0.messages.append(transfer) } }
      receivingWord.increment()
      receivingWord.wake(1)
    }
  }

  /// Whether the records follow one another, and the first of them what the message names.
  private static func areLinked(_ message: Message, _ records: [StoredRecord]) -> Bool {
    guard let first = records.first else { return true }
    let previous: ChainPoint
    switch message.content {
    case .notice(.accept(let accept)): previous = accept.previous
    case .notice(.acceptSync(let sync)): previous = sync.previous
    case .notice(.records(let reply)): previous = reply.previous
    default: return false
    }
    guard Chain(first.header.previousChain) == previous.chain, first.slot == previous.slot &+ 1 else { return false }
    for (one, next) in zip(records, records.dropFirst())
    where next.header.previousChain != one.chain
      || next.header.firstVersion != one.header.lastVersion.advanced(by: 1)
    { return false }
    return true
  }
}
