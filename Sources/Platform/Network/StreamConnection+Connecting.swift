internal import CSynod
internal import Glibc

// Outbound connections.
extension StreamConnection {
  /// Connects without blocking. The handler's `opened` or, where it fails, `closed` says what became of it.
  /// - Throws: only what is known at once: no descriptors, or an address family that the system lacks.
  @discardableResult
  package static func connect(
    to address: SocketAddress, on loop: EventLoop, timeoutNanoseconds: UInt64, options: StreamOptions = StreamOptions(),
    handler: @escaping @Sendable (StreamConnection) -> any StreamHandler
  ) throws(NetworkError) -> StreamConnection {
    var raw = address.raw
    let descriptor = unsafe synod_socket_open(&raw)
    guard descriptor >= 0 else {
      throw NetworkError(errno: -descriptor, operation: "connect to", address: "\(address)")
    }
    Socket.prepare(descriptor, address.family, options)
    let code = unsafe synod_socket_connect(descriptor, &raw)
    guard code == 0 || code == EINPROGRESS || (code == EAGAIN && address.family != .unix) else {
      synod_descriptor_close(descriptor)
      throw NetworkError(errno: code, operation: "connect to", address: "\(address)")
    }
    let connection = StreamConnection(
      loop, descriptor: descriptor, peer: address, isConnected: false, options: options, makeHandler: handler)
    connection.setTimeLimit(timeoutNanoseconds) { connection in
      guard connection.phase == .connecting else { return }
      connection.end(.failed(NetworkError(errno: ETIMEDOUT, operation: "connect to", address: "\(address)")))
    }
    loop.post(.register(connection))
    return connection
  }

  func finishConnecting() {
    clearTimeLimit()
    let code = synod_socket_failure(descriptor)
    guard code == 0 else {
      return end(.failed(NetworkError(errno: code, operation: "connect to", address: "\(peerAddress)")))
    }
    phase = .open
    localAddress = Socket.localAddress(descriptor) ?? localAddress
    _ = synod_poll_change(loop.poller, descriptor, synod_poll_in | synod_poll_read_hangup | synod_poll_edge, token)
    handler?.opened(self)
    if phase == .open && !pending.isEmpty { flush() }
  }
}
