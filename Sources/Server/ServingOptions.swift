internal import Wire

/// How connections are served.
package struct ServingOptions: Sendable {
  package enum Authentication: String, Sendable, CaseIterable {
    /// Whoever reaches the port may come in, as any role.
    case trust
    /// SCRAM-SHA-256 with the role's password.
    case scram
  }

  /// Nil: trust on loopback, SCRAM beyond.
  package var authentication: Authentication?
  /// Whether there is a certificate to speak TLS with.
  package var hasTLS = false
  /// Plaintext is taken from everywhere.
  package var isInsecure = false
  package var maximumConnections = 1000
  package var superuserReservedConnections = 3
  package var authenticationTimeoutMilliseconds = 60_000
  /// Statements that take longer are logged; negative: none.
  package var slowStatementMilliseconds = -1
  package var maximumMessageSizeBytes = 256 << 20

  package init() {}

  func authentication(for peer: PeerAddress) -> Authentication {
    authentication ?? (peer.isLocal ? .trust : .scram)
  }

  func tls(for peer: PeerAddress) -> ServerSession.Options.TLS {
    guard hasTLS else { return .unavailable }
    return peer.isLocal || isInsecure ? .available : .required
  }
}

/// Where a client is.
package struct PeerAddress: Sendable, CustomStringConvertible {
  /// An IP address, or empty for a unix socket.
  package var host: String
  package var port: Int
  package init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// On this machine.
  package var isLocal: Bool {
    host.isEmpty || host.hasPrefix("127.") || host == "::1" || host.hasPrefix("::ffff:127.")
  }

  package var description: String { host.isEmpty ? "unix socket" : "\(host):\(port)" }
}
