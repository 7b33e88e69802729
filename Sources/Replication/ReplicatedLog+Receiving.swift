internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Synchronization

// Taking another node's checkpoint, when nobody's log has what comes next here, or when the state here is damaged.
//
//   incoming/NAME.part   on its way; is as long as what came
//   incoming/NAME        whole, durable, and verified block by block
//
// 1. What is there already is not asked for again: neither in a later attempt, nor after a restart, nor where this node's
//    own tables hold the same file.
// 2. Pieces are asked for a few at a time; memory is those few.
// 3. Nothing changes here before every file is verified and durable. Then the delivery's thread, which alone applies,
//    makes the switch (`installReceived`).

/// A checkpoint that is here, whole.
struct ReceivedCheckpoint: Sendable {
  var description: CheckpointDescription
  var from: NodeID
}

extension ReplicatedLog {
  /// Why a transfer ended without a checkpoint.
  private struct TransferFailure: Error { var reason: String }

  /// Small: it is written in one go, and others' commits wait for it on the disk.
  private static let pieceSizeBytes = TransferMessage.largestChunkSizeBytes / 2
  private static let piecesInFlight = 8
  /// Pieces go to the device as they come, and are synced so many bytes at a time
  /// (docs/decisions/0118-background-writes-are-paced.md).
  private static let syncSizeBytes: UInt64 = 4 << 20

  var incomingDirectory: String { log.directory + "/incoming" }

  func receivingLoop() {
    var failures: UInt64 = 0
    var turn = 0
    while true {
      let seen = receivingWord.load()
      if isStopping.load(ordering: .acquiring) { return }
      var asked = wanted.withLock { wanted in
        defer { wanted = nil }
        return wanted
      }
      if !mayReplaceState() {
        receivingWord.wait(while: seen, timeoutNanoseconds: 500_000_000)
        continue
      }
      if asked == nil, lacksState.load(ordering: .acquiring) {
        let peers = core.withLock { core in
          (core.replica.configuration.voters + core.replica.configuration.learners).filter { $0 != node }
        }
        if !peers.isEmpty {
          turn += 1
          let least = max(log.base.slot.rawValue, stateSlot.load(ordering: .acquiring))
          asked = (from: peers[turn % peers.count], slot: least)
        }
      }
      guard let asked else {
        receivingWord.wait(while: seen, timeoutNanoseconds: lacksState.load(ordering: .acquiring) ? 500_000_000 : 0)
        continue
      }
      do throws(TransferFailure) {
        try receive(from: asked.from, minimum: asked.slot)
        failures = 0
      } catch {
        enter { $0.replica.transferProgress(failed: true, now: self.now) }
        if failures < 3 {
          options.note("no checkpoint of node \(asked.from.rawValue) came: \(error.reason); it will be tried again")
        }
        failures += 1
        let pause = min(UInt64(5_000_000_000), UInt64(250_000_000) << min(failures, 6))
        let now = receivingWord.load()
        if !isStopping.load(ordering: .acquiring) { receivingWord.wait(while: now, timeoutNanoseconds: pause) }
      }
    }
  }

  /// Whether this node does not lead, where its state is to be replaced by another node's; hands over if it does.
  private func mayReplaceState() -> Bool {
    guard lacksState.load(ordering: .acquiring) || isStateDamaged.load(ordering: .acquiring) else { return true }
    let (leads, voters) = core.withLock { core in
      (core.replica.isLeader, core.replica.configuration.voters.filter { $0 != node })
    }
    if leads {
      for voter in voters where transferLeadership(to: voter) == nil { return false }
      return false
    }
    if isStateDamaged.exchange(false, ordering: .acquiringAndReleasing) {
      lacksState.store(true, ordering: .releasing)
      deliveryWord.increment()
      deliveryWord.wake()
    }
    return true
  }

  private func receive(from source: NodeID, minimum: SlotNumber) throws(TransferFailure) {
    let id = UInt64.random(in: 1 ... .max)
    inbox.withLock { $0 = (id, []) }
    defer {
      inbox.withLock { $0 = (0, []) }
      send(source, id, .done)
    }
    let reached = applied.load(ordering: .acquiring)
    let isWhole = options.keepsState && (lacksState.load(ordering: .acquiring) || reached < minimum)
    let description = try describe(source, id, minimum, isWhole)
    let slot = description.checkpoint.point.slot
    guard slot >= minimum else { throw TransferFailure(reason: "it reaches slot \(slot) only") }
    if options.keepsState, !isWhole, slot > reached {
      // The state here must hold what the point stands for.
      throw TransferFailure(reason: "slot \(slot) is not applied here yet")
    }
    if let details = description.details {
      try fetchFiles(details, source, id, slot)
    } else if isWhole {
      throw TransferFailure(reason: "it came without files")
    }
    try hand(ReceivedCheckpoint(description: description, from: source))
  }

