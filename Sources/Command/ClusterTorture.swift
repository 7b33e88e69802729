import ArgumentParser
import Foundation

/// `synod torture-cluster`: kills leaders under load, again and again, and looks for every commit that was acknowledged.
///
/// Each client connects to any node and runs transactions that insert a row (client, n) and add one to one of a few
/// counters, each n once only. Of each it notes what it was told: committed; refused (an SQLSTATE that says "not
/// committed"); or nothing certain (the connection broke, 08xxx). At the end:
///
/// 1. every row that was acknowledged is there;
/// 2. no row that was refused is there: no wrong outcome was reported;
/// 3. each row's counter was incremented once: the sum of the counters is the number of rows (no lost update, whatever
///    the isolation level);
/// 4. all nodes show the same.
///
/// Between a kill and the first new commit anywhere lies the time of the failover, which is reported.
struct ClusterTorture: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "torture-cluster",
    abstract: "Kill the leader of a cluster of processes (kill -9) again and again and check that no commit is lost.",
    discussion: """
      With --nemesis, everything goes wrong for --seconds: nodes are killed and stopped, the network between them is cut \
      (whole, one way, in a chain, flapping), slow and broken, disks are slow, full, failing and lost for good, wall clocks \
      jump. Clients \
      at all levels write lists and registers whose values tell who wrote them, read them on all nodes, and what they saw \
      is judged: serializable transactions have a serial order in real time, all snapshots fit one order and miss nothing that was \
      acknowledged before, and nothing acknowledged is lost.

        synod torture-cluster --nemesis kill,pause,partition,network,transfer --seconds 60 --seed 7
        cc -O2 -shared -fPIC -o faults.so tools/faults.c
        synod torture-cluster --nemesis all --faults-library ./faults.so --seconds 60
      """)

  @Option(help: "How many nodes.")
  var nodes = 3
  @Option(help: "How many of them are witnesses, which keep no tables. (--nemesis)")
  var witnesses = 0
  @Option(help: "How many times the leader is killed.")
  var kills = 20
  @Option(help: "Clients that write at the same time.")
  var clients = 8
  @Option(help: ArgumentHelp("Load between two kills.", valueName: "milliseconds"))
  var pause = 300
  @Option(help: ArgumentHelp("Where the nodes keep their files; a temporary directory if left out.", valueName: "dir"))
  var data: String?
  @Option(
    help: ArgumentHelp(
      "What goes wrong instead of kills alone: \(Nemesis.Kind.allCases.map(\.rawValue).joined(separator: ", ")), or all.",
      valueName: "kinds"))
  var nemesis: String?
  @Option(help: "How long the nemesis works.")
  var seconds = 60
  @Option(help: "What the nemesis draws its faults from. (default: drawn)")
  var seed: UInt64?
  @Option(help: ArgumentHelp("tools/faults.c, built: for disk and clock.", valueName: "file"))
  var faultsLibrary: String?
  @Flag(help: "Tell of every episode.")
  var verbose = false

  func validate() throws {
    guard (1...9).contains(nodes), (1...256).contains(clients), kills >= 0, pause >= 0, pause <= 3_600_000 else {
      throw ValidationError("--nodes is 1 to 9, --clients 1 to 256, --kills and --pause are not negative")
    }
    guard (0...max(0, nodes - 2)).contains(witnesses), witnesses == 0 || nemesis != nil else {
      throw ValidationError("--witnesses goes with --nemesis, and leaves two nodes with tables at least")
    }
    guard (1...86_400).contains(seconds) else { throw ValidationError("--seconds is 1 to 86400") }
    _ = try kinds()
  }

  /// What the nemesis may do.
  private func kinds() throws -> [Nemesis.Kind] {
    guard let nemesis else { return [] }
    let needsLibrary: Set<Nemesis.Kind> = [.disk, .clock]
    if nemesis == "all" { return Nemesis.Kind.allCases.filter { faultsLibrary != nil || !needsLibrary.contains($0) } }
    let list = try nemesis.split(separator: ",").map { name in
      guard let kind = Nemesis.Kind(rawValue: String(name)) else {
        throw ValidationError("--nemesis: unknown \"\(name)\"")
      }
      return kind
    }
    if faultsLibrary == nil, let kind = list.first(where: needsLibrary.contains) {
      throw ValidationError(
        "--nemesis \(kind.rawValue) needs --faults-library: cc -O2 -shared -fPIC -o faults.so tools/faults.c")
    }
    guard !list.isEmpty else { throw ValidationError("--nemesis: nothing is to go wrong") }
    return list
  }

  func run() throws {
    signal(SIGPIPE, SIG_IGN)
    if nemesis != nil { return try runNemesis() }
    let directory = data ?? NSTemporaryDirectory() + "synod-torture-\(getpid())"
    let cluster = try ClusterProcesses(directory: directory, count: nodes, extra: ["--log-level", "notice"])
    defer {
      cluster.stopAll()
      if data == nil { try? FileManager.default.removeItem(atPath: directory) }
    }
    for node in cluster.nodes { try cluster.start(node.index) }
    guard let first = cluster.awaitLeader(seconds: 30) else {
      throw CommandFailure("no leader after 30 s: \(directory)")
    }
    for node in cluster.nodes where !cluster.awaitReady(node.index, seconds: 30) {
      throw CommandFailure("node \(node.index) is not ready after 30 s: \(directory)/node\(node.index).log")
    }
    try prepare(first)
    let shared = TortureRecord(clients: clients)
    let threads = (0..<clients).map { client in
      let thread = Thread { Self.load(client, cluster, shared) }
      thread.start()
      return thread
    }
    var failovers: [Double] = []
    var returns: [Double] = []
    for round in 1...max(1, kills) {
      usleep(UInt32(pause) * 1000)
      guard let leader = cluster.awaitLeader(seconds: 30) else { throw CommandFailure("no leader in round \(round)") }
      let start = Date()
      cluster.signal(leader.index, SIGKILL)
      let killed = Date()
      guard let first = shared.awaitCommit(begunAfter: killed, seconds: 30) else {
        throw CommandFailure("no commit in 30 s after kill \(round): \(directory)")
      }
      failovers.append(first.timeIntervalSince(start) * 1000)
      let started = Date()
      try cluster.start(leader.index)
      guard cluster.awaitReady(leader.index, seconds: 60) else {
        throw CommandFailure("node \(leader.index) did not come back after kill \(round): \(directory)")
      }
      returns.append(Date().timeIntervalSince(started) * 1000)
      say(
        "kill \(round): first new commit after \(Int(failovers.last ?? 0)) ms, back after \(Int(returns.last ?? 0)) ms; "
          + "\(shared.acknowledgedCount) commits acknowledged")
    }
    shared.stop()
    for thread in threads { while !thread.isFinished { usleep(2_000) } }
    try check(cluster, shared)
    say("failover (kill to first new commit): \(Self.quantiles(failovers))")
    say("return (start to up to date): \(Self.quantiles(returns))")
  }

  private static func quantiles(_ milliseconds: [Double]) -> String {
    let sorted = milliseconds.sorted()
    func quantile(_ q: Double) -> Int { Int(sorted[min(sorted.count - 1, Int(Double(sorted.count) * q))]) }
    return "p50 \(quantile(0.5)) ms, p99 \(quantile(0.99)) ms, max \(Int(sorted.last ?? 0)) ms"
  }

  private func runNemesis() throws {
    let seed = seed ?? UInt64.random(in: 1...999_999)
    let directory = data ?? NSTemporaryDirectory() + "synod-nemesis-\(getpid())"
    let library = faultsLibrary.map { URL(fileURLWithPath: $0).path }
    if let library, !FileManager.default.fileExists(atPath: library) {
      throw CommandFailure("there is no \(library): cc -O2 -shared -fPIC -o faults.so tools/faults.c")
    }
    let run = NemesisRun(
      kinds: try kinds(), seed: seed, seconds: seconds, nodes: nodes, witnesses: witnesses, clients: clients,
      directory: directory,
      faultsLibrary: library, isVerbose: verbose)
    // What a failure left is kept.
    try run.run()
    if data == nil { try? FileManager.default.removeItem(atPath: directory) }
  }

  private func prepare(_ node: ClusterProcesses.Node) throws {
    let client = try PlainClient(host: "127.0.0.1", port: node.sqlPort)
    _ = try client.query(
      "CREATE TABLE done (client int, n int, PRIMARY KEY (client, n)); CREATE TABLE counters (k int PRIMARY KEY, v int)"
    )
    _ = try client.query("INSERT INTO counters SELECT g, 0 FROM generate_series(0, 3) g")
  }

  private static func load(_ client: Int, _ cluster: ClusterProcesses, _ shared: TortureRecord) {
    var random = SystemRandomNumberGenerator()
    let level = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"][client % 3]
    var connection: PlainClient?
    var n = 0
    while !shared.isStopped {
      guard let current = connection else {
        let node = cluster.nodes.randomElement(using: &random)
        if let node { connection = try? PlainClient(host: "127.0.0.1", port: node.sqlPort, timeoutSeconds: 20) }
        if connection == nil { usleep(10_000) }
        continue
      }
      n += 1
      let start = Date()
      do {
        _ = try current.query(
          "BEGIN ISOLATION LEVEL \(level); INSERT INTO done VALUES (\(client), \(n)); "
            + "UPDATE counters SET v = v + 1 WHERE k = \(Int.random(in: 0...3, using: &random)); COMMIT")
        shared.note(client, n, .committed, begun: start)
      } catch let refusal as PlainClient.Refused {
        // 08xxx and 57P01 in the middle of a commit leave it open; all else says that nothing was committed.
        let isOpen = refusal.state.hasPrefix("08") || refusal.isFatal
        shared.note(client, n, isOpen ? .unknown : .refused, begun: start)
        shared.count(refusal.state)
        if refusal.isFatal {
          connection = nil
        } else {
          do { _ = try current.query("ROLLBACK") } catch { connection = nil }
        }
      } catch {
        shared.note(client, n, .unknown, begun: start)
        connection = nil
      }
    }
  }

  // MARK: The end

  private func check(_ cluster: ClusterProcesses, _ shared: TortureRecord) throws {
    guard let leader = cluster.awaitLeader(seconds: 30) else { throw CommandFailure("no leader at the end") }
    let client = try PlainClient(host: "127.0.0.1", port: leader.sqlPort, timeoutSeconds: 60)
    var found: [Set<Int>] = Array(repeating: [], count: clients)
    for row in try client.query("SELECT client, n FROM done") {
      guard let c = row[0].flatMap({ Int($0) }), let n = row[1].flatMap({ Int($0) }) else { continue }
      found[c].insert(n)
    }
    let sum = try client.query("SELECT sum(v) FROM counters")[0][0].flatMap { Int($0) } ?? -1
    let outcomes = shared.outcomes
    var lost: [String] = []
    var wrong: [String] = []
    for (client, list) in outcomes.enumerated() {
      for (n, outcome) in list {
        if outcome == .committed, !found[client].contains(n) { lost.append("(\(client), \(n))") }
        if outcome == .refused, found[client].contains(n) { wrong.append("(\(client), \(n))") }
      }
    }
    let rows = found.reduce(0) { $0 + $1.count }
    say(
      "\(rows) rows; acknowledged \(shared.acknowledgedCount), refused \(shared.number(.refused)), "
        + "unknown \(shared.number(.unknown)); states \(shared.states)")
    if !lost.isEmpty { throw CommandFailure("LOST \(lost.count) acknowledged commits: \(lost.prefix(20))") }
    if !wrong.isEmpty { throw CommandFailure("\(wrong.count) commits were refused and are there: \(wrong.prefix(20))") }
    if sum != rows { throw CommandFailure("the counters say \(sum), and there are \(rows) rows: a lost update") }
    try compare(cluster, rows)
    say("no acknowledged commit lost, no wrong outcome, no lost update; all nodes agree")
  }

  /// Every node's own state, once it has caught up.
  private func compare(_ cluster: ClusterProcesses, _ rows: Int) throws {
    let question = "SELECT count(*), sum(client * 1000003 + n * 17), (SELECT sum(v * (k + 1)) FROM counters) FROM done"
    var answers: Set<[String?]> = []
    for node in cluster.nodes {
      let client = try PlainClient(
        host: "127.0.0.1", port: node.sqlPort, parameters: ["synod.read_consistency": "stale"], timeoutSeconds: 60)
      var answer = try client.query(question)[0]
      for _ in 0..<500 where answer[0] != "\(rows)" {
        usleep(10_000)
        answer = try client.query(question)[0]
      }
      answers.insert(answer)
    }
    if answers.count != 1 { throw CommandFailure("the nodes differ: \(answers)") }
  }
}

