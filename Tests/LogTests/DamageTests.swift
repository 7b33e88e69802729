import Encoding
import Log
import Platform
import Simulation
import Testing

/// Damage at rest: every byte of every file, and the difference between damage and an unfinished write.
@Suite struct DamageTests {
  /// A small database with a little of everything, closed in order (or not).
  func sample(isClosed: Bool = true, recycled: Bool = false, mutations: LogMutations = []) throws -> (
    SimulatedDisk, [[UInt8]]
  ) {
    let disk = SimulatedDisk(seed: 7)
    let log = try Log.open(dbPath, disk: disk, options: smallOptions(), mutations: mutations)
    var payloads: [[UInt8]] = []
    var writer = TestWriter(log)
    for number in 0..<(recycled ? 30 : 9) {
      let bytes = [UInt8](repeating: UInt8(number), count: 300 + 11 * number) + [UInt8](repeating: 0, count: number % 3)
      try writer.append([bytes])
      payloads.append(bytes)
      if recycled && number % 4 == 0 { try log.truncate(through: log.state.last.slot) }
    }
    if isClosed { try log.close() } else { try log.seal() }
    return (isClosed ? disk : disk.copy(), payloads)
  }

  /// What a damaged copy yields: refused, or exactly what was there.
  func check(_ disk: SimulatedDisk, _ payloads: [[UInt8]], _ what: String, mutations: LogMutations = []) -> String? {
    let log: Log
    do { log = try Log.open(dbPath, disk: disk, options: smallOptions(), mutations: mutations) } catch { return nil }
    defer { try? log.close() }
    guard log.state.last.slot.rawValue == UInt64(payloads.count) else {
      return "\(what): opened with \(log.state.last.slot.rawValue) of \(payloads.count) records"
    }
    do {
      for (slot, bytes) in try contents(log) where bytes != payloads[Int(slot) - 1] {
        return "\(what): wrong data at slot \(slot)"
      }
    } catch {}
    return nil
  }

  @Test func everyFlippedByteIsDetected() throws {
    let (disk, payloads) = try sample()
    #expect(try LogVerification.verify(dbPath, disk: disk) == [])
    var refused = 0
    for path in disk.paths where !path.hasSuffix("LOCK") {
      let size = disk.bytes(of: path)?.count ?? 0
      for offset in 0..<size {
        // Every byte of the headers and a sample of the rest; of all bytes in a long run.
        guard offset % 4096 < 200 || offset % 211 == 0 || seedCount(0) > 0 else { continue }
        let damaged = disk.copy()
        damaged.flip(path, at: offset, mask: UInt8(1 << (offset % 8)))
        let damage: [LogDamage]
        do { damage = try LogVerification.verify(dbPath, disk: damaged) } catch {
          refused += 1
          continue
        }
        #expect(damage.contains { $0.place.file == path && $0.place.offset <= UInt64(offset) }, "\(path) \(offset)")
        let problem = check(damaged, payloads, "\(path) at \(offset)")
        #expect(problem == nil, "\(problem ?? "")")
      }
    }
    #expect(refused == 0)
  }

  @Test(arguments: [(true, true), (false, true), (false, false)])
  func flippedBytesAreHarmlessOrDetected(isClosed: Bool, isRecycled: Bool) throws {
    let (disk, payloads) = try sample(isClosed: isClosed, recycled: isRecycled)
    #expect(try LogVerification.verify(dbPath, disk: disk) == [])
    for path in disk.paths where !path.hasSuffix("LOCK") {
      for offset in stride(from: 0, to: disk.bytes(of: path)?.count ?? 0, by: 61) {
        let damaged = disk.copy()
        damaged.flip(path, at: offset)
        let problem = check(damaged, payloads, "\(path) at \(offset)")
        #expect(problem == nil, "\(problem ?? "")")
      }
    }
  }

  @Test func wholeSectorsAndBlocksGoneAreDetected() throws {
    let (disk, payloads) = try sample()
    for path in disk.paths where !path.hasSuffix("LOCK") {
      let size = disk.bytes(of: path)?.count ?? 0
      for (length, step) in [(512, 512), (4096, 4096), (8192, 4096)] {
        for offset in stride(from: 0, to: size - length + 1, by: step) {
          let damaged = disk.copy()
          damaged.damage(path, at: offset, with: [UInt8](repeating: 0, count: length))
          let problem = check(damaged, payloads, "\(path) zeroed at \(offset)+\(length)")
          #expect(problem == nil, "\(problem ?? "")")
        }
      }
    }
  }

  @Test func misplacedBlocksAreDetected() throws {
    let (disk, payloads) = try sample()
    let segments = disk.paths.filter { $0.hasSuffix(".log") }
    for from in segments {
      for to in segments {
        let source = disk.bytes(of: from) ?? []
        let target = disk.bytes(of: to) ?? []
        for a in stride(from: 0, to: source.count, by: 4096) {
          for b in stride(from: 0, to: target.count, by: 4096) where source[a..<a + 4096] != target[b..<b + 4096] {
            let damaged = disk.copy()
            damaged.damage(to, at: b, with: Array(source[a..<a + 4096]))
            let problem = check(damaged, payloads, "block \(a) of \(from) over block \(b) of \(to)")
            #expect(problem == nil, "\(problem ?? "")")
          }
        }
      }
    }
  }

