import Encoding
import Foundation
import Testing
import Transactions

// Every execution of small transactions, each once, against brute force: what commits has a serial order, and nothing that
// the certifier aborts has one. How it is done, and what is left out: Exploration.swift.
//
// The suite explores what fits. SYNOD_EXPLORE=full explores all of `Exploration.all` (tools/isolation explore), and
// SYNOD_EXPLORE=name one of them; SYNOD_THREADS says on how many threads.

/// What is explored: an alphabet of steps (`Step.description`), and how many actors take how many of them.
struct Exploration: Sendable, CustomTestStringConvertible {
  var name: String
  var alphabet: String
  var length: Int
  var actors = 2
  var readers = 0
  var isHeld = false
  var isolation = IsolationLevel.serializable
  var testDescription: String { name }

  static let kinds = "r0 r1 r2 w0 w1 i2 u2 d0 s0-2 s0-3 m0 m0-2 sp rb"
  static let core = "r0 r1 w0 m1 i2 s0-3"

  /// What the suite has time for.
  #if DEBUG
    static let brief: [Exploration] = [
      Exploration(name: "pairs", alphabet: "r0 w1 m0 s0-3", length: 2),
      Exploration(name: "pairs, savepoints", alphabet: "r0 w1 sp rb", length: 3),
      Exploration(name: "pairs, a declared reader", alphabet: "r0 w1 s0-3", length: 2, readers: 1),
      Exploration(name: "pairs, late delivery", alphabet: "r0 w0 m1", length: 2, isHeld: true),
      Exploration(name: "triples", alphabet: "r0 w0 m1 i2", length: 1, actors: 3),
    ]
  #else
    static let brief: [Exploration] = [
      Exploration(name: "pairs", alphabet: core, length: 2),
      Exploration(name: "pairs, savepoints", alphabet: "r0 w1 i2 sp rb", length: 3),
      Exploration(name: "pairs, a declared reader", alphabet: core, length: 2, readers: 1),
      Exploration(name: "pairs, late delivery", alphabet: "r0 w1 m0 i2 s0-3", length: 2, isHeld: true),
      Exploration(name: "triples", alphabet: "r0 w1 m0", length: 2, actors: 3),
      Exploration(name: "pairs, snapshot isolation", alphabet: core, length: 2, isolation: .repeatableRead),
    ]
  #endif

  static let all: [Exploration] = [
    // Three steps of every kind.
    Exploration(name: "pairs of 3, all kinds", alphabet: kinds, length: 3),
    // Four steps of five alphabets, in which together every kind occurs.
    Exploration(name: "pairs of 4, points and an interval", alphabet: core, length: 4),
    Exploration(name: "pairs of 4, rows that come and go", alphabet: "r0 w1 i2 d0 s0-3 sp rb", length: 4),
    Exploration(name: "pairs of 4, upserts", alphabet: "r0 m1 u2 i2 s0-3 sp rb", length: 4),
    Exploration(name: "pairs of 4, intervals changed", alphabet: "r0 w1 d1 i2 m0-2", length: 4),
    Exploration(name: "pairs of 4, two rows", alphabet: "r0 r1 w0 w1 s0-2", length: 4),
    Exploration(name: "pairs of 3, a declared reader", alphabet: kinds, length: 3, readers: 1),
    Exploration(name: "pairs of 4, a declared reader", alphabet: core, length: 4, readers: 1),
    Exploration(name: "pairs of 3, late delivery", alphabet: core, length: 3, isHeld: true),
    Exploration(name: "triples of 2", alphabet: "r0 r1 w0 m1 i2 d0 s0-3", length: 2, actors: 3),
    Exploration(
      name: "triples of 2, a declared reader", alphabet: "r0 r1 w0 m1 i2 d0 s0-3", length: 2, actors: 3, readers: 1),
    Exploration(name: "triples of 3, two rows", alphabet: "r0 r1 w0 m1", length: 3, actors: 3),
    Exploration(name: "pairs of 3, snapshot isolation", alphabet: kinds, length: 3, isolation: .repeatableRead),
  ]

