import Foundation
import Histogram
internal import Platform

/// Latencies in nanoseconds, from 100 ns to 10 minutes, three digits.
typealias Latencies = Histogram<UInt64>

func makeLatencies() -> Latencies {
  Latencies(highestTrackableValue: 600_000_000_000, numberOfSignificantValueDigits: .three)
}

/// What a run of a workload measured.
struct Measurement {
  var operations: UInt64 = 0
  var retries: UInt64 = 0
  var seconds: Double = 0
  var processorNanoseconds: UInt64 = 0
  var latencies = makeLatencies()

  var perSecond: Double { seconds > 0 ? Double(operations) / seconds : 0 }
  var processorMicrosecondsPerOperation: Double {
    operations > 0 ? Double(processorNanoseconds) / 1e3 / Double(operations) : 0
  }

  mutating func add(_ other: Measurement) {
    operations += other.operations
    retries += other.retries
    seconds += other.seconds
    processorNanoseconds += other.processorNanoseconds
    latencies.add(other.latencies)
  }
}

/// One client's share of a workload: performs operation `index` and returns how often it had to be retried.
typealias Operation = (_ index: UInt64) throws -> UInt64

/// Runs `clients` threads for `seconds`, each with the operation that `makeOperation` gives it, and adds up what they saw.
///
/// The first error of any client ends the run and is thrown.
func measure(
  clients: Int, seconds: Double, makeOperation: @escaping @Sendable (_ client: Int) throws -> Operation
) throws -> Measurement {
  final class Shared: @unchecked Sendable {
    // Unchecked: every field is read and written under `lock` only.
    let lock = NSLock()
    var total = Measurement()
    var failure: (any Error)?
  }
  let shared = Shared()
  let clock = LinuxClock()
  let group = DispatchGroup()
  let start = clock.bootNanoseconds
  let processorStart = LinuxClock.processNanoseconds
  let end = start + UInt64(seconds * 1e9)
  for client in 0..<clients {
    group.enter()
    let thread = Thread {
      defer { group.leave() }
      var mine = Measurement()
      do {
        let operation = try makeOperation(client)
        var began = clock.bootNanoseconds
        while began < end {
          mine.retries += try operation(mine.operations)
          let now = clock.bootNanoseconds
          mine.latencies.record(now - began)
          mine.operations += 1
          began = now
        }
      } catch {
        shared.lock.withLock { shared.failure = shared.failure ?? error }
      }
      shared.lock.withLock { shared.total.add(mine) }
    }
    thread.stackSize = 8 << 20
    thread.start()
  }
  group.wait()
  if let failure = shared.failure { throw failure }
  var total = shared.total
  total.seconds = Double(clock.bootNanoseconds - start) / 1e9
  total.processorNanoseconds = LinuxClock.processNanoseconds - processorStart
  return total
}

/// A ratio, a rate or a latency, rounded for reading.
func rounded(_ value: Double, _ digits: Int = 2) -> Double {
  let scale = pow(10, Double(digits))
  return (value * scale).rounded() / scale
}

func microseconds(_ nanoseconds: UInt64) -> Double { rounded(Double(nanoseconds) / 1e3, 1) }

/// Prints one JSON object with sorted keys.
func printJSON(_ object: [String: Any]) throws {
  let data = try JSONSerialization.data(
    withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
  print(String(decoding: data, as: UTF8.self))
}

func latencyObject(_ latencies: Latencies) -> [String: Any] {
  [
    "p50": microseconds(latencies.valueAtPercentile(50)), "p95": microseconds(latencies.valueAtPercentile(95)),
    "p99": microseconds(latencies.valueAtPercentile(99)), "p999": microseconds(latencies.valueAtPercentile(99.9)),
    "max": microseconds(latencies.maxRecorded),
  ]
}
