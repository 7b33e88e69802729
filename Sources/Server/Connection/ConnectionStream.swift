package import Wire

// What a connection needs of the world below it, so that a conversation can be held without a socket.

/// The client's end of the line.
package protocol ConnectionStream: AnyObject, Sendable {
  // Whoever has the connection:

  /// Sends all of `bytes`, and leaves it empty.
  func send(_ bytes: inout WireBuffer)
  /// What was given to `send` and has not left yet.
  var unsentSizeBytes: Int { get }
  /// Blocks, while others go on, until no more than `limit` bytes are unsent or the time has passed. False: the connection
  /// is gone.
  func awaitRoom(limit: Int, timeoutNanoseconds: UInt64) -> Bool
  /// Blocks, while others go on, until bytes came, which `received` was given, or the time has passed. False: no more
  /// will come.
  func awaitBytes(timeoutNanoseconds: UInt64) -> Bool
  /// Whether bytes that come are handed over, or left to the peer.
  func setReading(_ isReading: Bool)
  /// What follows is TLS, and `received` was its beginning. `received` is then given plain bytes, after `secured`.
  func startTLS(received: [UInt8])
  /// What was agreed to be spoken within TLS (ALPN); empty where nobody said.
  var applicationProtocol: String { get }
  /// Whom the certificate of the client names, which a trusted authority has signed.
  var certifiedName: String? { get }
  /// The hash of the certificate that the client sees (tls-server-end-point); nil without TLS.
  var certificateHash: [UInt8]? { get }
  /// What follows is another node's: the client's bytes go there, and its answers to the client, until the session comes
  /// home (`comeHome`), or, where it never began elsewhere, is looked for again (`retry`).
  func relay(
    _ connection: Connection, _ startup: StartupMessage, luggage: SessionLuggage?, held: [UInt8], key: CancelKey?)
  /// Closes, after what was sent has left.
  func close()

  // Any thread:

  /// Runs `body` as whoever has the connection, when nobody else has.
  func execute(_ body: @escaping @Sendable () -> Void)
  /// Runs `body` after a while, whoever has the connection.
  func schedule(afterNanoseconds: UInt64, _ body: @escaping @Sendable () -> Void)
  /// Ends the connection at once, and every wait on it.
  func abort()
}
