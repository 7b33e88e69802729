import Encoding
import Platform
import Testing
import Transactions

/// Strict serializability against brute force: of three and four small transactions, what commits has a serial order in the
/// order of time, and what is aborted has none.
@Suite(.serialized) struct StrictTests {
  private struct Count {
    var runs = 0
    var aborted = 0
    /// Those that have a serial order, but none in time.
    var timely = 0
    var anomalies: [String] = []
    var harmless: [String] = []
  }

  private static func run(
    isStrict: Bool, isHeld: Bool = false, actors: Int, rounds: Int, sizeBytes: Int? = nil, seed: UInt64
  ) throws -> Count {
    var options = TransactionManagerOptions()
    options.isStrict = isStrict
    if let sizeBytes { options.certifierSizeBytes = sizeBytes }
    let interleaver = try Interleaver(.serializable, isHeld: isHeld, options: options)
    var random = SeededRandomness(seed: seed)
    var count = Count()
    let steps: [Step] = [.read(0), .read(1), .read(2), .update(0), .update(1), .upsert(2), .scan(0, 2)]
    for _ in 0..<rounds {
      let programs = (0..<actors).map { _ in (0..<1 + random.below(2)).map { _ in steps[random.below(steps.count)] } }
      var schedule = programs.enumerated().flatMap { Array(repeating: $0, count: $1.count + (isHeld ? 2 : 1)) }
      for index in schedule.indices.reversed() { schedule.swapAt(index, random.below(index + 1)) }
      let result = try interleaver.run(programs, schedule, keyCount: 3, present: [0, 1])
      count.runs += 1
      if !result.committed.isSerializable(inTime: true) { count.anomalies.append("\(programs) \(schedule)") }
      for history in result.cycleAborts {
        count.aborted += 1
        if history.isSerializable(inTime: true) { count.harmless.append("\(programs) \(schedule)") }
        if history.isSerializable() { count.timely += 1 }
      }
    }
    interleaver.database.expectEmpty()
    return count
  }

  @Test(arguments: [(3, false), (4, false), (3, true), (4, true)])
  func whatCommitsHasAnOrderInTime(_ actors: Int, _ isHeld: Bool) throws {
    let count = try Self.run(isStrict: true, isHeld: isHeld, actors: actors, rounds: 8_000, seed: UInt64(actors))
    print(
      "strict, \(actors) transactions\(isHeld ? ", late delivery" : ""): \(count.runs) runs, \(count.aborted) aborted, "
        + "of which \(count.timely) for the order of time alone")
    #expect(count.anomalies.isEmpty, "\(count.anomalies.prefix(3))")
    #expect(count.harmless.isEmpty, "\(count.harmless.prefix(3))")
    if actors > 3 { #expect(count.timely > 0) }
  }

  @Test func whatIsContractedIsNotMissed() throws {
    let count = try Self.run(isStrict: true, actors: 4, rounds: 4_000, sizeBytes: 1, seed: 9)
    #expect(count.anomalies.isEmpty, "\(count.anomalies.prefix(3))")
  }

  /// Without it there are such histories: this would notice.
  @Test func serializableAloneDoesNotKeepTime() throws {
    let count = try Self.run(isStrict: false, actors: 4, rounds: 6_000, seed: 4)
    #expect(!count.anomalies.isEmpty)
    #expect(count.harmless.isEmpty)
  }
}
