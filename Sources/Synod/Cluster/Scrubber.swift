internal import Platform
internal import Replication
internal import Storage
internal import Synchronization

/// Reads all tables and the log of a node now and then, so that damage is found while another node has what was there; and
/// superblock, list of members and manifest, which it writes anew where they are damaged.
///
/// The first round begins a minute after the node, which has read its log by then, and has others to catch up with; at most
/// `sizeBytesPerSecond` are read, past the cache.
final class Scrubber: Sendable {
  private static let sizeBytesPerSecond: UInt64 = 64 << 20
  private static let firstPauseNanoseconds: UInt64 = 60_000_000_000
  private let word = FutexWord()
  private let isStopping = Atomic(false)
  private let thread: Mutex<BackgroundThread?> = Mutex(nil)

  /// - Parameter engine: nil for a witness, which has no tables.
  init(_ engine: Engine?, _ log: ReplicatedLog, _ disk: any Disk, pauseNanoseconds: UInt64) {
    thread.withLock { slot in
      slot = BackgroundThread("scrub") { [self] in
        rest(min(pauseNanoseconds, Self.firstPauseNanoseconds))
        while !isStopping.load(ordering: .acquiring) {
          log.mendControlFiles()
          if let damage = try? engine?.mendManifest() { log.note("\(damage); it was written anew") }
          log.verifyLog(
            sizeBytesPerSecond: Self.sizeBytesPerSecond, isOver: { isStopping.load(ordering: .acquiring) }, rest: rest)
          let damage = engine.flatMap { round($0, disk) }
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

  private func round(_ engine: Engine, _ disk: any Disk) -> String? {
    // Pinned, so that compactions do not take the files away.
    let pinned = engine.pinTables()
    for table in pinned.checkpoint.tables where !isStopping.load(ordering: .acquiring) {
      let damage = try? TableStore.verifyCheckpointFile(engine.path(of: table), table, disk: disk)
      if let first = damage?.first { return "\(first)" }
      rest(table.sizeBytes * 1_000_000_000 / Self.sizeBytesPerSecond)
    }
    return nil
  }
}
