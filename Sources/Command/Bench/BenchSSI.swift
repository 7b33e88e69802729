import ArgumentParser
import Foundation
import Histogram
internal import Platform
internal import Synod

/// `synod bench ssi`: what isolation costs. The same workloads at each level: throughput, and how often a transaction has
/// to be run again before it commits.
///
/// The levels take turns in short slices, so that a disk or a neighbour that slows down does so for all of them. A
/// transaction that fails with 40001 or 40P01 is repeated with the same values until it commits, as `pgbench --max-tries=0`
/// does. The workloads are in `SSIWorkload.swift`.
struct BenchSSI: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ssi",
    abstract: "What isolation costs: throughput and retries per commit at each level, over six workloads.",
    discussion: """
      tpcb: TPC-B as pgbench runs it · sibench: the smallest of 100 values, and increments of one · smallbank: with write \
      check · write-skew: read both, change one · disjoint: look for a key, insert it, all keys different · long: a \
      transaction that reads everything among short ones. With --url, the same against a server (also PostgreSQL).
      """)

  @Option(help: "The database; made if it is not there.")
  var path: String?

  @Option(help: "A server instead: postgres://user:password@host:port/database.")
  var url: String?

  @Option(help: "Concurrent clients.")
  var clients = 8

  @Option(help: "Only this level: rc, rr or ser.")
  var isolation: String?

  @Option(help: "How long to measure each level of each workload.")
  var seconds = 4.0

  @Option(help: "In how many turns: the levels alternate, and their ratio is the median of the turns'.")
  var repetitions: Int?

  @Option(help: "Only these workloads, separated by commas.")
  var workloads: String?

  @Option(help: "TPC-B's scale: branches, each of 100,000 accounts.")
  var scale = 10

  @Flag(help: "One JSON object instead of text.")
  var json = false

  func validate() throws {
    guard (path == nil) != (url == nil) else { throw ValidationError("give --path or --url") }
    guard (1...1024).contains(clients) else { throw ValidationError("--clients must be 1 to 1024") }
    guard seconds > 0, seconds <= 86_400 else {
      throw ValidationError("--seconds must be more than 0 and at most a day")
    }
    guard repetitions.map({ (1...1000).contains($0) }) ?? true else {
      throw ValidationError("--repetitions must be 1 to 1000")
    }
    guard (1...1000).contains(scale) else { throw ValidationError("--scale must be 1 to 1000") }
    if let isolation, IsolationLevel(name: isolation) == nil {
      throw ValidationError("--isolation must be rc, rr or ser")
    }
    let known = SSIWorkload.all(scale: 1).map(\.name)
    for name in names ?? [] where !known.contains(name) {
      throw ValidationError("--workloads are \(known.joined(separator: ", "))")
    }
  }

  private var names: [String]? { workloads?.split(separator: ",").map(String.init) }

  private var levels: [IsolationLevel] {
    isolation.flatMap { IsolationLevel(name: $0) }.map { [$0] } ?? [.readCommitted, .repeatableRead, .serializable]
  }

  func run() throws {
    let target = try SSITarget(path: path, url: url)
    defer { target.close() }
    var results: [(workload: SSIWorkload, levels: [SSIResult])] = []
    for workload in SSIWorkload.all(scale: scale) where names?.contains(workload.name) ?? true {
      let setup = try target.connect(.readCommitted, [])
      try workload.load(setup)
      setup.close()
      var sums = levels.map { SSIResult(level: $0) }
      let slices = repetitions ?? max(1, min(8, Int(seconds / 0.5)))
      for slice in 0..<slices {
        // There and back, so that what comes first in a turn is not always the same.
        for index in slice % 2 == 0 ? Array(sums.indices) : sums.indices.reversed() {
          let level = sums[index].level
          try measure(
            workload, target, level, slice: slice * levels.count + index, seconds: seconds / Double(slices),
            into: &sums[index])
        }
      }
      results.append((workload, sums))
      if !json { print(text(workload, sums)) }
    }
    if json { try printJSON(object(results, target)) } else { print(summary(target)) }
  }

  private func measure(
    _ workload: SSIWorkload, _ target: SSITarget, _ level: IsolationLevel, slice: Int, seconds: Double,
    into result: inout SSIResult
  ) throws {
    let aborts = SSIAborts()
    let clients = clients
    let measured = try Command.measure(clients: clients, seconds: seconds) { client in
      let connection = try target.connect(level, workload.statements)
      var random = SSIRandom(seed: UInt64(slice) << 32 | UInt64(client + 1))
      let place = SSIPlace(client: client, clients: clients, slice: slice)
      return { index in
        let transaction = workload.next(place, index, &random)
        var retries: UInt64 = 0
        while true {
          do {
            try connection.run(transaction.isReadOnly ? .beginReadOnly : .begin)
            try transaction.body(connection)
            try connection.run(.commit)
            return retries
          } catch let failure as SSIFailure where failure.isRetryable {
            aborts.count(failure)
            retries += 1
            try connection.rollback()
          }
        }
      }
    }
    result.measured.add(measured)
    result.rates.append(measured.perSecond)
    result.aborts.add(aborts)
  }
}

/// What one level of one workload came to.
struct SSIResult {
  let level: IsolationLevel
  var measured = Measurement()
  /// Commits a second in each turn.
  var rates: [Double] = []
  let aborts = SSIAborts()

  var retriesPerCommit: Double {
    measured.operations > 0 ? Double(measured.retries) / Double(measured.operations) : 0
  }
}