  // MARK: Asking

  private func send(_ target: NodeID, _ id: UInt64, _ content: TransferMessage.Content) {
    transport.send(TransferMessage(cluster: cluster, from: node, to: target, id: id, content: content))
  }

  /// The next word about this transfer, or nil when none comes in time. Tells the replica meanwhile that it goes on.
  private func next(_ id: UInt64, within nanoseconds: UInt64) throws(TransferFailure) -> TransferMessage.Content? {
    let deadline = clock.bootNanoseconds &+ nanoseconds
    while true {
      let seen = receivingWord.load()
      let message = inbox.withLock { inbox in inbox.messages.isEmpty ? nil : inbox.messages.removeFirst() }
      if let message, message.id == id {
        if case .refused(let reason) = message.content { throw TransferFailure(reason: reason) }
        return message.content
      }
      if isStopping.load(ordering: .acquiring) { throw TransferFailure(reason: "the node stops") }
      enter { $0.replica.transferProgress(failed: false, now: self.now) }
      let now = clock.bootNanoseconds
      guard now < deadline else { return nil }
      receivingWord.wait(while: seen, timeoutNanoseconds: min(deadline - now, 250_000_000))
    }
  }

  private func describe(
    _ source: NodeID, _ id: UInt64, _ minimum: SlotNumber, _ isWhole: Bool
  ) throws(TransferFailure) -> CheckpointDescription {
    var offer: (size: Int, hash: Hash128)?
    // It may take the other side a while to flush.
    for _ in 0..<10 where offer == nil {
      send(source, id, .want(minimum: minimum, tables: isWhole))
      if case .offer(let size, let hash) = try next(id, within: 2_000_000_000) { offer = (Int(size), hash) }
    }
    guard let offer else { throw TransferFailure(reason: "it does not answer") }
    var bytes: [UInt8] = []
    try fetch(source, id, file: 0, from: 0, through: UInt64(offer.size)) { (piece, _) throws(TransferFailure) in
      bytes += piece
    }
    guard Hash128(of: bytes) == offer.hash else { throw TransferFailure(reason: "its description came damaged") }
    do throws(DecodingError) { return try CheckpointDescription(decoding: bytes) } catch {
      throw TransferFailure(reason: "its description cannot be decoded: \(error)")
    }
  }

  /// Asks for a file's bytes from `start` on and hands them to `body` in order.
  private func fetch(
    _ source: NodeID, _ id: UInt64, file: UInt32, from start: UInt64, through end: UInt64,
    _ body: ([UInt8], UInt64) throws(TransferFailure) -> Void
  ) throws(TransferFailure) {
    var offset = start
    var asked = start
    var silences = 0
    while offset < end {
      while asked < end, asked - offset < UInt64(Self.pieceSizeBytes * Self.piecesInFlight) {
        let count = min(UInt64(Self.pieceSizeBytes), end - asked)
        send(source, id, .read(file: file, offset: asked, count: UInt32(count)))
        asked += count
      }
      switch try next(id, within: 2_000_000_000) {
      case .chunk(let number, let place, let bytes) where number == file && place == offset && !bytes.isEmpty:
        guard UInt64(bytes.count) <= end - offset else { throw TransferFailure(reason: "more came than was asked for") }
        try body(bytes, offset)
        offset += UInt64(bytes.count)
        asked = max(asked, offset)
        silences = 0
      case .chunk(let number, let place, let bytes) where number == file && place == offset && bytes.isEmpty:
        throw TransferFailure(reason: "its file \(file) ends at \(offset) instead of \(end)")
      case nil:
        // Lost on the way: ask again.
        silences += 1
        guard silences < 10 else { throw TransferFailure(reason: "it has fallen silent") }
        asked = offset
      default: break
      }
    }
  }

  // MARK: Files

  private func onDisk<R>(_ body: () throws(DiskError) -> R) throws(TransferFailure) -> R {
    do throws(DiskError) { return try body() } catch { throw TransferFailure(reason: "\(error)") }
  }

