import Encoding
import Platform
import Storage
import Testing

/// Memory that goes from one memtable to the next.
@Suite struct ArenaReserveTests {
  private func contents(_ memtable: Memtable) -> [MemtableTests.Entry] {
    let cursor = MemtableCursor(memtable)
    var found: [MemtableTests.Entry] = []
    cursor.seekToFirst()
    while cursor.isValid {
      found.append(MemtableTests.entry(cursor))
      cursor.next()
    }
    return found
  }

  @Test(arguments: MemtableTests.KeyKind.allCases) func usedMemoryIsAsGoodAsNew(_ kind: MemtableTests.KeyKind) {
    let seed: UInt64 = 31
    var random = SeededRandomness(seed: seed)
    let reserve = ArenaReserve()
    for round in 0..<4 {
      let memtable = Memtable(sizeBytes: 1 << 20, reserve: reserve)
      #expect(reserve.sizeBytes == 0, "what one left is what the next takes")
      #expect(memtable.isEmpty && memtable.count == 0 && contents(memtable).isEmpty, "seed \(seed), round \(round)")
      let entries = MemtableTests.makeEntries(kind, 4000 - 700 * round, &random)
      for entry in entries { MemtableTests.insert(entry, memtable) }
      #expect(contents(memtable) == entries.sorted(by: <), "seed \(seed), round \(round)")
      #expect(memtable.oldestVersion == Version(1))
    }
    #expect(reserve.sizeBytes > 1 << 20 && reserve.takenCount == 4)
  }

  @Test func aReaderKeepsItsMemory() {
    let reserve = ArenaReserve()
    let memtable = Memtable(sizeBytes: 1 << 20, reserve: reserve)
    MemtableTests.insert(.init(key: [1], version: 1, value: [7]), memtable)
    let next = Memtable(sizeBytes: 1 << 20, reserve: reserve)
    MemtableTests.insert(.init(key: [2], version: 2, value: [8]), next)
    #expect(contents(memtable).map(\.key) == [[1]])
    #expect(contents(next).map(\.key) == [[2]])
  }

  @Test func keepsWhatAFewNeedAndNothingOnceClosed() {
    let reserve = ArenaReserve()
    withExtendedLifetime(Memtable(sizeBytes: 1 << 16, reserve: reserve)) {}
    let one = reserve.sizeBytes
    #expect(one > 1 << 16)
    var memtables = (0..<5).map { _ in Memtable(sizeBytes: 1 << 16, reserve: reserve) }
    let other = Memtable(sizeBytes: 1 << 18, reserve: reserve)
    #expect(memtables.allSatisfy(\.isEmpty) && reserve.sizeBytes == 0)
    memtables = []
    #expect(reserve.sizeBytes == 2 * one)
    withExtendedLifetime(other) {}
    reserve.trim()
    #expect(reserve.sizeBytes == 0)
    memtables = [Memtable(sizeBytes: 1 << 16, reserve: reserve)]
    reserve.close()
    memtables = []
    #expect(reserve.sizeBytes == 0)
  }

  @Test func whatABulkLoadNeedsIsNotKept() {
    let reserve = ArenaReserve()
    withExtendedLifetime(Memtable(sizeBytes: 1 << 16, groupSizeBytes: 8 << 20, reserve: reserve)) {}
    #expect(reserve.sizeBytes == 0)
    withExtendedLifetime(Memtable(sizeBytes: 1 << 16, groupSizeBytes: 1 << 10, reserve: reserve)) {}
    #expect(reserve.sizeBytes > 0)
  }

  @Test func memoryIsFoundAheadOfTheWriter() {
    let reserve = ArenaReserve()
    let memtable = Memtable(sizeBytes: 32 << 20, reserve: reserve)
    #expect(!memtable.needsMemory, "a memtable with next to nothing in it takes nothing in advance")
    memtable.prepareNext(in: reserve)
    #expect(reserve.sizeBytes == 0)
    var version: UInt64 = 0
    func fill(_ sizeBytes: Int) -> [MemtableTests.Entry] {
      let entries = (0..<sizeBytes >> 12).map { _ in
        version += 1
        return MemtableTests.Entry(
          key: withUnsafeBytes(of: version.bigEndian, Array.init), version: version,
          value: Array(repeating: UInt8(version & 255), count: 4096))
      }
      for entry in entries { MemtableTests.insert(entry, memtable) }
      return entries
    }
    var entries = fill(1 << 20)
    #expect(memtable.needsMemory)
    memtable.prepareMemory()
    #expect(!memtable.needsMemory)
    entries += fill(4 << 20)
    #expect(memtable.needsMemory)
    memtable.prepareMemory()
    #expect(!memtable.needsMemory && contents(memtable) == entries, "finding memory changes nothing")
    memtable.prepareNext(in: reserve)
    #expect(reserve.sizeBytes >= 32 << 20)
    let next = Memtable(sizeBytes: 32 << 20, reserve: reserve)
    #expect(next.isEmpty && reserve.sizeBytes == 0)
  }
}
