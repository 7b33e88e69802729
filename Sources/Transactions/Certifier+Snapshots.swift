internal import Platform
internal import Synchronization

// Which snapshots are in use, and which of them are safe.
//
// A read-only transaction with snapshot R can only be in a cycle R-reader → W (after R) →* U (in R) → R-reader. The path
// from W back to U must step from a version after R to one in R, and only a read-write edge leads to an earlier version: so
// some X with v(X) > R has read a key that Y, with v(Y) ≤ R, replaced; and X's snapshot is older than Y, hence than R.
//
// So the snapshot is safe if every such X, a writer that was open with an older snapshot, or sequenced and not visible,
// when the snapshot was taken, has ended without such an edge. Nothing needs to be remembered about reads of a safe
// snapshot, nothing certified, and nothing can fail. While it is not known, the reader is tracked like a writer.

/// What is becoming known of a read-only transaction's snapshot.
final class SnapshotSafety: @unchecked Sendable {
  // `@unchecked`: `outcome` is atomic; the rest is guarded by the sequencer's latch.
  static let unknown: UInt32 = 0
  static let safe: UInt32 = 1
  static let unsafe: UInt32 = 2

  let snapshot: UInt64
  /// The reader's place in the active list.
  var place = -1
  /// The writers that have not ended.
  var pending = 0
  var isUnsafe = false
  let outcome = FutexWord(SnapshotSafety.unknown)

  init(snapshot: UInt64) { self.snapshot = snapshot }
}

/// Open serializable transactions in the order of their snapshots.
struct ActiveList {
  struct Entry {
    var snapshot: UInt64
    var isWriter: Bool
    var isOpen: Bool
    /// Read-only transactions that wait to hear of it.
    var watchers: [SnapshotSafety] = []
  }

  private var entries: [Entry] = []
  private var head = 0
  /// The place of `entries[0]`.
  private var base = 0
  private(set) var openCount = 0

  /// The oldest snapshot in use, or nil.
  var oldest: UInt64? { head < entries.count ? entries[head].snapshot : nil }

  /// Snapshots are taken under the latch, so they ascend.
  mutating func append(snapshot: UInt64, isWriter: Bool) -> Int {
    entries.append(Entry(snapshot: snapshot, isWriter: isWriter, isOpen: true))
    openCount += 1
    return base + entries.count - 1
  }

  /// Ends an entry; returns its watchers.
  mutating func end(_ place: Int) -> [SnapshotSafety] {
    let index = place - base
    // A reader ends twice: when its snapshot turns out to be safe, and itself; entries before `base` are gone.
    guard index >= 0 && entries[index].isOpen else { return [] }
    entries[index].isOpen = false
    openCount -= 1
    let watchers = entries[index].watchers
    if !watchers.isEmpty { entries[index].watchers = [] }
    while head < entries.count && !entries[head].isOpen { head += 1 }
    if head == entries.count {
      base += head
      entries.removeAll(keepingCapacity: true)
      head = 0
    } else if head > 256 && head > entries.count / 2 {
      entries.removeFirst(head)
      base += head
      head = 0
    }
    return watchers
  }

  /// Makes `safety` hear of every open writer whose snapshot is older; returns how many.
  mutating func watch(_ safety: SnapshotSafety) -> Int {
    var count = 0
    for index in head..<entries.count
    where entries[index].isOpen && entries[index].isWriter && entries[index].snapshot < safety.snapshot {
      entries[index].watchers.append(safety)
      count += 1
    }
    return count
  }
}

extension Certifier {
  /// A transaction that may write begins; returns its place.
  mutating func begin(snapshot: UInt64) -> Int { unsafe active.append(snapshot: snapshot, isWriter: true) }

  /// A read-only transaction begins. Nil: the snapshot is safe, and nobody needs to know of the transaction.
  mutating func beginReader(snapshot: UInt64) -> SnapshotSafety? {
    if unsafe mutant == .trustsReaders { return nil }
    let safety = SnapshotSafety(snapshot: snapshot)
    // Sequenced, not visible.
    for index in unsafe recent[recentHead...].reversed() {
      guard unsafe nodes[Int(index)].version > snapshot else { break }
      if unsafe isDangerous(nodes[Int(index)].edges, Int(index), for: snapshot) { safety.isUnsafe = true }
    }
    safety.pending = unsafe active.watch(safety)
    if safety.pending == 0 {
      if !safety.isUnsafe { return nil }
      safety.outcome.store(SnapshotSafety.unsafe)
    }
    safety.place = unsafe active.append(snapshot: snapshot, isWriter: false)
    return safety
  }

  /// Whether edges lead from after `snapshot` to something in it.
  private func isDangerous(_ edges: borrowing RawList<CertifierEdge>, _ node: Int, for snapshot: UInt64) -> Bool {
    if unsafe node >= 0 && nodes[node].isContracted { return true }
    for position in unsafe 0..<edges.count where unsafe edges[position].kind == CertifierEdge.readWrite {
      let target = unsafe Int(edges[position].to)
      let version = unsafe nodes[target].version
      if unsafe (version > 0 && version <= snapshot) || nodes[target].isContracted { return true }
    }
    return false
  }

  /// A transaction ends: with the edges in `outgoing` if it committed writes.
  mutating func end(_ place: Int, committedWrites: Bool) {
    for watcher in unsafe active.end(place) {
      if unsafe committedWrites && isDangerous(outgoing, -1, for: watcher.snapshot) { watcher.isUnsafe = true }
      watcher.pending -= 1
      guard watcher.pending == 0 else { continue }
      if !watcher.isUnsafe { _ = unsafe active.end(watcher.place) }
      watcher.outcome.store(watcher.isUnsafe ? SnapshotSafety.unsafe : SnapshotSafety.safe)
      watcher.outcome.wake()
    }
  }
}
