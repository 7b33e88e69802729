internal import Encoding
internal import Platform
internal import Synchronization

/// A file that waits to become the segment after the current one, already under that name.
struct PreparedSegment {
  var sequence: UInt64
  var path: String
  var sizeBytes: UInt64
  /// Whether stale bytes may be in it.
  var isRecycled: Bool
  /// Whether every byte was written once; otherwise it only has its space.
  var isFilled = true
  var file: any DiskFile
}

/// Makes, prepares and recycles segment files (layout: SegmentHeader.swift).
///
/// `state` is held for moments only; `preparation` is held while a file is filled or renamed, so that the writer, who
/// needs the next segment, waits for a preparation under way instead of starting another.
///
/// A durable write is quickest into a file whose every byte was written before, so segments are filled with zeros ahead of
/// need. Where a writer waits, filling would be a stall of up to 64 MiB: then the file system is only asked for the space
/// (docs/decisions/0113-who-waits-gets-space-not-zeros.md).
final class SegmentFiles: Sendable {
  struct Spare {
    var id: UInt64
    var sizeBytes: UInt64
    var isRecycled: Bool
    var isFilled = true
  }

  private struct State {
    var prepared: PreparedSegment?
    var spares: [Spare] = []
    var nextSpare: UInt64 = 1
    /// The number that the next prepared segment gets: one more than the newest in use.
    var nextSequence: UInt64 = 1
  }

  let directory: String
  let disk: any Disk
  let options: LogOptions
  let mutations: LogMutations
  private let state = Mutex(State())
  private let preparation = Mutex(0)
  /// Threads that wait for a file to be filled: then it is only allocated from there on.
  private let waiting = Atomic(0)
  private let rest = FutexWord()

  init(directory: String, disk: any Disk, options: LogOptions, mutations: LogMutations) {
    self.directory = directory
    self.disk = disk
    self.options = options
    self.mutations = mutations
  }

  func path(_ name: LogFileName) -> String { directory + "/" + name.name }

  func syncDirectory() throws(DiskError) {
    if !mutations.contains(.skipsDirectorySync) { try disk.syncDirectory(directory) }
  }

  /// What the next segment of a log should measure whose segments take `retained` bytes: half of that, as a power of two
  /// times the first segment's size (1 MiB), and no more than the full size (64 MiB). So what is filled ahead is never much
  /// more than half of what is kept, a log that is kept short has short segments to give back, and a long one changes them
  /// rarely (docs/decisions/0140-segments-by-need.md).
  func plannedSizeBytes(retained: UInt64) -> UInt64 {
    let full = UInt64(options.segmentSizeBytes)
    var size = min(UInt64(options.firstSegmentSizeBytes), full)
    while size < full && min(size * 2, full) <= retained / 2 { size = min(size * 2, full) }
    return size
  }

  // MARK: What is there

  /// The bytes for frames in the prepared segment; 0 where none is prepared.
  var preparedRoomBytes: Int {
    state.withLock { $0.prepared.map { Int($0.sizeBytes) - SegmentHeader.sizeBytes } ?? 0 }
  }

  /// The same, if its every byte was written.
  var filledRoomBytes: Int {
    state.withLock { $0.prepared.map { $0.isFilled ? Int($0.sizeBytes) - SegmentHeader.sizeBytes : 0 } ?? 0 }
  }

  func adopt(prepared: PreparedSegment) { state.withLock { $0.prepared = prepared } }

  /// Says which segment is the newest in use.
  func setCurrent(_ sequence: UInt64) { state.withLock { $0.nextSequence = sequence + 1 } }

  func adopt(spare: Spare) {
    state.withLock {
      $0.spares.append(spare)
      $0.nextSpare = max($0.nextSpare, spare.id + 1)
    }
  }

  /// Takes the prepared segment if it has room for `need` bytes of frames.
  func takePrepared(_ need: Int) -> PreparedSegment? {
    state.withLock { state in
      guard let prepared = state.prepared, Int(prepared.sizeBytes) - SegmentHeader.sizeBytes >= need else { return nil }
      state.prepared = nil
      state.nextSequence = prepared.sequence + 1
      return prepared
    }
  }

  // MARK: Preparing

