package import Encoding

// What to compact next: a pure function of the levels' metadata, the horizon and the options.
//
// Levels are aimed at sizes that follow from the largest one (RocksDB's dynamic level bytes): the last level holds what it
// holds, each one above a tenth of the one below, up to the base level, the first whose aim is at most
// `baseLevelSizeBytes`. Level 0 is compacted straight into the base level; the levels between are empty. So the tables of
// a small database lie in level 0 and level 6 alone, and most data always lies in the last level: space amplification
// stays near 1.1.
//
// In this order:
//
//   1. drop     a table that one range deletion above it, at or below the horizon, hides whole: no reading, no writing
//   2. level 0  when it has too many sublevels (or tables): those that overlap nothing older nor the base level are moved,
//               else the oldest are merged into the base level; a prefix in age, so that what stays is newer
//   3. level n  whose size exceeds its aim the most: the table that overlaps the fewest bytes below for its size, moved
//               where it overlaps nothing
//   4. garbage  tables whose garbage can go: at the bottom rewritten in place, above it (when deletions prevail) merged
//               downwards
//
// The cost: with ratio 10, an entry is rewritten about ten times for each level that it passes through, five on average;
// that is what `debtSizeBytes` estimates.

/// A compaction to carry out: which tables go, and in which level their entries end.
package struct CompactionPlan: Hashable, Sendable {
  package enum Kind: Hashable, Sendable {
    /// Merge the inputs into new tables of the output level.
    case merge
    /// The inputs become tables of the output level as they are.
    case move
    /// The inputs hold nothing that any snapshot can see.
    case drop
  }

  package var kind: Kind
  /// The inputs by level; level 0 oldest first.
  package var inputs: [Int: [TableMetadata]]
  package var outputLevel: Int

  package init(kind: Kind, inputs: [Int: [TableMetadata]], outputLevel: Int) {
    self.kind = kind
    self.inputs = inputs.filter { !$0.value.isEmpty }
    self.outputLevel = outputLevel
  }

  package var inputSizeBytes: UInt64 { inputs.values.joined().reduce(0) { $0 + $1.sizeBytes } }
}

/// A range deletion as the picker sees it.
package struct PlacedDeletion: Hashable, Sendable {
  package var level: Int
  /// Of its table.
  package var sequence: UInt64
  package var start: [UInt8]
  /// Exclusive.
  package var end: [UInt8]
  package var version: Version

  package init(level: Int, sequence: UInt64, start: [UInt8], end: [UInt8], version: Version) {
    self.level = level
    self.sequence = sequence
    self.start = start
    self.end = end
    self.version = version
  }
}

