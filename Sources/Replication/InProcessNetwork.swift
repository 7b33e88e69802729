internal import Log
package import Paxos
internal import Platform
internal import Synchronization

/// Connects the nodes of one process: for tests. One thread delivers, in the order of sending, after encoding and decoding
/// every message as the wire would.
package final class InProcessNetwork: Sendable {
  private enum Item {
    case message(Message, [StoredRecord])
    case transfer(TransferMessage)
  }

  private struct State {
    var receivers: [NodeID: any PeerReceiver] = [:]
    var queue: [Item] = []
    /// Ordered pairs that cannot speak.
    var cut: Set<[NodeID]> = []
    var lossPerMille: UInt64 = 0
    var passes: (@Sendable (Message) -> Bool)?
    var random: UInt64
    var isStopping = false
  }

  private let endsTurns: Bool
  private let state: Mutex<State>
  private let word = FutexWord()
  private let thread: Mutex<BackgroundThread?> = Mutex(nil)

  /// - Parameter endsTurns: whether receivers write and apply on the network's thread, as they do with `PeerNetwork`.
  package init(seed: UInt64 = 1, endsTurns: Bool = false) {
    self.endsTurns = endsTurns
    state = Mutex(State(random: seed))
    thread.withLock { slot in
      slot = BackgroundThread { [weak self, word] in
        while true {
          let seen = word.load()
          guard let network = self, network.deliverAll() else { return }
          word.wait(while: seen, timeoutNanoseconds: 50_000_000)
        }
      }
    }
  }

  deinit {
    word.increment()
    word.wake()
  }

  /// Ends the thread.
  package func close() {
    state.withLock {
      $0.isStopping = true
      $0.receivers = [:]
    }
    word.increment()
    word.wake()
    thread.withLock { $0 }?.join()
  }

  /// A node's door to the network.
  package func transport(for node: NodeID) -> any PeerTransport { Door(self, node) }

  package func attach(_ receiver: any PeerReceiver, as node: NodeID) {
    state.withLock { $0.receivers[node] = receiver }
  }

  package func detach(_ node: NodeID) { state.withLock { $0.receivers[node] = nil } }

  /// Nothing passes between the two any more.
  package func cut(_ a: NodeID, _ b: NodeID) {
    state.withLock {
      $0.cut.insert([a, b])
      $0.cut.insert([b, a])
    }
  }

  package func heal() { state.withLock { $0.cut = [] } }

  package func setLoss(perMille: UInt64) { state.withLock { $0.lossPerMille = perMille } }

  /// Messages of which `passes` says no are lost; nil: none is.
  package func filter(_ passes: (@Sendable (Message) -> Bool)?) { state.withLock { $0.passes = passes } }

  private func enqueue(_ item: Item, from: NodeID, to: NodeID) {
    state.withLock { state in
      guard !state.cut.contains([from, to]) else { return }
      if case .message(let message, _) = item, let passes = state.passes, !passes(message) { return }
      state.random = state.random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      if state.lossPerMille > 0, (state.random >> 33) % 1000 < state.lossPerMille { return }
      if state.queue.count < 100_000 { state.queue.append(item) }
    }
    word.increment()
    word.wake(1)
  }

  private func deliverAll() -> Bool {
    while true {
      var batch: [Item] = []
      let goesOn = state.withLock { state in
        swap(&batch, &state.queue)
        return !state.isStopping
      }
      if !goesOn { return false }
      if batch.isEmpty { return true }
      for item in batch {
        switch item {
        case .message(let message, let records): deliver(message, records)
        case .transfer(let transfer): deliver(transfer)
        }
      }
    }
  }

  private func deliver(_ message: Message, _ records: [StoredRecord]) {
    guard let receiver = state.withLock({ $0.receivers[message.to] }) else { return }
    var bytes: [UInt8] = []
    message.encode(into: &bytes)
    guard let again = try? Message(decoding: bytes[...]) else { return }
    let copies = records.compactMap { unsafe try? StoredRecord(copying: $0.bytes) }
    guard copies.count == records.count else { return }
    receiver.receive(again, records: copies, isFollowed: endsTurns)
    if endsTurns { receiver.endTurn() }
  }

  private func deliver(_ transfer: TransferMessage) {
    guard let receiver = state.withLock({ $0.receivers[transfer.to] }) else { return }
    let head = transfer.encodedHead()
    let body = transfer.body
    let again = unsafe head.withUnsafeBytes { head in
      unsafe body.withUnsafeBytes { unsafe try? TransferMessage(head: head, body: $0) }
    }
    if let again { receiver.receive(again) }
  }

  private final class Door: PeerTransport {
    private let network: InProcessNetwork
    private let node: NodeID
    init(_ network: InProcessNetwork, _ node: NodeID) {
      self.network = network
      self.node = node
    }
    func send(_ message: Message, records: [StoredRecord]) {
      network.enqueue(.message(message, records), from: message.from, to: message.to)
    }
    func send(_ transfer: TransferMessage) {
      network.enqueue(.transfer(transfer), from: transfer.from, to: transfer.to)
    }
  }
}
