import Foundation
internal import Simulation
internal import Synchronization

// `synod torture-cluster --nemesis …`: clients, faults, and the judgement.
//
// 1. Each history is judged by HistoryChecker: group 0 as strictly serializable, group 1 by what its levels share.
// 2. After each episode the cluster must commit again within half a minute.
// 3. In the end all nodes show the same lists and registers.

/// One run of the nemesis over a cluster of processes.
struct NemesisRun {
  var kinds: [Nemesis.Kind]
  var seed: UInt64
  var seconds: Int
  var nodes: Int
  var witnesses = 0
  var clients: Int
  var directory: String
  var faultsLibrary: String?
  var isVerbose: Bool

  static let recoverySeconds = 30.0

  func run() throws {
    let start = Date()
    let cluster = try ClusterProcesses(
      directory: directory, count: nodes, witnesses: witnesses, extra: ["--log-level", "notice"], isProxied: true,
      faultsLibrary: faultsLibrary)
    defer { cluster.stopAll() }
    try open(cluster)
    let keys = NemesisKeys()
    let record = NemesisRecord()
    let threads = startClients(cluster, keys, record)
    let nemesis = Nemesis(cluster, seed: seed)
    var episodes = 0
    do {
      try disturb(cluster, nemesis, record, until: Date().addingTimeInterval(Double(seconds)), &episodes)
    } catch {
      record.stop()
      throw error
    }
    record.stop()
    for thread in threads { while !thread.isFinished { usleep(2_000) } }
    let verdicts = try judge(cluster, record)
    let faults = nemesis.counts.sorted { $0.key < $1.key }.map { "\($0.key) ×\($0.value)" }.joined(separator: ", ")
    print("seed \(seed): \(episodes) episodes in \(Int(Date().timeIntervalSince(start))) s: \(faults)")
    for (group, verdict) in verdicts.enumerated() {
      print(
        "  \(group == 0 ? "serializable" : "all levels"): committed \(verdict.committed), failed \(verdict.failed), "
          + "unknown \(verdict.unknown) (\(verdict.unknownCommitted) committed), "
          + "reads \(verdict.reads), edges \(verdict.edges)")
    }
    print("  answers: \(record.states)")
    print("no anomaly, no acknowledged write lost; all nodes agree")
  }

  private func open(_ cluster: ClusterProcesses) throws {
    for node in cluster.nodes { try cluster.start(node.index) }
    guard let first = cluster.awaitLeader(seconds: 30) else {
      throw CommandFailure("no leader after 30 s: \(directory)")
    }
    for node in cluster.nodes where !cluster.awaitReady(node.index, seconds: 30) {
      throw CommandFailure("node \(node.index) is not ready after 30 s: \(directory)/node\(node.index).log")
    }
    _ = try PlainClient(host: "127.0.0.1", port: first.sqlPort, timeoutSeconds: 30).query(NemesisKeys.schema)
  }

  /// Writers, of which some repeat themselves under a key until they are told; for each node a reader of its own state; and
  /// some who wander from node to node with a token.
  private func startClients(_ cluster: ClusterProcesses, _ keys: NemesisKeys, _ record: NemesisRecord) -> [Thread] {
    var list = (0..<clients).map {
      NemesisClient(cluster, keys, record, seed: seed &* 1000 &+ UInt64($0), pauseMicroseconds: 1_000)
    }
    for place in 0..<2 {
      list.append(
        NemesisClient(
          cluster, keys, record, seed: seed &* 1000 &+ 700 &+ UInt64(place), habit: .repeatsUnderKeys,
          pauseMicroseconds: 10_000))
      list.append(
        NemesisClient(
          cluster, keys, record, seed: seed &* 1000 &+ 800 &+ UInt64(place), habit: .wanders,
          pauseMicroseconds: 5_000))
    }
    for node in cluster.nodes where !node.isWitness {
      let freshness = node.index % 2 == 0 ? ClientTransaction.Freshness.stale : .bounded(700_000_000)
      list.append(
        NemesisClient(
          cluster, keys, record, seed: seed &* 1000 &+ 500 &+ UInt64(node.index), freshness: freshness,
          home: node.index))
    }
    return list.map { client in
      // Handed over to its thread and not used here any more.
      nonisolated(unsafe) let client = client
      let thread = Thread { unsafe client.run() }
      thread.start()
      return thread
    }
  }

  // MARK: Faults

