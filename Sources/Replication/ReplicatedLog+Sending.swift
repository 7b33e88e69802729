internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Synchronization

// Giving this node's checkpoint to a peer that is too far behind for the log (TransferMessage.swift).
//
// 1. The state is flushed first: the checkpoint is as new as can be, and the log behind it short.
// 2. While a peer takes it, the tables stay, and so does the log behind them (`transferFloor`), within bounds.
// 3. A thread of its own reads the files, at most `checkpointSizeBytesPerSecond` of them; the receiver asks for a few
//    pieces at a time. So a transfer takes a bounded share of disk, network and memory.
// 4. While others commit it is `pacedCheckpointSizeBytesPerSecond` of them, or what it takes to be done in two minutes: what
//    the receiver writes stands before commits on its disk, and perhaps on everybody's.

extension ReplicatedLog {
  /// A checkpoint on its way to a peer.
  struct Outgoing {
    var id: UInt64
    var pinned: (any PinnedState)?
    var description: [UInt8]
    var slot: SlotNumber
    var lastHeard: UInt64
    var open: (index: Int, file: any DiskFile)?

    var sizeBytes: UInt64 {
      var sum: UInt64 = 0
      for file in pinned?.files ?? [] { sum &+= file.sizeBytes }
      return sum
    }
  }

  /// What the thread that sends remembers.
  private struct Sending {
    var outgoing: [NodeID: Outgoing] = [:]
    var limit = RateLimit()
    var movement = Movement()
  }

  private static let silenceNanoseconds: UInt64 = 60_000_000_000
  private static let pauseNanoseconds: UInt64 = 1_000_000_000

  func sendingLoop() {
    var sending = Sending()
    while true {
      let seen = sendingWord.load()
      if isStopping.load(ordering: .acquiring) { break }
      let requests = outbox.withLock { outbox in
        defer { outbox = [] }
        return outbox
      }
      let now = clock.bootNanoseconds
      for (node, one) in sending.outgoing where now &- one.lastHeard > Self.silenceNanoseconds {
        one.open?.file.close()
        sending.outgoing[node] = nil
      }
      transferFloor.store(sending.outgoing.values.map(\.slot).min() ?? .max, ordering: .releasing)
      if requests.isEmpty {
        sendingWord.wait(while: seen, timeoutNanoseconds: sending.outgoing.isEmpty ? 0 : 1_000_000_000)
        continue
      }
      for request in requests where !isStopping.load(ordering: .acquiring) { answer(request, &sending) }
    }
    for one in sending.outgoing.values { one.open?.file.close() }
  }

  /// How many bytes a second a checkpoint of so many may take now.
  private func rate(_ sizeBytes: UInt64, _ movement: inout Movement) -> UInt64 {
    let isMoving = movement.isRecent(
      target.load(ordering: .acquiring), within: options.settings.election * 1000, now: clock.bootNanoseconds)
    let most = options.checkpointSizeBytesPerSecond
    return isMoving ? min(most, max(options.pacedCheckpointSizeBytesPerSecond, sizeBytes / 120)) : most
  }

  private func answer(_ request: TransferMessage, _ sending: inout Sending) {
    let node = request.from
    switch request.content {
    case .want(let minimum, let tables):
      if sending.outgoing[node]?.id != request.id {
        sending.outgoing[node]?.open?.file.close()
        sending.outgoing[node] = nil
        guard sending.outgoing.count < options.concurrentTransfers else {
          return reply(request, .refused("other nodes are being sent checkpoints"))
        }
        do throws(DeliveryError) {
          sending.outgoing[node] = tables ? try pin(request.id, minimum) : try describePoint(request.id, minimum)
        } catch { return reply(request, .refused("\(error)")) }
      }
      guard let description = sending.outgoing[node]?.description else { return }
      sending.outgoing[node]?.lastHeard = clock.bootNanoseconds
      reply(request, .offer(sizeBytes: UInt32(description.count), hash: Hash128(of: description)))
    case .read(let file, let offset, let count):
      guard var one = sending.outgoing.removeValue(forKey: node), one.id == request.id else {
        return reply(request, .refused("the checkpoint is not kept any more"))
      }
      let rate = rate(one.sizeBytes, &sending.movement)
      pause(sending.limit.delay(for: Int(count), sizeBytesPerSecond: rate, now: clock.bootNanoseconds))
      do throws(DiskError) {
        let bytes = try read(&one, Int(file), offset, Int(count))
        transfers.withLock { $0.sentSizeBytes += UInt64(bytes.count) }
        reply(request, .chunk(file: file, offset: offset, bytes: bytes))
        one.lastHeard = clock.bootNanoseconds
        sending.outgoing[node] = one
      } catch {
        one.open?.file.close()
        reply(request, .refused("\(error)"))
      }
    case .done:
      guard sending.outgoing[node]?.id == request.id, let one = sending.outgoing.removeValue(forKey: node) else {
        return
      }
      one.open?.file.close()
      if one.pinned != nil { transfers.withLock { $0.sent += 1 } }
    case .offer, .chunk, .refused, .digest: break
    }
  }

