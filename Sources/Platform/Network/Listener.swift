internal import CSynod
internal import Glibc
internal import Synchronization

/// Accepts connections and gives them to the loops of its group in turn.
///
/// When the process is out of descriptors it waits before it tries again, and the kernel's queue holds who comes meanwhile.
/// The last descriptors are not for clients: whoever opens enough connections must not keep the log from opening its next
/// segment. A new descriptor is the lowest that is free, so one from `ceiling` on says that the others are taken; that
/// connection is kept aside until a lower one is free.
///
/// `@unchecked Sendable`: as EventSource; `descriptorLock` is for any thread.
package final class Listener: EventSource, @unchecked Sendable {
  private static var patienceNanoseconds: UInt64 { 50_000_000 }
  private static var acceptsPerTurn: Int { 64 }
  /// How many descriptors are left to files; a quarter where there are few.
  private static var reservedDescriptors: Int { 64 }

  /// Where it listens: with the port that the system chose, if 0 was asked for.
  package let address: SocketAddress

  private let descriptor: Int32
  private let makeHandler: @Sendable (StreamConnection) -> any StreamHandler
  private let options: StreamOptions
  private let stopRequested = Atomic(false)
  private let waits = Atomic<Int>(0)
  private let ceiling: Int32
  private var canAccept = false
  private var isWaiting = false
  /// Accepted, and not yet let in.
  private var aside: (descriptor: Int32, peer: SocketAddress)?

  private init(
    _ loop: EventLoop, descriptor: Int32, address: SocketAddress, options: StreamOptions,
    makeHandler: @escaping @Sendable (StreamConnection) -> any StreamHandler
  ) {
    self.descriptor = descriptor
    self.address = address
    self.options = options
    self.makeHandler = makeHandler
    var limit = rlimit()
    let isLimited = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
    let most = isLimited ? Int(clamping: limit.rlim_cur) : Int(Int32.max)
    ceiling = Int32(clamping: most - min(Self.reservedDescriptors, most / 4))
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

  deinit {
    if !isFinished { synod_descriptor_close(descriptor) }
    if let aside { synod_descriptor_close(aside.descriptor) }
  }

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
      if let aside { synod_descriptor_close(aside.descriptor) }
      aside = nil
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
      guard let (accepted, peer) = next() else { return }
      Socket.prepare(accepted, peer.family, options)
      let loop = loop.group.next(near: Int(synod_socket_incoming_cpu(accepted)))
      loop.post(
        .register(
          StreamConnection(
            loop, descriptor: accepted, peer: peer, isConnected: true, options: options, makeHandler: makeHandler)))
    }
  }

  /// The next connection that may come in; nil if there is none now.
  private func next() -> (Int32, SocketAddress)? {
    if let (descriptor, peer) = aside {
      let lower = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
      guard lower >= 0, lower < ceiling else {
        synod_descriptor_close(lower)
        waitForDescriptors()
        return nil
      }
      synod_descriptor_close(descriptor)
      aside = nil
      return (lower, peer)
    }
    var raw = synod_address()
    let accepted = unsafe synod_socket_accept(descriptor, &raw)
    guard accepted >= 0 else {
      refused(-accepted)
      return nil
    }
    guard accepted < ceiling else {
      aside = (accepted, SocketAddress(raw))
      waitForDescriptors()
      return nil
    }
    return (accepted, SocketAddress(raw))
  }

  private func refused(_ code: Int32) {
    switch code {
    case EAGAIN: canAccept = false
    case EMFILE, ENFILE, ENOBUFS, ENOMEM: waitForDescriptors()
    default: break  // That one connection is gone (ECONNABORTED and its kin); the next may be well.
    }
  }

  private func waitForDescriptors() {
    isWaiting = true
    waits.wrappingAdd(1, ordering: .relaxed)
    loop.schedule(afterNanoseconds: Self.patienceNanoseconds) { [weak self] in
      guard let self else { return }
      loop.post(.mail(self) { self.isWaiting = false })
    }
  }
}
