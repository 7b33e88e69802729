package import Encoding

/// Tables whose keys do not overlap, in key order: a level, or a sublevel of level 0. Immutable.
///
/// `@unchecked Sendable`: everything is written by the initialiser and only read from then on.
@safe
package final class TableRun: @unchecked Sendable {
  package let tables: [Table]
  /// The tables of `tables`, reachable without touching their reference counts.
  private let references: UnsafeMutablePointer<Unmanaged<Table>>
  private let lowers: UnsafeMutablePointer<UnsafeRawBufferPointer>
  private let maximumVersions: UnsafeMutablePointer<UInt64>
  private let minimumVersions: UnsafeMutablePointer<UInt64>
  /// The tables' upper bounds as an index block: the search is that of `BlockView`.
  private let indexBlock: UnsafeMutablePointer<CachedBlock>
  private let index: BlockView
  /// Over all tables.
  package let maximumVersion: Version
  package let minimumVersion: Version
  package let hasRangeDeletions: Bool
  package let sizeBytes: UInt64

  package init(_ tables: [Table]) {
    for (a, b) in zip(tables, tables.dropFirst()) {
      precondition(a.metadata.precedes(b.metadata), "tables of a run overlap")
    }
    self.tables = tables
    count = tables.count
    unsafe references = .allocate(capacity: tables.count)
    unsafe lowers = .allocate(capacity: tables.count)
    unsafe maximumVersions = .allocate(capacity: tables.count)
    unsafe minimumVersions = .allocate(capacity: tables.count)
    var builder = BlockBuilder(restartInterval: 1)
    for (position, table) in tables.enumerated() {
      unsafe (references + position).initialize(to: Unmanaged.passUnretained(table))
      let lower = UnsafeMutableRawBufferPointer.allocate(byteCount: table.metadata.lower.count, alignment: 1)
      unsafe lower.copyBytes(from: table.metadata.lower)
      unsafe (lowers + position).initialize(to: UnsafeRawBufferPointer(lower))
      unsafe (maximumVersions + position).initialize(to: table.metadata.maximumVersion.rawValue)
      unsafe (minimumVersions + position).initialize(to: table.metadata.minimumVersion.rawValue)
      // An exclusive bound comes before every version of its key, an inclusive one after.
      unsafe table.metadata.upper.withUnsafeBytes { upper in
        unsafe builder.add(
          upper, version: table.metadata.upperIsExclusive ? UInt64.max : 0, isDelete: false,
          value: UnsafeRawBufferPointer(start: nil, count: 0))
      }
    }
    var bytes = ByteWriter()
    builder.finish(into: &bytes)
    unsafe indexBlock = unsafe CachedBlock.allocate(table: 0, offset: 0, sizeBytes: bytes.count)
    unsafe UnsafeMutableRawBufferPointer(start: indexBlock.bytes, count: bytes.count).copyBytes(from: bytes.bytes)
    unsafe index = unsafe BlockView(indexBlock.bytes, count: bytes.count)!
    maximumVersion = tables.map(\.metadata.maximumVersion).max() ?? .zero
    minimumVersion = tables.map(\.metadata.minimumVersion).min() ?? .zero
    hasRangeDeletions = tables.contains { !$0.rangeDeletions.isEmpty }
    sizeBytes = tables.reduce(0) { $0 + $1.metadata.sizeBytes }
  }

  deinit {
    for position in 0..<count { unsafe lowers[position].deallocate() }
    unsafe references.deallocate()
    unsafe lowers.deallocate()
    unsafe maximumVersions.deallocate()
    unsafe minimumVersions.deallocate()
    unsafe indexBlock.release()
  }

  package let count: Int

  /// The first table whose upper bound is not before `key`, or `count`. It may begin after `key`. O(log count).
  @inline(__always)
  package func firstIndex(reaching key: UnsafeRawBufferPointer) -> Int {
    // No version is as large as the mark of an exclusive bound.
    unsafe index.restartsBefore(key, UInt64.max - 1)
  }

  /// The newest entry of `key` at or below `version`, and the newest range deletion that covers it. The caller stands in
  /// a section of the cache's epochs. Tables without a version after `floor` are not looked at. `isExpected`: nothing is left
  /// to search after this run.
  @inline(__always)
  func find(
    _ key: UnsafeRawBufferPointer, hash: UInt64, _ version: Version, floor: UInt64, isExpected: Bool,
    _ pin: inout BlockPin
  ) throws(StorageError) -> (entry: TableLookup, deletion: UInt64) {
    let position = unsafe firstIndex(reaching: key)
    guard position < count, unsafe maximumVersions[position] > floor,
      unsafe minimumVersions[position] <= version.rawValue, unsafe compareKeys(lowers[position], key) <= 0
    else { return unsafe (.absent, 0) }
    let result = unsafe references[position]._withUnsafeGuaranteedRef { table in
      unsafe Result { () throws(StorageError) -> (entry: TableLookup, deletion: UInt64) in
        let deletion =
          table.hasRangeDeletions
          ? unsafe table.rangeDeletions.newestVersion(covering: key, atMost: version).rawValue : 0
        return unsafe (try table.find(key, hash: hash, version, floor: floor, isExpected: isExpected, &pin), deletion)
      }
    }
    return unsafe try result.get()
  }
}