  private func disturb(
    _ cluster: ClusterProcesses, _ nemesis: Nemesis, _ record: NemesisRecord, until end: Date, _ episodes: inout Int
  ) throws {
    var dice = Dice(seed: seed, stream: 2)
    usleep(500_000)
    repeat {
      var texts = [try nemesis.begin(dice.pick(kinds) ?? .kill)]
      if dice.below(4) == 0 {
        usleep(UInt32(dice.below(300_000)))
        texts.append(try nemesis.begin(dice.pick(kinds) ?? .kill))
      }
      let before = record.committed.load(ordering: .relaxed)
      // Shorter and longer than leases, elections and the patience with silent streams.
      let milliseconds = dice.below(3) == 0 ? 3_000 + dice.below(4_000) : 200 + dice.below(2_000)
      let until = Date().addingTimeInterval(Double(milliseconds) / 1000)
      while Date() < until {
        nemesis.flapping?()
        usleep(20_000)
      }
      let during = record.committed.load(ordering: .relaxed) - before
      let mended = MonotonicTime.nanoseconds
      try nemesis.mend()
      guard record.awaitCommit(begunAfter: mended, seconds: Self.recoverySeconds) else {
        throw CommandFailure(
          "seed \(seed), episode \(episodes + 1) (\(texts.joined(separator: " + "))): "
            + "no commit within \(Int(Self.recoverySeconds)) s of its end: \(directory)")
      }
      episodes += 1
      let recovery = (MonotonicTime.nanoseconds - mended) / 1_000_000
      if isVerbose {
        print(
          "\(episodes). \(texts.joined(separator: " + ")), \(milliseconds) ms: \(during) commits; recovered \(recovery) ms"
        )
        fflush(nil)
      }
      usleep(UInt32(200_000 + dice.below(1_500_000)))
    } while Date() < end
    for node in cluster.nodes where !cluster.awaitReady(node.index, seconds: 60) {
      throw CommandFailure("seed \(seed): node \(node.index) does not come back: \(directory)/node\(node.index).log")
    }
  }

  // MARK: The end

  private func judge(_ cluster: ClusterProcesses, _ record: NemesisRecord) throws -> [HistoryChecker.Verdict] {
    guard let leader = cluster.awaitLeader(seconds: 30) else { throw CommandFailure("no leader at the end") }
    let client = try PlainClient(host: "127.0.0.1", port: leader.sqlPort, timeoutSeconds: 60)
    var verdicts: [HistoryChecker.Verdict] = []
    var problems = record.strangeness
    for group in 0..<NemesisKeys.groups {
      var history = ClientHistory()
      history.transactions = record.history(group)
      for row in try client.query("SELECT k, v FROM lists\(group)") {
        if let key = row[0].flatMap({ Int($0) }) { history.finalLists[key] = NemesisKeys.elements(row[1]) }
      }
      for row in try client.query("SELECT k, n, v FROM registers\(group)") {
        guard let key = row[0].flatMap({ Int($0) }), let position = row[1].flatMap({ Int($0) }),
          let value = row[2].flatMap({ Int($0) })
        else { continue }
        history.finalRegisters[NemesisKeys.registerBase + key] = RegisterState(position: position, value: value)
      }
      let verdict = HistoryChecker.check(history)
      verdicts.append(verdict)
      if !verdict.anomalies.isEmpty {
        let path = "\(directory)/history\(group).txt"
        try Self.describe(history).write(toFile: path, atomically: true, encoding: .utf8)
        problems += verdict.anomalies.prefix(10).map { "group \(group): \($0)" }
        problems.append("group \(group): \(verdict.anomalies.count) anomalies; the history is in \(path)")
      }
    }
    if problems.isEmpty { try compare(cluster) }
    guard problems.isEmpty else {
      throw CommandFailure("seed \(seed): ANOMALIES\n  " + problems.joined(separator: "\n  "))
    }
    return verdicts
  }

  /// Every transaction on a line.
  private static func describe(_ history: ClientHistory) -> String {
    var text = ""
    for (index, transaction) in history.transactions.enumerated() {
      let operations = transaction.operations.map { "\($0.action)" }.joined(separator: " ")
      text +=
        "T\(index) session \(transaction.session) \(transaction.level) \(transaction.freshness) \(transaction.outcome) "
        + "\(transaction.start / 1000)–\(transaction.end == .max ? 0 : transaction.end / 1000) µs \(operations)\n"
    }
    return text
  }

  /// Every node's own state, once it has caught up.
  private func compare(_ cluster: ClusterProcesses) throws {
    let question = (0..<NemesisKeys.groups).map {
      "SELECT k, v FROM lists\($0) ORDER BY k; SELECT k, n, v FROM registers\($0) ORDER BY k"
    }.joined(separator: ";")
    guard let leader = cluster.awaitLeader(seconds: 30) else { throw CommandFailure("no leader at the end") }
    let expected = try PlainClient(host: "127.0.0.1", port: leader.sqlPort, timeoutSeconds: 60).query(question)
    for node in cluster.nodes where !node.isWitness {
      let client = try PlainClient(
        host: "127.0.0.1", port: node.sqlPort, parameters: ["synod.read_consistency": "stale"], timeoutSeconds: 60)
      var answer = try client.query(question)
      for _ in 0..<1000 where answer != expected {
        usleep(10_000)
        answer = try client.query(question)
      }
      if answer != expected {
        throw CommandFailure("seed \(seed): node \(node.index) differs from the leader: \(directory)")
      }
    }
  }
}
