/// From the first ReadyForQuery on: messages into actions, completions into answers.
extension ServerSession {
  /// What the driver is to do now. See the type's description.
  package mutating func next() -> Action {
    do throws(WireError) {
      switch state {
      case .closed: return .disconnect
      case .handshake, .choosing, .checkingPassword, .starting, .running, .copyEnding: return .wait
      case .opening: return try nextOpening()
      case .awaitingPassword, .awaitingSASLFirst, .awaitingSASLLast: return try nextPassword()
      case .admitted:
        guard let startup else { return .wait }
        state = .starting
        return .open(startup)
      case .ready: return try nextMessage()
      case .copyIn(let operation): return try nextCopyMessage(operation)
      }
    } catch {
      // Whatever goes wrong before the client is let in ends the connection; afterwards frames that cannot be cut do.
      terminate(error.report)
      return .disconnect
    }
  }

  private mutating func nextMessage() throws(WireError) -> Action {
    while let frame = try input.nextFrame() {
      if isSkipping, frame.type != UInt8(ascii: "S"), frame.type != UInt8(ascii: "X") { continue }
      do throws(WireError) {
        if let action = try action(for: try input.decodeFrontend(frame)) { return action }
      } catch {
        if error.scope == .connection { throw error }
        if let operation = Self.operation(frame.type) { return run(operation, .fail(error.report)) }
      }
    }
    return .read
  }

  /// What a message asks for, or nil if it is nothing.
  private mutating func action(for message: FrontendMessage) throws(WireError) -> Action? {
    switch message {
    case .query(let text): return run(.query, .query(text))
    case .parse(let message): return run(.parse, .parse(message))
    case .bind(let message): return run(.bind, .bind(message))
    case .describe(let target): return run(.describe, .describe(target))
    case .execute(let portal, let limit): return run(.execute, .execute(portal: portal, rowLimit: limit))
    case .close(let target): return run(.close, .close(target))
    case .sync:
      defer { isSkipping = false }
      return run(.sync, .sync(failed: isSkipping))
    case .flush: return .flush
    case .functionCall:
      throw WireError(
        .message, "the function call protocol is not supported", sqlState: "0A000",
        hint: "Call the function in a SELECT statement.")
    // What is left of a COPY that failed.
    case .copyData, .copyDone, .copyFail: return nil
    case .password:
      throw WireError(.connection, "invalid frontend message type 112", detail: "No password was asked for.")
    case .terminate:
      shut()
      return .disconnect
    }
  }

  private mutating func run(_ operation: Operation, _ action: Action) -> Action {
    state = .running(operation)
    return action
  }

  /// What fails when a message of a type makes no sense though its frame is sound; nil for what is ignored anyway.
  private static func operation(_ type: UInt8) -> Operation? {
    switch UnicodeScalar(type) {
    case "S": .sync
    case "P", "B", "D", "E", "C", "H": .execute
    case "d", "c", "f", "X": nil
    default: .query
    }
  }

  // MARK: Completions

  /// The action is done, its results are written. `status` is what the session's transaction has come to.
  package mutating func completed(_ status: TransactionStatus) {
    guard let operation = running() else { return ignoreIfClosed() }
    transaction = status
    state = .ready
    switch operation {
    case .query, .sync: output.readyForQuery(status)
    case .parse: output.parseComplete()
    case .bind: output.bindComplete()
    case .close: output.closeComplete()
    case .describe, .execute: break
    }
  }

  /// The action failed. What it wrote before remains; a report of severity FATAL ends the connection.
  package mutating func failed(_ report: WireReport, _ status: TransactionStatus) {
    if case .copyIn(let operation) = state { state = .running(operation) }
    guard let operation = running() else { return ignoreIfClosed() }
    if report.severity.endsConnection { return terminate(report) }
    transaction = status
    state = .ready
    output.error(report)
    switch operation {
    case .query, .sync:
      isSkipping = false
      output.readyForQuery(status)
    case .parse, .bind, .describe, .execute, .close: isSkipping = true
    }
  }

  private func running() -> Operation? {
    switch state {
    case .running(let operation), .copyEnding(let operation): operation
    default: nil
    }
  }

  // MARK: COPY FROM STDIN

  /// The running Query or Execute reads data from the client: `.copyData`, then `.copyDone` or `.copyFail` follow. After
  /// `.copyDone` in a Query of several statements another COPY may begin.
  package mutating func beginCopyIn(_ formats: CopyFormats) {
    guard let operation = running() else { return ignoreIfClosed() }
    precondition(operation == .query || operation == .execute)
    output.copyInResponse(formats)
    state = .copyIn(operation)
  }

  private mutating func nextCopyMessage(_ operation: Operation) throws(WireError) -> Action {
    while let frame = try input.nextFrame() {
      switch UnicodeScalar(frame.type) {
      case "d": return .copyData(frame.body)
      case "c":
        state = .copyEnding(operation)
        return .copyDone
      case "f":
        state = .copyEnding(operation)
        return .copyFail(copyFailure(frame))
      case "H", "S": continue
      case "X":
        shut()
        return .disconnect
      default:
        state = .copyEnding(operation)
        let type = String(frame.type, radix: 16, uppercase: true)
        return .copyFail(WireError(.message, "unexpected message type 0x\(type) during COPY from stdin").report)
      }
    }
    return .read
  }

  private func copyFailure(_ frame: MessageDecoder.Frame) -> WireReport {
    do throws(WireError) {
      guard case .copyFail(let reason) = try input.decodeFrontend(frame) else { return WireError.malformed().report }
      return WireReport(sqlState: "57014", message: "COPY from stdin failed: \(reason)")
    } catch {
      return error.report
    }
  }
}
