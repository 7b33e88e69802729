package import Encoding
internal import Glibc
internal import Synchronization

// Which snapshots are held, so that garbage collection keeps what they show.
//
// A hold is a word in one of many slots, taken by compare-and-swap, mostly the same slot by the same thread; more holds
// than slots go to a list behind a lock. A collector asks for the oldest.
//
// The race between them: a reader reads the visible version R and registers it, while a collector looks for the oldest and
// finds nothing, and drops what R needs. Therefore (all sequentially consistent):
//
//   reader:     slot = R;           if floor > R: take a newer R, else done
//   collector:  floor = candidate;  oldest = min(candidate, all slots);  floor = oldest
//
// Either the collector's walk finds the slot, or the reader's look at the floor finds the candidate. The floor is also the
// oldest version that can still be asked for.

/// A snapshot that is held against garbage collection, from `Engine.retain…` to `Engine.release(_:)`.
package struct SnapshotHold: Sendable {
  package let version: Version
  /// The slot, or -1 for the list.
  let place: Int32
}

/// The snapshots that are held.
///
/// `@unchecked Sendable`: the slots are atomics; the list has its lock.
@safe
final class SnapshotRegistry: @unchecked Sendable {
  private static let slotCount = 256
  private static let strideBytes = 64

  /// A version + 1 in each slot; 0 = free.
  private let slots: UnsafeMutableRawPointer
  private let overflow = Mutex<[Version: Int]>([:])
  /// What a collector uses, or may be about to.
  private let floor = Atomic<UInt64>(0)
  private let collecting = Mutex<Void>(())
  /// The newest version that reads may use.
  let visible = Atomic<UInt64>(0)
  /// Versions above it are kept whether or not a snapshot needs them.
  let retention = Atomic<UInt64>(Version.latest.rawValue)

  init() {
    unsafe slots = .allocate(byteCount: Self.slotCount * Self.strideBytes, alignment: Self.strideBytes)
    unsafe slots.initializeMemory(as: UInt8.self, repeating: 0, count: Self.slotCount * Self.strideBytes)
  }

  /// What recovery found: everything up to `visible`, the flushed version, is in tables, which keep what snapshots from
  /// `floor` on show.
  ///
  /// The recorded floor may lie above the flushed version: a compaction runs with the horizon of its time, and of what was
  /// committed up to there the log may have lost its unsynced end. Tables hold nothing above the flushed version, so from
  /// there on every snapshot finds what it shows.
  func start(floor: Version, visible: Version) {
    self.visible.store(visible.rawValue, ordering: .sequentiallyConsistent)
    self.floor.store(min(floor, visible).rawValue, ordering: .sequentiallyConsistent)
  }

  /// Everything up to `visible` was replaced by a checkpoint that keeps what snapshots from `floor` on show.
  func restart(floor new: Version, visible: Version) {
    collecting.withLock { _ in
      // The newest snapshot is always allowed: it is published before the floor is raised.
      self.visible.store(visible.rawValue, ordering: .sequentiallyConsistent)
      let raised = max(floor.load(ordering: .sequentiallyConsistent), min(new, visible).rawValue)
      floor.store(raised, ordering: .sequentiallyConsistent)
    }
  }

  deinit { unsafe slots.deallocate() }

  @inline(__always)
  private func slot(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe slots.atomic64(index &* Self.strideBytes)
  }

  /// Versions below it may have lost what they show.
  var oldestAllowed: Version { Version(floor.load(ordering: .sequentiallyConsistent)) }

  /// Holds the newest visible version, which is read again when a collector was faster.
  func retainVisible() -> SnapshotHold {
    while true {
      let version = Version(visible.load(ordering: .acquiring))
      let hold = register(version)
      if floor.load(ordering: .sequentiallyConsistent) <= version.rawValue { return hold }
      release(hold)
    }
  }

  /// Holds `version` unless it is below the floor.
  ///
  /// A collector raises the floor to its candidate before it looks for holds and lowers it again: what it will settle on
  /// is known when it is done.
  func retain(_ version: Version) -> SnapshotHold? {
    let hold = register(version)
    if floor.load(ordering: .sequentiallyConsistent) <= version.rawValue { return hold }
    let settled = collecting.withLock { _ in floor.load(ordering: .sequentiallyConsistent) }
    if settled <= version.rawValue { return hold }
    release(hold)
    return nil
  }

  private func register(_ version: Version) -> SnapshotHold {
    let word = version.rawValue &+ 1
    let thread = UInt64(pthread_self())
    let start = Int(truncatingIfNeeded: (thread &* 0x9E37_79B9_7F4A_7C15) >> 56)
    for step in 0..<Self.slotCount {
      let index = (start &+ step) & (Self.slotCount - 1)
      guard unsafe slot(index).pointee.load(ordering: .relaxed) == 0 else { continue }
      let (won, _) = unsafe slot(index).pointee.compareExchange(
        expected: 0, desired: word, ordering: .sequentiallyConsistent)
      if won { return SnapshotHold(version: version, place: Int32(index)) }
    }
    overflow.withLock { $0[version, default: 0] += 1 }
    return SnapshotHold(version: version, place: -1)
  }

  func release(_ hold: SnapshotHold) {
    guard hold.place < 0 else {
      let old = unsafe slot(Int(hold.place)).pointee.exchange(0, ordering: .sequentiallyConsistent)
      precondition(old == hold.version.rawValue &+ 1, "a snapshot was released twice")
      return
    }
    overflow.withLock { held in
      let count = held[hold.version] ?? 0
      precondition(count > 0, "a snapshot was released twice")
      held[hold.version] = count == 1 ? nil : count - 1
    }
  }

  /// The oldest version that must stay readable: the new floor. Floors never go back.
  func collect() -> Version {
    collecting.withLock { _ in
      let candidate = Version(min(visible.load(ordering: .acquiring), retention.load(ordering: .acquiring)))
      let previous = floor.load(ordering: .sequentiallyConsistent)
      let wanted = max(previous, candidate.rawValue)
      floor.store(wanted, ordering: .sequentiallyConsistent)
      let oldest = max(previous, min(wanted, self.oldest.map(\.rawValue) ?? wanted))
      floor.store(oldest, ordering: .sequentiallyConsistent)
      return Version(oldest)
    }
  }

  /// The oldest held version, or nil.
  var oldest: Version? {
    var oldest: UInt64?
    for index in 0..<Self.slotCount {
      let word = unsafe slot(index).pointee.load(ordering: .sequentiallyConsistent)
      if word != 0 { oldest = min(oldest ?? UInt64.max, word &- 1) }
    }
    let listed = overflow.withLock { $0.keys.min() }
    if let listed { oldest = min(oldest ?? UInt64.max, listed.rawValue) }
    return oldest.map { Version($0) }
  }

  /// The number of holds.
  var count: Int {
    var count = overflow.withLock { $0.values.reduce(0, +) }
    for index in 0..<Self.slotCount where unsafe slot(index).pointee.load(ordering: .relaxed) != 0 { count += 1 }
    return count
  }
}
