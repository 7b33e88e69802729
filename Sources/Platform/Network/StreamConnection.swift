internal import CSynod
internal import Synchronization

/// A stream socket on a loop, in clear or within TLS.
///
/// Its handler runs on the loop. What is marked "any thread" below may be called from anywhere; everything else belongs to
/// whoever has the connection checked out: its handler's methods, and what it is given by `execute` and `schedule`.
///
/// ```
///   connecting ──▶ open ──▶ closing ──▶ closed
///       │            │  close()  │ all bytes handed to the kernel
///       └────────────┴──────────▶┘ failure, abort(), shutdown: at once
/// ```
///
/// 1. Reading: one `recv` a turn into the thread's memory, so an idle connection has no buffer. A full read, a hangup or
///    a paused connection leaves `canRead` set, and the connection asks for another turn when it may read again.
/// 2. Writing: `send` goes to the kernel at once if nothing is kept; only what the kernel does not take is copied, and only
///    then does the loop watch for room. So send once a turn what a turn produced.
/// 3. `closed` is called once, after which nothing else is, except mail.
package final class StreamConnection: EventSource, @unchecked Sendable {
  // `@unchecked`: as EventSource; `descriptorLock` and the atomics are for any thread.

  enum Phase { case connecting, open, closing, closed }

  /// A number that no other connection of the process has.
  package let id: UInt64
  package let options: StreamOptions
  /// The other end; of a Unix socket's client, nothing but the family.
  package let peerAddress: SocketAddress
  /// What was connected to, or listened on.
  package internal(set) var localAddress: SocketAddress
  /// Whom the handler calls belong to. Nil once closed.
  package internal(set) var handler: (any StreamHandler)?

  var phase: Phase
  var descriptor: Int32
  private let descriptorLock: Mutex<Int32>
  let abortRequested = Atomic(false)
  private let peerHangup = Atomic(false)
  private var makeHandler: (@Sendable (StreamConnection) -> any StreamHandler)?

  var canRead = false
  var sawHangup = false
  var isPaused = false
  var hasInputEnded = false
  var watchesForRoom = false
  var wasFull = false
  var isWaitingForRoom = false
  var brokenOutput: NetworkError?
  var pending = PendingOutput()
  var session: TLSSession?
  var earlyInput: [UInt8] = []
  var closeReason: CloseReason?
  var timeLimit: TimerToken?

  private static let lastIdentifier = Atomic<UInt64>(0)

  init(
    _ loop: EventLoop, descriptor: Int32, peer: SocketAddress, isConnected: Bool, options: StreamOptions,
    makeHandler: @escaping @Sendable (StreamConnection) -> any StreamHandler
  ) {
    id = Self.lastIdentifier.wrappingAdd(1, ordering: .relaxed).newValue
    self.descriptor = descriptor
    descriptorLock = Mutex(descriptor)
    phase = isConnected ? .open : .connecting
    peerAddress = peer
    self.options = options
    self.makeHandler = makeHandler
    localAddress = Socket.localAddress(descriptor) ?? peer
    super.init(loop: loop)
    loop.connectionCount.wrappingAdd(1, ordering: .relaxed)
  }

  deinit {
    synod_descriptor_close(descriptor)
    loop.connectionCount.wrappingSubtract(1, ordering: .relaxed)
  }

  // MARK: Any thread

  /// Runs `body` with the connection checked out, after what was asked for before. Runs also when the connection is closed
  /// by then: `isClosed` says so.
  package func execute(_ body: @escaping @Sendable () -> Void) { loop.post(.mail(self, body)) }

  /// Has the handler's `woken` called. Takes no memory; several calls may become one.
  package func wake() { loop.post(.wake(self)) }

  /// As `execute`, when so many nanoseconds have passed.
  @discardableResult
  package func schedule(afterNanoseconds nanoseconds: UInt64, _ body: @escaping @Sendable () -> Void) -> TimerToken {
    loop.schedule(afterNanoseconds: nanoseconds) { [weak self] in self?.execute(body) }
  }

  /// Ends the connection at once: what is kept is not sent. Wakes a handler that blocks in `waitUntilSent`.
  package func abort() {
    abortRequested.store(true, ordering: .releasing)
    descriptorLock.withLock { descriptor in
      if descriptor >= 0 { _ = synod_socket_shut(descriptor, 1) }
    }
    wake()
  }

  /// Sends at once on the calling thread, past everything that the holder sends: for whoever sees to it that the holder keeps
  /// nothing and sends nothing meanwhile. Not within TLS.
  ///
  /// - Returns: how many bytes the kernel took; 0 also where the connection is gone or broken, which its holder will notice.
  package func sendPastHolder(_ bytes: UnsafeRawBufferPointer) -> Int {
    guard let start = bytes.baseAddress else { return 0 }
    return descriptorLock.withLock { descriptor in
      guard descriptor >= 0 else { return 0 }
      return unsafe max(0, Int(synod_socket_send(descriptor, start, bytes.count)))
    }
  }

  /// The peer has gone, or at least sends no more: a long statement may look here whether anyone still waits for it.
  package var peerHasHungUp: Bool { peerHangup.load(ordering: .relaxed) }

  // MARK: The holder

  /// True once the connection is gone or going: nothing more is sent or received.
  package var isClosed: Bool { phase == .closed || phase == .closing }

  /// Bytes that were sent and that the kernel has not taken.
  package var bufferedBytes: Int { pending.count + (session?.outputCount ?? 0) }

  /// Who is at the other end of TLS; nil in clear and during the handshake.
  package var tls: TLSInformation? { session?.information }

  /// Stops `received` until `resumeReading`. Bytes that have already been read in this turn have been delivered.
  package func pauseReading() { isPaused = true }
  package func resumeReading() { isPaused = false }

  /// Closes when everything sent has been handed to the kernel. Nothing is received any more.
  package func close() {
    guard phase == .open || phase == .connecting else { return }
    if phase == .connecting { return end(.closed) }
    session?.close()
    phase = .closing
    flush()
    guard phase == .closing, bufferedBytes > 0 else { return }
    setTimeLimit(options.closeTimeoutNanoseconds) { $0.end(.aborted) }
  }

  /// Records why the connection ends; the end of the turn closes it.
  func end(_ reason: CloseReason) {
    guard phase != .closed, closeReason == nil else { return }
    closeReason = reason
    phase = .closing
    pending.removeAll()
    session?.dropOutput()
  }

  func setTimeLimit(_ nanoseconds: UInt64, _ body: @escaping @Sendable (StreamConnection) -> Void) {
    clearTimeLimit()
    timeLimit = schedule(afterNanoseconds: nanoseconds) { [weak self] in
      if let self { body(self) }
    }
  }

  func clearTimeLimit() {
    if let timeLimit { loop.cancel(timeLimit) }
    timeLimit = nil
  }

  // MARK: Turns

  override var registration: (descriptor: Int32, events: UInt32) {
    (descriptor, synod_poll_in | synod_poll_read_hangup | (phase == .connecting ? synod_poll_out : 0))
  }

  override func noticed(_ events: UInt32) {
    if events & (synod_poll_read_hangup | synod_poll_hangup | synod_poll_error) != 0 {
      peerHangup.store(true, ordering: .relaxed)
    }
  }

  override func abandon() { abort() }

  override func turn(_ events: UInt32, _ mail: [Mail], _ thread: LoopThread) {
    if events & LoopEvents.registered != 0 { begin(events) }
    for body in mail { body() }
    guard phase != .closed else {
      wantsTurn = false
      return
    }
    if abortRequested.load(ordering: .acquiring) { end(.aborted) }
    if events & LoopEvents.stop != 0 { end(.shutDown) }
    if phase == .connecting {
      if events & (synod_poll_out | synod_poll_error | synod_poll_hangup) != 0 { finishConnecting() }
    }
    if phase == .open || phase == .closing { transfer(events, thread) }
    settle()
  }

  private func begin(_ events: UInt32) {
    handler = makeHandler?(self)
    makeHandler = nil
    if events & LoopEvents.refused != 0 {
      return end(.failed(NetworkError(.other, operation: "watch", address: "\(peerAddress)", reason: "out of memory")))
    }
    if phase == .open { handler?.opened(self) }
  }

  private func transfer(_ events: UInt32, _ thread: LoopThread) {
    if events & (synod_poll_out | synod_poll_error | synod_poll_hangup) != 0, bufferedBytes > 0 { flush() }
    if events & LoopEvents.woken != 0, phase == .open { handler?.woken(self) }
    let hangup = synod_poll_read_hangup | synod_poll_hangup | synod_poll_error
    if events & (synod_poll_in | hangup) != 0 { canRead = true }
    if events & hangup != 0 {
      sawHangup = true
      peerHangup.store(true, ordering: .relaxed)
      // Both directions are gone: whoever keeps a half-closed connection open learns it here.
      if hasInputEnded && events & (synod_poll_hangup | synod_poll_error) != 0 { checkFailure() }
    }
    if !earlyInput.isEmpty { receiveEarlyInput(thread) }
    if canRead && mayRead { read(thread) }
    if !earlyInput.isEmpty { receiveEarlyInput(thread) }
  }

  private func checkFailure() {
    let code = synod_socket_failure(descriptor)
    end(code == 0 ? .closed : .failed(NetworkError(errno: code, operation: "keep", address: "\(peerAddress)")))
  }

  /// The end of a turn: closes, watches for room, or asks for the next turn.
  private func settle() {
    if abortRequested.load(ordering: .acquiring) { end(.aborted) }
    if let brokenOutput, isPaused { end(.failed(brokenOutput)) }
    if phase == .closing && bufferedBytes == 0 { return finish() }
    if bufferedBytes > 0 && !watchesForRoom && phase != .connecting {
      watchesForRoom = true
      _ = synod_poll_change(
        loop.poller, descriptor, synod_poll_in | synod_poll_read_hangup | synod_poll_out | synod_poll_edge, token)
    }
    wantsTurn = (canRead && mayRead) || (!earlyInput.isEmpty && phase == .open)
  }

  private func finish() {
    clearTimeLimit()
    let reason = closeReason ?? .closed
    if case .closed = reason { synod_socket_discard(descriptor, 1 << 20) }
    descriptorLock.withLock { descriptor in
      synod_descriptor_close(descriptor)
      descriptor = -1
    }
    descriptor = -1
    phase = .closed
    session = nil
    earlyInput = []
    isFinished = true
    wantsTurn = false
    let last = handler
    handler = nil
    last?.closed(reason, self)
  }
}
