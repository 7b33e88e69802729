import Encoding
import Foundation
import Platform
import Storage
import Synchronization
import Testing

/// Runs each body on a thread of its own and returns when all have.
func runThreads(_ bodies: [@Sendable () -> Void]) {
  let finished = DispatchGroup()
  for body in bodies {
    finished.enter()
    Thread {
      body()
      finished.leave()
    }.start()
  }
  finished.wait()
}

/// One writer, three readers. Run with `--sanitize=thread` as well: the tree's races are all atomic.
@Suite struct MemtableStressTests {
  /// Every key is written several times over; `published` says up to which version.
  @Test(arguments: [true, false]) func readersSeeEverythingPublished(_ isRandom: Bool) {
    let count = 30_000
    let memtable = Memtable(sizeBytes: 16 << 20)
    let published = Atomic<UInt64>(0)
    let failures = Atomic<Int>(0)
    let isDone = Atomic<Bool>(false)
    // The key of version v; each of a third as many keys comes about three times.
    let keys = (0..<count).map { index -> [UInt8] in
      let number = isRandom ? UInt64(index % (count / 3)) &* 0x9E37_79B9_7F4A_7C15 : UInt64(index / 3)
      return [9, 9, 9, 9, 9, 9] + withUnsafeBytes(of: number.bigEndian, Array.init)
    }
    let writer: @Sendable () -> Void = {
      for index in 0..<count {
        keys[index].withUnsafeBytes { key in
          withUnsafeBytes(of: UInt64(index + 1)) { memtable.insert(key, Version(UInt64(index + 1)), .put, $0) }
        }
        published.store(UInt64(index + 1), ordering: .releasing)
      }
      isDone.store(true, ordering: .releasing)
    }
    let readers = (0..<3).map { reader -> @Sendable () -> Void in
      {
        var random = SeededRandomness(seed: UInt64(reader))
        let cursor = MemtableCursor(memtable)
        while !isDone.load(ordering: .acquiring) {
          let snapshot = published.load(ordering: .acquiring)
          guard snapshot > 0 else { continue }
          let isRight =
            reader == 2
            ? Self.scans(cursor, snapshot, forward: random.oneIn(2))
            : Self.finds(cursor, keys, random.below(Int(snapshot)) + 1)
          if !isRight { failures.add(1, ordering: .relaxed) }
        }
      }
    }
    runThreads([writer] + readers)
    #expect(failures.load(ordering: .relaxed) == 0)
    #expect(Self.scans(MemtableCursor(memtable), UInt64(count), forward: true))
  }

  /// The root is split once in the life of each of many memtables, while readers ask for the keys that move to its new
  /// neighbour: a reader that took the old root for the whole tree would miss them.
  @Test func aSplitRootIsNotTheWholeTree() {
    let rounds = 200
    let memtables = (0..<rounds).map { _ in Memtable(sizeBytes: 1 << 14) }
    for memtable in memtables { for number in 0..<63 { Self.insert(2 * number, memtable) } }
    let round = Atomic<Int>(0)
    let waiting = Atomic<Int>(0)
    let failures = Atomic<Int>(0)
    let writer: @Sendable () -> Void = {
      for (index, memtable) in memtables.enumerated() {
        waiting.store(0, ordering: .releasing)
        round.store(index, ordering: .releasing)
        while waiting.load(ordering: .acquiring) < 2 { sched_yield() }
        for number in 0..<5 { Self.insert(2 * number + 1, memtable) }
      }
      round.store(rounds, ordering: .releasing)
    }
    let reader: @Sendable () -> Void = {
      while true {
        let current = round.load(ordering: .acquiring)
        guard current < rounds else { return }
        let cursor = MemtableCursor(memtables[current])
        for _ in 0..<20 {
          withUnsafeBytes(of: UInt64(124).bigEndian) { key in
            cursor.seek(key, .latest)
            if !(cursor.isValid && key.elementsEqual(cursor.key)) { failures.add(1, ordering: .relaxed) }
          }
        }
        waiting.add(1, ordering: .acquiringAndReleasing)
      }
    }
    runThreads([writer, reader, reader])
    #expect(failures.load(ordering: .relaxed) == 0)
  }

  static func insert(_ number: Int, _ memtable: Memtable) {
    withUnsafeBytes(of: UInt64(number).bigEndian) { key in
      memtable.insert(key, Version(UInt64(number + 1)), .put, key)
    }
  }

  static func finds(_ cursor: MemtableCursor, _ keys: [[UInt8]], _ version: Int) -> Bool {
    keys[version - 1].withUnsafeBytes { key in
      cursor.seek(key, Version(UInt64(version)))
      return cursor.isValid && key.elementsEqual(cursor.key) && cursor.version == Version(UInt64(version))
        && cursor.value.loadUnaligned(as: UInt64.self) == UInt64(version)
    }
  }

  /// Whether a walk over everything meets, in order, exactly the versions 1 … snapshot (others may show as well).
  static func scans(_ cursor: MemtableCursor, _ snapshot: UInt64, forward: Bool) -> Bool {
    var seen = 0
    var last: (key: [UInt8], version: Version)?
    if forward { cursor.seekToFirst() } else { cursor.seekToLast() }
    while cursor.isValid {
      if cursor.version.rawValue <= snapshot { seen += 1 }
      if let last {
        let order = last.key == Array(cursor.key) ? 0 : precedes(last.key, Array(cursor.key)) ? -1 : 1
        let isAfter = order < 0 || (order == 0 && last.version > cursor.version)
        if order == 0 && last.version == cursor.version { return false }
        if isAfter != forward { return false }
      }
      last = (Array(cursor.key), cursor.version)
      if forward { cursor.next() } else { cursor.previous() }
    }
    return seen == Int(snapshot)
  }
}
