import Foundation
import Testing

/// Ports that were free a moment ago, below those that the system hands out by itself: nodes must know each other's before
/// they have them.
enum LoopbackPorts {
  static func take() -> Int {
    while true {
      let port = Int.random(in: 16_000..<32_000)
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(descriptor) }
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(port).bigEndian
      unsafe inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
      let isFree = unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
      }
      if isFree { return port }
    }
  }
}

/// One `synod serve`, whose clients' and HTTP ports the system chose.
final class ServedNode {
  let process = Process()
  private let file: String
  let log: String

  init(_ scratch: Scratch, _ name: String, _ arguments: [String]) throws {
    file = "\(scratch.path)/\(name)-\(UUID().uuidString).url"
    log = "\(scratch.path)/\(name).log"
    process.executableURL = Synod.executable
    process.arguments =
      ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--listening-url-file", file] + arguments
    if !FileManager.default.fileExists(atPath: log) { _ = FileManager.default.createFile(atPath: log, contents: nil) }
    let output = FileHandle(forWritingAtPath: log)
    _ = try? output?.seekToEnd()
    process.standardError = output ?? FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    try process.run()
  }

  /// What it said, for messages.
  var words: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

  private func lines(seconds: Double) -> [String] {
    let end = Date().addingTimeInterval(seconds)
    while Date() < end, process.isRunning {
      let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
      if !text.isEmpty { return text.split(separator: "\n").map(String.init) }
      usleep(10_000)
    }
    return []
  }

  /// Where clients connect, once they can.
  func url(seconds: Double = 30) throws -> String {
    try #require(lines(seconds: seconds).first, "no clients can connect: \(words)")
  }

  /// The body of the answer of the HTTP port.
  func http(_ path: String) throws -> String {
    let base = try #require(lines(seconds: 30).dropFirst().first)
    return Self.http(try #require(base.split(separator: ":").last.flatMap { UInt16($0) }), path)
  }

  static func http(_ port: UInt16, _ path: String) -> String {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var limit = timeval(tv_sec: 5, tv_usec: 0)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    unsafe inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
    let isConnected = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard isConnected else { return "" }
    let request = Array("GET \(path) HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".utf8)
    _ = unsafe send(descriptor, request, request.count, Int32(MSG_NOSIGNAL))
    var answer: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      let count = unsafe recv(descriptor, &chunk, chunk.count, 0)
      if count <= 0 { break }
      answer += chunk[..<count]
    }
    let text = String(decoding: answer, as: UTF8.self)
    return text.range(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? ""
  }

  func stop(_ signal: Int32 = SIGKILL) {
    if process.isRunning { kill(process.processIdentifier, signal) }
    process.waitUntilExit()
  }
}

/// Some processes of a cluster, asked as users ask them.
final class ServedCluster {
  private(set) var nodes: [Int: ServedNode] = [:]
  let scratch = Scratch()
  private var peerPorts: [Int: Int] = [:]
  let count: Int
  /// More arguments, by node.
  private let extra: (Int, Scratch) throws -> [String]
  /// What comes after `postgres://…/synod`.
  let options: String

  init(
    _ count: Int = 3, options: String = "?sslmode=disable",
    extra: @escaping (Int, Scratch) throws -> [String] = { _, _ in [] }
  ) throws {
    self.count = count
    self.extra = extra
    self.options = options
    for node in 1...count { peerPorts[node] = LoopbackPorts.take() }
    for node in 1...count { try start(node) }
  }

  deinit { stop() }

  func directory(_ node: Int) -> String { scratch.path + "/node\(node)" }

  var join: String { (1...count).map { "127.0.0.1:\(peerPorts[$0] ?? 0)" }.joined(separator: ",") }

  /// Starts a node again, one of the founders or a new one.
  func start(_ node: Int, _ more: [String] = []) throws {
    if peerPorts[node] == nil { peerPorts[node] = LoopbackPorts.take() }
    let founds = node <= count ? ["--bootstrap-expect", "\(count)"] : []
    nodes[node] = try ServedNode(
      scratch, "node\(node)",
      ["--data", directory(node), "--peer-listen", "127.0.0.1:\(peerPorts[node] ?? 0)", "--join", join] + founds
        + extra(node, scratch) + more)
  }

  func kill(_ node: Int, _ signal: Int32 = SIGKILL) { nodes[node]?.stop(signal) }

  func stop() { for node in nodes.values { node.stop() } }

  func url(_ node: Int, _ more: String = "") throws -> String {
    try #require(nodes[node]).url() + options + more
  }

  /// Rows, one a line.
  func ask(_ node: Int, _ statements: [String], options: String = "") throws -> Synod.Outcome {
    try Synod.run(["--mode", "list", "-noheader", try url(node, options)] + statements)
  }

  /// The last line of the answer.
  func value(_ node: Int, _ statement: String, options: String = "") throws -> String {
    let answer = try ask(node, [statement], options: options)
    return answer.output.split(separator: "\n").last.map(String.init) ?? answer.errors
  }

  func awaitReady() throws -> Bool {
    for node in 1...count { _ = try url(node) }
    return try eventually { try ask(1, ["SELECT 1"]).status == 0 }
  }

  /// Until something is so, within half a minute.
  func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    let end = Date().addingTimeInterval(30)
    while Date() < end {
      if try condition() { return true }
      usleep(50_000)
    }
    return false
  }

  /// Which of the processes leads.
  func leader() -> Int? {
    nodes.first { _, node in node.process.isRunning && (try? node.http("/primary")) == "leader\n" }?.key
  }
}
