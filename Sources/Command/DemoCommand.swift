import ArgumentParser
import Foundation
internal import Shell
internal import Synod

/// `synod demo`: a cluster on this machine, to watch and to break.
struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "Start a cluster of processes on this machine and open a shell on it, with commands to break it.",
    discussion: """
      The shell is an ordinary one, connected to all nodes; `.demo help` lists what can be done to them. The files are in \
      a temporary directory, which goes when the shell ends, unless --data names one.
      """)

  @Option(help: "How many nodes.")
  var nodes = 3

  @Option(help: ArgumentHelp("Where the nodes keep their files.", valueName: "dir"))
  var data: String?

  func validate() throws {
    guard (1...9).contains(nodes) else { throw ValidationError("--nodes is between 1 and 9") }
  }

  func run() throws {
    signal(SIGPIPE, SIG_IGN)
    let directory = data ?? NSTemporaryDirectory() + "synod-demo-\(getpid())"
    let cluster = try ClusterProcesses(directory: directory, count: nodes)
    defer {
      cluster.stopAll()
      if data == nil { try? FileManager.default.removeItem(atPath: directory) }
    }
    let start = Date()
    for node in cluster.nodes { try cluster.start(node.index) }
    guard cluster.awaitLeader(seconds: 30) != nil,
      cluster.nodes.allSatisfy({ cluster.awaitReady($0.index, seconds: 30) })
    else { throw CommandFailure("the nodes did not come up; their logs are \(directory)/node1.log and so on") }
    print("\(nodes) nodes, up in \(Int(Date().timeIntervalSince(start) * 1000)) ms; files in \(directory)\n")
    let demonstration = Demonstration(cluster)
    demonstration.printNodes()
    print(
      """

      Statements go to the leader, whichever node takes them. Try:
        CREATE TABLE t (k int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one');
        .demo kill leader        the others elect another one; nothing acknowledged is lost
        SELECT * FROM t;
        .demo restart 1          it catches up by itself;  .demo help lists the rest

      """)
    demonstration.watch()
    defer { demonstration.stop() }
    let hosts = cluster.nodes.map { "127.0.0.1:\($0.sqlPort)" }.joined(separator: ",")
    let isInteractive = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1
    let open: (String) throws -> any ShellConnection = { url in
      let settings = try ConnectionSettings(url: url) { ProcessInfo.processInfo.environment[$0] }
      return try RemoteConnection(settings, reconnects: true) { _ in nil }
    }
    var options = ShellOptions()
    options.isInteractive = isInteractive
    let shell: Shell
    do {
      shell = Shell(
        connection: try open("postgres://synod@\(hosts)/synod?sslmode=disable"), options: options, open: open)
    } catch let error as DatabaseError { throw CommandFailure(error.message) }
    shell.commandOfOthers = { name, arguments in try demonstration.run(name, arguments) }
    isInteractive ? shell.runInteractively() : shell.run(lines: StandardInput(), name: "stdin")
    _ = shell.close()
  }
}

/// What can be done to the nodes, and what happens to them.
///
/// `@unchecked Sendable`: the mutable parts are behind the lock.
final class Demonstration: @unchecked Sendable {
  private let cluster: ClusterProcesses
  private let lock = NSLock()
  private var isStopping = false
  private var brokenAt: Date?

  static let help = """
    .nodes                     every node: role, address, how far its log is
    .leader                    who leads
    .stepdown                  the leader hands over, in order
    .demo kill N|leader        kill -9
    .demo pause N|leader       stop it where it stands (SIGSTOP)
    .demo resume N             let it go on
    .demo stop N|leader        SIGTERM: it hands over and drains
    .demo restart N            start it again
    .demo partition 1|2,3      cut the network between the groups
    .demo heal                 and join it again
    """

  init(_ cluster: ClusterProcesses) { self.cluster = cluster }

  func run(_ name: String, _ arguments: [String]) throws -> Bool {
    switch name {
    case ".nodes": printNodes()
    case ".leader": print(cluster.leader().map { "node \($0.index) leads" } ?? "nobody leads")
    case ".stepdown":
      guard let leader = cluster.leader() else { throw ShellProblem("nobody leads") }
      note()
      print(ClusterProcesses.ask(leader, "/faults/transfer")?.body ?? "no answer\n", terminator: "")
    case ".demo": try demo(arguments)
    default: return false
    }
    return true
  }