  private func fetchFiles(
    _ details: [UInt8], _ source: NodeID, _ id: UInt64, _ slot: SlotNumber
  ) throws(TransferFailure) {
    let directory = incomingDirectory
    let files: [CheckpointFile]
    do throws(DeliveryError) { files = try state.checkpointFiles(details) } catch {
      throw TransferFailure(reason: "\(error)")
    }
    let present = try onDisk { () throws(DiskError) -> [String: UInt64] in
      try disk.createDirectory(directory)
      try disk.syncDirectory(log.directory)
      let needed = Set(files.map(\.name))
      var present: [String: UInt64] = [:]
      for name in try disk.list(directory) {
        let isPart = name.hasSuffix(".part")
        if needed.contains(isPart ? String(name.dropLast(5)) : name) {
          present[name] = try disk.status("\(directory)/\(name)")?.sizeBytes ?? 0
        } else {
          try disk.remove("\(directory)/\(name)")
        }
      }
      return present
    }
    // Sizes are the sender's word: they may be anything.
    var missing: UInt64 = 0
    for file in files where present[file.name] == nil {
      let rest = file.sizeBytes - min(file.sizeBytes, present[file.name + ".part"] ?? 0)
      missing = rest > .max - missing ? .max : missing + rest
    }
    let free = try onDisk { () throws(DiskError) in try disk.freeSizeBytes(directory) }
    guard free > options.transferReserveSizeBytes, free - options.transferReserveSizeBytes > missing else {
      throw TransferFailure(reason: "\(missing) bytes are to come, and the disk has room for \(free)")
    }
    options.note(
      "node \(source.rawValue) sends its checkpoint at slot \(slot): \(files.count) files, \(missing) bytes to come")
    for (index, file) in files.enumerated() {
      if present[file.name] == file.sizeBytes, isSound(index, "\(directory)/\(file.name)", details) { continue }
      if try reuse(file, index, details) { continue }
      try fetchFile(file, UInt32(index + 1), present[file.name + ".part"], details, source, id)
    }
    try onDisk { () throws(DiskError) in try disk.syncDirectory(directory) }
  }

  /// Whether the file is what the description says; removes it otherwise.
  private func isSound(_ index: Int, _ path: String, _ details: [UInt8]) -> Bool {
    if state.isSound(index, of: details, at: path) { return true }
    try? disk.remove(path)
    return false
  }

  /// Takes a file that this node's own tables have.
  private func reuse(_ file: CheckpointFile, _ index: Int, _ details: [UInt8]) throws(TransferFailure) -> Bool {
    guard let own = state.localPath(of: file) else { return false }
    let path = "\(incomingDirectory)/\(file.name)"
    if (try? disk.status(path)) != nil { try? disk.remove(path) }
    do throws(DiskError) { try disk.link(own, to: path) } catch { return false }
    return isSound(index, path, details)
  }

  private func fetchFile(
    _ file: CheckpointFile, _ number: UInt32, _ present: UInt64?, _ details: [UInt8], _ source: NodeID, _ id: UInt64
  ) throws(TransferFailure) {
    let path = "\(incomingDirectory)/\(file.name)"
    let part = path + ".part"
    // A whole piece at a time: what a crash left may end anywhere.
    let start = (present ?? 0) > file.sizeBytes ? 0 : (present ?? 0) / 4096 * 4096
    let output = try onDisk { () throws(DiskError) in try disk.open(part, present == nil ? .create : .readWrite) }
    defer { output.close() }
    var unsynced: UInt64 = 0
    try fetch(source, id, file: number, from: start, through: file.sizeBytes) {
      (piece, offset) throws(TransferFailure) in
      try onDisk { () throws(DiskError) in
        try output.write(piece, at: offset)
        try output.writeOut(offset..<offset + UInt64(piece.count))
        unsynced += UInt64(piece.count)
        if unsynced >= Self.syncSizeBytes {
          try output.sync()
          unsynced = 0
        }
      }
      transfers.withLock { $0.receivedSizeBytes += UInt64(piece.count) }
    }
    try onDisk { () throws(DiskError) in
      try output.truncate(to: file.sizeBytes)
      try output.sync()
    }
    guard isSound(Int(number) - 1, part, details) else {
      throw TransferFailure(reason: "its file \(file.name) is damaged")
    }
    try onDisk { () throws(DiskError) in try disk.rename(part, to: path) }
  }

  // MARK: The switch

  /// Has the delivery's thread install it, and waits for that.
  private func hand(_ received: ReceivedCheckpoint) throws(TransferFailure) {
    let installation = Installation(received)
    installing.withLock { $0 = installation }
    deliveryWord.increment()
    deliveryWord.wake()
    while true {
      let seen = installation.word.load()
      if let failure = installation.failure.withLock({ $0 }) {
        guard failure.isEmpty else { throw TransferFailure(reason: failure) }
        return
      }
      if isStopping.load(ordering: .acquiring) { throw TransferFailure(reason: "the node stops") }
      enter { $0.replica.transferProgress(failed: false, now: self.now) }
      installation.word.wait(while: seen, timeoutNanoseconds: 250_000_000)
    }
  }

  /// A checkpoint that is about to be installed, and what became of it.
  final class Installation: Sendable {
    let received: ReceivedCheckpoint
    let word = FutexWord()
    /// Nil while it goes on; empty: installed.
    let failure: Mutex<String?> = Mutex(nil)

    init(_ received: ReceivedCheckpoint) { self.received = received }

    func finish(_ reason: String) {
      failure.withLock { $0 = reason }
      word.increment()
      word.wake()
    }
  }
}
