import Encoding
import Platform
import Testing
import Transactions

/// A test that cannot fail is a defect: the certifier, broken on purpose in each of its ways, must be found out by brute
/// force within a bounded number of random interleavings.
@Suite(.serialized) struct MutantTests {
  /// Programs that a mutant is tried with; most are found by random ones.
  static let hints: [CertifierMutant: [[[Step]]]] = [
    .forgetsReadsOfSavepoints: [
      [[.savepoint, .read(0), .rollback, .update(1)], [.read(1), .update(0)]],
      [[.savepoint, .scan(0, 4), .rollback, .insert(2)], [.savepoint, .scan(0, 4), .rollback, .insert(3)]],
    ],
    // The reader sees the batch closed and not the receipt that its writer still adds (Fekete, O'Neil, O'Neil 2004).
    .trustsReaders: [[[.read(0), .update(1)], [.update(0)], [.read(0), .read(1)]]],
    .forgetsMisses: [[[.read(2), .insert(3)], [.read(3), .insert(2)]]],
    // W overwrites for a third time what a reader, long over, read first.
    .prunesPointedAt: [[[.read(0), .update(1)], [.update(0)], [.read(1), .read(0)]]],
  ]

  @Test(arguments: CertifierMutant.allCases.filter { $0 != .none && $0 != .releasesOldSnapshotFirst })
  func isFound(_ mutant: CertifierMutant) throws {
    var options = TransactionManagerOptions()
    options.mutant = mutant
    // Only a held log has a window between sequencing and visibility.
    for isHeld in mutant == .ignoresInvisible ? [true] : [false, true] {
      let interleaver = try Interleaver(.serializable, isHeld: isHeld, options: options)
      var counts = Counts()
      for programs in Self.hints[mutant] ?? [] {
        try forEachSchedule(programs.map { $0.count + (isHeld ? 2 : 1) }) { schedule in
          if counts.anomalies > 0 || counts.runs > 20_000 { return }
          counts.add(try interleaver.run(programs, schedule, keyCount: 4, present: [0, 1]), programs, schedule)
        }
      }
      var random = SeededRandomness(seed: 99)
      for _ in 0..<30_000 where counts.anomalies == 0 {
        let (programs, schedule) = InterleavingTests.randomRun(
          &random, transactions: 3 + random.below(2), isHeld: isHeld)
        counts.add(try interleaver.run(programs, schedule, keyCount: 4, present: [0, 1]), programs, schedule)
      }
      if counts.anomalies > 0 {
        print("mutant \(mutant): found after \(counts.runs) runs: \(counts.examples[0])")
        return
      }
    }
    Issue.record("the mutant \(mutant) was not found")
  }
}
