import Encoding
import Foundation
import Platform
import Testing
import Transactions

// Interleavings of small transactions against brute force. What commits must be serializable, and what the certifier
// aborts must not have been.
//
// Every execution of small transactions is in ExplorationTests; here are random ones of more and longer programs.
// SYNOD_INTERLEAVINGS=full runs millions, SYNOD_INTERLEAVINGS=8 an eighth of them: tools/isolation interleavings.

struct Counts: CustomStringConvertible {
  var runs = 0
  var commits = 0
  var concurrentUpdates = 0
  var deadlocks = 0
  var cycles = 0
  var undecided = 0
  var harmless = 0
  var anomalies = 0
  var dangerous = 0
  /// First updater won although nothing that was read before had changed.
  var unneeded = 0
  /// Snapshots that were moved past a conflict.
  var moves = 0
  var examples: [String] = []

  var description: String {
    "\(runs) runs: \(commits) committed; snapshots moved: \(moves); aborted: \(concurrentUpdates) first updater wins, \(deadlocks) deadlocks, "
      + "\(cycles) cycles, \(undecided) undecided; harmless by brute force: \(harmless); without a change of what was read: \(unneeded); not serializable: \(anomalies); "
      + "PostgreSQL's rule would have aborted in \(dangerous) of the runs that committed everything"
  }

  /// `isSnapshot`: snapshot isolation is what was promised.
  mutating func add(_ result: RunResult, _ programs: [[Step]], _ schedule: [Int], isSnapshot: Bool = false) {
    runs += 1
    commits += result.commits
    concurrentUpdates += result.concurrentUpdates
    deadlocks += result.deadlocks
    cycles += result.cycleAborts.count
    undecided += result.undecided
    moves += result.moves
    // At repeatable read, locks that a savepoint gives back count as read.
    if result.unneeded > 0 && !(isSnapshot && programs.contains { $0.contains(.savepoint) }) {
      unneeded += result.unneeded
      note("first updater won for nothing", programs, schedule)
    }
    if isSnapshot ? !result.committed.isSnapshotIsolated() : !result.committed.isSerializable() {
      anomalies += 1
      note(isSnapshot ? "not snapshot isolation" : "not serializable", programs, schedule)
    }
    for history in result.cycleAborts where history.isSerializable() {
      harmless += 1
      note("harmless", programs, schedule)
    }
    if result.commits == programs.count && result.committed.hasDangerousStructure() { dangerous += 1 }
  }

  mutating func add(_ other: Counts) {
    runs += other.runs
    commits += other.commits
    concurrentUpdates += other.concurrentUpdates
    deadlocks += other.deadlocks
    cycles += other.cycles
    undecided += other.undecided
    harmless += other.harmless
    anomalies += other.anomalies
    dangerous += other.dangerous
    unneeded += other.unneeded
    moves += other.moves
    examples = Array((examples + other.examples).prefix(5))
  }

  private mutating func note(_ what: String, _ programs: [[Step]], _ schedule: [Int]) {
    if examples.count < 5 { examples.append("\(what): \(programs) \(schedule)") }
  }
}

@Suite(.serialized) struct InterleavingTests {
  /// One in how many of the full number is run; nil: a part that fits.
  static let part = ProcessInfo.processInfo.environment["SYNOD_INTERLEAVINGS"].map { Int($0) ?? 1 }
  static func count(_ full: Int, _ usual: Int) -> Int { part.map { full / $0 } ?? usual }
  #if DEBUG
    static let share = 60
  #else
    static let share = 1
  #endif

  static let alphabet: [Step] = [
    .read(0), .read(1), .read(2), .update(0), .update(1), .insert(2), .upsert(2), .delete(0), .scan(0, 2), .scan(1, 4),
    .modify(0, 1), .modify(0, 3),
  ]

  static let withSavepoints: [[Step]] = [
    [.savepoint, .read(0), .rollback, .update(1)], [.savepoint, .update(0), .rollback, .update(1)],
    [.savepoint, .update(0), .rollback, .read(0)], [.update(0), .savepoint, .update(0), .rollback],
    [.savepoint, .scan(0, 4), .rollback, .insert(2)], [.read(1), .savepoint, .insert(2), .rollback],
    [.savepoint, .delete(0), .rollback, .read(1)], [.savepoint, .update(1), .rollback, .update(0)],
  ]

