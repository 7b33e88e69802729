internal import CSynod

/// Where a stream socket listens or connects: an IPv4 or IPv6 address with a port, or a path.
package struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
  /// Which family it belongs to.
  package enum Family: Hashable, Sendable { case ipv4, ipv6, unix, other }

  package let family: Family
  /// The address as digits, or the path of a Unix socket (empty where the peer has none).
  package let host: String
  /// 0 for a Unix socket.
  package let port: UInt16

  private init(family: Family, host: String, port: UInt16) {
    self.family = family
    self.host = host
    self.port = port
  }

  /// An IPv4 or IPv6 address in digits, with its port (0: the system chooses one when listening).
  /// - Throws: `NetworkError` of kind `badAddress` where `literal` is not one.
  package init(literal: String, port: UInt16) throws(NetworkError) {
    var raw = synod_address()
    let code = unsafe synod_address_ip(literal, port, &raw)
    guard code == 0 else {
      throw NetworkError(
        .badAddress, operation: "use", address: "\(literal):\(port)", code: code,
        reason: "\(literal) is not an IPv4 or IPv6 address")
    }
    self.init(raw)
  }

  /// The path of a Unix socket, at most 107 bytes.
  package init(path: String) throws(NetworkError) {
    var raw = synod_address()
    let code = unsafe synod_address_path(path, &raw)
    guard code == 0 else { throw NetworkError(errno: code, operation: "use", address: path) }
    self.init(raw)
  }

  init(_ raw: synod_address) {
    var port: UInt16 = 0
    var copy = raw
    var family: Int32 = 0
    let host = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 160) { text in
      family = unsafe synod_address_parts(&copy, text.baseAddress, text.count, &port)
      return unsafe String(cString: text.baseAddress!)
    }
    let kind: Family =
      switch family {
      case 4: .ipv4
      case 6: .ipv6
      case 1: .unix
      default: .other
      }
    self.init(family: kind, host: host, port: port)
  }

  /// The form that system calls take. `init` checked that there is one.
  var raw: synod_address {
    var raw = synod_address()
    _ = unsafe family == .unix ? synod_address_path(host, &raw) : synod_address_ip(host, port, &raw)
    return raw
  }

  /// Every address of a host name (or of a literal), in the system's order of preference. Blocks while it asks a name
  /// server: on a loop, within `EventLoop.blocking`.
  package static func resolve(_ host: String, port: UInt16) throws(NetworkError) -> [SocketAddress] {
    if let literal = try? SocketAddress(literal: host, port: port) { return [literal] }
    var found: [SocketAddress] = []
    let count = unsafe withUnsafeTemporaryAllocation(of: synod_address.self, capacity: 16) { list -> Int32 in
      unsafe list.initialize(repeating: synod_address())
      let count = unsafe synod_address_resolve(host, port, list.baseAddress, Int32(list.count))
      for place in 0..<Int(max(0, count)) { unsafe found.append(SocketAddress(list[place])) }
      return count
    }
    guard count > 0 else {
      throw NetworkError(
        .badAddress, operation: "resolve", address: host,
        reason: count == 0 ? "it has no address" : unsafe String(cString: synod_address_resolve_error(count)))
    }
    return found
  }

  /// True for 127.0.0.0/8, ::1 and Unix sockets: what only this machine reaches.
  package var isLoopback: Bool {
    switch family {
    case .ipv4: host.hasPrefix("127.")
    case .ipv6: host == "::1" || host.hasPrefix("::ffff:127.")
    case .unix: true
    case .other: false
    }
  }

  /// 0.0.0.0 and ::, at which one listens everywhere and reaches nobody.
  package var isUnspecified: Bool { family != .unix && (host == "0.0.0.0" || host == "::") }

  /// `127.0.0.1:7432`, `[::1]:7432` or a path.
  package var description: String {
    switch family {
    case .ipv4: "\(host):\(port)"
    case .ipv6: "[\(host)]:\(port)"
    case .unix, .other: host.isEmpty ? "local" : host
    }
  }
}