/// Why transactions were repeated.
final class SSIAborts: @unchecked Sendable {
  // `@unchecked`: the counts are guarded by the lock.
  private let lock = NSLock()
  private(set) var updates: UInt64 = 0
  private(set) var dependencies: UInt64 = 0
  private(set) var deadlocks: UInt64 = 0

  func count(_ failure: SSIFailure) {
    lock.withLock {
      if failure.sqlState == "40P01" {
        deadlocks += 1
      } else if failure.message.contains("concurrent update") || failure.message.contains("concurrent delete") {
        updates += 1
      } else {
        dependencies += 1
      }
    }
  }

  func add(_ other: SSIAborts) {
    lock.withLock {
      updates += other.updates
      dependencies += other.dependencies
      deadlocks += other.deadlocks
    }
  }
}

// MARK: - Reports

extension BenchSSI {
  private func ratio(_ results: [SSIResult], _ value: (SSIResult) -> Double) -> Double? {
    guard let rr = results.first(where: { $0.level == .repeatableRead }),
      let ser = results.first(where: { $0.level == .serializable }), value(rr) > 0
    else { return nil }
    return value(ser) / value(rr)
  }

  /// Serializable against repeatable read, turn by turn: the median, the least and the most.
  private func throughput(_ results: [SSIResult]) -> (median: Double, least: Double, most: Double)? {
    guard let rr = results.first(where: { $0.level == .repeatableRead }),
      let ser = results.first(where: { $0.level == .serializable })
    else { return nil }
    let ratios = zip(ser.rates, rr.rates).filter { $1 > 0 }.map { $0 / $1 }.sorted()
    guard let least = ratios.first, let most = ratios.last else { return nil }
    return (ratios[ratios.count / 2], least, most)
  }

  private func text(_ workload: SSIWorkload, _ results: [SSIResult]) -> String {
    var lines = ["\(workload.name): \(workload.summary)"]
    func cell(_ text: String, _ width: Int) -> String {
      String(repeating: " ", count: max(0, width - text.count)) + text
    }
    for result in results {
      let measured = result.measured
      lines.append(
        "  \(result.level.abbreviation.padding(toLength: 4, withPad: " ", startingAt: 0))"
          + cell("\(Int(measured.perSecond)) commits/s", 18)
          + cell("\(rounded(result.retriesPerCommit, 4)) retries/commit", 24)
          + cell("p50 \(microseconds(measured.latencies.valueAtPercentile(50))) µs", 16)
          + cell("p99 \(microseconds(measured.latencies.valueAtPercentile(99))) µs", 18)
          + "   updates \(result.aborts.updates), cycles \(result.aborts.dependencies), deadlocks \(result.aborts.deadlocks)"
      )
    }
    if let ratio = throughput(results) {
      lines.append(
        "  ser to rr: throughput \(rounded(ratio.median, 3)) (median of \(results[0].rates.count) turns, "
          + "\(rounded(ratio.least, 3)) to \(rounded(ratio.most, 3)))")
    }
    return lines.joined(separator: "\n")
  }

  private func summary(_ target: SSITarget) -> String {
    guard let certification = target.certification else { return "" }
    return """
      certification of a transaction in the sequencer: median \(certification.p50) ns, p99 \(certification.p99) ns \
      (\(certification.samples) samples, the clock's own time taken off)
      """
  }

  private func object(_ results: [(workload: SSIWorkload, levels: [SSIResult])], _ target: SSITarget) -> [String: Any] {
    var workloads: [String: Any] = [:]
    var retries: [String: Any] = [:]
    for (workload, levels) in results {
      var object: [String: Any] = ["summary": workload.summary]
      var byLevel: [String: Any] = [:]
      for result in levels {
        byLevel[result.level.abbreviation] = [
          "commits": result.measured.operations, "commits_per_second": rounded(result.measured.perSecond, 1),
          "retries": result.measured.retries, "retries_per_commit": rounded(result.retriesPerCommit, 5),
          "aborts": [
            "concurrent_update": result.aborts.updates, "dependencies": result.aborts.dependencies,
            "deadlock": result.aborts.deadlocks,
          ],
          "latency_us": latencyObject(result.measured.latencies),
        ]
      }
      object["levels"] = byLevel
      let perCommit = Dictionary(
        uniqueKeysWithValues: levels.map { ($0.level.abbreviation, rounded($0.retriesPerCommit, 5)) })
      object["retries_per_commit"] = perCommit
      // TPC-B is what peers are compared on; without it, the first that was run.
      if workload.name == "tpcb" || retries.isEmpty { retries = perCommit }
      if let ratio = throughput(levels) {
        object["ser_to_rr_throughput"] = rounded(ratio.median, 3)
        object["ser_to_rr_throughput_range"] = [rounded(ratio.least, 3), rounded(ratio.most, 3)]
      }
      if let ratio = ratio(levels, \.retriesPerCommit) { object["ser_to_rr_retries"] = rounded(ratio, 3) }
      workloads[workload.name] = object
    }
    var result: [String: Any] = [
      "clients": clients, "seconds": seconds, "scale": scale, "workloads": workloads, "retries_per_commit": retries,
      "isolation": levels.map(\.abbreviation),
    ]
    if let certification = target.certification {
      result["certification_ns"] = [
        "p50": certification.p50, "p99": certification.p99, "samples": certification.samples,
      ]
    }
    return result
  }
}
