import Foundation
import Wire

/// A golden conversation: `Scripts/*.talk`.
///
/// ```
/// # What this is about.
/// > query SELECT 1           what the client sends; several messages with ` ; ` between arrive as one piece
/// = row 1                    what the driver does
/// ! query SELECT 1           an action of the session
/// < dataRow 1                a message to the client
/// ```
///
/// Lines with `!` and `<` are what is expected after the line above. With `SYNOD_REWRITE=1` in the environment the tests
/// write what they found into the scripts, to be read as a diff. A script with a line `# open` starts in a
/// session that is open already; one with `# tls: available` or `required` in a server that has TLS.
enum Conversation {

  static var folder: URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Scripts")
  }

  static let names: [String] = {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return names.filter { $0.hasSuffix(".talk") }.sorted()
  }()

  /// The script with what really happened in the place of what was expected. Bytes come in pieces of `pieceSize`.
  static func replay(_ script: String, pieceSize: Int = .max) throws -> String {
    var lines: [String] = []
    let tls = script.split(separator: "\n").first { $0.hasPrefix("# tls: ") }.map { String($0.dropFirst(7)) }
    var talker = Talker(
      options: ServerSession.Options(
        tls: tls == "available" ? .available : tls == "required" ? .required : .unavailable,
        maximumMessageSize: 100_000))
    if script.contains("# open") { talker.open() }
    for line in script.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("<") || line.hasPrefix("!") { continue }
      lines.append(String(line))
      if line.hasPrefix("> ") {
        lines += try talker.client(String(line.dropFirst(2)), pieceSize: pieceSize)
      } else if line.hasPrefix("= ") {
        lines += try talker.driver(String(line.dropFirst(2)))
      }
    }
    return lines.joined(separator: "\n")
  }
}

struct ScriptError: Error, CustomStringConvertible {
  var description: String
}

/// A session with a client's pen and a client's eyes.
struct Talker: ~Copyable {
  private var session: ServerSession
  private var eyes = MessageDecoder(side: .backend, maximumMessageSize: 1 << 20)
  private var expectsLetter = false
  private var isGone = false
  private var fields = 0

  init(options: ServerSession.Options) { session = ServerSession(options: options) }

  /// Past the opening, by trust.
  mutating func open() {
    _ = try? client("startup user=alice", pieceSize: .max)
    _ = try? driver("authenticate trust")
    _ = try? driver("opened")
  }

  mutating func client(_ line: String, pieceSize: Int) throws -> [String] {
    var pen = WireBuffer()
    for command in line.components(separatedBy: " ; ") { try write(command, &pen) }
    if line.hasPrefix("tls") || line.hasPrefix("gss") { expectsLetter = true }
    var found: [String] = []
    var rest = pen.array[...]
    repeat {
      session.receive(Array(rest.prefix(pieceSize)))
      rest = rest.dropFirst(pieceSize)
      found += settle()
    } while !rest.isEmpty
    return found
  }

  private func write(_ command: String, _ pen: inout WireBuffer) throws {
    var words = command.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
    let verb = words.removeFirst()
    func name(_ index: Int) -> String { words.count > index && words[index] != "-" ? words[index] : "" }
    let text = words.joined(separator: " ")
    switch verb {
    case "tls": pen.tlsRequest()
    case "gss": pen.gssRequest()
    case "startup":
      var message = StartupMessage(parameters: [])
      for word in words {
        let pair = word.split(separator: "=", maxSplits: 1).map(String.init)
        if pair[0] == "version" {
          let numbers = pair[1].split(separator: ".").map { UInt16($0)! }
          message.version = ProtocolVersion(major: numbers[0], minor: numbers[1])
        } else {
          message.parameters.append(.init(pair[0], pair.count > 1 ? pair[1] : ""))
        }
      }
      pen.startup(message)
    case "cancel": pen.cancelRequest(CancelKey(process: UInt32(words[0])!, secret: bytes(words[1])))
    case "raw": pen.append(bytes(text))
    case "query": try pen.query(text)
    case "parse":
      try pen.parse(ParseMessage(name: name(0), query: words.dropFirst().joined(separator: " "), parameterTypes: []))
    case "bind":
      try pen.bind(
        portal: name(0), statement: name(1), parameters: words.dropFirst(2).map { $0 == "NULL" ? nil : Array($0.utf8) })
    case "describe": pen.describe(words[0] == "S" ? .statement(name(1)) : .portal(name(1)))
    case "close": pen.close(words[0] == "S" ? .statement(name(1)) : .portal(name(1)))
    case "execute": pen.execute(portal: name(0), rowLimit: words.count > 1 ? Int32(words[1])! : 0)
    case "sync": pen.sync()
    case "flush": pen.flush()
    case "copydata": try pen.copyData(Array((text + "\n").utf8).span.bytes)
    case "copydone": pen.copyDone()
    case "copyfail": pen.copyFail(text)
    case "password": pen.password(text)
    case "sasl": pen.saslInitial(mechanism: words[0], Array(words.dropFirst().joined(separator: " ").utf8))
    case "terminate": pen.terminate()
    default: throw ScriptError(description: "no client's verb: \(verb)")
    }
  }

