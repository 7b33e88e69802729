package import Encoding
package import Platform

// Cutting a sorted stream of entries into tables.
//
// A table ends before a new user key when it is large enough, or when it overlaps so much of the level below the next that
// merging it later would cost too much. Range deletions are cut at the same keys:
//
//   entries      a  c  e │ g  h │ m            cut before g and before m
//   deletion       [b ───┼──────┼──── p)       becomes [b, g) | [g, m) | [m, p)
//
// 1. All versions of a key come to lie in one table.
// 2. Tables are disjoint, range deletions included, and together delete exactly what the deletions given did.

/// Writes as many tables as it takes.
///
/// One thread. The files' bytes are durable after `finish`, their names are not.
package final class TableOutput {
  /// What limits a table besides its size.
  package struct Limits {
    /// Tables that the next level below holds, in key order, and how many of their bytes a table may overlap.
    package var below: [TableMetadata] = []
    package var overlapSizeBytes = UInt64.max
    package init() {}
  }

  private let disk: any Disk
  private let directory: String
  private let options: TableOptions
  private let limits: Limits
  private let pace: Pace?
  private let nextNumber: () -> UInt64
  private var deletions: [RangeDeletionBuilder.OwnedFragment]
  private var nextDeletion = 0
  private var builder: TableBuilder?
  private var lastKey: [UInt8] = []
  private var hasKey = false
  private var finished: [TableMetadata] = []
  private var paths: [String] = []
  private var nextBelow = 0
  private var overlapSizeBytes: UInt64 = 0
  /// Bytes of finished tables.
  package private(set) var writtenSizeBytes: UInt64 = 0

  /// - Parameters:
  ///   - directory: the folder of tables.
  ///   - deletions: all range deletions of the output.
  ///   - pace: asked after every step of writing.
  ///   - nextNumber: hands out table numbers.
  package init(
    disk: any Disk, directory: String, options: TableOptions, deletions: RangeDeletions = .empty,
    limits: Limits = Limits(), pace: Pace? = nil, nextNumber: @escaping () -> UInt64
  ) {
    self.disk = disk
    self.directory = directory
    self.options = options
    self.limits = limits
    self.pace = pace
    self.nextNumber = nextNumber
    self.deletions = (0..<deletions.count).map { index in
      let fragment = unsafe deletions[index]
      return unsafe .init(start: Array(fragment.start), end: Array(fragment.end), versions: Array(fragment.versions))
    }
  }

  /// Adds an entry; entries come in internal order.
  package func add(
    _ key: UnsafeRawBufferPointer, _ version: Version, _ kind: EntryKind, _ value: UnsafeRawBufferPointer
  ) throws(StorageError) {
    let isNewKey = unsafe !hasKey || lastKey.withUnsafeBytes { unsafe compareKeys($0, key) != 0 }
    if isNewKey {
      if unsafe builder != nil && shouldCut(before: key) { try finishTable(before: unsafe Array(key)) }
      unsafe lastKey.replace(with: key, keeping: 0)
      hasKey = true
    }
    unsafe try openBuilder().add(key, version, kind, value)
  }

  /// Finishes the last table, with the range deletions that are left. The tables, in key order.
  package func finish() throws(StorageError) -> [TableMetadata] {
    if builder != nil || nextDeletion < deletions.count { try finishTable(before: nil) }
    return finished
  }

  /// Removes everything that was written, as far as that is possible.
  package func abandon() {
    builder?.abandon()
    builder = nil
    for path in paths { try? disk.remove(path) }
  }

  private func openBuilder() throws(StorageError) -> TableBuilder {
    if let builder { return builder }
    let number = nextNumber()
    let path = "\(directory)/\(TableFormat.fileName(number))"
    let new = try TableBuilder(disk: disk, path: path, number: number, options: options, pace: pace)
    paths.append(path)
    builder = new
    return new
  }

  private func shouldCut(before key: UnsafeRawBufferPointer) -> Bool {
    let size = builder?.estimatedSizeBytes ?? 0
    if size >= options.tableSizeBytes { return true }
    // Tables below that end before the key are overlapped whole.
    while nextBelow < limits.below.count,
      unsafe limits.below[nextBelow].upper.withUnsafeBytes({ unsafe compareKeys($0, key) < 0 })
    {
      overlapSizeBytes += limits.below[nextBelow].sizeBytes
      nextBelow += 1
    }
    return overlapSizeBytes > limits.overlapSizeBytes
  }

  private func finishTable(before key: [UInt8]?) throws(StorageError) {
    let builder = try openBuilder()
    while nextDeletion < deletions.count {
      let fragment = deletions[nextDeletion]
      guard let key else {
        builder.add(fragment)
        nextDeletion += 1
        continue
      }
      guard compareKeyArrays(fragment.start, key) < 0 else { break }
      if compareKeyArrays(fragment.end, key) <= 0 {
        builder.add(fragment)
        nextDeletion += 1
      } else {
        builder.add(.init(start: fragment.start, end: key, versions: fragment.versions))
        deletions[nextDeletion].start = key
        if options.mutation == .lostRangeDeletionRest { nextDeletion += 1 }
        break
      }
    }
    let table = try builder.finish()
    writtenSizeBytes += table.sizeBytes
    finished.append(table)
    self.builder = nil
    overlapSizeBytes = 0
  }
}