  var steps: [Step] {
    alphabet.split(separator: " ").map { word in
      let keys = word.dropFirst().split(separator: "-").compactMap { Int($0) }
      return switch word.first! {
      case "r" where word == "rb": .rollback
      case "s" where word == "sp": .savepoint
      case "r": .read(keys[0])
      case "w": .update(keys[0])
      case "m": .modify(keys[0], keys.count > 1 ? keys[1] : keys[0] + 1)
      case "i": .insert(keys[0])
      case "u": .upsert(keys[0])
      case "d": .delete(keys[0])
      case "s": .scan(keys[0], keys[1])
      default: fatalError("no step \(word)")
      }
    }
  }

  /// Explores on `threads` threads, each with a database of its own.
  func explore(threads: Int = 1) throws -> ExplorationCounts {
    let total = Guarded(ExplorationCounts())
    let workers = (0..<threads).map { part in
      Thread {
        let interleaver = try! Interleaver(isolation, isHeld: isHeld)
        let explorer = Explorer(
          interleaver, steps, length: length, actors: actors, readers: readers, part: part, parts: threads)
        try! explorer.explore()
        interleaver.database.expectEmpty()
        total.withLock { $0.add(explorer.found) }
      }
    }
    for worker in workers { worker.start() }
    for worker in workers { while !worker.isFinished { Thread.sleep(forTimeInterval: 0.01) } }
    return total.withLock { $0 }
  }
}

@Suite(.serialized) struct ExplorationTests {
  static let environment = ProcessInfo.processInfo.environment

  static var chosen: [Exploration] {
    guard let name = environment["SYNOD_EXPLORE"] else { return Exploration.brief }
    return name == "full" ? Exploration.all : Exploration.all.filter { $0.name.contains(name) }
  }

  @Test(arguments: chosen) func everyExecution(_ exploration: Exploration) throws {
    let start = ContinuousClock.now
    let threads = Self.environment["SYNOD_THREADS"].flatMap { Int($0) } ?? 1
    let found = try exploration.explore(threads: threads)
    InterleavingTests.check(found.counts, "\(exploration.name) [\(exploration.alphabet)]")
    if Self.environment["SYNOD_EXPLORE"] != nil {
      print("  given up as redundant: \(found.redundant); \(ContinuousClock.now - start) on \(threads) threads")
    }
    #expect(found.counts.runs > 100)
  }

  static let compared: [Exploration] = [
    Exploration(name: "savepoints", alphabet: "w0 m1 sp rb", length: 3),
    Exploration(name: "a reader", alphabet: "r0 w0 s0-3 i2", length: 2, readers: 1),
    Exploration(name: "late delivery", alphabet: "r0 w0 m1", length: 2, isHeld: true),
    Exploration(name: "triples", alphabet: "r0 w1 m0-2", length: 1, actors: 3),
  ]
  static let comparedInRelease: [Exploration] = [
    Exploration(name: "pairs", alphabet: "r0 r1 w0 m1 i2 d0 s0-3 sp rb", length: 2),
    Exploration(name: "pairs of 3", alphabet: "r0 w1 m0-2", length: 3),
    Exploration(name: "triples of 2", alphabet: "w1 m0", length: 2, actors: 3),
  ]
  #if DEBUG
    static let isDebug = true
  #else
    static let isDebug = false
  #endif

  /// What is left out differs in nothing that anybody sees from what is run.
  @Test(arguments: isDebug ? compared : compared + comparedInRelease)
  func losesNothing(_ exploration: Exploration) throws {
    let outcomes = try [false, true].map { reduces in
      let interleaver = try Interleaver(.serializable, isHeld: exploration.isHeld)
      let explorer = Explorer(
        interleaver, exploration.steps, length: exploration.length, actors: exploration.actors,
        readers: exploration.readers, reduces: reduces)
      explorer.outcomes = []
      try explorer.explore()
      return (explorer.outcomes!, explorer.found.counts.runs)
    }
    let missing = outcomes[0].0.subtracting(outcomes[1].0)
    #expect(missing.isEmpty, "\(missing.sorted().prefix(3))")
    #expect(outcomes[1].1 < outcomes[0].1)
    print(
      "explored, \(exploration.name): \(outcomes[0].1) executions, reduced to \(outcomes[1].1), \(outcomes[0].0.count) outcomes"
    )
  }
}
