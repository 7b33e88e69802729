internal import Logging
internal import SQL
internal import Synchronization
internal import Transactions
package import Wire

// One client: its conversation (`Wire.ServerSession`), its session (`SQL.SQLSession`), its socket, and who may touch them.
//
//   loop: bytes ──▶ turn: next() → do → completion → next() … ──▶ send            no hop, no lock across work
//                     │
//                     ├─ the statement blocks (row lock, COPY data, full socket): the loop is handed to another thread;
//                     │  this one keeps the connection, and what arrives meanwhile waits with the loop
//                     ├─ the commit is in the log: the turn ends; the log's thread has it resumed on the loop
//                     └─ everything read is answered: the turn ends
//
// 1. The connection is checked out (see `EventSource`) by the thread that runs its turn; that thread owns everything here but
//    `shared`, also after it has lost the loop.
// 2. An answer that acknowledges a commit is in `output` only after that commit was delivered.
// 3. Whoever ends the connection from elsewhere (cancel, terminate, a limit of time) leaves a note in `shared` and
//    interrupts the statement; the turn acts on it.

/// One client's connection.
@safe
package final class Connection: @unchecked Sendable {
  // `@unchecked`: `shared` is guarded by its mutex; all else belongs to whoever has the connection checked out.

  /// What others may touch.
  struct Shared: ~Copyable {
    /// Why the connection is to end, as soon as no statement runs.
    var termination: WireReport?
    var session: Interruptible?
    var activity = Activity()
  }

  /// `@unchecked Sendable`: only `cancel` is called, which any thread may.
  struct Interruptible: @unchecked Sendable {
    let session: SQLSession
  }

  package let services: ConnectionServices
  let stream: any ConnectionStream
  /// Where the client is; of a relayed one, as its relay tells.
  var peer: PeerAddress
  var wire: ServerSession
  var sql: SQLSession?
  var sink: WireSink!
  let shared = Mutex(Shared())
  var isEnded = false
  /// A turn is under way: what is received belongs to it.
  var isTurning = false
  /// The commit of the running message is on its way.
  var awaitsCommit = false
  var isReading = true
  /// The data of the COPY that runs are all there.
  var isCopyDone = true
  var roleName = ""
  var isSuperuser = false
  var processID: UInt32 = 0
  /// The session reads this node's state, whoever leads.
  var readsLocally: ReadConsistency?
  var waitsForLeaderSince: UInt64 = 0
  // See Connection+Moving.swift.
  /// What the client said first, for a session that is to be opened again elsewhere.
  var startupMessage: StartupMessage?
  /// The relay's, for a session that came by one.
  var ticket: RelayTicket?
  /// The key that the client was given.
  var clientKey: CancelKey?
  /// The client is between the first message of the extended protocol and Sync.
  var isMidSequence = false
  /// What this session was elsewhere is being made again.
  var isReplaying = false
  /// Since when the client's messages wait for a leader; 0: they do not.
  var heldSince: UInt64 = 0
  var departure: Departure?
  /// The connection may have a transaction, or begin one. Written by whoever has it, read by a transfer.
  let isWorking = Atomic(false)
  /// The session is another node's client's.
  let cameByRelay = Atomic(false)
  var awaitsStanding = false
  var isRetryScheduled = false
  /// A relay has the client: what was scheduled before must not find it another one.
  var isRelayed = false
  var statementStart: UInt64 = 0
  let limit = TimeLimit()
  let decoder = ParameterDecoder()

  /// A buffer is sent when it has grown to this.
  static let sendSizeBytes = 64 << 10
  /// A statement waits while so much is unsent.
  static let unsentLimitBytes = 1 << 20
  /// Whoever waits for the client looks so often whether it has been interrupted.
  static let patienceNanoseconds: UInt64 = 50_000_000

  package init(services: ConnectionServices, stream: any ConnectionStream, peer: PeerAddress) {
    self.services = services
    self.stream = stream
    self.peer = peer
    wire = ServerSession(
      options: ServerSession.Options(
        tls: services.options.tls(for: peer), maximumMessageSize: services.options.maximumMessageSizeBytes))
    sink = WireSink(self)
  }

  // MARK: Events, for whoever has the connection

  /// The connection exists: it has so long to say who it is.
  package func opened() {
    setLimit(.authentication, milliseconds: services.options.authenticationTimeoutMilliseconds)
  }

  /// Bytes came.
  package func received(_ bytes: RawSpan) {
    if departure != nil { return receivedAtDeparture(bytes) }
    wire.receive(bytes)
    turn()
  }

  /// The TLS handshake is over.
  package func secured() {
    wire.secured(applicationProtocol: stream.applicationProtocol)
    turn()
  }

  /// The peer is gone, or the connection was closed.
  package func closed() {
    wire.disconnected()
    turn()
  }

  // MARK: Events, on any thread

  /// Makes the running statement fail; nothing if none runs.
  package func cancelStatement() { interrupt(.cancel) }

  func interrupt(_ why: SQLSession.Interruption) {
    shared.withLock { shared in
      if shared.activity.state == .active { shared.session?.session.cancel(why) }
    }
  }

  /// Ends the connection with `report`: at once if no statement runs; otherwise when it is done, or `now`.
  package func terminate(_ report: WireReport, now: Bool) {
    shared.withLock { shared in
      if shared.termination == nil { shared.termination = report }
      if now, shared.activity.state == .active { shared.session?.session.cancel(.termination) }
    }
    stream.execute { self.turn() }
  }

  // MARK: The turn

  /// Acts until there is nothing to do.
  func turn() {
    // Bytes that a statement waits for (COPY) come in the middle of its turn.
    if isTurning || isEnded { return }
    isTurning = true
    perform()
    // The little that goes before a commit's answer leaves with it: it would wake the client for nothing.
    if !awaitsCommit || wire.output.count > Self.withheldSizeBytes { flush() }
    restIfIdle()
    isTurning = false
    guard !isEnded else { return }
    // A TLS handshake is read by the socket, not by the conversation.
    let wantsBytes = (heldSince == 0 ? wire.wantsBytes : wire.input.unread < 64 << 10) || wire.phase == .opening
    if wantsBytes != isReading {
      isReading = wantsBytes
      stream.setReading(wantsBytes)
    }
    if !awaitsCommit { becomeIdle() }
  }

  /// Sends what is in `output`.
  func flush() {
    if !wire.output.isEmpty { stream.send(&wire.output) }
  }

  private static let withheldSizeBytes = 4096

  // MARK: In the middle of a statement

  static let clientIsGone = SQLError(SQLState(rawValue: "08006"), "the client closed the connection")

  /// Sends a part of a result, and waits while the client does not read.
  func flushResult() throws(SQLError) {
    flush()
    while stream.unsentSizeBytes > Self.unsentLimitBytes {
      guard stream.awaitRoom(limit: Self.unsentLimitBytes / 2, timeoutNanoseconds: Self.patienceNanoseconds) else {
        throw Self.clientIsGone
      }
      try sql?.checkInterrupt()
    }
  }

  /// The next data of the COPY that runs, as much as is there; nil at the end.
  func nextCopyData() throws(SQLError) -> [UInt8]? {
    var data: [UInt8] = []
    while !isCopyDone {
      switch wire.next() {
      case .copyData(let slice):
        wire.input.buffer.withBytes(of: slice) { span in
          unsafe span.withUnsafeBytes { unsafe data.append(contentsOf: $0) }
        }
        if data.count >= Self.sendSizeBytes { return data }
      case .copyDone: isCopyDone = true
      case .copyFail(let report):
        isCopyDone = true
        throw SQLError(SQLState(rawValue: report.sqlState), report.message)
      case .disconnect: throw Self.clientIsGone
      default:
        if !data.isEmpty { return data }
        flush()
        try sql?.checkInterrupt()
        if !stream.awaitBytes(timeoutNanoseconds: Self.patienceNanoseconds) { throw Self.clientIsGone }
      }
    }
    return data.isEmpty ? nil : data
  }
}
