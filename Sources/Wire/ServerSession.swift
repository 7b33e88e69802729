/// One client's conversation with the server, as a value: bytes in, actions and bytes out.
///
/// ```
///               TLS wish                 startup            the driver decides     right
///   opening ───────────────▶ handshake      │            ┌─▶ password / scram ───────────┐
///      ▲ └──────────────────────────────────┴─▶ choosing ┴────────── trust ──────────────┴─▶ starting
///      └───── secured ───────────┘                                                              │ opened
///                                                                                               ▼
///        a message ─▶ running(op) ── completed ──▶ ready ◀── failed (extended: skipping until Sync)
///                        │ beginCopyIn                ▲
///                        └─▶ copyIn ─ done, fail ─▶ copyEnding ── completed / failed
///   from everywhere: closed
/// ```
///
/// **The driver's loop.** After every arrival of bytes (`receive`) and every completion, call `next()` until it gives
/// `.wait` or `.read`; do what each action says; then send what is in `output`. An action that is not `.wait`, `.read`,
/// `.flush` or `.close` is answered by exactly one completion (named beside it) before the session goes on; results are
/// written to `output` in between, with `WireBuffer`'s methods.
///
/// 1. `output` holds whole messages only, whenever `next()` or a completion returns; a notice may be added at any time.
/// 2. After an error in the extended protocol everything is skipped until Sync; the answer to a Sync, a Query and a
///    FunctionCall, and nothing else, ends with ReadyForQuery.
/// 3. The implicit transaction of the extended protocol ends at Sync, of the simple one at the end of the Query: the
///    driver ends it there, and a failure to do so is an error before ReadyForQuery.
/// 4. No byte that came before a TLS handshake is read after it (CVE-2021-23214).
/// 5. A stranger's messages are short (10,000 bytes to open, 65,535 for a password), and only those that it was asked for.
/// 6. What a peer sends never traps. Completions that come after the session closed are ignored.
///
/// COPY, as in PostgreSQL: while it reads, Flush and Sync are ignored, any other message but the three of COPY ends it
/// with an error; after it failed, what is left of the data is dropped.
///
/// Deviation: Terminate during COPY closes at once (PostgreSQL first makes an error that nobody reads).
/// Reference: PostgreSQL documentation, "Message Flow".
package struct ServerSession: ~Copyable {
  package struct Options: Sendable {
    package enum TLS: Sendable { case unavailable, available, required }
    package var tls: TLS
    /// In bytes.
    package var maximumMessageSize: Int

    package init(tls: TLS, maximumMessageSize: Int = 256 << 20) {
      self.tls = tls
      self.maximumMessageSize = maximumMessageSize
    }
  }

  enum Operation: Equatable {
    case query, parse, bind, describe, execute, close, sync
    var isExtended: Bool { self != .query }
  }

  enum State {
    case opening
    case handshake
    case choosing
    case awaitingPassword
    case checkingPassword
    indirect case awaitingSASLFirst(ScramServer, mechanismChosen: Bool)
    indirect case awaitingSASLLast(ScramServer)
    case admitted
    case starting
    case ready
    case running(Operation)
    case copyIn(Operation)
    case copyEnding(Operation)
    case closed
  }

  package let options: Options
  /// What is to be sent.
  package var output = WireBuffer()
  package internal(set) var input: MessageDecoder
  var state = State.opening
  /// Whether it speaks TLS.
  package internal(set) var isSecure = false
  var askedForTLS = false
  /// The client began with TLS, without asking.
  var isDirect = false
  var askedForGSS = false
  var isSkipping = false
  var startup: StartupMessage?
  /// As the last completion told.
  package internal(set) var transaction = TransactionStatus.idle

  package init(options: Options) {
    self.options = options
    input = MessageDecoder(side: .frontend, maximumMessageSize: options.maximumMessageSize)
  }

  /// What the driver is to do. Rare payloads are kept apart, so that the frequent actions stay small to copy.
  package enum Action: Equatable, Sendable {
    /// Nothing until more bytes come. Send `output`.
    case read
    /// Nothing until the completion of an earlier action. Send `output`.
    case wait
    /// Send `output` now; no completion.
    case flush
    /// Send `output`, shake hands as a TLS server, beginning with what is unread (`takeUnread`), then `secured`. Bytes
    /// that came behind a wish for TLS were refused; a client that began with TLS is what is unread.
    case startTLS
    /// Cancel the statement of the connection that has this key, if there is one; then the session is closed.
    case cancel(CancelKey)
    /// Say how this client shows who it is: `authenticate(_:)`.
    case authenticate(StartupMessage)
    /// Check a password in clear: `passwordChecked(_:)`.
    case checkPassword(String)
    /// Open the SQL session: `opened(parameters:key:)`, or `terminate(_:)`.
    case open(StartupMessage)

    /// Run the statements; write their results. Ends the implicit transaction. `completed(_:)` or `failed(_:_:)`,
    /// perhaps after `beginCopyIn(_:)`.
    case query(String)
    /// `completed` (it answers ParseComplete) or `failed`.
    case parse(ParseMessage)
    /// `completed` (BindComplete) or `failed`. Parameters are read from `input.buffer` before the next call of `next`.
    case bind(BindMessage)
    /// Write ParameterDescription (statements) and RowDescription or NoData; `completed` or `failed`.
    case describe(WireTarget)
    /// Write rows, then CommandComplete, EmptyQuery or (at the limit, 0 is none) PortalSuspended; `completed` or
    /// `failed`, perhaps after `beginCopyIn(_:)`.
    case execute(portal: String, rowLimit: Int)
    /// `completed` (CloseComplete; also for what does not exist) or `failed`.
    case close(WireTarget)
    /// End the implicit transaction: commit, or roll back if something failed since the last Sync. `completed` or
    /// `failed`; both answer ReadyForQuery.
    case sync(failed: Bool)

    /// A message made no sense: abort the transaction as if a statement had failed, then `failed` with this report.
    indirect case fail(WireReport)

    /// Data of a COPY, in `input.buffer` until the next call of `next`, which asks for more; or `failed`.
    case copyData(WireSlice)
    /// The data is whole: write CommandComplete; `completed` or `failed`.
    case copyDone
    /// The client gives up, or broke the protocol: drop what was read, then `failed` with this report.
    indirect case copyFail(WireReport)

    /// Send `output`, then close the connection and end the SQL session.
    case disconnect
  }

  // MARK: Input

  /// Takes what came from the connection (decrypted, after `secured()`).
  package mutating func receive(_ bytes: RawSpan) {
    switch state {
    case .closed: return
    case .handshake: refuseUnencrypted()
    default: input.append(bytes)
    }
  }

  package mutating func receive(_ bytes: [UInt8]) { unsafe receive(bytes.span.bytes) }

  /// Whether it is of use to read from the connection now. If not, let the peer wait.
  package var wantsBytes: Bool {
    switch state {
    case .closed, .handshake: false
    case .choosing, .checkingPassword, .admitted, .starting, .running, .copyEnding: input.unread < 64 << 10
    default: true
    }
  }

  /// Gives back what memory an idle connection does not need.
  package mutating func releaseMemory() {
    input.releaseIfEmpty()
    output.releaseIfEmpty()
  }

  /// Whether `.authenticate` waits for its completion.
  package var isChoosing: Bool {
    if case .choosing = state { true } else { false }
  }

  // MARK: Where it stands, for limits of time

  package enum Phase: Equatable, Sendable {
    /// Not yet let in.
    case opening
    /// Waiting for the client; `transaction` says whether it holds one open.
    case idle
    /// The server works.
    case busy
    /// The client is sending the data of a COPY.
    case copying
    case closed
  }

  package var phase: Phase {
    switch state {
    case .opening, .handshake, .choosing, .awaitingPassword, .checkingPassword, .awaitingSASLFirst, .awaitingSASLLast,
      .admitted, .starting:
      .opening
    case .ready: .idle
    case .running, .copyEnding: .busy
    case .copyIn: .copying
    case .closed: .closed
    }
  }

  /// Whether the message after the running one is a Sync that has come already.
  package var isSyncNext: Bool { input.nextType == UInt8(ascii: "S") && input.unread >= 5 }

  // MARK: The end

  /// Tells the client why the server ends the connection (severity FATAL), and closes.
  package mutating func terminate(_ report: WireReport) {
    if case .closed = state { return }
    var report = report
    if !report.severity.endsConnection { report.severity = .fatal }
    output.error(report)
    shut()
  }

  /// The connection is gone: nothing more is sent or understood.
  package mutating func disconnected() { shut() }

  mutating func shut() {
    state = .closed
    input.removeAll()
  }

  mutating func refuseUnencrypted() {
    terminate(
      WireError(
        .connection, "received unencrypted data after SSL request",
        detail: "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."
      ).report)
  }
}
