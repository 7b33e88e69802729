import Encoding
import Platform
import Storage
import Testing
import Transactions

/// Locks that are noted in the write set alone are locks: whoever meets one cannot tell the difference.
@Suite struct ClaimTests {
  static func options(_ threshold: Int) -> TransactionManagerOptions {
    var options = TransactionManagerOptions()
    options.claimThreshold = threshold
    return options
  }

  @Test func aClaimedKeyIsLocked() throws {
    let database = try TestDatabase(options: Self.options(2))
    let told = LockTests.Told()
    let loader = try database.begin(.readCommitted)
    for key in 0..<100 { #expect(try loader.insert(Array("k\(key)".utf8), [1])) }
    #expect(database.manager.statistics.lockedKeys == 100)
    let other = try database.begin(.readCommitted)
    #expect(try other.lock("k7x", .update, .skipLocked) == .unchanged)
    #expect(try other.lock("k50", .keyShare, .skipLocked) == .skipped)
    #expect(throws: TransactionError.self) { try other.lock("k51", .update, .noWait) }
    #expect(try other.lockLater("k52", .update, told.note("k52")) == nil)
    try loader.commit()
    #expect(told.all == ["k52"])
    #expect(try other.lock("k52", .update) == .changed)
    #expect(try other.lock("k50", .update, .noWait) == .changed)
    other.rollback()
    database.expectEmpty()
  }

  /// What somebody else holds is waited for by one who claims.
  @Test func aClaimantWaits() throws {
    let database = try TestDatabase(options: Self.options(0))
    let told = LockTests.Told()
    let holder = try database.begin(.readCommitted)
    try holder.lock("k3", .update)
    let loader = try database.begin(.readCommitted)
    for key in ["k1", "k2", "k4"] { try loader.put(key, "v") }
    #expect(try loader.lockLater("k3", .update, told.note("loader")) == nil)
    // And the other way round: a deadlock, found through a lock that is in no node until it is asked for.
    #expect(throws: Never.self) { try holder.lockLater("k2", .update, told.note("holder")) }
    #expect(told.all == ["loader: deadlock"])
    loader.rollback()
    #expect(told.all == ["loader: deadlock", "holder"])
    #expect(try holder.lock("k2", .update) == .unchanged)
    holder.rollback()
    database.expectEmpty()
  }

  @Test func savepointsGiveBackClaims() throws {
    let database = try TestDatabase(options: Self.options(0))
    let told = LockTests.Told()
    let loader = try database.begin(.readCommitted)
    try loader.lock("a", .noKeyUpdate)
    let savepoint = loader.savepoint()
    try loader.put("b", "1")
    try loader.put("c", "1")
    // A stronger lock on a claimed key.
    try loader.lock("a", .update)
    let other = try database.begin(.readCommitted)
    #expect(try other.lock("a", .keyShare, .skipLocked) == .skipped)
    #expect(try other.lock("b", .update, .skipLocked) == .skipped)
    #expect(try other.lockLater("c", .update, told.note("c")) == nil)
    loader.rollback(to: savepoint)
    #expect(told.all == ["c"])
    #expect(try other.lock("c", .update) == .unchanged)
    #expect(try other.lock("b", .update, .noWait) == .unchanged)
    #expect(try other.lock("a", .keyShare, .noWait) == .unchanged)
    #expect(try other.lock("a", .share, .skipLocked) == .skipped)
    loader.rollback()
    #expect(try other.lock("a", .update, .noWait) == .unchanged)
    other.rollback()
    database.expectEmpty()
  }

  @Test func rangesMeetClaims() throws {
    let database = try TestDatabase(options: Self.options(0))
    let loader = try database.begin(.readCommitted)
    for key in ["b1", "b2", "d1"] { try loader.put(key, "v") }
    let other = try database.begin(.readCommitted)
    try other.deleteRange("c", "d")
    let impatient = try database.manager.begin(
      TransactionOptions(isolation: .readCommitted, lockTimeoutNanoseconds: 1_000_000))
    #expect(throws: TransactionError.self) { try impatient.deleteRange("b", "c") }
    // While there is a range lock, claims are not taken; nor are keys inside it to be had.
    try loader.put("b3", "v")
    #expect(try loader.lock("c5", .update, .skipLocked) == .skipped)
    other.rollback()
    impatient.rollback()
    try loader.commit()
    database.expectEmpty()
  }

  /// A claimant that is dropped is rolled back.
  @Test func droppingEndsAClaim() throws {
    let database = try TestDatabase(options: Self.options(0))
    do {
      let loader = try database.begin(.readCommitted)
      try loader.put("a", "1")
    }
    let other = try database.begin(.readCommitted)
    #expect(try other.lock("a", .update, .noWait) == .unchanged)
    other.rollback()
    database.expectEmpty()
  }

  /// Random transactions over few keys: with claims from the first lock on, from the second, and without any, everybody is
  /// told the same.
  @Test(arguments: 0..<60)
  func claimsDoNotShow(seed: Int) throws {
    let without = try Self.history(UInt64(seed), threshold: .max)
    for threshold in [0, 2] {
      let with = try Self.history(UInt64(seed), threshold: threshold)
      let difference = zip(with, without).first { $0 != $1 }
      #expect(with == without, "seed \(seed), threshold \(threshold): \(String(describing: difference))")
    }
  }

  /// A transaction of a history.
  private final class Actor {
    let name: Int
    let transaction: Transaction
    var savepoint: Savepoint?
    /// The lock that it waits for, and whether the wait is over.
    var wanted: (key: String, strength: LockStrength)?
    let isOver = Guarded(false)
    init(_ name: Int, _ transaction: Transaction) {
      self.name = name
      self.transaction = transaction
    }
  }

  /// What each of a few transactions was told, step by step.
  private static func history(_ seed: UInt64, threshold: Int) throws -> [String] {
    var random = SeededRandomness(seed: seed &* 977 &+ 5)
    let database = try TestDatabase(options: options(threshold))
    let told = Guarded<[String]>([])
    var history: [String] = []
    var actors: [Actor] = []
    var names = 0
    for step in 0..<200 {
      let begins = Int.random(in: 0..<3, using: &random) == 0
      if actors.isEmpty || (begins && actors.count < 4) {
        actors.append(Actor(names, try database.begin(.readCommitted)))
        names += 1
      }
      let actor = actors[Int.random(in: 0..<actors.count, using: &random)]
      let action = Int.random(in: 0..<20, using: &random)
      let key = "k\(Int.random(in: 0..<6, using: &random))"
      let strength = LockStrength.allCases[Int.random(in: 0..<4, using: &random)]
      func note(_ what: String) { told.withLock { $0.append("\(actor.name) \(what)") } }
      defer {
        // Who is told first of those who are told at once is not agreed.
        history += told.withLock { told in
          defer { told = [] }
          return told.sorted().map { "\(step): \($0)" }
        }
      }
      if let wanted = actor.wanted {
        guard actor.isOver.withLock({ $0 }) else {
          if action == 0 { actor.transaction.cancel() }
          continue
        }
        actor.wanted = nil
        do { note("got \(wanted.key): \(try actor.transaction.lock(wanted.key, wanted.strength))") } catch {
          note("failed")
          actor.transaction.rollback()
          actors.removeAll { $0 === actor }
        }
        continue
      }
      do {
        switch action {
        case 0...1:
          actors.removeAll { $0 === actor }
          note("ends")
          if action == 0 { try actor.transaction.commit() } else { actor.transaction.rollback() }
        case 2: actor.savepoint = actor.transaction.savepoint()
        case 3:
          guard let savepoint = actor.savepoint else { continue }
          note("back")
          actor.transaction.rollback(to: savepoint)
        case 4...8: note("skip \(key) \(strength): \(try actor.transaction.lock(key, strength, .skipLocked))")
        default:
          actor.isOver.withLock { $0 = false }
          let isOver = actor.isOver
          let name = actor.name
          let outcome = try actor.transaction.lockLater(key, strength) { result in
            isOver.withLock { $0 = true }
            var end = "granted"
            if case .failure(let error) = result { end = "\(error)".prefix { $0 != "(" }.description }
            told.withLock { $0.append("\(name) \(end)") }
          }
          guard let outcome else {
            actor.wanted = (key, strength)
            note("waits for \(key) \(strength)")
            continue
          }
          note("\(key) \(strength): \(outcome)")
          if strength == .update { try actor.transaction.put(key, "\(step)") }
        }
      } catch {
        note("failed")
        actor.transaction.rollback()
        actors.removeAll { $0 === actor }
      }
    }
    for actor in actors { actor.transaction.rollback() }
    database.expectEmpty()
    return history
  }
}