  @Test func theMutantThatTruncatesOnDamageIsFound() throws {
    let (disk, payloads) = try sample(isClosed: false)
    let isFound = disk.paths.filter { $0.hasSuffix(".log") }.contains { path in
      stride(from: 4096, to: disk.bytes(of: path)?.count ?? 0, by: 4096).contains { offset in
        let damaged = disk.copy()
        damaged.flip(path, at: offset + 20)
        return check(damaged, payloads, "", mutations: .truncatesOnDamage) != nil
      }
    }
    #expect(isFound)
  }

  /// The error names the file, the offset and both checksums.
  @Test func damageIsNamed() throws {
    let (disk, _) = try sample()
    let path = try #require(disk.paths.first { $0.hasSuffix(".log") })
    disk.flip(path, at: 4096 + 100)
    do throws(LogError) {
      _ = try Log.open(dbPath, disk: disk, options: smallOptions())
      Issue.record("opened")
    } catch {
      guard case .corrupt(let place, _, let expected, let found) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(place == LogPlace(file: path, offset: 4096))
      #expect(expected != found)
    }
  }

  /// A SEAL makes the last frame's damage provable; without it a flipped bit there looks like an unfinished write.
  @Test func onlyTheSealProtectsTheLastFrame() throws {
    let disk = SimulatedDisk(seed: 7)
    let log = try Log.open(dbPath, disk: disk, options: smallOptions())
    var writer = TestWriter(log)
    try writer.append([[1]])
    try writer.append([[2]])
    let path = try #require(disk.paths.first { $0.hasSuffix("1.log") })
    let unsealed = disk.copy()
    unsealed.flip(path, at: 2 * 4096 + 80)
    try withLog(unsealed) { #expect($0.state.last.slot == Slot(1)) }
    try log.seal()
    let sealed = disk.copy()
    sealed.flip(path, at: 2 * 4096 + 80)
    #expect(throws: LogError.self) { try withLog(sealed) { _ in } }
    try log.close()
  }

  @Test func aTornTailIsCutAndWritingGoesOn() throws {
    let disk = SimulatedDisk(seed: 7)
    let log = try Log.open(dbPath, disk: disk, options: smallOptions())
    var writer = TestWriter(log)
    try writer.append([[1]])
    let noise = (0..<9000).map { UInt8(truncatingIfNeeded: $0 &* 97 &+ $0 / 256) }
    for seed in 0..<200 as Range<UInt64> {
      let copy = disk.copy()
      try withLog(copy) { log in
        var writer = TestWriter(log)
        copy.crash(atOperation: copy.operationCount)
        #expect(throws: LogError.self) { try writer.append([noise]) }
      }
      let after = copy.survivor(seed: seed)
      try withLog(after) { log in
        let last = log.state.last.slot.rawValue
        #expect(last == 1 || last == 2)
        var writer = TestWriter(log)
        try writer.append([[3]])
      }
      try withLog(after) { log in
        let found = try contents(log)
        #expect(found[log.state.last.slot.rawValue] == [3], "seed \(seed)")
      }
      #expect(try LogVerification.verify(dbPath, disk: after) == [], "seed \(seed)")
    }
    try log.close()
  }

  /// Random bytes in place of a segment never trap, and never become a log.
  @Test func randomBytesAreNeverALog() throws {
    let (disk, payloads) = try sample()
    let paths = disk.paths.filter { $0.hasSuffix(".log") || $0.hasSuffix("superblock") }
    for seed in 0..<400 as Range<UInt64> {
      var randomness = SeededRandomness(seed: seed)
      let damaged = disk.copy()
      let path = paths[randomness.below(paths.count)]
      let size = damaged.bytes(of: path)?.count ?? 0
      let start = randomness.below(size)
      let count = 1 + randomness.below(min(9000, size - start))
      damaged.damage(path, at: start, with: (0..<count).map { _ in UInt8(truncatingIfNeeded: randomness.next()) })
      _ = try? LogVerification.verify(dbPath, disk: damaged)
      let problem = check(damaged, payloads, "seed \(seed): \(count) random bytes in \(path) at \(start)")
      #expect(problem == nil, "\(problem ?? "")")
    }
  }

  /// Lies with valid checksums: lengths and counts are bounded before memory is taken.
  @Test func hostileFramesAreRefused() throws {
    let (disk, _) = try sample()
    let path = try #require(disk.paths.first { $0.hasSuffix("1.log") })
    let original = try #require(disk.bytes(of: path))
    for seed in 0..<600 as Range<UInt64> {
      var randomness = SeededRandomness(seed: seed)
      var frame = Array(original[4096..<8192])
      let field = [32, 36, 64 + 4, 64 + 6, 64 + 36, 64 + 72, 64 + 76, 64 + 8, 64 + 40][randomness.below(9)]
      for index in 0..<1 + randomness.below(4) { frame[field + index] = UInt8(truncatingIfNeeded: randomness.next()) }
      func patch(_ word: UInt32, _ at: Int) {
        for index in 0..<4 { frame[at + index] = UInt8(truncatingIfNeeded: word >> (8 * UInt32(index))) }
      }
      patch(crc32c(Array(frame[64..<64 + 124])), 64 + 124)
      patch(crc32c(Array(frame[8...])), 4)
      let damaged = disk.copy()
      damaged.damage(path, at: 4096, with: frame)
      do {
        try withLog(damaged) { _ = try contents($0) }
        // Only a change that changes nothing is let through.
        #expect(frame == Array(original[4096..<8192]), "seed \(seed), field \(field)")
      } catch {}
      _ = try? LogVerification.verify(dbPath, disk: damaged)
    }
  }
}