  private func reply(_ request: TransferMessage, _ content: TransferMessage.Content) {
    transport.send(
      TransferMessage(cluster: cluster, from: node, to: request.from, id: request.id, content: content))
  }

  private func pause(_ nanoseconds: UInt64) {
    let until = clock.bootNanoseconds &+ nanoseconds
    while !isStopping.load(ordering: .acquiring) {
      let now = clock.bootNanoseconds
      guard now < until else { return }
      // News that come meanwhile are looked at afterwards.
      pacingWord.wait(while: pacingWord.load(), timeoutNanoseconds: min(until - now, 100_000_000))
    }
  }

  /// Flushes, and keeps what is then in tables.
  private func pin(_ id: UInt64, _ minimum: SlotNumber) throws(DeliveryError) -> Outgoing {
    guard !lacksState.load(ordering: .acquiring), options.keepsState else {
      throw .failed("this node has no state to give")
    }
    guard applied.load(ordering: .acquiring) >= minimum else {
      throw .failed("this node has not applied slot \(minimum) itself yet")
    }
    // What is flushed now must not take the log behind it away.
    transferFloor.store(
      min(transferFloor.load(ordering: .relaxed), applied.load(ordering: .acquiring)), ordering: .releasing)
    for _ in 0..<3 {
      let pinned = try state.pinCheckpoint()
      let (slot, version) = pinned.position
      // Entries that are not remembered any more: the flush took long, so another one will be shorter.
      guard let checkpoint = core.withLock({ $0.replica.checkpoint(at: slot.rawValue) }) else { continue }
      guard slot.rawValue >= minimum else {
        throw .failed("nothing was committed since slot \(slot.rawValue), and slot \(minimum) is asked for")
      }
      let description = CheckpointDescription(checkpoint: checkpoint, version: version, details: pinned.details)
      let bytes = description.encoded()
      guard bytes.count <= TransferMessage.largestDescriptionSizeBytes else {
        throw .failed("the checkpoint has too many files")
      }
      return Outgoing(
        id: id, pinned: pinned, description: bytes, slot: slot.rawValue, lastHeard: clock.bootNanoseconds)
    }
    throw .failed("the log moves on faster than tables are written")
  }

  /// A point without files: for a node that keeps no state, or whose state reaches beyond it.
  private func describePoint(_ id: UInt64, _ minimum: SlotNumber) throws(DeliveryError) -> Outgoing {
    let found = core.withLock { core -> (Checkpoint, Version)? in
      let slot = max(minimum, core.replica.indexBase.slot)
      guard let checkpoint = core.replica.checkpoint(at: slot) else { return nil }
      if let record = core.cache.record(at: slot) { return (checkpoint, record.header.lastVersion) }
      return log.position(at: Slot(slot)).map { (checkpoint, $0.version) }
    }
    guard let found else { throw .failed("slot \(minimum) is not known here to be chosen") }
    let description = CheckpointDescription(checkpoint: found.0, version: found.1, details: nil)
    return Outgoing(
      id: id, pinned: nil, description: description.encoded(), slot: found.0.point.slot,
      lastHeard: clock.bootNanoseconds)
  }

  /// File 0 is the description.
  private func read(
    _ one: inout Outgoing, _ index: Int, _ offset: UInt64, _ count: Int
  ) throws(DiskError) -> [UInt8] {
    if index == 0 {
      let start = Int(min(offset, UInt64(one.description.count)))
      return Array(one.description[start..<min(one.description.count, start + count)])
    }
    guard let pinned = one.pinned, index <= pinned.files.count, offset < pinned.files[index - 1].sizeBytes else {
      return []
    }
    if one.open?.index != index {
      one.open?.file.close()
      one.open = nil
      one.open = (index, try disk.open(pinned.path(index - 1), .read))
    }
    return try one.open?.file.readBytes(count, at: offset) ?? []
  }
}
