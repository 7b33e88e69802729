internal import Platform

/// A change to a file that no sync has covered yet.
struct UnsyncedWrite: Sendable {
  var offset: Int
  var bytes: [UInt8]
  /// A truncation to `offset` instead of a write.
  var isTruncation = false
}

/// A file or directory, whatever names it has.
struct Inode: Sendable {
  var isDirectory: Bool
  /// What readers see: the page cache.
  var content = SparseBytes()
  /// What is on the medium for certain.
  var durable = SparseBytes()
  /// What separates the two, in order. (After a failed sync it does not: that is the trap.)
  var unsynced: [UnsyncedWrite] = []
  /// Names as seen, and as they are on the medium for certain.
  var entries: [String: Int] = [:]
  var durableEntries: [String: Int] = [:]
}

/// A change of names: atomic, and lost in a crash unless one of its directories was synced.
struct NameChange: Sendable {
  /// (directory, name, the inode that the name means from now on or nil)
  var edits: [(directory: Int, name: String, inode: Int?)]
}

/// Everything about a simulated disk, as a value: a copy is a snapshot.
struct DiskState: Sendable {
  static let root = 0
  static let sectorSizeBytes = 512

  var inodes: [Inode] = [Inode(isDirectory: true)]
  var unsyncedNames: [NameChange] = []
  var locked: Set<Int> = []
  var randomness: SeededRandomness
  var operationCount = 0
  var crashAtOperation: Int?
  var isCrashed = false
  var trace: [DiskOperation]?

  init(seed: UInt64) { randomness = SeededRandomness(seed: seed) }

  // MARK: Names

  static func components(_ path: String) -> [String] {
    path.split(separator: "/", omittingEmptySubsequences: true).map(String.init).filter { $0 != "." }
  }

  func lookUp(_ path: String) -> Int? {
    var inode = Self.root
    for name in Self.components(path) {
      guard let next = inodes[inode].entries[name] else { return nil }
      inode = next
    }
    return inode
  }

  /// The directory that holds (or would hold) the last component, and that component.
  func place(_ path: String, _ operation: String) throws(DiskError) -> (directory: Int, name: String) {
    var parts = Self.components(path)
    guard let name = parts.popLast() else { throw DiskError(.exists, operation: operation, path: path) }
    var inode = Self.root
    for part in parts {
      guard let next = inodes[inode].entries[part] else { throw DiskError(.notFound, operation: operation, path: path) }
      guard inodes[next].isDirectory else { throw DiskError(.notADirectory, operation: operation, path: path) }
      inode = next
    }
    return (inode, name)
  }

  mutating func change(_ edits: [(directory: Int, name: String, inode: Int?)]) {
    for edit in edits { inodes[edit.directory].entries[edit.name] = edit.inode }
    unsyncedNames.append(NameChange(edits: edits))
  }

  mutating func makeDurable(_ change: NameChange) {
    for edit in change.edits { inodes[edit.directory].durableEntries[edit.name] = edit.inode }
  }

  mutating func syncNames(of directory: Int) {
    var left: [NameChange] = []
    for change in unsyncedNames {
      if change.edits.contains(where: { $0.directory == directory }) {
        makeDurable(change)
      } else {
        left.append(change)
      }
    }
    unsyncedNames = left
  }

  // MARK: Content

  /// Bytes taken by files that have a name.
  var usedSizeBytes: UInt64 {
    var seen: Set<Int> = []
    for inode in inodes { seen.formUnion(inode.entries.values) }
    return seen.reduce(0) { $0 + UInt64(inodes[$1].content.count) }
  }

  mutating func sync(_ inode: Int) {
    let writes = inodes[inode].unsynced
    inodes[inode].unsynced = []
    for write in writes { Self.apply(write, to: &inodes[inode].durable) }
  }

  static func apply(_ write: UnsyncedWrite, to bytes: inout SparseBytes) {
    if write.isTruncation { bytes.resize(to: write.offset) } else { bytes.write(write.bytes, at: write.offset) }
  }

  /// Makes `write` durable at once, and forgets older unsynced writes to the same sectors: they can no longer come back.
  mutating func writeDurably(_ write: UnsyncedWrite, to inode: Int) {
    let end = write.offset + write.bytes.count
    let overlaps = inodes[inode].unsynced.contains {
      $0.isTruncation || ($0.offset < end && write.offset < $0.offset + $0.bytes.count)
    }
    // Older changes to the same place: they go to the medium first.
    if overlaps { sync(inode) }
    inodes[inode].durable.write(write.bytes, at: write.offset)
  }

  /// What the power cut (or a failed sync) left of the unsynced writes, put into `durable`; nothing is unsynced after.
  mutating func settle(_ inode: Int, tearsSectors: Bool) {
    let writes = inodes[inode].unsynced
    guard !writes.isEmpty else { return }
    inodes[inode].unsynced = []
    // Four kinds of disk, so that the clean outcomes are common too.
    switch randomness.below(4) {
    case 0: return
    case 1: for write in writes { Self.apply(write, to: &inodes[inode].durable) }
    case 2:
      let kept = randomness.below(writes.count + 1)
      for write in writes.prefix(kept) { Self.apply(write, to: &inodes[inode].durable) }
      if kept < writes.count { settleSectors(of: writes[kept], inode, tearsSectors) }
    default: for write in writes { settleSectors(of: write, inode, tearsSectors) }
    }
  }

  /// Applies a random subset of the sectors of one write.
  private mutating func settleSectors(of write: UnsyncedWrite, _ inode: Int, _ tearsSectors: Bool) {
    guard !write.isTruncation else {
      if randomness.oneIn(2) { Self.apply(write, to: &inodes[inode].durable) }
      return
    }
    let odds = 1 + randomness.below(3)
    var start = write.offset
    let end = write.offset + write.bytes.count
    while start < end {
      let next = min(end, (start / Self.sectorSizeBytes + 1) * Self.sectorSizeBytes)
      let sector = Array(write.bytes[start - write.offset..<next - write.offset])
      let luck = randomness.below(4)
      if luck >= odds {
        inodes[inode].durable.write(sector, at: start)
      } else if tearsSectors && randomness.oneIn(4) && sector.count > 1 {
        inodes[inode].durable.write(Array(sector.prefix(1 + randomness.below(sector.count - 1))), at: start)
      }
      start = next
    }
  }

  /// The state that the machine finds when the power is back.
  func afterPowerCut(seed: UInt64, tearsSectors: Bool) -> DiskState {
    var next = self
    next.randomness = SeededRandomness(seed: seed)
    next.locked = []
    next.operationCount = 0
    next.crashAtOperation = nil
    next.isCrashed = false
    if trace != nil { next.trace = [] }
    // A journalling file system keeps a prefix of the changes; the contract promises no order at all.
    let changes = unsyncedNames
    let inOrder = next.randomness.oneIn(2)
    let kept = next.randomness.below(changes.count + 1)
    next.unsyncedNames = []
    for (index, change) in changes.enumerated() {
      if inOrder ? index < kept : next.randomness.oneIn(2) { next.makeDurable(change) }
    }
    for inode in next.inodes.indices {
      next.settle(inode, tearsSectors: tearsSectors)
      next.inodes[inode].content = next.inodes[inode].durable
      next.inodes[inode].entries = next.inodes[inode].durableEntries
    }
    return next
  }
}
