import Foundation

struct MicrobenchFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// The hot paths, one by one: nanoseconds and allocations of an operation.
///
///     Microbench                                  all of them
///     Microbench --only TEXT                      those with this in their name
///     Microbench --counts                         few rounds: for the allocations alone
///     Microbench --thresholds FILE                exits 1 where more is allocated than the file allows, or it names others
///     Microbench --write-thresholds FILE          writes what is allocated now
///     Microbench --json                           one JSON object
@main struct Microbench {
  static let all = logBenchmarks + storageBenchmarks + transactionBenchmarks + statementBenchmarks

  struct Options {
    var only: String?
    var counts = false
    var thresholds: String?
    var writes: String?
    var json = false

    init(_ arguments: some Sequence<String>) throws {
      var rest = Array(arguments)[...]
      func value(_ name: String) throws -> String {
        guard let value = rest.popFirst() else { throw MicrobenchFailure("\(name) needs a value") }
        return value
      }
      while let argument = rest.popFirst() {
        switch argument {
        case "--only": only = try value(argument)
        case "--counts": counts = true
        case "--thresholds": thresholds = try value(argument)
        case "--write-thresholds": writes = try value(argument)
        case "--json": json = true
        default:
          throw MicrobenchFailure(
            "unknown option \(argument); there are --only TEXT, --counts, --thresholds FILE, --write-thresholds FILE and --json"
          )
        }
      }
    }
  }

  static func main() {
    do {
      exit(try run(Options(CommandLine.arguments.dropFirst())))
    } catch {
      FileHandle.standardError.write(Data("Microbench: \(error)\n".utf8))
      exit(2)
    }
  }

  static func run(_ options: Options) throws -> Int32 {
    let chosen = all.filter { options.only == nil || $0.name.contains(options.only!) }
    let workspace = try Workspace()
    defer { workspace.remove() }
    var costs: [String: Cost] = [:]
    for benchmark in chosen {
      let operations = options.counts ? min(benchmark.operations, 2000) : benchmark.operations
      let cost = try benchmark.measure(rounds: options.counts ? 3 : 25, operations: operations, in: workspace)
      costs[benchmark.name] = cost
      if !options.json {
        let time = String(format: "%10.1f ns %8.2f allocations", cost.nanoseconds, cost.allocations)
        print("\(benchmark.name.padding(toLength: 64, withPad: " ", startingAt: 0))\(time)")
      }
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    if options.json { print(String(decoding: try encoder.encode(costs), as: UTF8.self)) }
    if let file = options.writes {
      // A little more: what is rare and depends on chance must not fail.
      let limits = costs.mapValues { $0.allocations < 0.01 ? 0.01 : ($0.allocations * 2 + 0.5).rounded(.up) / 2 }
      try encoder.encode(limits).write(to: URL(fileURLWithPath: file))
    }
    return try options.thresholds.map { try compare(costs, with: $0, isAll: options.only == nil) } ?? 0
  }

  /// 1 if a benchmark allocates more than its threshold, or has none, or a threshold has no benchmark.
  static func compare(_ costs: [String: Cost], with file: String, isAll: Bool) throws -> Int32 {
    let limits = try JSONDecoder().decode([String: Double].self, from: try Data(contentsOf: URL(fileURLWithPath: file)))
    var complaints: [String] = []
    for (name, cost) in costs.sorted(by: { $0.key < $1.key }) {
      guard let limit = limits[name] else {
        complaints.append("\(name): no threshold in \(file)")
        continue
      }
      if cost.allocations > limit {
        complaints.append("\(name): \(cost.allocations) allocations an operation, at most \(limit) are allowed")
      }
    }
    if isAll {
      for name in limits.keys.sorted() where costs[name] == nil {
        complaints.append("\(name): a threshold without benchmark")
      }
    }
    for complaint in complaints { FileHandle.standardError.write(Data((complaint + "\n").utf8)) }
    return complaints.isEmpty ? 0 : 1
  }
}
