import ArgumentParser
import Foundation
import Histogram
internal import Platform
internal import Synchronization

/// `synod bench catch-up`: what commits feel of a node that comes back, or is new.
struct BenchCatchUp: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "catch-up",
    abstract: "Commit latency while a node catches up that was away, and while a new one is seeded.",
    discussion: """
      Three processes on this machine, clients at a fixed rate. Commits are timed before, while a follower that was killed \
      and missed --commits of them catches up, while a fourth node joins, and after. With a --retain-log smaller than \
      what it missed the follower takes a checkpoint, otherwise the log. While it is away the same two nodes make the \
      quorum as while it returns: p99_to_away is what its return adds. A new node is taken in by two changes of members; \
      commits that one of them held up are told of by themselves, too (members_changed).
      """)

  @Option(help: "Commits that the follower misses.")
  var commits = 1_000_000

  @Option(help: "Clients.")
  var clients = 16

  @Option(help: "Commits a second while latencies are measured.")
  var rate = 1000

  @Option(name: .customLong("value-size"), help: "Bytes of each value.")
  var valueSize = 100

  @Option(help: "How long the quiet phases are measured, in seconds.")
  var seconds = 10.0

  @Option(name: .customLong("retain-log"), help: "MiB of log that nodes keep for members that lag.")
  var retainLog = 1024

  @Option(name: .customLong("catch-up-rate"), help: "The nodes' --catch-up-rate, in MiB a second.")
  var catchUpRate: Int?

  @Option(help: "Where the nodes live.")
  var path: String?

  func validate() throws {
    guard commits > 0, (1...512).contains(clients), rate > 0, seconds > 0, (0...65_536).contains(valueSize) else {
      throw ValidationError("--commits, --clients, --rate and --seconds are positive")
    }
  }

  func run() throws {
    let directory = path ?? NSTemporaryDirectory() + "synod-catch-up-\(ProcessInfo.processInfo.processIdentifier)"
    let extra = ["--retain-log", "\(retainLog)"] + (catchUpRate.map { ["--catch-up-rate", "\($0)"] } ?? [])
    let nodes = try ClusterProcesses(directory: directory, count: 3, extra: extra)
    defer {
      nodes.stopAll()
      if path == nil { try? FileManager.default.removeItem(atPath: directory) }
    }
    for node in nodes.nodes { try nodes.start(node.index) }
    guard let leader = nodes.awaitLeader(seconds: 30) else { throw CommandFailure("no leader within 30 s") }
    let load = CatchUpLoad(port: leader.sqlPort, clients: clients, valueSize: valueSize)
    try load.prepare()
    var phases: [(String, String)] = []
    /// Of the phases to compare with.
    var p99: [String: Double] = [:]

    func note(_ name: String, _ latencies: Latencies, _ seconds: Double, _ more: [String] = []) {
      func milliseconds(_ percentile: Double) -> String {
        String(format: "%.3f", Double(latencies.valueAtPercentile(percentile)) / 1e6)
      }
      p99[name] = Double(latencies.valueAtPercentile(99))
      var ratios: [String] = []
      for base in ["before", "one_away"] where name != base && name != "before" {
        guard let other = p99[base], let own = p99[name], other > 0 else { continue }
        ratios.append("\"p99_to_\(base == "before" ? base : "away")\": \(String(format: "%.2f", own / other))")
      }
      let fields =
        [
          "\"commits\": \(latencies.totalCount)", "\"seconds\": \(String(format: "%.2f", seconds))",
          "\"p50_ms\": \(milliseconds(50))", "\"p99_ms\": \(milliseconds(99))", "\"p999_ms\": \(milliseconds(99.9))",
          "\"max_ms\": \(String(format: "%.3f", Double(latencies.max) / 1e6))",
        ] + ratios + more
      phases.append((name, fields.joined(separator: ", ")))
      FileHandle.standardError.write(Data("\(name): \(fields.joined(separator: ", "))\n".utf8))
    }

    func measure(_ name: String, until isOver: (Double) -> Bool, _ more: () -> [String] = { [] }) throws {
      let began = Date()
      load.begin(rate: rate)
      while !isOver(Date().timeIntervalSince(began)) { usleep(20_000) }
      let elapsed = Date().timeIntervalSince(began)
      let latencies = try load.end()
      var held: [String] = []
      if let (count, longest) = load.takeRepeated() {
        held = ["\"members_changed\": {\"commits\": \(count), \"longest_ms\": \(String(format: "%.3f", longest))}"]
      }
      note(name, latencies, elapsed, more() + held)
    }

    func applied(_ index: Int) -> UInt64? {
      guard let node = nodes.nodes.first(where: { $0.index == index }) else { return nil }
      return ClusterProcesses.ask(node, "/node").flatMap { answer in
        let words = answer.body.split(whereSeparator: \.isWhitespace)
        return words.count > 5 ? UInt64(words[5]) : nil
      }
    }

    /// Near enough the leader's end that the rest comes with the stream.
    func isCaughtUp(_ index: Int) -> Bool {
      guard let there = applied(leader.index), let here = applied(index) else { return false }
      return here > 0 && here + 256 >= there
    }

    try measure("before", until: { $0 >= seconds })
    let away = nodes.nodes.first { $0.index != leader.index }?.index ?? 1
    nodes.signal(away, SIGKILL)
    let missed = Date()
    try load.commit(commits)
    let missedSeconds = Date().timeIntervalSince(missed)
    FileHandle.standardError.write(
      Data("\(commits) commits in \(String(format: "%.1f", missedSeconds)) s while one node was away\n".utf8))
    try measure("one_away", until: { $0 >= seconds })

    let start = Date()
    try nodes.start(away)
    var caughtUp: Double?
    try measure(
      "returning",
      until: { elapsed in
        if caughtUp == nil, isCaughtUp(away) { caughtUp = Date().timeIntervalSince(start) }
        return (caughtUp != nil && elapsed >= 2) || elapsed > 1800
      },
      {
        [
          "\"caught_up_seconds\": \(caughtUp.map { String(format: "%.2f", $0) } ?? "null")",
          "\"by\": \"\(Self.tookCheckpoint(directory, away) ? "checkpoint" : "log")\"",
        ]
      })

    let seedStart = Date()
    let newcomer = nodes.add()
    try nodes.start(newcomer)
    var seeded: Double?
    try measure(
      "seeding",
      until: { elapsed in
        if seeded == nil, isCaughtUp(newcomer) { seeded = Date().timeIntervalSince(seedStart) }
        return (seeded != nil && elapsed >= 2) || elapsed > 1800
      },
      {
        [
          "\"seeded_seconds\": \(seeded.map { String(format: "%.2f", $0) } ?? "null")",
          "\"by\": \"\(Self.tookCheckpoint(directory, newcomer) ? "checkpoint" : "log")\"",
        ]
      })
    try measure("after", until: { $0 >= seconds })
    let body = phases.map { "  \"\($0.0)\": {\($0.1)}" }.joined(separator: ",\n")
    print(
      "{\n  \"missed_commits\": \(commits), \"missed_seconds\": \(String(format: "%.1f", missedSeconds)), "
        + "\"clients\": \(clients), \"rate\": \(rate), \"value_bytes\": \(valueSize), \"retain_log_mib\": \(retainLog),\n\(body)\n}"
    )
  }

  private static func tookCheckpoint(_ directory: String, _ index: Int) -> Bool {
    let text = (try? String(contentsOfFile: "\(directory)/node\(index).log", encoding: .utf8)) ?? ""
    return text.contains("is installed; the log goes on from there")
  }
}

