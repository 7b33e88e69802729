import ArgumentParser
import Foundation
import Histogram
internal import Platform
internal import Synod

/// `synod bench commit`: each client puts one small value under a new key and commits, as fast as it is acknowledged.
struct BenchCommit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "commit",
    abstract: "Commit latency and throughput, beside the raw disk's own latency.",
    discussion: """
      Every client commits transactions of one 100-byte value under a new 16-byte key. Before and after, the disk's floor \
      is measured in the same directory: a 4 KiB write over zero-filled space and an fdatasync. \
      ratio_to_floor is p50 to p50.
      """)

  @Option(help: "The database; made if it is not there.")
  var path: String

  @Option(help: "Concurrent clients.")
  var clients = 1

  @Option(help: "Isolation level: rc, rr or ser.")
  var isolation = "rc"

  @Option(help: "How long to measure.")
  var seconds = 5.0

  @Option(name: .customLong("value-size"), help: "Bytes of each value.")
  var valueSize = 100

  @Flag(name: .customLong("no-sync"), help: "Acknowledge before the log is durable.")
  var noSync = false

  @Flag(help: "One JSON object instead of text.")
  var json = false

  func validate() throws {
    guard (1...4096).contains(clients) else { throw ValidationError("--clients must be 1 to 4096") }
    guard seconds > 0, seconds <= 86_400 else {
      throw ValidationError("--seconds must be more than 0 and at most a day")
    }
    guard (0...1_000_000).contains(valueSize) else { throw ValidationError("--value-size must be 0 to 1000000") }
    guard IsolationLevel(name: isolation) != nil else { throw ValidationError("--isolation must be rc, rr or ser") }
  }

  func run() throws {
    let database = try openForBench(path)
    defer { try? database.close() }
    var floor = makeLatencies()
    let floorSeconds = min(1, max(0.2, seconds / 10))
    try Floor.measure(in: path, seconds: floorSeconds, into: &floor)
    let bytesBefore = database.statistics.logBytesWritten
    let level = IsolationLevel(name: isolation)!
    let run = LinuxClock().wallNanoseconds
    let value = [UInt8](repeating: 0x76, count: valueSize)
    let isDurable = !noSync
    let measured = try measure(clients: clients, seconds: seconds) { client in
      var key = [UInt8](repeating: 0, count: 16)
      return { index in
        // Keys are new in every run and every client, and spread over the key space.
        let scattered = (index &* 0x9e37_79b9_7f4a_7c15) ^ UInt64(client) << 48 ^ run
        for byte in 0..<8 {
          key[byte] = UInt8(truncatingIfNeeded: scattered >> UInt64(56 - 8 * byte))
          key[8 + byte] = UInt8(truncatingIfNeeded: (index << 12 | UInt64(client)) >> UInt64(56 - 8 * byte))
        }
        var attempts: UInt64 = 0
        try database.transaction(isolation: level, isDurable: isDurable) { transaction in
          attempts += 1
          try transaction.put(key, value)
        }
        return attempts - 1
      }
    }
    let bytes = database.statistics.logBytesWritten - bytesBefore
    try Floor.measure(in: path, seconds: floorSeconds, into: &floor)
    try report(measured, floor: floor, logBytes: bytes, level: level)
  }

  private func report(_ measured: Measurement, floor: Latencies, logBytes: UInt64, level: IsolationLevel) throws {
    let p50 = Double(measured.latencies.valueAtPercentile(50))
    let floorMedian = Double(max(1, floor.valueAtPercentile(50)))
    let bytesPerCommit = measured.operations > 0 ? Double(logBytes) / Double(measured.operations) : 0
    if json {
      try printJSON([
        "clients": clients, "isolation": level.abbreviation, "seconds": rounded(measured.seconds),
        "commits": measured.operations, "commits_per_second": rounded(measured.perSecond, 1),
        "retries": measured.retries, "latency_us": latencyObject(measured.latencies),
        "floor_us": [
          "p50": microseconds(floor.valueAtPercentile(50)), "p99": microseconds(floor.valueAtPercentile(99)),
        ],
        "ratio_to_floor": rounded(p50 / floorMedian, 3), "log_bytes_per_commit": rounded(bytesPerCommit, 1),
        "cpu_us_per_commit": rounded(measured.processorMicrosecondsPerOperation), "durable": !noSync,
      ])
      return
    }
    print(
      """
      commits       \(measured.operations) by \(clients) client\(clients == 1 ? "" : "s") in \(rounded(measured.seconds)) s: \
      \(Int(measured.perSecond)) a second\(noSync ? " (not durable)" : "")
      latency       p50 \(microseconds(measured.latencies.valueAtPercentile(50))) µs · p99 \
      \(microseconds(measured.latencies.valueAtPercentile(99))) µs · p99.9 \
      \(microseconds(measured.latencies.valueAtPercentile(99.9))) µs · max \(microseconds(measured.latencies.maxRecorded)) µs
      disk's floor  p50 \(microseconds(floor.valueAtPercentile(50))) µs · p99 \(microseconds(floor.valueAtPercentile(99))) µs \
      (ratio \(rounded(p50 / floorMedian)))
      cost          \(rounded(bytesPerCommit, 0)) bytes of log and \(rounded(measured.processorMicrosecondsPerOperation)) µs \
      of processor per commit
      """)
  }
}

/// Opens the database at `path`, or ends with its error as a person reads it.
func openForBench(_ path: String, options: DatabaseOptions = DatabaseOptions()) throws -> Database {
  do {
    return try Database.open(at: path, options)
  } catch {
    throw CommandFailure(error.description)
  }
}
