import Foundation

/// Nodes of a cluster on loopback, each a process of this program: for demonstrations and tests.
///
/// `@unchecked Sendable`: everything is behind the lock.
final class ClusterProcesses: @unchecked Sendable {
  struct Node {
    var index: Int
    var sqlPort: UInt16
    var peerPort: UInt16
    var httpPort: UInt16
    var process: Process?
    /// It joins a cluster that is there.
    var isNew = false
    var isPaused = false
    var isWitness = false
  }

  let directory: String
  /// The nodes read its other end: when this process is gone, however it went, they end.
  private let lifeline = Pipe()
  private let lock = NSLock()
  private var list: [Node]
  private let extra: [String]
  private let faultsLibrary: String?
  /// Between the nodes, where asked for.
  let proxy: PeerProxy?

  /// - Parameters:
  ///   - witnesses: how many of them are witnesses: the last ones.
  ///   - extra: more arguments of `synod serve`.
  ///   - isProxied: peers reach each other through a proxy that can be told to break their streams.
  ///   - faultsLibrary: `tools/faults.c`, built: the nodes' disks and wall clocks can be told to fail.
  init(
    directory: String, count: Int, witnesses: Int = 0, extra: [String] = [], isProxied: Bool = false,
    faultsLibrary: String? = nil
  ) throws {
    self.directory = directory
    self.extra = extra
    self.faultsLibrary = faultsLibrary
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let list = (1...count).map {
      Node(
        index: $0, sqlPort: Self.freePort(), peerPort: Self.freePort(), httpPort: Self.freePort(),
        isWitness: $0 > count - witnesses)
    }
    self.list = list
    proxy = isProxied ? try PeerProxy(list.map { ($0.index, $0.peerPort) }) : nil
    // The nodes must not hold it open for each other.
    _ = fcntl(lifeline.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    if faultsLibrary != nil { for node in list { try NodeFaults().write(to: faultsFile(node.index)) } }
  }

  private func faultsFile(_ index: Int) -> String { "\(directory)/node\(index).faults" }

  /// Tells a node's disk and wall clock what to do from now on.
  func setFaults(_ faults: NodeFaults, of index: Int) throws { try faults.write(to: faultsFile(index)) }

  var nodes: [Node] { lock.withLock { list } }

  /// A node that joins when it is started. Returns its number.
  func add() -> Int {
    lock.withLock {
      list.append(
        Node(
          index: list.count + 1, sqlPort: Self.freePort(), peerPort: Self.freePort(), httpPort: Self.freePort(),
          isNew: true))
      return list.count
    }
  }

  private func change(_ index: Int, _ body: (inout Node) -> Void) {
    lock.withLock { if index >= 1, index <= list.count { body(&list[index - 1]) } }
  }

  /// A port that nobody has at the moment.
  private static func freePort() -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    unsafe inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    unsafe withUnsafeMutablePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(descriptor, $0, size)
        unsafe getsockname(descriptor, $0, &size)
      }
    }
    return UInt16(bigEndian: address.sin_port)
  }

  private func advertisedPort(_ node: Node) -> UInt16 { proxy?.ports[node.index] ?? node.peerPort }

  private var joinList: String { nodes.map { "127.0.0.1:\(advertisedPort($0))" }.joined(separator: ",") }

  func start(_ index: Int) throws {
    guard let node = nodes.first(where: { $0.index == index }) else { return }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    process.arguments =
      [
        "serve", "--data", "\(directory)/node\(index)", "--listen", "127.0.0.1:\(node.sqlPort)", "--http",
        "127.0.0.1:\(node.httpPort)", "--peer-listen", "127.0.0.1:\(node.peerPort)", "--join", joinList,
        "--faults", "--until-input-ends", "--advertise", "127.0.0.1:\(advertisedPort(node))",
      ] + (node.isWitness ? ["--role", "witness"] : [])
      + (node.isNew ? [] : ["--bootstrap-expect", "\(nodes.filter { !$0.isNew }.count)"]) + extra
    // A node that crashes ends at once, instead of looking for its own backtrace.
    var environment = ["SWIFT_BACKTRACE": "enable=no"]
    if let faultsLibrary {
      environment["LD_PRELOAD"] = faultsLibrary
      environment["SYNOD_FAULTS_FILE"] = faultsFile(index)
    }
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let path = "\(directory)/node\(index).log"
    if !FileManager.default.fileExists(atPath: path) { _ = FileManager.default.createFile(atPath: path, contents: nil) }
    let output = FileHandle(forWritingAtPath: path)
    _ = try? output?.seekToEnd()
    process.standardInput = lifeline.fileHandleForReading
    process.standardOutput = output ?? FileHandle.nullDevice
    process.standardError = output ?? FileHandle.nullDevice
    try process.run()
    change(index) {
      $0.process = process
      $0.isPaused = false
    }
  }

  /// Sends a signal to a node's process; of SIGKILL and SIGTERM waits for the end.
  func signal(_ index: Int, _ number: Int32) {
    guard let process = nodes.first(where: { $0.index == index })?.process, process.isRunning else { return }
    kill(process.processIdentifier, number)
    switch number {
    case SIGKILL, SIGTERM:
      if number == SIGTERM { kill(process.processIdentifier, SIGCONT) }
      process.waitUntilExit()
      change(index) { $0.process = nil }
    case SIGSTOP: change(index) { $0.isPaused = true }
    case SIGCONT: change(index) { $0.isPaused = false }
    default: break
    }
  }

  /// Its disk is lost: it is killed, and what is started next is a new node at the same place.
  func wipe(_ index: Int) throws {
    signal(index, SIGKILL)
    try FileManager.default.removeItem(atPath: "\(directory)/node\(index)")
    change(index) { $0.isNew = true }
  }

  func stopAll() {
    for node in nodes { signal(node.index, SIGKILL) }
    proxy?.stop()
  }

  // MARK: Asking nodes

  /// The answer of a node's HTTP port; nil where there is none.
  static func ask(_ node: Node, _ path: String) -> (status: Int, body: String)? {
    guard node.process != nil, !node.isPaused else { return nil }
    return HTTPQuestion.ask(port: node.httpPort, path: path)
  }

  /// Whether the node's process has not ended by itself.
  func isRunning(_ index: Int) -> Bool { nodes.first { $0.index == index }?.process?.isRunning ?? false }

  func leader() -> Node? { nodes.first { Self.ask($0, "/primary")?.status == 200 } }

  func awaitLeader(seconds: Double) -> Node? {
    let end = Date().addingTimeInterval(seconds)
    while Date() < end {
      if let node = leader() { return node }
      usleep(5_000)
    }
    return nil
  }

  /// Waits until the node serves, as leader or as a replica that is up to date.
  func awaitReady(_ index: Int, seconds: Double) -> Bool {
    let end = Date().addingTimeInterval(seconds)
    while Date() < end {
      guard let node = nodes.first(where: { $0.index == index }) else { return false }
      // A witness has nothing to serve; it is ready when it knows a leader.
      if node.isWitness, Self.ask(node, "/read-only")?.status == 200 { return true }
      if Self.ask(node, "/primary")?.status == 200 || Self.ask(node, "/replica?lag=1s")?.status == 200 { return true }
      usleep(10_000)
    }
    return false
  }
}

/// Prints a line of progress: seen when it is made, also where the output is a file.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

/// One HTTP request, by hand: nothing that blocks for long.
enum HTTPQuestion {
  static func ask(port: UInt16, path: String) -> (status: Int, body: String)? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var limit = timeval(tv_sec: 0, tv_usec: 500_000)
    let size = socklen_t(MemoryLayout<timeval>.size)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    unsafe inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
    let code = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard code == 0 else { return nil }
    let request = Array("GET \(path) HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".utf8)
    guard
      unsafe request.withUnsafeBytes({
        unsafe send(descriptor, $0.baseAddress!, $0.count, Int32(MSG_NOSIGNAL))
      }) == request.count
    else { return nil }
    var answer: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      let got = unsafe chunk.withUnsafeMutableBytes { unsafe recv(descriptor, $0.baseAddress!, $0.count, 0) }
      if got <= 0 { break }
      answer += chunk[..<got]
    }
    let text = String(decoding: answer, as: UTF8.self)
    let words = text.split(separator: " ", maxSplits: 2)
    guard words.count > 1, let status = Int(words[1]) else { return nil }
    let body = text.range(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? ""
    return (status, body)
  }
}
