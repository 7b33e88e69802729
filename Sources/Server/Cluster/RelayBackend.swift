internal import Platform

/// The connection of a relay to the node that runs the session: asks for TLS, sends the opening, mails what comes.
///
/// `@unchecked Sendable`: the fields below belong to whoever has `connection` checked out; `connection` itself is set once,
/// before any event.
final class RelayBackend: StreamHandler, @unchecked Sendable {
  private weak var relay: Relay?
  private let client: StreamConnection
  private let opening: [UInt8]
  private let tls: TLSContext?
  private var awaitsTLS = false
  private var connection: StreamConnection?

  init(_ relay: Relay, _ client: StreamConnection, opening: [UInt8], tls: TLSContext?) {
    self.relay = relay
    self.client = client
    self.opening = opening
    self.tls = tls
  }

  func connect(to address: SocketAddress) throws(NetworkError) {
    connection = try StreamConnection.connect(to: address, on: client.loop, timeoutNanoseconds: 2_000_000_000) { _ in
      self
    }
  }

  // MARK: For the relay

  func send(_ bytes: [UInt8]) {
    guard let connection else { return }
    connection.execute { [client] in
      connection.send(bytes)
      if connection.bufferedBytes > 1 << 20 { client.execute { client.pauseReading() } }
    }
  }

  func pauseReading() {
    guard let connection else { return }
    connection.execute { connection.pauseReading() }
  }

  func resumeReading() {
    guard let connection else { return }
    connection.execute {
      connection.resumeReading()
      connection.wake()
    }
  }

  func close() {
    guard let connection else { return }
    connection.execute { connection.close() }
  }

  func abort() { connection?.abort() }

  // MARK: From the socket

  func opened(_ connection: StreamConnection) {
    if tls != nil {
      awaitsTLS = true
      connection.send(TLSWish.bytes)
    } else {
      connection.send(opening)
    }
  }

  func secured(_ connection: StreamConnection) { connection.send(opening) }

  func received(_ bytes: RawSpan, _ connection: StreamConnection) {
    let copy = unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }
    if awaitsTLS {
      awaitsTLS = false
      guard copy == [UInt8(ascii: "S")], let tls else { return connection.abort() }
      return connection.startTLS(tls)
    }
    client.execute { [self] in relay?.received(copy, from: self) }
  }

  func drained(_ connection: StreamConnection) { client.execute { [self] in relay?.drained(self) } }
  func inputEnded(_ connection: StreamConnection) { connection.close() }
  func closed(_ reason: CloseReason, _ connection: StreamConnection) {
    client.execute { [self] in relay?.closed(self) }
  }
}

/// SSLRequest.
private enum TLSWish {
  static let bytes: [UInt8] = [0, 0, 0, 8, 4, 210, 22, 47]
}

/// A connection that says one thing: that a statement is to be cancelled.
///
/// `@unchecked Sendable`: belongs to whoever has its connection checked out.
final class CancelRequest: StreamHandler, @unchecked Sendable {
  private let request: [UInt8]
  private let tls: TLSContext?

  init(_ request: [UInt8], tls: TLSContext?) {
    self.request = request
    self.tls = tls
  }

  func opened(_ connection: StreamConnection) {
    if tls != nil { connection.send(TLSWish.bytes) } else { say(connection) }
  }
  func secured(_ connection: StreamConnection) { say(connection) }
  func received(_ bytes: RawSpan, _ connection: StreamConnection) {
    if let tls { connection.startTLS(tls) } else { connection.close() }
  }
  private func say(_ connection: StreamConnection) {
    connection.send(request)
    connection.close()
  }
}
