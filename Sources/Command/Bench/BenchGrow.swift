import ArgumentParser
import Foundation
import Histogram
internal import Platform
internal import Synod

/// `synod bench grow`: what size does to a database: loading, random reads, random overwrites.
///
/// Keys are 16 bytes, values 100 that compress to about a half, as db_bench makes them: pieces of 50 random bytes and the
/// same once more.
struct BenchGrow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "grow",
    abstract: "Loading, random reads and random overwrites of a database of any size.",
    discussion: """
      Loads the rows that are not there in key order, in transactions of 10 000 that need not be durable at once, and keeps \
      them; a load that was ended goes on where it was. Values compress to about a half.
      """)

  @Option(help: "The database; made if it is not there.")
  var path: String

  @Option(help: "Rows to read and overwrite.")
  var rows = 1_000_000

  @Option(help: "Threads that read. One writes.")
  var clients = 4

  @Option(help: "How long to read, and to overwrite.")
  var seconds = 5.0

  @Option(help: "Only this: load, read or write.")
  var only: String?

  @Option(name: .customLong("cache"), help: "Memory for cached blocks, in MiB.")
  var cacheMebibytes = 256

  @Flag(help: "One JSON object instead of text.")
  var json = false

  func validate() throws {
    guard (1...4096).contains(clients) else { throw ValidationError("--clients must be 1 to 4096") }
    guard (1...1_000_000_000).contains(rows) else { throw ValidationError("--rows must be 1 to 1000000000") }
    guard (1...1_000_000).contains(cacheMebibytes) else { throw ValidationError("--cache must be 1 to 1000000") }
    guard seconds > 0, seconds <= 86_400 else {
      throw ValidationError("--seconds must be more than 0 and at most a day")
    }
    guard only == nil || ["load", "read", "write"].contains(only!) else {
      throw ValidationError("--only must be load, read or write")
    }
  }

  func run() throws {
    var options = DatabaseOptions()
    options.blockCacheSizeBytes = cacheMebibytes << 20
    let clock = LinuxClock()
    let start = clock.bootNanoseconds
    let database = try openForBench(path, options: options)
    let opened = clock.bootNanoseconds
    defer { try? database.close() }
    let values = Self.values()
    let loaded = try load(database, values)
    let loadSeconds = Double(clock.bootNanoseconds - opened) / 1e9
    var phases: [(name: String, measured: Measurement)] = []
    if isWanted("read") { phases.append(("read", try read(database))) }
    if isWanted("write") { phases.append(("write", try overwrite(database, values))) }
    if json {
      var object: [String: Any] = [
        "rows": rows, "clients": clients, "loaded": loaded, "open_ms": rounded(Double(opened - start) / 1e6),
        "load_per_second": loaded > 0 ? rounded(Double(loaded) / loadSeconds, 1) : 0,
        "peak_memory_bytes": Self.peakMemory, "table_bytes": database.statistics.tableBytes,
      ]
      for (name, measured) in phases {
        object[name] = [
          "operations": measured.operations, "per_second": rounded(measured.perSecond, 1),
          "latency_us": latencyObject(measured.latencies),
          "cpu_us": rounded(measured.processorMicrosecondsPerOperation),
        ]
      }
      return try printJSON(object)
    }
    if loaded > 0 { print("load  \(Int(Double(loaded) / loadSeconds)) rows a second") }
    for (name, measured) in phases {
      print(
        """
        \(name.padding(toLength: 5, withPad: " ", startingAt: 0)) \(Int(measured.perSecond)) a second, \
        p50 \(microseconds(measured.latencies.valueAtPercentile(50))) µs, \
        p99 \(microseconds(measured.latencies.valueAtPercentile(99))) µs, \
        \(rounded(measured.processorMicrosecondsPerOperation)) µs of processor each
        """)
    }
  }

  private func isWanted(_ phase: String) -> Bool { only == nil || only == phase }

  /// A mebibyte of values, one after the other, from a fixed seed.
  private static func values() -> [UInt8] {
    var state: UInt64 = 0x9e37_79b9_7f4a_7c15
    var all: [UInt8] = []
    while all.count < 1 << 20 {
      let piece = (0..<50).map { _ in UInt8(truncatingIfNeeded: 32 + next(&state) % 95) }
      all += piece + piece
    }
    return all
  }

  private static func value(_ index: UInt64, of values: [UInt8]) -> ArraySlice<UInt8> {
    let start = Int(index % UInt64(values.count / 100)) * 100
    return values[start..<start + 100]
  }

  private static func next(_ state: inout UInt64) -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }

  private static func fill(_ key: inout [UInt8], _ index: UInt64) {
    for byte in 0..<8 {
      key[byte] = 0x67
      key[8 + byte] = UInt8(truncatingIfNeeded: index >> UInt64(56 - 8 * byte))
    }
  }

  /// Returns how many rows were not there.
  private func load(_ database: Database, _ values: [UInt8]) throws -> Int {
    var key = [UInt8](repeating: 0, count: 16)
    // What is there is a beginning of the whole.
    var low = 0
    var high = rows
    while low < high {
      let middle = (low + high) / 2
      Self.fill(&key, UInt64(middle))
      if try database.get(key) != nil { low = middle + 1 } else { high = middle }
    }
    for start in stride(from: low, to: rows, by: 10_000) {
      try database.transaction(isDurable: false) { transaction in
        for index in start..<min(rows, start + 10_000) {
          Self.fill(&key, UInt64(index))
          try transaction.put(key, Array(Self.value(UInt64(index), of: values)))
        }
      }
    }
    return rows - low
  }

  private func read(_ database: Database) throws -> Measurement {
    let count = UInt64(rows)
    return try measure(clients: clients, seconds: seconds) { client in
      var state = UInt64(client + 1) &* 0x9e37_79b9_7f4a_7c15 | 1
      var key = [UInt8](repeating: 0, count: 16)
      return { _ in
        Self.fill(&key, Self.next(&state) % count)
        guard try database.get(key) != nil else { throw CommandFailure("a row that was loaded is not there") }
        return 0
      }
    }
  }

  private func overwrite(_ database: Database, _ values: [UInt8]) throws -> Measurement {
    let count = UInt64(rows)
    return try measure(clients: 1, seconds: seconds) { _ in
      var state: UInt64 = 0xd6e8_feb8_6659_fd93
      var key = [UInt8](repeating: 0, count: 16)
      return { index in
        Self.fill(&key, Self.next(&state) % count)
        try database.transaction(isDurable: false) { transaction in
          try transaction.put(key, Array(Self.value(index, of: values)))
        }
        return 0
      }
    }
  }

  /// The most memory that this process has had resident.
  private static var peakMemory: UInt64 {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return (line?.split(separator: " ").dropFirst().first).flatMap { UInt64($0) }.map { $0 << 10 } ?? 0
  }
}
