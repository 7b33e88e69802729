package import CoreMetrics
package import Platform
internal import Synchronization

// Metrics in Prometheus' text format, behind swift-metrics.
//
//   # HELP synod_commits_total Transactions that were committed.
//   # TYPE synod_commits_total counter
//   synod_commits_total{outcome="committed"} 42
//
// Counters and gauges are one atomic word each; a histogram is a word for each bucket, its sum in nanoseconds (durations) or
// in thousandths. What a series is worth elsewhere already (the engine's own counters) is read when it is asked for:
// `collect`. Reference: Prometheus, "Exposition formats", text format 0.0.4.

/// A sample that is read when the metrics are asked for.
package struct MetricSample: Sendable {
  package enum Kind: String, Sendable { case counter, gauge }
  package var name: String
  package var kind: Kind
  package var labels: [(String, String)]
  package var value: Double
  package init(_ name: String, _ kind: Kind, _ value: Double, labels: [(String, String)] = []) {
    self.name = name
    self.kind = kind
    self.value = value
    self.labels = labels
  }
}

/// Makes swift-metrics' handlers and prints what they hold.
package final class PrometheusFactory: MetricsFactory {
  struct Key: Hashable {
    let name: String
    let labels: String
  }
  private struct State {
    var counters: [Key: PrometheusCounter] = [:]
    var gauges: [Key: PrometheusGauge] = [:]
    var histograms: [Key: PrometheusHistogram] = [:]
    var collectors: [@Sendable () -> [MetricSample]] = []
    var durations: [(key: Key, histogram: DurationHistogram)] = []
  }
  private let state = Mutex(State())
  private let help: [String: String]

  /// `help` says of each name what it means.
  package init(help: [String: String] = [:]) { self.help = help }

  /// Makes it the factory of the process, once.
  package func bootstrap() { MetricsSystem.bootstrap(self) }

  /// Has `body` asked for samples whenever the metrics are printed.
  package func collect(_ body: @escaping @Sendable () -> [MetricSample]) {
    state.withLock { $0.collectors.append(body) }
  }

  /// Has a histogram that others fill printed under `name`.
  package func collect(_ histogram: DurationHistogram, as name: String, labels: [(String, String)] = []) {
    state.withLock { $0.durations.append((Self.key(name, labels), histogram)) }
  }

  private static func key(_ label: String, _ dimensions: [(String, String)]) -> Key {
    Key(name: name(label), labels: labels(dimensions))
  }

  static func name(_ label: String) -> String {
    String(label.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") ? $0 : "_" })
  }

  static func labels(_ dimensions: [(String, String)]) -> String {
    dimensions.map { name, value in
      let escaped = value.flatMap { character -> String in
        switch character {
        case "\\": "\\\\"
        case "\"": "\\\""
        case "\n": "\\n"
        default: String(character)
        }
      }
      return "\(Self.name(name))=\"\(String(escaped))\""
    }.joined(separator: ",")
  }

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    let key = Self.key(label, dimensions)
    return state.withLock { state in
      if let known = state.counters[key] { return known }
      let counter = PrometheusCounter()
      state.counters[key] = counter
      return counter
    }
  }

  package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler { gauge(label, dimensions) }

  private func gauge(_ label: String, _ dimensions: [(String, String)]) -> PrometheusGauge {
    let key = Self.key(label, dimensions)
    return state.withLock { state in
      if let known = state.gauges[key] { return known }
      let gauge = PrometheusGauge()
      state.gauges[key] = gauge
      return gauge
    }
  }

  package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
    aggregate ? histogram(label, dimensions) : gauge(label, dimensions)
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    histogram(label, dimensions)
  }

  private func histogram(_ label: String, _ dimensions: [(String, String)]) -> PrometheusHistogram {
    let key = Self.key(label, dimensions)
    return state.withLock { state in
      if let known = state.histograms[key] { return known }
      let histogram = PrometheusHistogram()
      state.histograms[key] = histogram
      return histogram
    }
  }

  package func destroyCounter(_ handler: any CounterHandler) {}
  package func destroyMeter(_ handler: any MeterHandler) {}
  package func destroyRecorder(_ handler: any RecorderHandler) {}
  package func destroyTimer(_ handler: any TimerHandler) {}

  // MARK: Printing

  /// Everything as text, by name.
  package func text() -> String {
    var families: [String: (kind: String, lines: [String])] = [:]
    func add(_ name: String, _ kind: String, _ lines: [String]) { families[name, default: (kind, [])].lines += lines }
    let collectors = state.withLock { state in
      for (key, counter) in state.counters {
        add(key.name, "counter", [Self.line(key.name, key.labels, "\(counter.value)")])
      }
      for (key, gauge) in state.gauges {
        add(key.name, "gauge", [Self.line(key.name, key.labels, Self.number(gauge.value))])
      }
      for (key, histogram) in state.durations { add(key.name, "histogram", Self.lines(key, histogram)) }
      for (key, histogram) in state.histograms { add(key.name, "histogram", histogram.lines(key)) }
      return state.collectors
    }
    for collector in collectors {
      for sample in collector() {
        let line = Self.line(sample.name, Self.labels(sample.labels), Self.number(sample.value))
        add(sample.name, sample.kind.rawValue, [line])
      }
    }
    var text = ""
    for (name, family) in families.sorted(by: { $0.key < $1.key }) {
      if let help = help[name] { text += "# HELP \(name) \(help)\n" }
      text += "# TYPE \(name) \(family.kind)\n"
      // A histogram's lines are in the order of its buckets; series of a name stand by their labels.
      for line in family.kind == "histogram" ? family.lines : family.lines.sorted() { text += line + "\n" }
    }
    return text
  }

  private static func lines(_ key: Key, _ histogram: DurationHistogram) -> [String] {
    let (counts, sum) = histogram.counts
    let before = key.labels.isEmpty ? "" : key.labels + ","
    var lines: [String] = []
    var total: UInt64 = 0
    for (index, count) in counts.enumerated() {
      total += count
      let bound = index < DurationHistogram.bounds.count ? "\(Double(DurationHistogram.bounds[index]) / 1e9)" : "+Inf"
      lines.append(line(key.name + "_bucket", "\(before)le=\"\(bound)\"", "\(total)"))
    }
    lines.append(line(key.name + "_sum", key.labels, "\(Double(sum) / 1e9)"))
    lines.append(line(key.name + "_count", key.labels, "\(total)"))
    return lines
  }

  static func line(_ name: String, _ labels: String, _ value: String) -> String {
    labels.isEmpty ? "\(name) \(value)" : "\(name){\(labels)} \(value)"
  }

  static func number(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 9e15 ? "\(Int64(value))" : "\(value)"
  }
}