  private func demo(_ arguments: [String]) throws {
    guard let verb = arguments.first, verb != "help" else { return print(Self.help) }
    switch verb {
    case "kill", "pause", "resume", "stop", "restart":
      let node = try self.node(arguments.count > 1 ? arguments[1] : "")
      note()
      switch verb {
      case "kill": cluster.signal(node, SIGKILL)
      case "pause": cluster.signal(node, SIGSTOP)
      case "resume": cluster.signal(node, SIGCONT)
      case "stop": cluster.signal(node, SIGTERM)
      default:
        guard cluster.nodes[node - 1].process == nil else { throw ShellProblem("node \(node) is running") }
        try cluster.start(node)
        guard cluster.awaitReady(node, seconds: 20) else { throw ShellProblem("node \(node) does not come up") }
      }
      print("node \(node): \(verb)")
    case "partition": try partition(arguments.dropFirst().joined())
    case "heal":
      for node in cluster.nodes { _ = ClusterProcesses.ask(node, "/faults/block?") }
      note()
      print("the network is whole")
    default: throw ShellProblem("unknown .demo \(verb); .demo help lists what there is")
    }
  }

  private func node(_ text: String) throws -> Int {
    if text == "leader" {
      guard let leader = cluster.leader() else { throw ShellProblem("nobody leads") }
      return leader.index
    }
    guard let index = Int(text), cluster.nodes.contains(where: { $0.index == index }) else {
      throw ShellProblem("which node? A number from 1 to \(cluster.nodes.count), or leader")
    }
    return index
  }

  private func partition(_ text: String) throws {
    let groups = text.split(separator: "|").map { $0.split(separator: ",").compactMap { Int($0) } }
    guard groups.count > 1, Set(groups.joined()).count == cluster.nodes.count else {
      throw ShellProblem("name every node once, groups parted by |, as in .demo partition 1|2,3")
    }
    let identities = identities()
    note()
    for group in groups {
      let others = groups.joined().filter { !group.contains($0) }.compactMap { identities[$0] }
      for index in group {
        _ = ClusterProcesses.ask(cluster.nodes[index - 1], "/faults/block?" + others.joined(separator: ","))
      }
    }
    print("cut: " + groups.map { $0.map(String.init).joined(separator: ",") }.joined(separator: " | "))
  }

  private func identities() -> [Int: String] {
    var found: [Int: String] = [:]
    for node in cluster.nodes {
      if let words = ClusterProcesses.ask(node, "/node")?.body.split(separator: " "), let first = words.first {
        found[node.index] = String(first)
      }
    }
    return found
  }

  func printNodes() {
    for node in cluster.nodes {
      let address = "postgres://synod@127.0.0.1:\(node.sqlPort)/synod"
      var state = node.process == nil ? "down" : node.isPaused ? "paused" : "no answer"
      if let words = ClusterProcesses.ask(node, "/node")?.body.split(whereSeparator: { $0 == " " || $0 == "\n" }),
        words.count >= 8
      {
        state = "\(words[7] == "true" ? "leader" : words[1])  log \(words[3])  chosen \(words[4])  applied \(words[5])"
      }
      print("  node \(node.index)  \(address)  http://127.0.0.1:\(node.httpPort)/metrics  \(state)")
    }
  }

  // MARK: Watching

  private func note() { lock.withLock { brokenAt = Date() } }

  /// Tells when another node leads.
  func watch() {
    Thread.detachNewThread { [self] in
      var last = cluster.leader()?.index
      while !lock.withLock({ isStopping }) {
        usleep(20_000)
        guard let now = cluster.leader()?.index, now != last else { continue }
        last = now
        let since = lock.withLock { brokenAt }.map { " (\(Int(Date().timeIntervalSince($0) * 1000)) ms after)" } ?? ""
        print("-- node \(now) leads now\(since)")
      }
    }
  }

  func stop() { lock.withLock { isStopping = true } }
}