  private func bytes(_ hex: String) -> [UInt8] {
    var digits = hex.filter { $0 != " " }[...]
    var bytes: [UInt8] = []
    while digits.count >= 2 {
      bytes.append(UInt8(digits.prefix(2), radix: 16)!)
      digits = digits.dropFirst(2)
    }
    return bytes
  }

  mutating func driver(_ line: String) throws -> [String] {
    var words = line.split(separator: " ").map(String.init)
    let verb = words.removeFirst()
    let text = words.joined(separator: " ")
    switch verb {
    case "authenticate": authenticate(words)
    case "right": session.passwordChecked(true)
    case "wrong": session.passwordChecked(false)
    case "secured": session.secured()
    case "opened":
      session.opened(
        parameters: [("server_version", "15.0")], key: CancelKey(process: 7, secret: [0xAA, 0xBB, 0xCC, 0xDD, 0xEE]))
    case "completed": session.completed(status(words.first))
    case "failed":
      session.failed(
        WireReport(sqlState: words[1], message: words.dropFirst(2).joined(separator: " ")), status(words[0]))
    case "terminate": session.terminate(WireReport(sqlState: "57P01", message: text))
    case "notice": session.output.notice(WireReport(severity: .notice, sqlState: "00000", message: text))
    case "columns":
      session.output.rowDescription(words.map { FieldDescription(name: $0, type: 25, typeSize: -1) })
    case "parameters": session.output.parameterDescription(words.map { UInt32($0)! })
    case "nodata": session.output.noData()
    case "row":
      let row = session.output.beginRow(columns: words.count)
      for word in words { word == "NULL" ? session.output.nullValue() : session.output.value(text: word) }
      try session.output.endRow(row)
    case "complete": session.output.commandComplete(text)
    case "suspended": session.output.portalSuspended()
    case "empty": session.output.emptyQuery()
    case "copyin": session.beginCopyIn(CopyFormats(format: .text, columns: [.text, .text]))
    case "copyout":
      session.output.copyOutResponse(CopyFormats(format: .text, columns: [.text]))
      for word in words {
        let mark = session.output.beginCopyData()
        session.output.append(utf8: word + "\n")
        try session.output.endCopyData(mark)
      }
      session.output.copyDone()
    default: throw ScriptError(description: "no driver's verb: \(verb)")
    }
    return settle()
  }

  private mutating func authenticate(_ words: [String]) {
    let crypto = TestCrypto()
    switch words[0] {
    case "trust": session.authenticate(.trust)
    case "cleartext": session.authenticate(.cleartext)
    case "reject":
      session.authenticate(.reject(WireReport(severity: .fatal, sqlState: "28000", message: "no entry for this host")))
    default:
      let verifier = ScramVerifier(dummyFor: "alice", secret: [1], crypto: crypto)
      session.authenticate(.scram(ScramServer(verifier: verifier, printableNonce: "server", crypto: crypto)))
    }
  }

  private func status(_ word: String?) -> TransactionStatus {
    switch word {
    case "active": .active
    case "aborted": .failed
    default: .idle
    }
  }

  /// Everything that the session does now: its actions, and what the client sees.
  private mutating func settle() -> [String] {
    var found: [String] = []
    while !isGone {
      let action = session.next()
      isGone = action == .disconnect
      if action == .flush, expectsLetter { found += seen() }
      if let text = describe(action) { found.append("! " + text) }
      if [.read, .wait, .disconnect].contains(action) || action == .startTLS { break }
      if case .cancel = action { break }
      if case .copyData = action { continue }
    }
    return found + seen()
  }