/// Clients that commit rows, as fast as they can or at a rate.
///
/// `@unchecked Sendable`: everything that changes is behind the lock or atomic.
private final class CatchUpLoad: @unchecked Sendable {
  private let port: UInt16
  private let clients: Int
  private let value: String
  private let lock = NSLock()
  private var latencies = makeLatencies()
  private var failure: (any Error)?
  private var connections: [PlainClient] = []
  private let next = Atomic<Int>(0)
  private let isMeasuring = Atomic(false)
  /// Commits since the last phase that were restarted and made again, and the longest of them.
  private var repeated = (count: 0, longest: UInt64(0))
  private var group: DispatchGroup?

  init(port: UInt16, clients: Int, valueSize: Int) {
    self.port = port
    self.clients = clients
    // Text that does not compress away.
    var random = SeededRandomness(seed: 7)
    value = String((0..<valueSize).map { _ in Character(UnicodeScalar(UInt8(97 + random.next() % 26))) })
  }

  func prepare() throws {
    for _ in 0..<clients {
      connections.append(try PlainClient(host: "127.0.0.1", port: port, timeoutSeconds: 60))
    }
    _ = try connections[0].query("CREATE TABLE catch_up (k bigint PRIMARY KEY, v text)")
  }

  /// How many commits were made again, and how many milliseconds the longest took; nil where none was.
  func takeRepeated() -> (count: Int, milliseconds: Double)? {
    lock.withLock {
      defer { repeated = (0, 0) }
      return repeated.count == 0 ? nil : (repeated.count, Double(repeated.longest) / 1e6)
    }
  }

