import Foundation
import Platform
import SQL
import Server
import Synchronization
import Synod
import Wire

/// A connection's socket without a socket: what it sends is kept, what it waits for is given by the test.
///
/// `@unchecked Sendable`: `queue` is guarded; the rest is the test's thread's.
final class FakeStream: ConnectionStream, @unchecked Sendable {
  private let queue = Mutex<[@Sendable () -> Void]>([])
  private let signal = FutexWord()
  var connection: Connection!
  private(set) var sent: [UInt8] = []
  private(set) var isClosed = false
  private(set) var isReading = true
  /// Given when the connection waits for bytes in the middle of a statement.
  var later: [[UInt8]] = []

  func send(_ bytes: inout WireBuffer) {
    sent += bytes.array
    bytes.removeAll()
  }
  func take() -> [UInt8] {
    defer { sent = [] }
    return sent
  }
  var unsentSizeBytes: Int { 0 }
  func awaitRoom(limit: Int, timeoutNanoseconds: UInt64) -> Bool { true }
  func awaitBytes(timeoutNanoseconds: UInt64) -> Bool {
    guard !later.isEmpty else { return false }
    let bytes = later.removeFirst()
    connection.received(bytes.span.bytes)
    return true
  }
  func setReading(_ isReading: Bool) { self.isReading = isReading }
  var certificateHash: [UInt8]? { nil }
  var applicationProtocol: String { "" }
  var certifiedName: String?
  func startTLS(received: [UInt8]) {}
  /// No other node answers.
  func relay(
    _ connection: Connection, _ startup: StartupMessage, luggage: SessionLuggage?, held: [UInt8], key: CancelKey?
  ) { execute { connection.retry(startup, held) } }
  func close() { isClosed = true }
  func execute(_ body: @escaping @Sendable () -> Void) {
    queue.withLock { $0.append(body) }
    signal.increment()
    signal.wake()
  }
  func schedule(afterNanoseconds: UInt64, _ body: @escaping @Sendable () -> Void) { timers.append(body) }
  func abort() { isClosed = true }
  /// The timers that were set; a test lets them pass.
  var timers: [@Sendable () -> Void] = []

  /// Runs what others asked for; waits for it where the answer is not there yet.
  func settle(until isThere: () -> Bool) {
    while true {
      let seen = signal.load()
      var all: [@Sendable () -> Void] = []
      queue.withLock { swap(&$0, &all) }
      for body in all { body() }
      if isThere() { return }
      if all.isEmpty { signal.wait(while: seen, timeoutNanoseconds: 5_000_000_000) }
      if all.isEmpty && signal.load() == seen { return }
    }
  }
}

/// A database in a temporary directory, with what its connections share.
final class TestServer {
  let database: Database
  let services: ConnectionServices
  private let path: String

  init(_ options: ServingOptions = ServingOptions()) throws {
    path = NSTemporaryDirectory() + "/synod-server-\(UUID().uuidString)"
    database = try Database.open(at: path)
    services = ConnectionServices(
      sql: try database.sqlDatabase(), options: options, metrics: ServerMetrics(factory: PrometheusFactory()),
      logger: ServerLogger.silent, dummySecret: [7, 7, 7])
  }

  deinit {
    try? database.close()
    try? FileManager.default.removeItem(atPath: path)
  }

  /// A client that is already in.
  func client(user: String = "synod", _ parameters: [String: String] = [:]) throws -> TestClient {
    let client = TestClient(services)
    client.server = self
    var message = StartupMessage(parameters: [.init("user", user), .init("database", "synod")])
    for (name, value) in parameters.sorted(by: { $0.key < $1.key }) { message.parameters.append(.init(name, value)) }
    _ = client.say { $0.startup(message) }
    return client
  }
}

/// A client with a pen and eyes.
final class TestClient {
  let stream = FakeStream()
  let connection: Connection
  /// Lives as long as its clients.
  var server: TestServer?
  private var pen = WireBuffer()
  private(set) var key: CancelKey?
  private(set) var challenge: [UInt8] = []

  init(_ services: ConnectionServices, peer: PeerAddress = PeerAddress(host: "127.0.0.1", port: 1)) {
    connection = Connection(services: services, stream: stream, peer: peer)
    stream.connection = connection
    connection.opened()
  }

  /// Sends messages as one piece, and returns what came of them, one line a message, up to ReadyForQuery where one is due.
  func say(awaitsReady: Bool = true, _ write: (inout WireBuffer) throws -> Void) rethrows -> [String] {
    pen.removeAll()
    try write(&pen)
    pen.withBytes { connection.received($0) }
    return hear(awaitsReady: awaitsReady)
  }

  func query(_ sql: String) throws -> [String] { try say { try $0.query(sql) } }

  func hear(awaitsReady: Bool = true) -> [String] {
    stream.settle { !awaitsReady || stream.isClosed || stream.sent.suffix(6).first == UInt8(ascii: "Z") }
    return read(stream.take())
  }

  private func read(_ bytes: [UInt8]) -> [String] {
    var lines: [String] = []
    if bytes == Array("N".utf8) || bytes == Array("S".utf8) { return [String(decoding: bytes, as: UTF8.self)] }
    var eyes = MessageDecoder(side: .backend, maximumMessageSize: 64 << 20)
    eyes.append(bytes)
    while let frame = try? eyes.nextFrame() {
      guard let message = try? eyes.decodeBackend(frame) else {
        lines.append("?")
        continue
      }
      if case .keyData(let key) = message { self.key = key }
      if case .authentication(.saslContinue(let slice)) = message { challenge = eyes.buffer.array(of: slice) }
      lines.append(line(message, eyes.buffer))
    }
    return lines
  }

  private func line(_ message: BackendMessage, _ buffer: borrowing WireBuffer) -> String {
    func text(_ bytes: [UInt8]) -> String {
      if let text = String(validating: bytes, as: UTF8.self), text.utf8.allSatisfy({ $0 >= 32 || $0 == 10 || $0 == 9 })
      {
        return text
      }
      return "x" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
    switch message {
    case .dataRow(var values):
      var fields: [String] = []
      while let value = values.next(in: buffer) {
        switch value {
        case .null: fields.append("NULL")
        case .bytes(let slice): fields.append(text(buffer.array(of: slice)))
        }
      }
      return "row " + fields.joined(separator: "|")
    case .rowDescription(let fields):
      return "columns "
        + fields.map { "\($0.name):\($0.type)\($0.format == .binary ? "b" : "")" }.joined(separator: " ")
    case .commandComplete(let tag): return "done \(tag)"
    case .readyForQuery(let status): return "ready \(Character(UnicodeScalar(status.rawValue)))"
    case .error(let report): return "error \(report.severity.rawValue) \(report.sqlState) \(report.message)"
    case .notice(let report): return "notice \(report.severity.rawValue) \(report.sqlState) \(report.message)"
    case .parameterStatus(let name, let value): return "parameter \(name)=\(value)"
    case .copyData(let slice): return "data " + text(buffer.array(of: slice)).replacing("\n", with: "\\n")
    case .parameterDescription(let types): return "parameters \(types)"
    case .keyData: return "key"
    default: return "\(message)"
    }
  }
}
