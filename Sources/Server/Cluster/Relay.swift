internal import Platform
internal import Synchronization

/// A client's session on another node: bytes both ways.
///
/// Both connections are of one loop, but each is touched only by whoever has it checked out: what comes from one is mailed
/// to the other. A side that does not read holds up the other side's sender.
///
/// `@unchecked Sendable`: the fields belong to whoever has the backend checked out, but for `isOver`.
final class Relay: StreamHandler, @unchecked Sendable {
  private static let heldSizeBytes = 1 << 20

  private let client: StreamConnection
  private let backend: Mutex<StreamConnection?> = Mutex(nil)
  private let address: SocketAddress
  private let opening: [UInt8]
  private let tls: TLSContext?
  private var awaitsTLS = false
  private var hasReceived = false
  private let otherwise: @Sendable () -> Void
  private let isOver = Atomic(false)

  /// Begins to connect. `opening` is sent first.
  init(
    _ client: StreamConnection, to address: SocketAddress, opening: [UInt8], tls: TLSContext?,
    otherwise: @escaping @Sendable () -> Void
  ) {
    self.client = client
    self.otherwise = otherwise
    self.address = address
    self.opening = opening
    self.tls = tls
  }

  func start() {
    do throws(NetworkError) {
      let made = try StreamConnection.connect(to: address, on: client.loop, timeoutNanoseconds: 2_000_000_000) { _ in
        self
      }
      backend.withLock { $0 = made }
    } catch { client.execute(otherwise) }
  }

  // MARK: From the client, by whoever has it

  func received(fromClient bytes: RawSpan) {
    guard let backend = backend.withLock({ $0 }) else { return }
    let copy = unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }
    backend.execute { [client] in
      backend.send(copy)
      if backend.bufferedBytes > Self.heldSizeBytes { client.execute { client.pauseReading() } }
    }
  }

  func clientDrained() {
    guard let backend = backend.withLock({ $0 }) else { return }
    backend.execute {
      backend.resumeReading()
      backend.wake()
    }
  }

  func clientClosed() {
    isOver.store(true, ordering: .releasing)
    if let backend = backend.withLock({ $0 }) { backend.execute { backend.close() } }
  }

  // MARK: From the leader

  func opened(_ connection: StreamConnection) {
    if tls != nil {
      awaitsTLS = true
      // SSLRequest
      connection.send([0, 0, 0, 8, 4, 210, 22, 47])
    } else {
      connection.send(opening)
    }
  }

  func secured(_ connection: StreamConnection) { connection.send(opening) }

  func received(_ bytes: RawSpan, _ connection: StreamConnection) {
    hasReceived = true
    let copy = unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }
    if awaitsTLS {
      awaitsTLS = false
      guard copy == [UInt8(ascii: "S")], let tls else {
        refuse("the leader does not speak TLS")
        return connection.abort()
      }
      return connection.startTLS(tls)
    }
    client.execute { [client] in
      client.send(copy)
      if client.bufferedBytes > Self.heldSizeBytes { connection.execute { connection.pauseReading() } }
    }
  }

  func drained(_ connection: StreamConnection) {
    client.execute { [client] in
      client.resumeReading()
      client.wake()
    }
  }

  func closed(_ reason: CloseReason, _ connection: StreamConnection) {
    backend.withLock { $0 = nil }
    if !hasReceived, !isOver.load(ordering: .acquiring) { return client.execute(otherwise) }
    if case .closed = reason {
      client.execute { [client] in client.close() }
    } else {
      refuse("the connection to the leader was lost: whether a commit that was under way is done is not known")
    }
  }

  func inputEnded(_ connection: StreamConnection) {
    // The leader ended the session; if it said why, the client has it.
    connection.close()
  }

  private func refuse(_ message: String) {
    guard !isOver.exchange(true, ordering: .acquiringAndReleasing) else { return }
    var body: [UInt8] = []
    for (code, text) in [("S", "FATAL"), ("V", "FATAL"), ("C", "08006"), ("M", message)] {
      body += Array(code.utf8) + Array(text.utf8) + [0]
    }
    body.append(0)
    let size = UInt32(body.count + 4)
    let head: [UInt8] = [UInt8(ascii: "E")] + (0..<4).map { UInt8(truncatingIfNeeded: size >> UInt32(24 - 8 * $0)) }
    let message = head + body
    client.execute { [client] in
      client.send(message)
      client.close()
    }
  }
}