/// What the clients were told.
///
/// `@unchecked Sendable`: everything is behind the lock.
final class TortureRecord: @unchecked Sendable {
  enum Outcome { case committed, refused, unknown }

  private let lock = NSCondition()
  private var lists: [[(Int, Outcome)]]
  private var newest: (begun: Date, at: Date)?
  private var acknowledged = 0
  private var stopped = false
  private var counts: [String: Int] = [:]

  init(clients: Int) { lists = Array(repeating: [], count: clients) }

  func note(_ client: Int, _ n: Int, _ outcome: Outcome, begun: Date) {
    lock.lock()
    lists[client].append((n, outcome))
    if outcome == .committed {
      acknowledged += 1
      if newest.map({ begun > $0.begun }) ?? true {
        newest = (begun, Date())
        lock.broadcast()
      }
    }
    lock.unlock()
  }

  func count(_ state: String) { lock.withLock { counts[state, default: 0] += 1 } }

  /// When the first transaction that was begun after a moment was acknowledged.
  func awaitCommit(begunAfter moment: Date, seconds: Double) -> Date? {
    let end = Date().addingTimeInterval(seconds)
    lock.lock()
    defer { lock.unlock() }
    while true {
      if let newest, newest.begun > moment { return newest.at }
      if !lock.wait(until: end) { return nil }
    }
  }

  func stop() { lock.withLock { stopped = true } }
  var isStopped: Bool { lock.withLock { stopped } }
  var outcomes: [[(Int, Outcome)]] { lock.withLock { lists } }
  var acknowledgedCount: Int { lock.withLock { acknowledged } }
  func number(_ outcome: Outcome) -> Int {
    lock.withLock { lists.reduce(0) { $0 + $1.filter { $0.1 == outcome }.count } }
  }
  var states: String {
    lock.withLock { counts.sorted { $0.key < $1.key }.map { "\($0.key)×\($0.value)" }.joined(separator: " ") }
  }
}
