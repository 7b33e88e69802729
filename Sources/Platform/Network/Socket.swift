internal import CSynod

/// System calls on sockets that need no connection.
enum Socket {
  static func localAddress(_ descriptor: Int32) -> SocketAddress? {
    var raw = synod_address()
    return unsafe synod_socket_local(descriptor, &raw) == 0 ? SocketAddress(raw) : nil
  }

  static func prepare(_ descriptor: Int32, _ family: SocketAddress.Family, _ options: StreamOptions) {
    if family == .ipv4 || family == .ipv6 {
      synod_socket_no_delay(descriptor)
      if let probe = options.keepAlive {
        synod_socket_keep_alive(descriptor, probe.idleSeconds, probe.intervalSeconds, probe.count)
      }
    }
    synod_socket_buffers(descriptor, options.receiveBufferBytes, options.sendBufferBytes)
  }
}
