// `synod sim`: whole clusters on one thread, from seeds.

import ArgumentParser
import Foundation
import Simulation

/// Simulates replicated clusters under faults. Exits 1, printing the seed, if a rule is broken.
struct Sim: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sim",
    abstract: "Simulate clusters from seeds: the production consensus code over a simulated network, disk and clock.",
    discussion: """
      Each seed is one run. The same seed gives the same run, always. A violation prints its seed;
      --seed S --trace shows that run, --minimize makes it smaller first.

        synod sim --seeds 1..1000 --nodes 3
        synod sim --seed 4711 --nodes 5 --trace
        synod sim --seed 4711 --svg run.svg --from 120 --to 480
      """)

  @Option(help: "A range of seeds, both ends included.")
  var seeds: String?
  @Option(help: "One seed.")
  var seed: UInt64?
  @Option(help: "Nodes to begin with; several, separated by commas, take turns.")
  var nodes: String = "3,4,5,7"
  @Option(help: "Steps of a run before it is healed and must make progress.")
  var steps: Int = 10_000
  @Option(help: "Threads; each runs whole seeds.")
  var jobs: Int = 1
  @Option(
    help: ArgumentHelp(
      "Faults, separated by commas, or 'none'.",
      discussion: "Known: \(FaultKind.allCases.map(\.name).joined(separator: ", "))."))
  var faults: String?
  @Option(help: "Longest pause between two faults, in simulated milliseconds.")
  var pace: UInt64 = 400
  @Option(help: ArgumentHelp("Put a known bug in, to see it found.", visibility: .hidden))
  var mutation: String?
  @Flag(help: "Keep records in the real log over a simulated disk.")
  var log = false
  @Option(help: ArgumentHelp("Bugs in the log, as bits.", visibility: .hidden))
  var logMutations = 0
  @Option(help: "Measure this many elections, and the known partial partitions, instead.")
  var elections: Int?
  @Flag(help: "Stop at the first violation of each thread.")
  var first = false
  @Flag(help: "One JSON object instead of text.")
  var json = false
  @Flag(help: "Print the conversation; needs --seed.")
  var trace = false
  @Flag(help: "Drop the faults and clients that a violation does not need; needs --seed.")
  var minimize = false
  @Option(help: "Write a message-sequence chart; needs --seed.")
  var svg: String?
  @Option(help: "Where the chart begins, in simulated milliseconds.")
  var from: UInt64 = 0
  @Option(help: "Where the chart ends, in simulated milliseconds.")
  var to: UInt64 = 1_000
  @Flag(help: "Heartbeats in the chart as well.")
  var heartbeats = false

  private struct Result: Sendable {
    var total = ClusterReport()
    var seeds = 0
    var violations: [(nodes: Int, violation: Violation)] = []
  }

  mutating func validate() throws {
    guard elections ?? 1 >= 1, elections ?? 1 <= 10_000_000 else { throw ValidationError("--elections: at least 1") }
    guard steps >= 0, jobs >= 1, jobs <= 256 else { throw ValidationError("--steps and --jobs must be positive") }
    guard (seeds == nil) != (seed == nil) || (seeds == nil && seed == nil) else {
      throw ValidationError("give --seeds or --seed, not both")
    }
    if trace || minimize || svg != nil, seed == nil { throw ValidationError("this needs --seed") }
    _ = try nodeCounts()
    _ = try range()
    _ = try template()
  }

  private func nodeCounts() throws -> [Int] {
    let counts = nodes.split(separator: ",").compactMap { Int($0) }
    guard !counts.isEmpty, counts.allSatisfy({ (1...9).contains($0) }) else {
      throw ValidationError("--nodes: numbers from 1 to 9, separated by commas")
    }
    return counts
  }

  private func range() throws -> ClosedRange<UInt64> {
    if let seed { return seed...seed }
    guard let seeds else { return 1...100 }
    let parts = seeds.components(separatedBy: "..")
    guard parts.count == 2, let a = UInt64(parts[0]), let b = UInt64(parts[1]), a <= b else {
      throw ValidationError("--seeds A..B, with A not above B")
    }
    return a...b
  }

  private func template() throws -> ClusterOptions {
    var options = ClusterOptions(seed: 0, nodes: 3, steps: steps)
    guard pace >= 1, pace <= 1_000_000 else { throw ValidationError("--pace: 1 to 1000000") }
    options.faultPause = pace * 50...pace * 1000
    options.usesLog = log
    options.logMutations = logMutations
    if let faults {
      options.faults = []
      for name in faults.split(separator: ",") where name != "none" {
        guard let kind = FaultKind.allCases.first(where: { $0.name == name }) else {
          throw ValidationError("--faults: unknown fault '\(name)'")
        }
        options.faults.insert(kind)
      }
    }
    if let mutation, !options.mutate(named: mutation) {
      throw ValidationError("--mutation: unknown '\(mutation)'")
    }
    return options
  }

  mutating func run() throws {
    if let elections { return try measureElections(elections) }
    let template = try template()
    let counts = try nodeCounts()
    if trace || minimize || svg != nil, let seed { return try runOne(seed, template, counts) }
    let range = try range()
    let start = ContinuousClock.now
    let results = Results()
    let jobs = UInt64(self.jobs)
    let first = self.first
    DispatchQueue.concurrentPerform(iterations: self.jobs) { job in
      var result = Result()
      var seed = range.lowerBound
      while true {
        let (mine, overflow) = seed.addingReportingOverflow(UInt64(job))
        guard !overflow, mine <= range.upperBound else { break }
        var options = template
        options.seed = mine
        options.nodes = counts[Int(mine % UInt64(counts.count))]
        let report = ClusterSimulation(options).run()
        result.seeds += 1
        result.total.add(report)
        if let violation = report.violation {
          result.violations.append((options.nodes, violation))
          if first { break }
        }
        let (next, overflowed) = seed.addingReportingOverflow(jobs)
        if overflowed { break }
        seed = next
      }
      results.add(result)
    }
    let elapsed = start.duration(to: .now)
    let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
    report(results.value, seconds: seconds)
    if !results.value.violations.isEmpty { throw ExitCode(1) }
  }

  private final class Results: @unchecked Sendable {
    // The lock guards the value.
    private let lock = NSLock()
    private var sum = Result()
    func add(_ result: Result) {
      lock.withLock {
        sum.total.add(result.total)
        sum.seeds += result.seeds
        sum.violations += result.violations
      }
    }
    var value: Result { lock.withLock { sum } }
  }

  private func report(_ result: Result, seconds: Double) {
    let total = result.total
    let violations = result.violations.sorted { $0.violation.seed < $1.violation.seed }
    let rate = Double(total.steps) / max(seconds, 1e-9) / Double(jobs)
    let ratio = Double(total.simulatedTicks) / 1e6 / max(seconds, 1e-9)
    if json {
      let faults = FaultKind.allCases.filter { total.faults[$0] != nil }
        .map { "\"\($0.name)\":\(total.faults[$0] ?? 0)" }.joined(separator: ",")
      let broken = violations.map {
        "{\"seed\":\($0.violation.seed),\"nodes\":\($0.nodes),\"step\":\($0.violation.step),\"message\":\(quote($0.violation.message))}"
      }.joined(separator: ",")
      print(
        """
        {"seeds":\(result.seeds),"steps":\(total.steps),"faults":{\(faults)},"violations":[\(broken)],\
        "chosen":\(total.chosen),"elections":\(total.elections),"acknowledged":\(total.acknowledged),\
        "lease_reads":\(total.leaseReads),"round_reads":\(total.roundReads),\
        "reconfigurations":\(total.reconfigurations),"transfers":\(total.transfers),"installs":\(total.installs),\
        "repairs":\(total.repairs),"simulated_seconds":\(total.simulatedTicks / 1_000_000),\
        "seconds":\(fixed(seconds)),"steps_per_second_per_core":\(Int(rate)),"simulated_over_real":\(Int(ratio))}
        """)
      return
    }
    for (nodes, violation) in violations.prefix(20) {
      print(
        "VIOLATION \(violation)\n  again: synod sim --seed \(violation.seed) --nodes \(nodes) --steps \(steps) --trace")
    }
    print(
      """
      \(result.seeds) seeds, \(total.steps) steps, \(violations.count) violations
      chosen \(total.chosen), acknowledged \(total.acknowledged), elections \(total.elections), \
      reads by lease \(total.leaseReads), by round \(total.roundReads)
      reconfigurations \(total.reconfigurations), transfers \(total.transfers), checkpoints installed \
      \(total.installs), repairs \(total.repairs)
      faults \(FaultKind.allCases.compactMap { kind in total.faults[kind].map { "\(kind.name) \($0)" } }.joined(separator: ", "))
      \(fixed(seconds)) s; \(Int(rate)) steps/s per thread; \(Int(ratio)) s simulated per second
      """)
  }

  private func runOne(_ seed: UInt64, _ template: ClusterOptions, _ counts: [Int]) throws {
    var options = template
    options.seed = seed
    options.nodes = counts[Int(seed % UInt64(counts.count))]
    if minimize {
      guard let (smaller, violation) = ClusterCampaign.minimise(options) else {
        print("seed \(seed): no violation")
        return
      }
      options = smaller
      let kinds = FaultKind.allCases.filter { smaller.faults.contains($0) }.map(\.name).joined(separator: ",")
      print(
        "needs faults: \(kinds.isEmpty ? "none" : kinds); clients: \(smaller.clients.map(String.init) ?? "as drawn")\n\(violation)"
      )
    }
    options.traces = trace || svg != nil
    let simulation = ClusterSimulation(options)
    let report = simulation.run()
    if trace { for line in simulation.trace { print(line) } }
    if let svg {
      let picture = simulation.chart.svg(from * 1000...max(from, to) * 1000, heartbeats: heartbeats)
      try picture.write(toFile: svg, atomically: true, encoding: .utf8)
    }
    if let violation = report.violation {
      print("VIOLATION \(violation)")
      throw ExitCode(1)
    }
    print("seed \(seed): \(report.steps) steps, chosen \(report.chosen), no violation")
  }

  private func fixed(_ value: Double) -> String { String(format: "%.2f", value) }

  private func quote(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\u{0}"..."\u{1F}": out += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}