  /// Whether it had to be tried more than once.
  @discardableResult
  private func insert(_ connection: PlainClient) throws -> Bool {
    let key = next.wrappingAdd(1, ordering: .relaxed).newValue
    // Scattered, and each row its own text.
    let scattered = Int64(bitPattern: UInt64(key) &* 0x9E37_79B9_7F4A_7C15)
    var attempts = 0
    while true {
      do {
        _ = try connection.query("INSERT INTO catch_up VALUES (\(scattered), '\(key) \(value)')")
        return attempts > 0
      } catch let refusal as PlainClient.Refused where refusal.state.hasPrefix("40") && attempts < 1000 {
        // A change of members ends an epoch, and with it what was not proposed yet. The wait counts.
        attempts += 1
      }
    }
  }

  /// Runs `body` on a thread for each client until it returns false.
  private func run(_ body: @escaping @Sendable (PlainClient, Int) throws -> Bool) -> DispatchGroup {
    let group = DispatchGroup()
    for (index, connection) in connections.enumerated() {
      group.enter()
      let thread = Thread { [self] in
        defer { group.leave() }
        do { while try body(connection, index) {} } catch { lock.withLock { failure = failure ?? error } }
      }
      thread.start()
    }
    return group
  }

  /// Commits so many rows as fast as they are acknowledged.
  func commit(_ count: Int) throws {
    let left = Left(count)
    run { [self] connection, _ in
      guard left.take() else { return false }
      try insert(connection)
      return true
    }.wait()
    if let failure { throw failure }
  }

  private final class Left: Sendable {
    private let count: Atomic<Int>
    init(_ count: Int) { self.count = Atomic(count) }
    func take() -> Bool { count.wrappingSubtract(1, ordering: .relaxed).newValue >= 0 }
  }

  /// Begins to commit at a rate, timing each.
  func begin(rate: Int) {
    lock.withLock { latencies = makeLatencies() }
    isMeasuring.store(true, ordering: .releasing)
    let clock = LinuxClock()
    let period = UInt64(clients) * 1_000_000_000 / UInt64(rate)
    let start = clock.bootNanoseconds
    let due = (0..<clients).map { Due(start &+ UInt64($0) * period / UInt64(clients)) }
    group = run { [self] connection, index in
      guard isMeasuring.load(ordering: .acquiring) else { return false }
      let now = clock.bootNanoseconds
      let planned = due[index].time
      if planned > now { usleep(UInt32((planned - now) / 1000)) }
      let began = clock.bootNanoseconds
      let isRepeated = try insert(connection)
      let elapsed = clock.bootNanoseconds - began
      lock.withLock {
        _ = latencies.record(elapsed)
        if isRepeated { repeated = (repeated.count + 1, max(repeated.longest, elapsed)) }
      }
      due[index].time = max(planned &+ period, clock.bootNanoseconds &- period)
      return true
    }
  }

  /// When a client's next commit is due.
  ///
  /// `@unchecked Sendable`: used by that client's thread alone.
  private final class Due: @unchecked Sendable {
    var time: UInt64
    init(_ time: UInt64) { self.time = time }
  }

  func end() throws -> Latencies {
    isMeasuring.store(false, ordering: .releasing)
    group?.wait()
    if let failure { throw failure }
    return lock.withLock { latencies }
  }
}
