import Foundation
import Platform
import Server
import Synchronization
import Synod
import Wire

/// A server on a port of loopback that the system chose, over a database in a temporary directory.
final class RunningServer: @unchecked Sendable {
  // `@unchecked`: set by init and not changed.
  let database: Database
  let server: Server
  let port: Int
  private let path: String
  var certificate: String { path + "/cert.pem" }

  init(loops: Int = 2, tls: Bool = false, _ change: (inout ServingOptions) -> Void = { _ in }) throws {
    path = NSTemporaryDirectory() + "/synod-served-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    database = try Database.open(at: path + "/db")
    var options = Server.Options(listen: [try SocketAddress(literal: "127.0.0.1", port: 0)], loops: loops)
    if tls, let openssl = Program.find("openssl") {
      let made = try Program.run(
        openssl,
        [
          "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
          "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", path + "/key.pem", "-out",
          path + "/cert.pem",
        ])
      guard made.status == 0 else { throw ServerError(made.errors) }
      options.tls = try TLSContext(
        server: TLSContext.Identity(certificate: .file(path + "/cert.pem"), key: .file(path + "/key.pem")))
    }
    change(&options.serving)
    server = try Server(
      database: database, options: options, metrics: ServerMetrics(factory: PrometheusFactory()),
      logger: ServerLogger.silent)
    port = Int(try server.start()[0].port)
  }

  deinit {
    server.stop()
    try? database.close()
    try? FileManager.default.removeItem(atPath: path)
  }

  func psql(_ script: String, connection: String? = nil) throws -> Program.Result {
    let place = connection ?? "host=127.0.0.1 port=\(port) user=synod dbname=synod"
    return try Program.run(
      Program.find("psql")!, ["-X", place] + (connection == nil ? [] : ["-At"]), input: script + "\n")
  }
}

/// Other programs.
enum Program {
  struct Result {
    var status: Int32
    var output: String
    var errors: String
  }

  static func find(_ name: String) -> String? {
    let folders =
      (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":").map(String.init) + [
        "/usr/lib/postgresql/15/bin"
      ]
    return folders.map { $0 + "/" + name }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  static func run(
    _ path: String, _ arguments: [String], _ environment: [String: String] = [:], input: String = ""
  ) throws -> Result {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let (standardInput, output, errors) = (Pipe(), Pipe(), Pipe())
    process.standardInput = standardInput
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    let complaints = Worker { errors.fileHandleForReading.readDataToEndOfFile() }
    standardInput.fileHandleForWriting.write(Data(input.utf8))
    try standardInput.fileHandleForWriting.close()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    let said = try complaints.join()
    process.waitUntilExit()
    return Result(
      status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
      errors: String(decoding: said, as: UTF8.self))
  }
}

/// A thread with a result.
final class Worker<R: Sendable>: Sendable {
  private let result = Mutex<Swift.Result<R, any Error>?>(nil)
  private let done = DispatchSemaphore(value: 0)

  init(_ body: @escaping @Sendable () throws -> R) {
    Thread.detachNewThread {
      let result = Swift.Result { try body() }
      self.result.withLock { $0 = result }
      self.done.signal()
    }
  }

  func join() throws -> R {
    done.wait()
    return try result.withLock { $0! }.get()
  }
}

/// A client of one thread: says a query, hears its answer as text.
final class BlockingClient {
  private let socket: Int32
  private var eyes = MessageDecoder(side: .backend, maximumMessageSize: 64 << 20)

  init(_ port: Int) throws {
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, 16) }
    }
    guard code == 0 else {
      close(socket)
      throw ServerError("cannot connect")
    }
    var limit = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var pen = WireBuffer()
    pen.startup(StartupMessage(parameters: [.init("user", "synod"), .init("database", "synod")]))
    write(pen)
    _ = try receive()
  }

  deinit { close(socket) }

  private func write(_ pen: borrowing WireBuffer) {
    let bytes = pen.array
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(socket, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count <= 0 { return }
      sent += count
    }
  }

  func send(_ sql: String) throws {
    var pen = WireBuffer()
    try pen.query(sql)
    write(pen)
  }

  @discardableResult
  func run(_ sql: String) throws -> [String] {
    try send(sql)
    return try receive()
  }

  /// The answer up to ReadyForQuery or the end: rows as text, "done", errors with state and message.
  func receive() throws -> [String] {
    var lines: [String] = []
    while true {
      while let frame = try eyes.nextFrame() {
        switch try eyes.decodeBackend(frame) {
        case .readyForQuery: return lines
        case .commandComplete(let tag): if !tag.hasPrefix("SELECT") { lines.append("done") }
        case .dataRow(var values):
          var fields: [String] = []
          while let value = values.next(in: eyes.buffer) {
            guard case .bytes(let slice) = value else { continue }
            fields.append(String(decoding: eyes.buffer.array(of: slice), as: UTF8.self))
          }
          lines.append(fields.joined(separator: "|"))
        case .error(let report):
          lines.append("\(report.sqlState) \(report.message)")
          if report.severity.endsConnection { return lines }
        default: break
        }
      }
      var buffer = [UInt8](repeating: 0, count: 65536)
      let count = recv(socket, &buffer, buffer.count, 0)
      guard count > 0 else { throw ServerError("the connection ended after \(lines)") }
      eyes.append(Array(buffer[..<count]))
    }
  }
}
