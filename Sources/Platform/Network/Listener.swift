internal import CSynod
internal import Glibc
internal import Synchronization

/// Accepts connections and gives them to the loops of its group in turn.
///
/// When the process is out of descriptors it waits before it tries again, and the kernel's queue holds who comes meanwhile.
///
/// `@unchecked Sendable`: as EventSource; `descriptorLock` is for any thread.
package final class Listener: EventSource, @unchecked Sendable {
  private static var patienceNanoseconds: UInt64 { 50_000_000 }
  private static var acceptsPerTurn: Int { 64 }

  /// Where it listens: with the port that the system chose, if 0 was asked for.
  package let address: SocketAddress

  private let descriptor: Int32
  private let makeHandler: @Sendable (StreamConnection) -> any StreamHandler
  private let options: StreamOptions
  private let stopRequested = Atomic(false)
  private let waits = Atomic<Int>(0)
  private var canAccept = false
  private var isWaiting = false

  private init(
    _ loop: EventLoop, descriptor: Int32, address: SocketAddress, options: StreamOptions,
    makeHandler: @escaping @Sendable (StreamConnection) -> any StreamHandler
  ) {
    self.descriptor = descriptor
    self.address = address
    self.options = options
    self.makeHandler = makeHandler
    super.init(loop: loop)
  }

  /// Binds and listens, and accepts from now on.
  ///
  /// - Parameters:
  ///   - backlog: how many connections the kernel completes before we accept them.
  ///   - sharesPort: SO_REUSEPORT.
  ///   - permissions: of a Unix socket's path.
  ///   - handler: called on the connection's loop for each connection.
  package static func listen(
    on address: SocketAddress, group: EventLoopGroup, backlog: Int32 = 1024, sharesPort: Bool = false,
    permissions: UInt32 = 0o777, options: StreamOptions = StreamOptions(),
    handler: @escaping @Sendable (StreamConnection) -> any StreamHandler
  ) throws(NetworkError) -> Listener {
    var raw = address.raw
    let descriptor = unsafe synod_socket_open(&raw)
    guard descriptor >= 0 else {
      throw NetworkError(errno: -descriptor, operation: "listen on", address: "\(address)")
    }
    let code = unsafe synod_socket_listen(descriptor, &raw, backlog, sharesPort ? 1 : 0, permissions)
    guard code == 0 else {
      synod_descriptor_close(descriptor)
      throw NetworkError(errno: code, operation: "listen on", address: "\(address)")
    }
    let listener = Listener(
      group.next(), descriptor: descriptor, address: Socket.localAddress(descriptor) ?? address, options: options,
      makeHandler: handler)
    listener.loop.post(.register(listener))
    return listener
  }

  deinit { if !isFinished { synod_descriptor_close(descriptor) } }

  /// Accepts no more; the kernel refuses who comes. From any thread. Connections go on.
  package func stop() {
    stopRequested.store(true, ordering: .releasing)
    loop.post(.wake(self))
  }

  /// How often it had to wait because there were no descriptors.
  package var waitCount: Int { waits.load(ordering: .relaxed) }

  override var registration: (descriptor: Int32, events: UInt32) { (descriptor, synod_poll_in) }

  override func turn(_ events: UInt32, _ mail: [Mail], _ thread: LoopThread) {
    for body in mail { body() }
    wantsTurn = false
    guard !isFinished else { return }
    if stopRequested.load(ordering: .acquiring) || events & LoopEvents.stop != 0 {
      synod_descriptor_close(descriptor)
      if address.family == .unix { unsafe unlink(address.host) }
      isFinished = true
      return
    }
    if events & (synod_poll_in | synod_poll_error) != 0 { canAccept = true }
    if canAccept && !isWaiting { acceptSome() }
    wantsTurn = canAccept && !isWaiting
  }

  private func acceptSome() {
    for _ in 0..<Self.acceptsPerTurn {
      var raw = synod_address()
      let accepted = unsafe synod_socket_accept(descriptor, &raw)
      guard accepted >= 0 else { return refused(-accepted) }
      let peer = SocketAddress(raw)
      Socket.prepare(accepted, peer.family, options)
      let loop = loop.group.next()
      loop.post(
        .register(
          StreamConnection(
            loop, descriptor: accepted, peer: peer, isConnected: true, options: options, makeHandler: makeHandler)))
    }
  }

  private func refused(_ code: Int32) {
    switch code {
    case EAGAIN: canAccept = false
    case EMFILE, ENFILE, ENOBUFS, ENOMEM:
      isWaiting = true
      waits.wrappingAdd(1, ordering: .relaxed)
      loop.schedule(afterNanoseconds: Self.patienceNanoseconds) { [weak self] in
        guard let self else { return }
        loop.post(.mail(self) { self.isWaiting = false })
      }
    default: break  // That one connection is gone (ECONNABORTED and its kin); the next may be well.
    }
  }
}
