internal import Platform
internal import Wire

/// A connection over a socket of an event loop.
///
/// `@unchecked Sendable`: `socket` does its own checking out; `connection` and `context` are set before the first event.
@safe
final class SocketStream: ConnectionStream, StreamHandler, @unchecked Sendable {
  /// Kept: a commit that ends after the client has gone is still told here. The socket lets go of its handler when it closes.
  private let socket: StreamConnection
  private var connection: Connection!
  private let context: TLSContext?
  private var relay: Relay?

  init(_ socket: StreamConnection, _ services: ConnectionServices, _ context: TLSContext?) {
    self.socket = socket
    self.context = context
    let address = socket.peerAddress
    connection = Connection(
      services: services, stream: self,
      peer: PeerAddress(host: address.family == .unix ? "" : address.host, port: Int(address.port)))
  }

  // MARK: For the connection

  func send(_ bytes: inout WireBuffer) {
    bytes.withBytes { socket.send($0) }
    bytes.removeAll()
  }

  var unsentSizeBytes: Int { socket.bufferedBytes }

  func awaitRoom(limit: Int, timeoutNanoseconds: UInt64) -> Bool {
    socket.waitUntilSent(toAtMost: limit, timeoutNanoseconds: timeoutNanoseconds) || !socket.isClosed
  }

  func awaitBytes(timeoutNanoseconds: UInt64) -> Bool { socket.waitForBytes(timeoutNanoseconds: timeoutNanoseconds) }

  func setReading(_ isReading: Bool) { isReading ? socket.resumeReading() : socket.pauseReading() }

  func startTLS(received: [UInt8]) {
    guard let context else { return socket.abort() }
    socket.startTLS(context, received: received)
  }

  var applicationProtocol: String { socket.tls?.applicationProtocol ?? "" }
  var certifiedName: String? { socket.tls?.peer.flatMap { $0.commonName.isEmpty ? nil : $0.commonName } }

  var certificateHash: [UInt8]? { socket.tls?.serverEndPoint }

  func relay(
    _ connection: Connection, _ startup: StartupMessage, luggage: SessionLuggage?, held: [UInt8], key: CancelKey?
  ) {
    connection.isRelayed = true
    let relay = Relay(socket, connection, startup, luggage: luggage, held: held, key: key) {
      [weak self, weak connection] in
      self?.relay = nil
      connection?.isRelayed = false
    }
    self.relay = relay
    relay.start()
  }

  func close() { socket.close() }

  func execute(_ body: @escaping @Sendable () -> Void) { socket.execute(body) }

  func schedule(afterNanoseconds nanoseconds: UInt64, _ body: @escaping @Sendable () -> Void) {
    socket.loop.schedule(afterNanoseconds: nanoseconds, body)
  }

  func abort() { socket.abort() }

  // MARK: From the socket

  func opened(_ socket: StreamConnection) { connection.opened() }
  func received(_ bytes: RawSpan, _ socket: StreamConnection) {
    if let relay { relay.received(fromClient: bytes) } else { connection.received(bytes) }
  }
  func drained(_ socket: StreamConnection) { relay?.clientDrained() }
  func secured(_ socket: StreamConnection) { connection.secured() }
  func inputEnded(_ socket: StreamConnection) { connection.closed() }
  func closed(_ reason: CloseReason, _ socket: StreamConnection) {
    relay?.clientClosed()
    connection.closed()
    connection = nil
  }
}
