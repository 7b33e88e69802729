internal import Platform
internal import Replication
internal import Storage
internal import Synchronization

/// Reads all tables and the log of a node now and then, so that damage is found while another node has what was there; and
/// superblock, list of members and manifest, which it writes anew where they are damaged.
///
/// The first round begins a minute after the node, which has read its log by then, and has others to catch up with. It reads
/// past the cache, a little at a time and evenly, since who commits meanwhile waits for what is being read.
final class Scrubber: Sendable {
  /// How much is read in a second, and how much while somebody commits.
  private static let sizeBytesPerSecond: UInt64 = 64 << 20
  private static let pacedSizeBytesPerSecond: UInt64 = 12 << 20
  private static let stepSizeBytes: UInt64 = 128 << 10
  private static let firstPauseNanoseconds: UInt64 = 60_000_000_000
  private let word = FutexWord()
  private let isStopping = Atomic(false)
  private let thread: Mutex<BackgroundThread?> = Mutex(nil)

  /// - Parameter engine: nil for a witness, which has no tables.
  init(_ engine: Engine?, _ log: ReplicatedLog, _ disk: any Disk, pauseNanoseconds: UInt64) {
    thread.withLock { slot in
      slot = BackgroundThread("scrub") { [self] in
        rest(min(pauseNanoseconds, Self.firstPauseNanoseconds))
        let pace = Gait(log, self)
        while !isStopping.load(ordering: .acquiring) {
          log.mendControlFiles()
          if let damage = try? engine?.mendManifest() { log.note("\(damage); it was written anew") }
          log.verifyLog(isOver: { isStopping.load(ordering: .acquiring) }, pace: pace.read)
          let damage = engine.flatMap { round($0, disk, pace) }
          // The round begins anew after a pause.
          if let damage { log.stateIsDamaged(damage) }
          rest(damage == nil ? pauseNanoseconds : 10_000_000_000)
        }
      }
    }
  }

  func stop() {
    isStopping.store(true, ordering: .releasing)
    word.increment()
    word.wake()
    thread.withLock { $0 }?.join()
  }

  private func rest(_ nanoseconds: UInt64) {
    let seen = word.load()
    if !isStopping.load(ordering: .acquiring) { word.wait(while: seen, timeoutNanoseconds: nanoseconds) }
  }

  /// Rests behind what was read. One thread.
  private final class Gait {
    private let log: ReplicatedLog
    private let scrubber: Scrubber
    private var movement = Movement()
    private var unrested: UInt64 = 0

    init(_ log: ReplicatedLog, _ scrubber: Scrubber) {
      self.log = log
      self.scrubber = scrubber
    }

    func read(_ sizeBytes: UInt64) {
      unrested += sizeBytes
      guard unrested >= Scrubber.stepSizeBytes else { return }
      let isMoving = movement.isRecent(
        log.status.chosen, within: 400_000_000, now: LinuxClock().bootNanoseconds)
      let rate = isMoving ? Scrubber.pacedSizeBytesPerSecond : Scrubber.sizeBytesPerSecond
      // A wait of no time would be one without end.
      scrubber.rest(max(1, unrested * 1_000_000_000 / rate))
      unrested = 0
    }
  }

  private func round(_ engine: Engine, _ disk: any Disk, _ pace: Gait) -> String? {
    // Pinned, so that compactions do not take the files away.
    let pinned = engine.pinTables()
    for table in pinned.checkpoint.tables where !isStopping.load(ordering: .acquiring) {
      let damage = try? TableStore.verifyCheckpointFile(
        engine.path(of: table), table, disk: disk, progress: pace.read)
      if let first = damage?.first { return "\(first)" }
    }
    return nil
  }
}