/// A count that only grows.
final class PrometheusCounter: CounterHandler {
  private let word = Atomic<Int64>(0)
  var value: Int64 { word.load(ordering: .relaxed) }
  func increment(by amount: Int64) { word.wrappingAdd(amount, ordering: .relaxed) }
  func reset() { word.store(0, ordering: .relaxed) }
}

/// A value that goes up and down.
final class PrometheusGauge: MeterHandler, RecorderHandler {
  private let word = Atomic<UInt64>(0)
  var value: Double { Double(bitPattern: word.load(ordering: .relaxed)) }
  func set(_ value: Int64) { set(Double(value)) }
  func set(_ value: Double) { word.store(value.bitPattern, ordering: .relaxed) }
  func increment(by amount: Double) { add(amount) }
  func decrement(by amount: Double) { add(-amount) }
  func record(_ value: Int64) { set(Double(value)) }
  func record(_ value: Double) { set(value) }

  private func add(_ amount: Double) {
    var old = word.load(ordering: .relaxed)
    while true {
      let new = (Double(bitPattern: old) + amount).bitPattern
      let (exchanged, original) = word.compareExchange(expected: old, desired: new, ordering: .relaxed)
      if exchanged { return }
      old = original
    }
  }
}

/// How often a duration was in each range: powers of two from 16 µs to 16 s.
final class PrometheusHistogram: TimerHandler, RecorderHandler {
  private static let bounds: [Double] = (0...20).map { 16e-6 * Double(1 << $0) }
  private let counts: [Cell]
  private let sumNanoseconds = Atomic<UInt64>(0)

  /// An array cannot hold what cannot be copied.
  final class Cell: Sendable {
    let word = Atomic<UInt64>(0)
  }

  init() { counts = (0...Self.bounds.count).map { _ in Cell() } }

  func recordNanoseconds(_ duration: Int64) { add(Double(duration) / 1e9) }
  func record(_ value: Int64) { add(Double(value)) }
  func record(_ value: Double) { add(value) }

  private func add(_ seconds: Double) {
    var index = 0
    while index < Self.bounds.count && seconds > Self.bounds[index] { index += 1 }
    counts[index].word.wrappingAdd(1, ordering: .relaxed)
    sumNanoseconds.wrappingAdd(UInt64(max(0, min(seconds * 1e9, 1e18))), ordering: .relaxed)
  }

  func lines(_ key: PrometheusFactory.Key) -> [String] {
    var lines: [String] = []
    var total: UInt64 = 0
    let before = key.labels.isEmpty ? "" : key.labels + ","
    for (index, bound) in Self.bounds.enumerated() {
      total += counts[index].word.load(ordering: .relaxed)
      lines.append(PrometheusFactory.line(key.name + "_bucket", "\(before)le=\"\(bound)\"", "\(total)"))
    }
    total += counts[Self.bounds.count].word.load(ordering: .relaxed)
    lines.append(PrometheusFactory.line(key.name + "_bucket", "\(before)le=\"+Inf\"", "\(total)"))
    let sum = Double(sumNanoseconds.load(ordering: .relaxed)) / 1e9
    lines.append(PrometheusFactory.line(key.name + "_sum", key.labels, "\(sum)"))
    lines.append(PrometheusFactory.line(key.name + "_count", key.labels, "\(total)"))
    return lines
  }
}
