internal import CSynod
internal import Glibc
internal import Synchronization

/// Why a blocking stream cannot go on.
package enum StreamError: Error, Hashable, Sendable, CustomStringConvertible {
  case network(NetworkError)
  case tls(TLSError)
  /// The peer has closed the connection.
  case closed
  /// `interrupt()` was called.
  case interrupted

  package var description: String {
    switch self {
    case .network(let error): "\(error)"
    case .tls(let error): "\(error)"
    case .closed: "the server closed the connection"
    case .interrupted: "interrupted"
    }
  }
}

/// A stream socket for a program that does one thing at a time, such as the shell as a client: no loop, no handler.
///
/// One thread uses it; `interrupt` alone is for any thread.
///
/// `@unchecked Sendable`: as just said; the descriptor is under a lock where `interrupt` and `close` meet.
@safe
package final class BlockingStream: @unchecked Sendable {
  /// What was connected to.
  package let address: SocketAddress
  private let descriptor: Int32
  private let live: Mutex<Int32>
  private let isInterrupted = Atomic(false)
  private var session: TLSSession?
  private var hasEnded = false
  private let incoming = UnsafeMutableRawBufferPointer.allocate(byteCount: LoopThread.scratchBytes, alignment: 64)
  private var clear: UnsafeMutableRawBufferPointer?
  /// Clear bytes that a handshake's last piece brought with it.
  private var early: [UInt8] = []

  private init(_ descriptor: Int32, _ address: SocketAddress) {
    self.descriptor = descriptor
    live = Mutex(descriptor)
    self.address = address
  }

  deinit {
    close()
    unsafe incoming.deallocate()
    unsafe clear?.deallocate()
  }

  /// Who is at the other end of TLS; nil in clear.
  package var tls: TLSInformation? { session?.information }

  /// Connects to the first of these addresses that answers, within the time for each.
  package static func connect(
    to addresses: [SocketAddress], timeoutNanoseconds: UInt64 = 10_000_000_000
  ) throws(NetworkError) -> BlockingStream {
    var last = NetworkError(.badAddress, operation: "connect to", address: "nothing", reason: "there is no address")
    for address in addresses {
      do throws(NetworkError) { return try connect(to: address, timeoutNanoseconds) } catch { last = error }
    }
    throw last
  }

  private static func connect(
    to address: SocketAddress, _ timeoutNanoseconds: UInt64
  ) throws(NetworkError) -> BlockingStream {
    var raw = address.raw
    let descriptor = unsafe synod_socket_open(&raw)
    guard descriptor >= 0 else {
      throw NetworkError(errno: -descriptor, operation: "connect to", address: "\(address)")
    }
    let stream = BlockingStream(descriptor, address)
    Socket.prepare(descriptor, address.family, StreamOptions())
    var code = unsafe synod_socket_connect(descriptor, &raw)
    if code == EINPROGRESS {
      let deadline = synod_boot_nanoseconds() &+ min(timeoutNanoseconds, UInt64(Int64.max) / 2)
      while true {
        let now = synod_boot_nanoseconds()
        guard now < deadline else {
          throw NetworkError(errno: ETIMEDOUT, operation: "connect to", address: "\(address)")
        }
        if synod_wait_for(descriptor, Int32(POLLOUT), Int64(deadline - now)) > 0 { break }
      }
      code = synod_socket_failure(descriptor)
    }
    guard code == 0 else { throw NetworkError(errno: code, operation: "connect to", address: "\(address)") }
    return stream
  }

  /// Goes over to TLS, and returns when the handshake is done.
  package func startTLS(_ context: TLSContext, serverName: String?) throws(StreamError) {
    precondition(session == nil, "TLS has begun already")
    let fresh: TLSSession
    do throws(TLSError) { fresh = try context.makeSession(serverName: serverName) } catch { throw .tls(error) }
    session = fresh
    unsafe clear = .allocate(byteCount: LoopThread.clearBytes, alignment: 64)
    if let failure = fresh.begin() { throw .tls(failure) }
    try sendOutput(fresh)
    while !fresh.isEstablished {
      guard let count = try receiveRaw() else {
        throw .tls(TLSError(.closedEarly, "the server closed the connection during the TLS handshake"))
      }
      try unsafe early.append(contentsOf: decrypt(count, fresh))
    }
  }

  /// Sends everything, waiting for room.
  package func send(_ bytes: UnsafeRawBufferPointer) throws(StreamError) {
    guard let session else { return unsafe try sendRaw(bytes) }
    if let failure = unsafe session.encrypt(bytes) { throw .tls(failure) }
    try sendOutput(session)
  }

  /// Sends everything, waiting for room.
  package func send(_ bytes: [UInt8]) throws(StreamError) {
    try unsafe bytes.span.bytes.withUnsafeBytes { (all) throws(StreamError) in unsafe try send(all) }
  }

  /// Waits for bytes and gives them to `body`, valid for its time.
  /// - Returns: false at the end of what the peer sends.
  package func receive(_ body: (RawSpan) -> Void) throws(StreamError) -> Bool {
    if !early.isEmpty {
      let bytes = early
      early = []
      unsafe bytes.withUnsafeBytes { unsafe body($0.bytes) }
      return true
    }
    while !hasEnded {
      guard let count = try receiveRaw() else { break }
      guard let session else {
        unsafe body(UnsafeRawBufferPointer(rebasing: incoming[..<count]).bytes)
        return true
      }
      let bytes = unsafe try decrypt(count, session)
      if bytes.count > 0 {
        unsafe body(bytes.bytes)
        return true
      }
    }
    return false
  }

  /// Ends what another thread waits for here, now and from now on.
  package func interrupt() {
    isInterrupted.store(true, ordering: .releasing)
    live.withLock { descriptor in
      if descriptor >= 0 { _ = synod_socket_shut(descriptor, 1) }
    }
  }

  package func close() {
    if let session, !isInterrupted.load(ordering: .acquiring) {
      session.close()
      let bytes = unsafe session.output
      if bytes.count > 0 { _ = unsafe synod_socket_send(descriptor, bytes.baseAddress!, bytes.count) }
    }
    session = nil
    live.withLock { descriptor in
      synod_descriptor_close(descriptor)
      descriptor = -1
    }
    isInterrupted.store(true, ordering: .releasing)
  }

  // MARK: Steps

  private func decrypt(_ count: Int, _ session: TLSSession) throws(StreamError) -> UnsafeRawBufferPointer {
    let memory = unsafe clear!
    let progress = unsafe session.receive(UnsafeRawBufferPointer(rebasing: incoming[..<count]), into: memory)
    try sendOutput(session)
    switch progress {
    case .failed(let failure): throw .tls(failure)
    case .ended(let count):
      hasEnded = true
      return unsafe UnsafeRawBufferPointer(rebasing: memory[..<count])
    case .clear(let count): return unsafe UnsafeRawBufferPointer(rebasing: memory[..<count])
    }
  }

  private func sendOutput(_ session: TLSSession) throws(StreamError) {
    guard session.outputCount > 0 else { return }
    defer { session.dropOutput() }
    unsafe try sendRaw(session.output)
  }

  private func sendRaw(_ bytes: UnsafeRawBufferPointer) throws(StreamError) {
    var rest = unsafe bytes[...]
    while unsafe !rest.isEmpty {
      if isInterrupted.load(ordering: .acquiring) { throw .interrupted }
      let piece = unsafe UnsafeRawBufferPointer(rebasing: rest)
      let sent = unsafe synod_socket_send(descriptor, piece.baseAddress!, piece.count)
      if sent == -Int64(EAGAIN) {
        _ = synod_wait_for(descriptor, Int32(POLLOUT), -1)
      } else if sent < 0 {
        throw failure(Int32(-sent), "write to")
      } else {
        unsafe rest = unsafe rest.dropFirst(Int(sent))
      }
    }
  }

  /// Nil at the end.
  private func receiveRaw() throws(StreamError) -> Int? {
    while true {
      if isInterrupted.load(ordering: .acquiring) { throw .interrupted }
      let count = unsafe synod_socket_receive(descriptor, incoming.baseAddress!, incoming.count)
      if count == -Int64(EAGAIN) {
        _ = synod_wait_for(descriptor, Int32(POLLIN), -1)
      } else if count < 0 {
        throw failure(Int32(-count), "read from")
      } else if count == 0 {
        hasEnded = true
        if isInterrupted.load(ordering: .acquiring) { throw .interrupted }
        return nil
      } else {
        return Int(count)
      }
    }
  }

  private func failure(_ code: Int32, _ operation: String) -> StreamError {
    if isInterrupted.load(ordering: .acquiring) { return .interrupted }
    if code == EPIPE { return .closed }
    return .network(NetworkError(errno: code, operation: operation, address: "\(address)"))
  }
}
