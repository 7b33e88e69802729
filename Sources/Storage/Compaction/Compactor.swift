internal import Encoding
internal import Platform
internal import Synchronization

/// What compactions did since the store was opened.
package struct CompactionStatistics: Hashable, Sendable {
  package var merges = 0
  package var moves = 0
  package var drops = 0
  package var readSizeBytes: UInt64 = 0
  package var writtenSizeBytes: UInt64 = 0
  /// Entries that went.
  package var droppedEntries: UInt64 = 0
  /// Why the last attempt failed, until one succeeds.
  package var lastError: StorageError?
}

extension TableStore {
  /// Carries out the most useful compaction; false where there is none. Compactions run one at a time.
  ///
  /// After an error nothing has changed: outputs are removed, inputs kept.
  package func compactOnce() throws(StorageError) -> Bool {
    try compaction.run { () throws(StorageError) in
      let set = current
      let horizon = options.horizon()
      guard let plan = picker(set, horizon).pick() else { return false }
      try carryOut(plan, set, horizon)
      return true
    }
  }

  /// Merges all tables into the last level, dropping everything that no snapshot at or above the horizon sees.
  package func compactAll() throws(StorageError) {
    try compaction.run { () throws(StorageError) in
      let set = current
      let horizon = options.horizon()
      let last = TableSet.levelCount - 1
      let isSettled = set.levels[..<last].allSatisfy(\.isEmpty)
      let tables = set.levels.map { $0.map(\.metadata) }
      if isSettled && tables[last].allSatisfy({ $0.garbageCount == 0 }) { return }
      let inputs = Dictionary(uniqueKeysWithValues: tables.enumerated().map { ($0.offset, $0.element) })
      try carryOut(CompactionPlan(kind: .merge, inputs: inputs, outputLevel: last), set, horizon)
    }
  }

  func picker(_ set: TableSet, _ horizon: Version) -> CompactionPicker {
    var deletions: [PlacedDeletion] = []
    for (level, tables) in set.levels.enumerated() {
      for table in tables where table.hasRangeDeletions && horizon > .zero {
        deletions += Self.deletions(of: table, level, horizon)
      }
    }
    return CompactionPicker(
      options: options.compaction, tableSizeBytes: UInt64(options.table.tableSizeBytes),
      levels: set.levels.map { $0.map(\.metadata) }, sublevelCount: set.sublevels.count, horizon: horizon,
      deletions: deletions)
  }

  /// The table's range deletions at or below the horizon; neighbours that touch are one, at the older version.
  private static func deletions(of table: Table, _ level: Int, _ horizon: Version) -> [PlacedDeletion] {
    var result: [PlacedDeletion] = []
    for index in 0..<table.rangeDeletions.count {
      let fragment = unsafe table.rangeDeletions[index]
      let version = unsafe fragment.newestVersion(atMost: horizon)
      guard version > .zero else { continue }
      let (start, end) = unsafe (Array(fragment.start), Array(fragment.end))
      if let last = result.last, last.end == start {
        result[result.count - 1].end = end
        result[result.count - 1].version = min(last.version, version)
      } else {
        result.append(
          PlacedDeletion(level: level, sequence: table.metadata.sequence, start: start, end: end, version: version))
      }
    }
    return result
  }

  // MARK: Carrying out

  private func carryOut(_ plan: CompactionPlan, _ set: TableSet, _ horizon: Version) throws(StorageError) {
    var edit = ManifestEdit()
    for (level, tables) in plan.inputs.sorted(by: { $0.key < $1.key }) {
      edit.removed += tables.map { ManifestEdit.Removal(level: level, number: $0.number) }
    }
    var change = CompactionStatistics()
    switch plan.kind {
    case .drop:
      change.drops = 1
      edit.garbageFloor = horizon
    case .move:
      change.moves = 1
      edit.added = plan.inputs.values.joined().map { ManifestEdit.Addition(level: plan.outputLevel, table: $0) }
    case .merge:
      change.merges = 1
      let outputs = try merge(plan, set, horizon, &change)
      // What is gone must be known after a restart.
      edit.garbageFloor = horizon
      edit.added = outputs.map { ManifestEdit.Addition(level: plan.outputLevel, table: $0) }
    }
    try install(edit)
    compaction.note(change)
  }

  /// Merges the plan's inputs and returns the new tables, synced but not installed.
  private func merge(
    _ plan: CompactionPlan, _ set: TableSet, _ horizon: Version, _ change: inout CompactionStatistics
  ) throws(StorageError) -> [TableMetadata] {
    let inputs = tables(of: plan, in: set)
    var builder = RangeDeletionBuilder()
    for table in inputs.joined() { builder.add(table.rangeDeletions) }
    let deletions = builder.build()
    let deeper = set.levels[(plan.outputLevel + 1)...].map { $0.map(\.metadata) }
    var filter = GarbageFilter(horizon: horizon, deeper: deeper, deletions: deletions, mutation: options.mutation)
    var limits = TableOutput.Limits()
    if let below = deeper.first {
      limits.below = below
      limits.overlapSizeBytes = options.compaction.overlapTables * UInt64(options.table.tableSizeBytes)
    }
    let output = makeOutput(deletions: filter.surviving(deletions), limits: limits)
    do throws(StorageError) {
      try pour(inputs, into: output, &filter, &change)
      let tables = try output.finish()
      change.readSizeBytes = plan.inputSizeBytes
      change.writtenSizeBytes = output.writtenSizeBytes
      return tables
    } catch {
      output.abandon()
      throw error
    }
  }

  /// The open tables of the plan, as runs, newest first.
  private func tables(of plan: CompactionPlan, in set: TableSet) -> [[Table]] {
    var runs: [[Table]] = []
    for (level, metadata) in plan.inputs.sorted(by: { $0.key < $1.key }) {
      let numbers = Set(metadata.map(\.number))
      let tables = set.levels[level].filter { numbers.contains($0.number) }
      precondition(tables.count == metadata.count, "a compaction's input is not in its level")
      if level == 0 { runs += tables.reversed().map { [$0] } } else { runs.append(tables) }
    }
    return runs
  }

  private func pour(
    _ inputs: [[Table]], into output: TableOutput, _ filter: inout GarbageFilter, _ change: inout CompactionStatistics
  ) throws(StorageError) {
    let cursor = MergingCursor(
      inputs.map { tables in
        let run = TableRun(tables)
        return (cursor: LevelCursor(run, fillsCache: false), newestVersion: run.maximumVersion)
      })
    try cursor.seekToFirst()
    var count: UInt64 = 0
    while cursor.isValid {
      if unsafe filter.keeps(cursor.key, cursor.version, cursor.kind) {
        unsafe try output.add(cursor.key, cursor.version, cursor.kind, cursor.value)
      } else {
        change.droppedEntries += 1
      }
      try cursor.next()
      count += 1
      if count & 1023 == 0 && compaction.isStopping { throw .closed }
    }
  }

  // MARK: Status

  /// What compactions did, and why the last one failed if it did.
  package var compactionStatistics: CompactionStatistics { compaction.statistics }

  /// Bytes that compactions have yet to write: what the pacing of writes goes by. One load.
  package var compactionDebtSizeBytes: UInt64 { debtSizeBytes.load(ordering: .relaxed) }
}