  static func check(_ counts: Counts, _ what: String) {
    print("interleavings, \(what): \(counts)")
    for example in counts.examples { print("  \(example)") }
    #expect(counts.anomalies == 0, "\(what): \(counts.examples)")
    #expect(counts.harmless == 0, "\(what): \(counts.examples)")
    #expect(counts.unneeded == 0, "\(what): \(counts.examples)")
    #expect(counts.undecided == 0)
  }

  /// Up to four steps, random orders, with and without late delivery, intervals deleted too.
  @Test(arguments: [false, true])
  func randomTriples(isHeld: Bool) throws {
    let interleaver = try Interleaver(.serializable, isHeld: isHeld)
    var counts = Counts()
    var random = SeededRandomness(seed: isHeld ? 21 : 22)
    for _ in 0..<Self.count(3_000_000, 60_000 / Self.share) {
      let (triple, schedule) = Self.randomRun(&random, transactions: 3, isHeld: isHeld)
      counts.add(try interleaver.run(triple, schedule, keyCount: 4, present: [0, 1]), triple, schedule)
    }
    Self.check(counts, "random triples\(isHeld ? " with late delivery" : "")")
    interleaver.database.expectEmpty()
  }

  static func randomRun(
    _ random: inout SeededRandomness, transactions: Int, isHeld: Bool
  ) -> ([[Step]], [Int]) {
    let alphabet = alphabet + [.scan(0, 4), .update(2), .delete(1), .read(3), .insert(3), .modify(1, 2), .modify(1, 4)]
    let programs: [[Step]] = (0..<transactions).map { _ in
      if random.oneIn(8) { return withSavepoints[random.below(withSavepoints.count)] }
      return (0..<1 + random.below(4)).map { _ in alphabet[random.below(alphabet.count)] }
    }
    var schedule: [Int] = []
    for (index, program) in programs.enumerated() {
      schedule += [Int](repeating: index, count: program.count + (isHeld ? 2 : 1))
    }
    schedule.shuffle(using: &random)
    return (programs, schedule)
  }

  /// What commits at repeatable read has read one snapshot, wherever that was moved to, and lost no update.
  @Test(arguments: [false, true])
  func snapshotIsolation(isHeld: Bool) throws {
    let interleaver = try Interleaver(.repeatableRead, isHeld: isHeld)
    var random = SeededRandomness(seed: isHeld ? 51 : 52)
    var counts = Counts()
    for _ in 0..<Self.count(1_000_000, 60_000 / Self.share) {
      let (programs, schedule) = Self.randomRun(&random, transactions: 3, isHeld: isHeld)
      let result = try interleaver.run(programs, schedule, keyCount: 4, present: [0, 1])
      counts.add(result, programs, schedule, isSnapshot: true)
    }
    Self.check(counts, "snapshot isolation\(isHeld ? " with late delivery" : "")")
    #expect(counts.moves > 50)
    interleaver.database.expectEmpty()
  }

  /// Snapshot isolation commits anomalies, brute force sees them, and each has a dangerous structure: the oracles work.
  @Test func oraclesSeeSnapshotIsolation() throws {
    let interleaver = try Interleaver(.repeatableRead)
    var random = SeededRandomness(seed: 5)
    var anomalies = 0
    var missed = 0
    for _ in 0..<(40_000 / Self.share) {
      let (programs, schedule) = Self.randomRun(&random, transactions: 3, isHeld: false)
      let result = try interleaver.run(programs, schedule, keyCount: 4, present: [0, 1])
      if result.committed.isSerializable() { continue }
      anomalies += 1
      if !result.committed.hasDangerousStructure() {
        missed += 1
        print("no dangerous structure: \(programs) \(schedule)")
      }
    }
    print("interleavings, snapshot isolation: \(anomalies) runs that are not serializable")
    #expect(anomalies > 10)
    #expect(missed == 0)
    interleaver.database.expectEmpty()
  }
}
