package import Encoding

// All tables at one moment, in the order in which a search must look:
//
//   level 0     as flushed; the tables of different flushes may overlap. Sorted into sublevels, each a run: a table's
//               sublevel is one above the highest that it overlaps among the older ones (Pebble's scheme), so that many
//               flushes of different keys cost one run.
//   level 1 …   one run each, about ten times the size of the one before
//
// 1. For any key, everything in an earlier run is newer than everything in a later one, range deletions included.
// 2. A set never changes; installing tables makes a new one that shares the runs it can.

/// An immutable set of levels. Whoever holds it keeps its tables' files.
///
/// `@unchecked Sendable`: everything is written by the initialiser and only read from then on.
@safe
package final class TableSet: @unchecked Sendable {
  package static let levelCount = 7

  /// The tables of each level; level 0 oldest first, the others by key.
  package let levels: [[Table]]
  /// The runs of level 0, newest first.
  package let sublevels: [TableRun]
  /// What a search looks at, in its order: the sublevels, then each level that is not empty.
  package let runs: [TableRun]
  /// The newest version in any table: nothing newer need be looked for.
  package let maximumVersion: Version
  /// What older snapshots show may be missing: the set took the place of others when a checkpoint was installed.
  package let readFloor: Version
  let cache: BlockCache
  private let gate: ReadGate
  /// The runs again, reachable without touching their reference counts.
  private let references: UnsafeMutablePointer<Unmanaged<TableRun>>
  private let runCount: Int

  /// - Parameter levels: level 0 in any order, the others in any order but without overlap.
  package init(levels: [[Table]], cache: BlockCache, reusing old: TableSet? = nil, readFloor: Version = .zero) {
    precondition(levels.count == Self.levelCount)
    self.readFloor = max(readFloor, old?.readFloor ?? .zero)
    var sorted = levels
    sorted[0].sort { ($0.metadata.sequence, $0.number) < ($1.metadata.sequence, $1.number) }
    for level in 1..<Self.levelCount {
      sorted[level].sort { compareKeyArrays($0.metadata.lower, $1.metadata.lower) < 0 }
    }
    self.levels = sorted
    self.cache = cache
    unsafe gate = unsafe cache.epochs.gate
    let known = old?.runs ?? []
    func run(_ tables: [Table]) -> TableRun {
      known.first { $0.tables.elementsEqual(tables, by: ===) } ?? TableRun(tables)
    }
    sublevels = Self.sublevels(of: sorted[0]).reversed().map(run)
    runs = sublevels + sorted[1...].filter { !$0.isEmpty }.map(run)
    maximumVersion = runs.map(\.maximumVersion).max() ?? .zero
    runCount = runs.count
    unsafe references = .allocate(capacity: runs.count)
    for (index, run) in runs.enumerated() {
      unsafe (references + index).initialize(to: Unmanaged.passUnretained(run))
    }
  }

  deinit { unsafe references.deallocate() }

  /// Sorts tables, oldest first, into sublevels, lowest (oldest) first. O(n²) for the few tables of level 0.
  private static func sublevels(of tables: [Table]) -> [[Table]] {
    var result: [[Table]] = []
    for table in tables {
      let highest = result.lastIndex { $0.contains { $0.metadata.overlaps(table.metadata) } }
      let place = highest.map { $0 + 1 } ?? 0
      if place == result.count { result.append([]) }
      result[place].append(table)
    }
    return result.map { $0.sorted { compareKeyArrays($0.metadata.lower, $1.metadata.lower) < 0 } }
  }

  package var isEmpty: Bool { runs.isEmpty }

  /// The newest of what was written to `key` at or below `version`: an entry, or `.delete` at the version of a range
  /// deletion. A value is kept by `pin`.
  ///
  /// - Parameter floor: only what is newer matters; anything else may be reported absent. Skips tables and blocks.
  @inline(__always)
  package func find(
    _ key: UnsafeRawBufferPointer, at version: Version, floor: Version = .zero, _ pin: inout BlockPin
  ) throws(StorageError) -> TableLookup {
    guard maximumVersion.rawValue > floor.rawValue, unsafe !key.isEmpty else { return unsafe .absent }
    if version.rawValue < readFloor.rawValue { throw tooOld(version) }
    let hash = unsafe xxh3(key)
    let token = unsafe gate.enter()
    defer { unsafe gate.leave(token) }
    for index in 0..<runCount {
      let (entry, deletion) = unsafe try references[index].find(
        key, hash, version, floor.rawValue, isExpected: index == runCount - 1, &pin)
      if unsafe entry.outcome != .absent {
        if unsafe entry.version.rawValue >= deletion { return unsafe entry }
        return unsafe .deleted(Version(deletion))
      }
      // Everything further down is older than the deletion.
      if deletion > 0 { return unsafe .deleted(Version(deletion)) }
    }
    return unsafe .absent
  }

  @inline(never)
  func tooOld(_ version: Version) -> StorageError { .snapshotTooOld(requested: version, oldest: readFloor) }

  /// The newest version after `floor` that put or deleted `key`, or nil. One comparison where no table has any.
  package func newestVersion(
    of key: UnsafeRawBufferPointer, after floor: Version, _ pin: inout BlockPin
  ) throws(StorageError) -> Version? {
    guard maximumVersion > floor else { return nil }
    let found = unsafe try find(key, at: .latest, floor: floor, &pin)
    return unsafe found.outcome != .absent && found.version > floor ? found.version : nil
  }

  /// Range deletions of tables that reach into `range`.
  package func rangeDeletions(in range: KeyRange = .all) -> [RangeDeletions] {
    var result: [RangeDeletions] = []
    for run in runs where run.hasRangeDeletions {
      for table in run.tables
      where !table.rangeDeletions.isEmpty
        && table.metadata.overlaps(range.lower, range.upper, highIsExclusive: range.upper != nil)
      {
        result.append(table.rangeDeletions)
      }
    }
    return result
  }

  /// A cursor for each run, newest first, with a bound of the versions in it. Entries only; see `rangeDeletions(in:)`.
  ///
  /// - Parameters:
  ///   - minimumVersion: blocks and runs with nothing that new are passed over.
  ///   - maximumVersion: blocks and runs with nothing that old are passed over.
  package func makeCursors(
    minimumVersion: Version = .zero, maximumVersion: Version = Version(UInt64.max), fillsCache: Bool = true
  ) -> [(cursor: LevelCursor, newestVersion: Version)] {
    runs.filter { $0.maximumVersion >= minimumVersion && $0.minimumVersion <= maximumVersion }.map { run in
      (
        LevelCursor(run, minimumVersion: minimumVersion, maximumVersion: maximumVersion, fillsCache: fillsCache),
        run.maximumVersion
      )
    }
  }
}

extension Unmanaged<TableRun> {
  /// `TableRun.find` without touching the run's reference count.
  @inline(__always)
  fileprivate func find(
    _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ version: Version, _ floor: UInt64, isExpected: Bool,
    _ pin: inout BlockPin
  ) throws(StorageError) -> (entry: TableLookup, deletion: UInt64) {
    let result = unsafe _withUnsafeGuaranteedRef { run in
      unsafe Result { () throws(StorageError) -> (entry: TableLookup, deletion: UInt64) in
        unsafe try run.find(key, hash: hash, version, floor: floor, isExpected: isExpected, &pin)
      }
    }
    return unsafe try result.get()
  }
}
