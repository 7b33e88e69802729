import Encoding
import Platform
import Storage
import Testing
import Transactions

/// A transaction's own writes, over what is committed, against a sorted dictionary: random puts, deletions, range
/// deletions, savepoints, cursors both ways with seeks, at many sizes.
@Suite struct WriteSetTests {
  struct Model {
    var state: [[UInt8]: [UInt8]] = [:]
    var marks: [(Savepoint, [[UInt8]: [UInt8]])] = []

    func rows(_ range: KeyRange, reverse: Bool) -> [([UInt8], [UInt8])] {
      let rows = state.filter { row in row.key.withUnsafeBytes { range.contains($0) } }
        .sorted { $0.key.lexicographicallyPrecedes($1.key) }
      return (reverse ? rows.reversed() : rows).map { ($0.key, $0.value) }
    }
  }

  static func key(_ random: inout SeededRandomness, _ spread: Int) -> [UInt8] {
    let number = random.below(spread)
    // Short and long keys, shared prefixes, prefixes of each other.
    var key = [UInt8(number & 3)]
    for _ in 0..<(number % 7) { key.append(UInt8(number % 5)) }
    key.append(contentsOf: [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)])
    return key
  }

  @Test(arguments: [(UInt64(1), 5, 300), (2, 40, 300), (3, 600, 500), (4, 3000, 600)])
  func matchesTheModel(seed: UInt64, spread: Int, steps: Int) throws {
    try Self.match(seed, spread, steps, .init())
  }

  /// The same where every write that needs no lock is deferred until something is looked up.
  @Test(arguments: [(UInt64(5), 5, 300), (6, 40, 300), (7, 600, 500), (8, 3000, 600)])
  func deferredWritesMatchTheModel(seed: UInt64, spread: Int, steps: Int) throws {
    var options = TransactionManagerOptions()
    options.deferringThreshold = 0
    try Self.match(seed, spread, steps, options)
  }

  private static func match(
    _ seed: UInt64, _ spread: Int, _ steps: Int, _ options: TransactionManagerOptions
  ) throws {
    var random = SeededRandomness(seed: seed)
    let database = try TestDatabase(options: options)
    var committed = Model()
    let setup = try database.begin()
    for _ in 0..<spread / 2 {
      let key = Self.key(&random, spread)
      committed.state[key] = [1]
      try setup.put(key, [1])
    }
    try setup.commit()
    for round in 0..<4 {
      var model = committed
      let transaction = try database.begin()
      for step in 0..<steps {
        try Self.step(&random, spread, transaction, &model, value: [UInt8(round), UInt8(truncatingIfNeeded: step)])
      }
      for (key, value) in model.state { try #require(try transaction.get(key) == value) }
      if random.oneIn(2) || round == 0 {
        try transaction.commit()
        committed.state = model.state
      } else {
        transaction.rollback()
      }
      let reader = try database.begin()
      try Self.compare(reader, committed, .all, reverse: false, seeks: 0, &random, spread)
      reader.rollback()
    }
    database.expectEmpty()
  }

  static func step(
    _ random: inout SeededRandomness, _ spread: Int, _ transaction: Transaction, _ model: inout Model, value: [UInt8]
  ) throws {
    switch random.below(20) {
    case 0..<6:
      let key = key(&random, spread)
      try transaction.put(key, value)
      model.state[key] = value
    case 6:
      let key = key(&random, spread)
      #expect(try transaction.insert(key, value) == (model.state[key] == nil))
      model.state[key] = model.state[key] ?? value
    case 7:
      // A run of them, some twice.
      for _ in 0...random.below(12) {
        let key = key(&random, spread)
        if random.oneIn(3) {
          try key.withUnsafeBytes { try transaction.deleteUnshared($0) }
          model.state[key] = nil
        } else {
          try transaction.putUnshared(key, value)
          model.state[key] = value
        }
      }
    case 8..<11:
      let key = key(&random, spread)
      try transaction.delete(key)
      model.state[key] = nil
    case 11:
      guard random.oneIn(4) else { return }
      let bounds = [key(&random, spread), key(&random, spread)].sorted { $0.lexicographicallyPrecedes($1) }
      try transaction.deleteRange(bounds[0], bounds[1])
      let range = KeyRange(lower: bounds[0], upper: bounds[1])
      model.state = model.state.filter { row in !row.key.withUnsafeBytes { range.contains($0) } }
    case 12: model.marks.append((transaction.savepoint(), model.state))
    case 13:
      guard !model.marks.isEmpty else { return }
      model.marks.removeLast(random.below(model.marks.count))
      transaction.rollback(to: model.marks.last!.0)
      model.state = model.marks.last!.1
    case 14:
      guard !model.marks.isEmpty else { return }
      transaction.release(model.marks.removeLast().0)
    case 15..<17:
      let key = key(&random, spread)
      try #require(try transaction.get(key) == model.state[key])
    default:
      var range = KeyRange(lower: random.oneIn(4) ? [] : key(&random, spread))
      if !random.oneIn(4) { range.upper = key(&random, spread) }
      try compare(transaction, model, range, reverse: random.oneIn(2), seeks: random.below(4), &random, spread)
    }
  }

  /// Compares what a cursor shows with the model as it was when the cursor was opened; writes in between.
  static func compare(
    _ transaction: Transaction, _ model: Model, _ range: KeyRange, reverse: Bool, seeks: Int,
    _ random: inout SeededRandomness, _ spread: Int
  ) throws {
    var expected = model.rows(range, reverse: reverse)[...]
    let cursor = try transaction.cursor(range, reverse: reverse)
    defer { cursor.close() }
    var trace = ["\(range) reverse \(reverse): \(expected.map { $0.0 })"]
    for _ in 0..<seeks {
      for _ in 0..<random.below(4) {
        let has = try cursor.next()
        try #require(has == !expected.isEmpty)
        guard has else { return }
        let row = expected.removeFirst()
        trace.append("next \(Array(cursor.key))")
        try #require(Array(cursor.key) == row.0 && Array(cursor.value) == row.1, "\(trace)")
      }
      let target = key(&random, spread)
      trace.append("seek \(target)")
      try target.withUnsafeBytes { try cursor.seek(to: $0) }
      expected = expected.drop {
        reverse ? target.lexicographicallyPrecedes($0.0) : $0.0.lexicographicallyPrecedes(target)
      }
    }
    let row = RowBatch()
    while seeks == 0, case let count = try cursor.nextRows(into: row, withKeys: true), count > 0 {
      for index in 0..<count {
        try #require(!expected.isEmpty, "\(trace)")
        let wanted = expected.removeFirst()
        try #require(Array(row.key(index)) == wanted.0 && Array(row.value(index)) == wanted.1, "\(trace)")
      }
    }
    while try cursor.next() {
      trace.append("next \(Array(cursor.key))")
      try #require(!expected.isEmpty, "\(trace)")
      let row = expected.removeFirst()
      try #require(Array(cursor.key) == row.0 && Array(cursor.value) == row.1, "\(trace)")
    }
    try #require(expected.isEmpty)
  }

  /// Keys of two spaces in turn, the second in no order: whole leaves, leaves that are split, and equal keys.
  @Test(arguments: [1, 3, 1000])
  func rowsAndTheirEntries(spread: Int) throws {
    var random = SeededRandomness(seed: UInt64(spread))
    let database = try TestDatabase(memtableSizeBytes: 64 << 20)
    let transaction = try database.begin(.readCommitted)
    var expected: [[UInt8]: [UInt8]] = [:]
    for number in 0..<6000 {
      let row: [UInt8] = [3, 0, 0, 0, 7, UInt8(number >> 8), UInt8(truncatingIfNeeded: number)]
      try transaction.put(row, [1])
      expected[row] = [1]
      let value = random.below(spread * 50)
      let entry: [UInt8] = [3, 0, 0, 0, 9, UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
      let told: [UInt8] = random.oneIn(2) ? [2] : []
      try transaction.putUnshared(entry, told)
      expected[entry] = told
      if number % 1999 == 0 { try #require(try transaction.get(entry) == told) }
    }
    try transaction.commit()
    let reader = try database.begin()
    let model = Model(state: expected)
    try Self.compare(reader, model, .all, reverse: false, seeks: 0, &random, 5)
    reader.rollback()
    database.expectEmpty()
  }

  /// A batch of several MiB is made while its values are given back, chunk by chunk: whatever their order, with values that
  /// were overwritten, that are empty, and that have a chunk of their own.
  @Test(arguments: [(UInt64(9), true), (10, false)])
  func valuesAreGivenBackAsTheyAreEncoded(seed: UInt64, isUnshared: Bool) throws {
    var random = SeededRandomness(seed: seed)
    let database = try TestDatabase(memtableSizeBytes: 64 << 20)
    let transaction = try database.begin()
    func key(_ number: Int) -> [UInt8] {
      [1, 2, 3, 4, 5] + (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) }
    }
    // One lock from the lock table, whose node refers to the transaction's memory.
    try transaction.put([0], [7])
    var expected: [Int: [UInt8]] = [:]
    for step in 0..<40_000 {
      // Half of them ascend, as a load's do.
      let number = step < 20_000 ? step : random.below(40_000)
      let size = step % 10_000 == 77 ? 3 << 20 : step % 97 == 0 ? 0 : 300
      let value = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: size)
      expected[number] = value
      if isUnshared { try transaction.putUnshared(key(number), value) } else { try transaction.put(key(number), value) }
    }
    for number in stride(from: 0, to: 40_000, by: 7) {
      expected[number] = nil
      try transaction.delete(key(number))
    }
    try transaction.commit()
    let reader = try database.begin()
    #expect(try reader.get([0]) == [7])
    var wrong = 0
    for number in 0..<40_000 where try reader.get(key(number)) != expected[number] { wrong += 1 }
    #expect(wrong == 0, "seed \(seed)")
    // Its locks are given back.
    try reader.put([0], [8])
    try reader.put(key(7), [8])
    try reader.commit()
  }

  @Test func aTransactionThatIsTooLargeFailsBeforeItsCommit() throws {
    var options = TransactionManagerOptions()
    options.transactionSizeBytes = 1 << 20
    let database = try TestDatabase(options: options)
    let transaction = try database.begin(.readCommitted)
    #expect(throws: TransactionError.self) {
      for number in 0..<100_000 { try transaction.put([3, UInt8(number >> 8 & 255), UInt8(number & 255)], [1]) }
      for number in 0..<100_000 {
        try transaction.putUnshared([4, UInt8(number >> 16), UInt8(number >> 8 & 255), UInt8(number & 255), 0], [1])
      }
    }
    transaction.rollback()
    database.expectEmpty()
  }

  /// Values of a large transaction lie apart from its keys, and count all the same.
  @Test func theValuesOfATransactionAreBounded() throws {
    var options = TransactionManagerOptions()
    options.transactionSizeBytes = 4 << 20
    let database = try TestDatabase(options: options)
    let transaction = try database.begin(.readCommitted)
    let value = [UInt8](repeating: 7, count: 64 << 10)
    var taken = 0
    #expect(throws: TransactionError.self) {
      for _ in 0..<200 {
        try transaction.put([3, 1], value)
        taken += 1
      }
    }
    #expect((32..<128).contains(taken))
    transaction.rollback()
    database.expectEmpty()
  }

  @Test func aMillionRowsInOneTransaction() throws {
    #if DEBUG
      let count = 30_000
    #else
      let count = 1_000_000
    #endif
    let database = try TestDatabase(memtableSizeBytes: 256 << 20)
    let transaction = try database.begin(.serializable)
    func key(_ number: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }
    for number in 0..<count { try transaction.put(key((number &* 7919) % count), [1, 2, 3]) }
    #expect(try transaction.get(key(count - 1)) == [1, 2, 3])
    try transaction.commit()
    let reader = try database.begin()
    let cursor = try reader.cursor(.all)
    var seen = 0
    while try cursor.next() { seen += 1 }
    cursor.close()
    #expect(seen == count)
    reader.rollback()
    database.expectEmpty()
  }

  /// `isUnchanged` never says that a key is what it was when a commit in between wrote it, and says so where none did.
  @Test func unchangedKeysAreKnown() throws {
    var random = SeededRandomness(seed: 9)
    let database = try TestDatabase(memtableSizeBytes: 4096)
    let keys = (0..<6).map { [UInt8(2), UInt8($0)] }
    var lastWrite = [Version](repeating: .zero, count: keys.count)
    for round in 0..<300 {
      let writer = try database.begin()
      let index = random.below(keys.count)
      if random.oneIn(3) {
        try writer.deleteRange(keys[index], keys[index] + [0])
      } else {
        try writer.put(keys[index], [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: 50))
      }
      lastWrite[index] = try #require(try writer.commit())
      if random.oneIn(10) { try database.engine.flush() }
      let reader = try database.begin(random.oneIn(2) ? .repeatableRead : .serializable)
      let snapshot = try reader.snapshot
      for (index, key) in keys.enumerated() {
        let since = Version(snapshot.rawValue - UInt64(random.below(min(20, Int(snapshot.rawValue) + 1))))
        #expect(try reader.isUnchanged(key, since: since) == (lastWrite[index] <= since), "round \(round)")
      }
      try reader.put(keys[0], [1])
      #expect(try !reader.isUnchanged(keys[0], since: snapshot))
      reader.rollback()
    }
    database.expectEmpty()
  }
}
