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
    let hosts = cluster.nodes.map { "127.0.0.1:\($0.sqlPort)" }.joined(separator: ",")
    let isInteractive = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1
    let open: (String) throws -> any ShellConnection = { url in
      let settings = try ConnectionSettings(url: url) { ProcessInfo.processInfo.environment[$0] }
      let connection = try RemoteConnection(settings, reconnects: true) { _ in nil }
      demonstration.connection = connection
      return connection
    }
    var options = ShellOptions()
    options.isInteractive = isInteractive
    let shell: Shell
    do {
      shell = Shell(
        connection: try open("postgres://synod@\(hosts)/synod?sslmode=disable&connect_timeout=2"), options: options,
        open: open)
    } catch let error as DatabaseError { throw CommandFailure(error.message) }
    shell.commandOfOthers = { name, arguments in try demonstration.run(name, arguments) }
    demonstration.watch(shell.announce)
    defer { demonstration.stop() }
    isInteractive ? shell.runInteractively() : shell.run(lines: StandardInput(), name: "stdin")
    _ = shell.close()
  }
}

/// What can be done to the nodes, and what happens to them.
///
/// `@unchecked Sendable`: the mutable parts are behind the lock, but for `connection` and `identities`, which are
/// the shell's thread's.
final class Demonstration: @unchecked Sendable {
  private let cluster: ClusterProcesses
  private let lock = NSLock()
  private var isStopping = false
  private var brokenAt: Date?
  /// The shell's own.
  var connection: RemoteConnection?
  private var identities: [Int: String] = [:]
  /// Whom each node is to hear nothing of; a node that is down or paused is told when it goes on.
  private var cuts: [Int: [Int]] = [:]

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
      try check(verb, node)
      note()
      switch verb {
      case "kill": cluster.signal(node, SIGKILL)
      case "pause": cluster.signal(node, SIGSTOP)
      case "resume": cluster.signal(node, SIGCONT)
      case "stop": cluster.signal(node, SIGTERM)
      default:
        try cluster.start(node)
        try awaitRestarted(node)
      }
      if verb == "resume" { tellCut(node) }
      print(Self.said(verb, node))
      if verb == "pause", connectedNode == node {
        // It would wait for the paused node for as long as that is paused.
        connection?.moveOn()
        if let other = connectedNode { print("the shell was connected to node \(node), and is to node \(other) now") }
      }
    case "partition": try partition(arguments.dropFirst().joined())
    case "heal":
      cuts = [:]
      for node in cluster.nodes { tellCut(node.index) }
      note()
      print("the network is whole")
    default: throw ShellProblem("unknown .demo \(verb); .demo help lists what there is")
    }
  }

  /// Whether a node is in a state in which it can be told so.
  private func check(_ verb: String, _ node: Int) throws {
    let isRunning = cluster.isRunning(node)
    let isPaused = cluster.nodes[node - 1].isPaused
    switch verb {
    case "restart" where isRunning:
      throw ShellProblem("node \(node) is \(isPaused ? "paused: .demo resume \(node) lets it go on" : "running")")
    case "restart": break
    case _ where !isRunning: throw ShellProblem("node \(node) is down; .demo restart \(node) starts it again")
    case "pause" where isPaused: throw ShellProblem("node \(node) is paused already")
    case "resume" where !isPaused: throw ShellProblem("node \(node) is not paused")
    default: break
    }
  }

  /// Waits until a node serves that was started again; without a quorum it never would.
  private func awaitRestarted(_ node: Int) throws {
    let end = Date().addingTimeInterval(20)
    while !cluster.awaitReady(node, seconds: 0.5) {
      tellCut(node)
      guard cluster.isRunning(node) else {
        throw ShellProblem("node \(node) ended again; its log is \(cluster.directory)/node\(node).log")
      }
      let others = cluster.nodes.filter { cluster.isRunning($0.index) && !$0.isPaused }
      if others.count * 2 <= cluster.nodes.count {
        throw ShellProblem(
          "node \(node) runs, and waits for a quorum: \(others.count) of \(cluster.nodes.count) nodes are up")
      }
      guard Date() < end else {
        throw ShellProblem(
          "node \(node) runs, and has not caught up yet; its log is \(cluster.directory)/node\(node).log")
      }
    }
    tellCut(node)
  }

  private func tellCut(_ node: Int) {
    let others = (cuts[node] ?? []).compactMap { identities[$0] }
    _ = ClusterProcesses.ask(cluster.nodes[node - 1], "/faults/block?" + others.joined(separator: ","))
  }

  private static func said(_ verb: String, _ node: Int) -> String {
    switch verb {
    case "kill": "node \(node) is killed; .demo restart \(node) starts it again"
    case "pause": "node \(node) is stopped where it stands; .demo resume \(node) lets it go on"
    case "resume": "node \(node) goes on"
    case "stop": "node \(node) has drained and ended; .demo restart \(node) starts it again"
    default: "node \(node) is back, and has caught up"
    }
  }

  /// The node that the shell is connected to.
  private var connectedNode: Int? { cluster.nodes.first { $0.sqlPort == connection?.port }?.index }

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
    guard groups.count > 1, groups.joined().sorted() == Array(1...cluster.nodes.count) else {
      throw ShellProblem("name every node once, groups parted by |, as in .demo partition 1|2,3")
    }
    findIdentities()
    note()
    for group in groups {
      for index in group { cuts[index] = groups.joined().filter { !group.contains($0) } }
    }
    for node in cluster.nodes { tellCut(node.index) }
    print("cut: " + groups.map { $0.map(String.init).joined(separator: ",") }.joined(separator: " | "))
    guard let own = connectedNode, let group = groups.first(where: { $0.contains(own) }) else { return }
    if group.count * 2 > cluster.nodes.count {
      print("the shell is connected to node \(own), on the side that goes on")
    } else {
      print(
        """
        the shell is connected to node \(own), which has no quorum: statements wait for one up to 10 s, then fail. A client
        that names several hosts goes to another one then, and so will this shell.
        """)
    }
  }

  private func findIdentities() {
    for node in cluster.nodes {
      if let first = ClusterProcesses.ask(node, "/node")?.body.split(separator: " ").first {
        identities[node.index] = String(first)
      }
    }
  }

  /// The nodes as the demonstration numbers them, with the ids by which `synod_cluster` knows them.
  func printNodes() {
    var lines = [["node", "id", "state", "slots", "chosen", "applied", "SQL", "HTTP"]]
    for node in cluster.nodes {
      var line = [
        "\(node.index)", "", node.process == nil ? "down" : node.isPaused ? "paused" : "no answer", "", "", "",
      ]
      if let words = ClusterProcesses.ask(node, "/node")?.body.split(whereSeparator: { $0 == " " || $0 == "\n" }),
        words.count >= 8
      {
        identities[node.index] = String(words[0])
        line[2] = words[7] == "true" ? "leader" : String(words[1])
        for index in 3...5 { line[index] = String(words[index]) }
      }
      line[1] = identities[node.index] ?? ""
      line += ["\(node.sqlPort)", "\(node.httpPort)"]
      lines.append(line)
    }
    let widths = (0..<8).map { column in lines.map { $0[column].count }.max() ?? 0 }
    for line in lines {
      let cells = zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
      print("  " + cells.joined(separator: "  ").trimmingCharacters(in: .whitespaces))
    }
    // Ports only, or a line would not fit into 80 columns.
    print("  SQL: postgres://synod@127.0.0.1:PORT/synod   HTTP: http://127.0.0.1:PORT/metrics")
    if let own = connectedNode { print("  The shell is connected to node \(own).") }
  }

  // MARK: Watching

  private func note() { lock.withLock { brokenAt = Date() } }

  /// Tells when another node leads, and when none does.
  func watch(_ announce: @escaping @Sendable (String) -> Void) {
    Thread.detachNewThread { [self] in
      var last = cluster.leader()?.index
      var misses = 0
      while !lock.withLock({ isStopping }) {
        usleep(20_000)
        // The one that led last is asked alone: three nodes that nobody uses should be left in peace.
        if let last, let node = cluster.nodes.first(where: { $0.index == last }),
          ClusterProcesses.ask(node, "/primary")?.status == 200
        {
          misses = 0
          continue
        }
        guard let now = cluster.leader()?.index else {
          misses += 1
          // A failover is shorter than that.
          if misses == 100, last != nil { announce("-- nobody leads: there is no quorum that hears each other") }
          if misses == 100 { last = nil }
          continue
        }
        misses = 0
        guard now != last else { continue }
        last = now
        let since = lock.withLock {
          defer { brokenAt = nil }
          return brokenAt.map { Date().timeIntervalSince($0) }
        }
        // A leader that changes long after is another matter.
        let after = since.flatMap { $0 < 30 ? " (\(Int($0 * 1000)) ms after)" : nil } ?? ""
        announce("-- node \(now) leads now\(after)")
      }
    }
  }

  func stop() { lock.withLock { isStopping = true } }
}