  /// Sees to it that the next segment is prepared with room for `need` bytes of frames. Nothing that the log needs is
  /// touched: after an error the log is as before.
  ///
  /// `retained`: what the log's segments take. `ahead`: nobody waits for it yet, so that filling leaves the device to
  /// those who write.
  func prepare(need: Int, retained: UInt64, ahead: FillingAhead? = nil) throws(LogError) {
    let isAhead = ahead != nil
    var failure: LogError?
    if !isAhead { endFilling() }
    defer { if !isAhead { waiting.subtract(1, ordering: .relaxed) } }
    // Who writes so fast that he waits gets more: it is only allocated.
    let planned = plannedSizeBytes(retained: isAhead ? retained : 4 * retained)
    preparation.withLock { _ in
      do throws(LogError) {
        try prepareAlone(need: need, planned: planned, ahead: ahead)
      } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// While this runs nobody else prepares, and what is not prepared cannot be taken: the number stays the same.
  private func prepareAlone(need: Int, planned: UInt64, ahead: FillingAhead?) throws(LogError) {
    let needed = UInt64(roundedToBlock(need) + SegmentHeader.sizeBytes)
    do throws(DiskError) {
      let (isDone, tooSmall, sequence) = state.withLock { state in
        guard let prepared = state.prepared else { return (false, nil as PreparedSegment?, state.nextSequence) }
        guard prepared.sizeBytes < needed else { return (true, nil, 0) }
        state.prepared = nil
        return (false, prepared, prepared.sequence)
      }
      if isDone { return }
      if let tooSmall { try demote(tooSmall) }
      let spare: Spare
      if let found = takeSpare(atLeast: needed) {
        spare = found
      } else {
        spare = try fill(try affordableSize(max(needed, planned), needed), ahead: ahead)
      }
      let path = path(.segment(sequence))
      guard try disk.status(path) == nil else { throw DiskError(.exists, operation: "make", path: path) }
      try disk.rename(self.path(.spare(spare.id)), to: path)
      try syncDirectory()
      let file = try disk.open(path, .direct)
      state.withLock {
        $0.prepared = PreparedSegment(
          sequence: sequence, path: path, sizeBytes: spare.sizeBytes, isRecycled: spare.isRecycled,
          isFilled: spare.isFilled, file: file)
      }
    } catch {
      throw error.kind == .noSpace ? .noSpace(path: directory, neededSizeBytes: needed) : .disk(error)
    }
  }

  /// Turns a prepared segment that is too small back into a spare.
  private func demote(_ prepared: PreparedSegment) throws(DiskError) {
    let id = state.withLock { state in
      defer { state.nextSpare += 1 }
      return state.nextSpare
    }
    prepared.file.close()
    try disk.rename(prepared.path, to: path(.spare(id)))
    try syncDirectory()
    adopt(
      spare: Spare(
        id: id, sizeBytes: prepared.sizeBytes, isRecycled: prepared.isRecycled, isFilled: prepared.isFilled))
  }

  private func takeSpare(atLeast size: UInt64) -> Spare? {
    state.withLock { state in
      guard
        let index = state.spares.indices.filter({ state.spares[$0].sizeBytes >= size })
          .min(by: { state.spares[$0].sizeBytes < state.spares[$1].sizeBytes })
      else { return nil }
      return state.spares.remove(at: index)
    }
  }

  /// `wanted` where the file system has that much beyond the reserve; at a pinch the smallest useful size.
  private func affordableSize(_ wanted: UInt64, _ needed: UInt64) throws(DiskError) -> UInt64 {
    let free = try disk.freeSizeBytes(directory)
    if free >= wanted &+ options.reserveSizeBytes { return wanted }
    let least = max(needed, UInt64(options.firstSegmentSizeBytes))
    if free >= least &+ options.reserveSizeBytes { return least }
    throw DiskError(.noSpace, operation: "make a log segment in", path: directory)
  }

  /// Makes a spare: a file that reads as zeros, durable, under its final name only when complete.
  func fill(_ size: UInt64, ahead: FillingAhead?) throws(DiskError) -> Spare {
    let id = state.withLock { state in
      defer { state.nextSpare += 1 }
      return state.nextSpare
    }
    let filling = path(.filling(id))
    var isFilled = ahead != nil || size <= UInt64(options.firstSegmentSizeBytes)
    do throws(DiskError) {
      let file = try disk.open(filling, .create)
      defer { file.close() }
      if isFilled { isFilled = try writeZeros(file, size, ahead) }
      if !isFilled { try file.allocate(size) }
      try file.sync()
      try disk.rename(filling, to: path(.spare(id)))
      try syncDirectory()
    } catch {
      // Best effort: what is left is removed when the database is opened.
      do throws(DiskError) { try disk.remove(filling) } catch {}
      throw error
    }
    return Spare(id: id, sizeBytes: size, isRecycled: false, isFilled: isFilled)
  }

  private static let zeros = AlignedBuffer(sizeBytes: 1 << 20)

  /// What is handed to the device at a time, and what is synced at a time.
  private static let zeroStepSizeBytes = 128 << 10
  private static let zeroSyncSizeBytes: UInt64 = 4 << 20
  /// 5 MiB/s, no less: a log that hardly grows has its next segment after a while, too.
  private static let restWhenEarlyNanoseconds: UInt64 = 25_000_000

  /// Zeros a new file in small steps, and ahead of need rests three times as long after each as it took, so that the log's
  /// own writes are seldom behind it in the device's queue, and never behind much
  /// (docs/decisions/0118-background-writes-are-paced.md); longer where that is soon enough. False where it was given up,
  /// because somebody came to wait for it.
  private func writeZeros(_ file: any DiskFile, _ size: UInt64, _ ahead: FillingAhead?) throws(DiskError) -> Bool {
    let step = ahead != nil ? Self.zeroStepSizeBytes : 1 << 20
    var offset: UInt64 = 0
    while offset < size {
      let start = LinuxClock().bootNanoseconds
      let count = Int(min(UInt64(step), size - offset))
      unsafe try file.write(UnsafeRawBufferPointer(rebasing: Self.zeros.bytes[0..<count]), at: offset)
      try file.writeOut(offset..<offset + UInt64(count))
      let isSyncDue = offset / Self.zeroSyncSizeBytes != (offset + UInt64(count)) / Self.zeroSyncSizeBytes
      offset += UInt64(count)
      guard offset < size else { return true }
      if isSyncDue { try file.sync() }
      guard let ahead else { continue }
      let seen = rest.load()
      if waiting.load(ordering: .acquiring) > 0 { return false }
      let shortest = min(3 * (LinuxClock().bootNanoseconds - start), 50_000_000)
      let nanoseconds = ahead.isEarly(offset, of: size) ? max(shortest, Self.restWhenEarlyNanoseconds) : shortest
      rest.wait(while: seen, timeoutNanoseconds: max(1, nanoseconds))
    }
    return true
  }

  /// Zeros part of a file that is open for direct writing, durably.
  static func clear(_ file: any DiskFile, _ range: Range<UInt64>) throws(DiskError) {
    var offset = range.lowerBound
    while offset < range.upperBound {
      let count = Int(min(UInt64(1 << 20), range.upperBound - offset))
      unsafe try file.writeDurably(UnsafeRawBufferPointer(rebasing: zeros.bytes[0..<count]), at: offset)
      offset += UInt64(count)
    }
  }

  /// Ends the filling of a file ahead of need: somebody waits for it, or the log is being closed.
  func endFilling() {
    waiting.add(1, ordering: .acquiringAndReleasing)
    rest.increment()
    rest.wake()
  }

  // MARK: Recycling

  /// Makes a segment that is no longer needed a spare, or removes it where there are enough, or where it is far from what a
  /// log of `retained` bytes needs; durable on return.
  func recycle(_ segment: SegmentInfo, retained: UInt64) throws(DiskError) {
    let id: UInt64? = state.withLock { state in
      guard state.spares.count < options.spareSegments, segment.isFilled,
        segment.fileSizeBytes <= UInt64(options.segmentSizeBytes),
        segment.fileSizeBytes * 2 >= plannedSizeBytes(retained: retained)
      else { return nil }
      defer { state.nextSpare += 1 }
      return state.nextSpare
    }
    if let id {
      try disk.rename(segment.path, to: path(.spare(id)))
      try syncDirectory()
      adopt(spare: Spare(id: id, sizeBytes: segment.fileSizeBytes, isRecycled: true))
    } else {
      try disk.remove(segment.path)
      try syncDirectory()
    }
  }

  func close() {
    let prepared = state.withLock { $0.prepared }
    prepared?.file.close()
  }
}

/// A segment that holds part of the log.
struct SegmentInfo: Sendable {
  var sequence: UInt64
  var path: String
  var fileSizeBytes: UInt64
  /// Whether every byte of the file was written once.
  var isFilled = true
  /// The position before its first record.
  var before: LogPosition
  /// The greatest slot of any record in it, live or not.
  var greatestSlot: Slot
}

/// How soon a segment that is being filled will be needed. No closure: one would be allocated for each segment.
package struct FillingAhead {
  /// What is left for frames in the current segment, when filling begins.
  private let roomSizeBytes: UInt64
  private let begunSizeBytes: UInt64
  private let log: Log

  init(_ log: Log) {
    self.log = log
    begunSizeBytes = log.framesSizeBytes
    roomSizeBytes = UInt64(max(0, log.room.load(ordering: .acquiring)))
  }

  /// Whether filling is further than it need be.
  func isEarly(_ filled: UInt64, of size: UInt64) -> Bool {
    Self.isEarly(filled, of: size, used: log.framesSizeBytes - begunSizeBytes, room: roomSizeBytes)
  }

  /// Twice as far as the writer, each on his way.
  package static func isEarly(_ filled: UInt64, of size: UInt64, used: UInt64, room: UInt64) -> Bool {
    guard room > 0 else { return false }
    return Double(filled) / Double(max(size, 1)) > 2 * Double(min(used, room)) / Double(room)
  }
}