/// Chooses compactions.
package struct CompactionPicker: Sendable {
  package var options: CompactionOptions
  /// The size that a table is cut at.
  package var tableSizeBytes: UInt64
  /// The levels: level 0 oldest first, the others by key.
  package var levels: [[TableMetadata]]
  package var sublevelCount: Int
  package var horizon: Version
  /// Range deletions at or below the horizon.
  package var deletions: [PlacedDeletion]

  package init(
    options: CompactionOptions, tableSizeBytes: UInt64, levels: [[TableMetadata]], sublevelCount: Int,
    horizon: Version, deletions: [PlacedDeletion] = []
  ) {
    precondition(levels.count == TableSet.levelCount)
    self.options = options
    self.tableSizeBytes = tableSizeBytes
    self.levels = levels
    self.sublevelCount = sublevelCount
    self.horizon = horizon
    self.deletions = deletions
  }

  private var lastLevel: Int { levels.count - 1 }

  package func size(_ level: Int) -> UInt64 { levels[level].reduce(0) { $0 + $1.sizeBytes } }

  /// The level into which level 0 is compacted, and what each level is aimed at (0 above the base level).
  package var aims: (base: Int, sizeBytes: [UInt64]) {
    var sizes = [UInt64](repeating: 0, count: levels.count)
    let largest = (1...lastLevel).map(size).max() ?? 0
    var level = lastLevel
    var aim = max(largest, 1)
    sizes[level] = aim
    while level > 1 && aim > options.baseLevelSizeBytes {
      level -= 1
      aim = max(aim / options.ratio, 1)
      sizes[level] = aim
    }
    // Tables left above the base level from larger days are drained; level 0 must not pass below them.
    let highest = (1...lastLevel).first { !levels[$0].isEmpty } ?? level
    return (min(level, highest), sizes)
  }

  /// Bytes that compactions would have to write until every level is within its aim: what the pacing of writes goes by.
  package var debtSizeBytes: UInt64 {
    let (base, aims) = aims
    var debt: UInt64 = 0
    let top = size(0)
    if sublevelCount >= options.level0Sublevels || levels[0].count >= options.level0Tables {
      debt += top + min(size(base), top * options.ratio)
    }
    for level in base..<lastLevel {
      let excess = size(level) - min(size(level), aims[level])
      debt += excess * (options.ratio / 2 + 1)
    }
    return debt
  }

  /// The next compaction, or nil where nothing is worth it.
  package func pick() -> CompactionPlan? {
    if let plan = pickDrop() { return plan }
    let (base, aims) = aims
    var best: (level: Int, score: Double)?
    let level0 = max(
      Double(sublevelCount) / Double(options.level0Sublevels), Double(levels[0].count) / Double(options.level0Tables))
    if level0 >= 1 { best = (0, level0) }
    for level in 1..<lastLevel where !levels[level].isEmpty {
      let score = aims[level] == 0 ? Double.infinity : Double(size(level)) / Double(aims[level])
      // Level 0 first where both are due: reads pay for it most.
      if score > 1 && score > (best?.score ?? 1) && (best?.level != 0 || score > 1.5 * level0) { best = (level, score) }
    }
    switch best?.level {
    case 0: return pickLevel0(into: base)
    case let level?: return pickTable(from: level)
    case nil: return pickGarbage()
    }
  }

  // MARK: Dropping

  private func pickDrop() -> CompactionPlan? {
    guard !deletions.isEmpty else { return nil }
    for level in stride(from: lastLevel, through: 0, by: -1) {
      let hidden = levels[level].filter { table in isHidden(table, level) }
      if !hidden.isEmpty { return CompactionPlan(kind: .drop, inputs: [level: hidden], outputLevel: level) }
    }
    return nil
  }

  /// Whether one range deletion above the table hides all of it from every snapshot.
  private func isHidden(_ table: TableMetadata, _ level: Int) -> Bool {
    deletions.contains { deletion in
      guard deletion.version <= horizon, table.maximumVersion < deletion.version,
        deletion.level < level || (level == 0 && deletion.level == 0 && deletion.sequence > table.sequence)
      else { return false }
      let end = compareKeyArrays(table.upper, deletion.end)
      return compareKeyArrays(deletion.start, table.lower) <= 0 && (end < 0 || (end == 0 && table.upperIsExclusive))
    }
  }

  // MARK: Level 0

  private func pickLevel0(into base: Int) -> CompactionPlan? {
    let tables = levels[0]
    let movable = tables.enumerated().filter { index, table in
      !tables[..<index].contains { $0.overlaps(table) } && !levels[base].contains { $0.overlaps(table) }
        && overlap(table, base + 1) <= overlapLimit
    }.map(\.element)
    if !movable.isEmpty { return CompactionPlan(kind: .move, inputs: [0: movable], outputLevel: base) }
    var chosen: [TableMetadata] = []
    var size: UInt64 = 0
    for table in tables {
      if size > 0 && size + table.sizeBytes > options.maximumInputSizeBytes { break }
      chosen.append(table)
      size += table.sizeBytes
    }
    return merge([0: chosen], into: base)
  }

  /// The plan with everything of the output level between the first and the last key of the inputs: they may leave a gap
  /// there, and the tables that they are merged into do not.
  private func merge(_ inputs: [Int: [TableMetadata]], into level: Int) -> CompactionPlan {
    guard var hull = inputs.values.joined().first else { preconditionFailure("a merge has inputs") }
    for table in inputs.values.joined() {
      if compareKeyArrays(table.lower, hull.lower) < 0 { hull.lower = table.lower }
      let order = compareKeyArrays(table.upper, hull.upper)
      if order > 0 || (order == 0 && hull.upperIsExclusive) {
        hull.upper = table.upper
        hull.upperIsExclusive = table.upperIsExclusive
      }
    }
    var inputs = inputs
    inputs[level, default: []] += levels[level].filter { $0.overlaps(hull) }
    return CompactionPlan(kind: .merge, inputs: inputs, outputLevel: level)
  }

  // MARK: Levels

  private func pickTable(from level: Int) -> CompactionPlan? {
    let costs = levels[level].map { table in
      Double(overlap(table, level + 1)) / Double(max(1, table.sizeBytes)) - garbageShare(table)
    }
    guard let cheapest = costs.indices.min(by: { costs[$0] < costs[$1] }) else { return nil }
    return push(levels[level][cheapest], from: level)
  }

  /// Moves or merges the table one level down.
  private func push(_ table: TableMetadata, from level: Int) -> CompactionPlan {
    if overlap(table, level + 1) == 0 && overlap(table, level + 2) <= overlapLimit && !hasRipeGarbage(table) {
      return CompactionPlan(kind: .move, inputs: [level: [table]], outputLevel: level + 1)
    }
    return merge([level: [table]], into: level + 1)
  }

  private var overlapLimit: UInt64 {
    options.overlapTables.multipliedReportingOverflow(by: tableSizeBytes).partialValue
  }

  private func overlap(_ table: TableMetadata, _ level: Int) -> UInt64 {
    guard level <= lastLevel else { return 0 }
    return levels[level].reduce(0) { $0 + ($1.overlaps(table) ? $1.sizeBytes : 0) }
  }

  // MARK: Garbage

  private func garbageShare(_ table: TableMetadata) -> Double {
    guard table.garbageVersion <= horizon else { return 0 }
    return Double(table.garbageCount) / Double(max(1, table.entryCount + table.rangeDeletionCount))
  }

  /// Whether all that was counted as garbage can go, and is much.
  private func hasRipeGarbage(_ table: TableMetadata) -> Bool {
    table.garbageCount > 0 && garbageShare(table) * 100 >= Double(options.garbagePercent)
  }

  private func pickGarbage() -> CompactionPlan? {
    for level in stride(from: lastLevel, through: 1, by: -1) {
      for table in levels[level] where hasRipeGarbage(table) {
        let isBottom = (level + 1..<levels.count).allSatisfy { overlap(table, $0) == 0 }
        if isBottom { return CompactionPlan(kind: .merge, inputs: [level: [table]], outputLevel: level) }
        if table.deleteCount * 2 >= table.entryCount { return merge([level: [table]], into: level + 1) }
      }
    }
    return nil
  }
}
