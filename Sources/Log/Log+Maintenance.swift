package import Encoding
internal import Platform
internal import Synchronization

// What is done to a log's files beside writing: preparing segments ahead of need, and giving back those that are no longer
// needed.

extension Log {
  // MARK: Maintenance

  func startMaintenance() {
    guard options.background else { return }
    maintenance.withLock { slot in
      slot = BackgroundThread("segments") { [weak self, wanted] in
        while true {
          let seen = wanted.load()
          guard let log = self, !log.isStopping.load(ordering: .acquiring) else { return }
          log.maintain()
          if log.isStopping.load(ordering: .acquiring) { return }
          wanted.wait(while: seen)
        }
      }
    }
  }

  func wakeMaintenance() {
    guard options.background else { return }
    wanted.increment()
    wanted.wake(1)
  }

  /// Prepares the next segment. Spares come from recycling alone: filling disturbs those who commit
  /// (docs/decisions/0115-a-flush-keeps-the-log-short.md). Errors wait until the room is needed: then they
  /// are the writer's.
  package func maintain() {
    // A database that is only read needs no second segment.
    let isUsed = shared.withLock { $0.failure == nil && $0.index.head.state.last.slot > $0.segments[0].before.slot }
    guard isUsed, files.preparedRoomBytes == 0, isNextDue.load(ordering: .acquiring) else { return }
    do throws(LogError) {
      try files.prepare(need: 0, retained: segmentSizes.sizeBytes, ahead: FillingAhead(self))
    } catch {}
  }

  // MARK: Truncating

  /// Gives back the segments that hold no record behind `slot`: the tables (and the archive) have them. Whole segments
  /// only, the oldest first, never what a reader still needs.
  package func truncate(through slot: Slot) throws(LogError) { _ = try truncate(through: slot, atMost: .max) }

  /// The same, but no more than `limitSizeBytes`, or one segment: many at once keep the device busy with discards.
  ///
  /// - Returns: the bytes given back; 0 where nothing is left to give.
  package func truncate(through slot: Slot, atMost limitSizeBytes: UInt64) throws(LogError) -> UInt64 {
    var done: UInt64 = 0
    while done < limitSizeBytes, let segment = removableSegment(through: slot) {
      done += segment.fileSizeBytes
      do throws(DiskError) { try files.recycle(segment, retained: segmentSizes.sizeBytes) } catch {
        // The log is intact; a segment too many is only space.
        if error.kind == .io { throw poison(error) }
        throw .disk(error)
      }
    }
    return done
  }

  /// Whether more could be given back, through `slot`, were it not for a reader.
  package func readersKeep(through slot: Slot) -> Bool {
    shared.withLock { shared in
      guard shared.segments.count > 1, shared.failure == nil, let needed = shared.readers.values.min() else {
        return false
      }
      return shared.segments[0].greatestSlot <= slot && shared.segments[0].greatestSlot > needed
    }
  }

  /// Takes the oldest segment out of the log if it can go.
  private func removableSegment(through slot: Slot) -> SegmentInfo? {
    shared.withLock { shared in
      guard shared.segments.count > 1, shared.failure == nil else { return nil }
      let bound = shared.readers.values.min().map { min($0, slot) } ?? slot
      let dropsNewest = mutations.contains(.dropsNewestFirst) && shared.segments.count > 2
      let index = dropsNewest ? shared.segments.count - 2 : 0
      guard shared.segments[index].greatestSlot <= bound,
        shared.index.pendingSyncSegment.map({ $0 > shared.segments[index].sequence }) ?? true
      else { return nil }
      let removed = shared.segments.remove(at: index)
      shared.index.drop(throughSegment: removed.sequence, greatest: removed.greatestSlot)
      return removed
    }
  }

  /// The bytes that frames (and the heads of segments) take at present, without what is not yet written in the newest.
  package var writtenSizeBytes: UInt64 {
    let (newest, end) = writer.withLock { ($0.header.sequence, $0.offset) }
    return shared.withLock { shared in
      shared.segments.reduce(0) { $0 + ($1.sequence == newest ? end : $1.fileSizeBytes) }
    }
  }

  /// The bytes of all frames written since the log was opened, padding included.
  package var framesSizeBytes: UInt64 { framesSize.load(ordering: .relaxed) }

  /// How far into the log a slot is, in bytes from a place that stays while the log is open: where its record lies, for one
  /// that was there when the log was opened, and otherwise what has been written so far. 0 where that cannot be told.
  package func reach(of slot: Slot) -> UInt64 {
    guard slot <= opened.last else { return opened.sizeBytes + framesSizeBytes }
    return shared.withLock { shared in
      guard let place = shared.index.place(of: slot), let start = opened.starts[place.segment] else { return 0 }
      return start + place.offset
    }
  }

  /// The number of segments, and the bytes that they take, without spares.
  package var segmentSizes: (count: Int, sizeBytes: UInt64) {
    shared.withLock { ($0.segments.count, $0.segments.reduce(0) { $0 + $1.fileSizeBytes }) }
  }
}