  private func describe(_ action: ServerSession.Action) -> String? {
    switch action {
    case .read, .wait: nil
    case .flush: "flush"
    case .startTLS: "startTLS"
    case .cancel(let key): "cancel \(key.process) \(hex(key.secret))"
    case .authenticate(let message): "authenticate " + describe(message)
    case .checkPassword(let password): "checkPassword \(password)"
    case .open(let message): "open " + describe(message)
    case .query(let text): "query \(text)"
    case .parse(let message): "parse \(name(message.name)) \(message.query)"
    case .bind(let message):
      "bind \(name(message.portal)) \(name(message.statement))" + values(message.parameters, session.input.buffer)
    case .describe(let target): "describe " + describe(target)
    case .execute(let portal, let limit): "execute \(name(portal)) \(limit)"
    case .close(let target): "close " + describe(target)
    case .sync(let failed): failed ? "sync, failed" : "sync"
    case .copyData(let slice): "copyData " + text(session.input.buffer.array(of: slice))
    case .copyDone: "copyDone"
    case .fail(let report): "fail " + describe(report)
    case .copyFail(let report): "copyFail " + describe(report)
    case .disconnect: "disconnect"
    }
  }

  private func describe(_ message: StartupMessage) -> String {
    (["\(message.version.major).\(message.version.minor)"] + message.parameters.map { "\($0.name)=\($0.value)" })
      .joined(separator: " ")
  }

  private func describe(_ target: WireTarget) -> String {
    switch target {
    case .statement(let statement): "S \(name(statement))"
    case .portal(let portal): "P \(name(portal))"
    }
  }

  private func name(_ name: String) -> String { name.isEmpty ? "-" : name }
  private func hex(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }

  private func text(_ bytes: [UInt8]) -> String {
    String(decoding: bytes, as: UTF8.self).replacingOccurrences(of: "\n", with: "\\n")
  }

  private func values(_ values: WireValues, _ buffer: borrowing WireBuffer) -> String {
    var values = values
    var found = ""
    while let value = values.next(in: buffer) {
      switch value {
      case .null: found += " NULL"
      case .bytes(let slice): found += " " + text(buffer.array(of: slice))
      }
    }
    return found
  }

  /// What the client reads of what was written since.
  private mutating func seen() -> [String] {
    var found: [String] = []
    eyes.append(session.output.array)
    session.output.removeAll()
    if expectsLetter, let first = eyes.buffer.array.first {
      expectsLetter = false
      if first == UInt8(ascii: "S") || first == UInt8(ascii: "N") { found.append("< letter " + text([letter()])) }
    }
    do throws(WireError) {
      while let frame = try eyes.nextFrame() {
        found.append("< " + describe(try eyes.decodeBackend(frame)))
      }
    } catch {
      found.append("< NONSENSE \(error)")
    }
    return found
  }

  private mutating func letter() -> UInt8 {
    let all = eyes.buffer.array
    eyes.removeAll()
    eyes.append(Array(all.dropFirst()))
    return all[0]
  }

  private func describe(_ message: BackendMessage) -> String {
    switch message {
    case .authentication(.saslContinue(let slice)): "saslContinue " + text(eyes.buffer.array(of: slice))
    case .authentication(.saslFinal(let slice)): "saslFinal " + text(eyes.buffer.array(of: slice))
    case .authentication(let request): "authentication \(request)"
    case .dataRow(let row): "dataRow" + values(row, eyes.buffer)
    case .rowDescription(let fields): "rowDescription " + fields.map(\.name).joined(separator: " ")
    case .error(let report): "error " + describe(report)
    case .notice(let report): "notice " + describe(report)
    case .copyData(let slice): "copyData " + text(eyes.buffer.array(of: slice))
    case .readyForQuery(let status): "readyForQuery \(status)"
    case .parameterStatus(let name, let value): "parameterStatus \(name)=\(value)"
    case .keyData(let key): "keyData \(key.process) \(hex(key.secret))"
    case .commandComplete(let tag): "commandComplete \(tag)"
    case .copyIn: "copyIn"
    case .copyOut: "copyOut"
    default: "\(message)"
    }
  }

  private func describe(_ report: WireReport) -> String {
    let more = [report.detail.map { "detail: \($0)" }, report.hint.map { "hint: \($0)" }].compactMap { $0 }
    return (["\(report.severity.rawValue) \(report.sqlState) \(report.message)"] + more).joined(separator: " | ")
  }
}
