internal import Glibc
internal import Platform
internal import Synchronization

/// Runs compactions one at a time, on a thread of its own where that is asked for.
///
/// `@unchecked Sendable`: everything that changes is atomic or behind a mutex; the thread is joined before the end.
final class CompactionControl: @unchecked Sendable {
  private let running = Mutex(())
  private let state = Mutex(CompactionStatistics())
  private let stopping = Atomic<Bool>(false)
  /// Changes whenever there may be something to do.
  private let signal = FutexWord()
  private let thread = Mutex<pthread_t?>(nil)

  var isStopping: Bool { stopping.load(ordering: .relaxed) }

  var statistics: CompactionStatistics { state.withLock { $0 } }

  /// Runs one compaction, alone.
  func run<T: Sendable>(_ body: () throws(StorageError) -> T) throws(StorageError) -> T {
    guard !isStopping else { throw .closed }
    do throws(StorageError) {
      let result = try running.withLock { (_) throws(StorageError) in try body() }
      state.withLock { $0.lastError = nil }
      return result
    } catch {
      state.withLock { $0.lastError = error }
      throw error
    }
  }

  func note(_ change: CompactionStatistics) {
    state.withLock {
      $0.merges += change.merges
      $0.moves += change.moves
      $0.drops += change.drops
      $0.readSizeBytes += change.readSizeBytes
      $0.writtenSizeBytes += change.writtenSizeBytes
      $0.droppedEntries += change.droppedEntries
    }
  }

  /// Says that there may be something to do.
  func wake() {
    signal.increment()
    signal.wake()
  }

  // MARK: The thread

  /// The store outlives the thread's use of it: `stop` joins, and a store that was forgotten ends the thread by itself.
  private final class Start {
    weak var store: TableStore?
    let control: CompactionControl
    init(_ store: TableStore, _ control: CompactionControl) {
      self.store = store
      self.control = control
    }
  }

  func start(_ store: TableStore) {
    let start = unsafe Unmanaged.passRetained(Start(store, self))
    var created = pthread_t()
    let code = unsafe pthread_create(
      &created, nil,
      { argument in
        let start = unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
        nameThread("compact")
        start.control.loop { start.store }
        return nil
      }, start.toOpaque())
    precondition(code == 0, "no thread for compactions (errno \(code))")
    thread.withLock { $0 = created }
  }

  private func loop(_ store: () -> TableStore?) {
    while !isStopping {
      let seen = signal.load()
      var pause: UInt64 = 0
      do throws(StorageError) {
        while let store = store(), try store.compactOnce() {}
      } catch {
        pause = store()?.options.compaction.retryNanoseconds ?? 1
      }
      if isStopping || store() == nil { return }
      if signal.load() == seen { signal.wait(while: seen, timeoutNanoseconds: pause) }
    }
  }

  /// Ends the thread without waiting for it: the store went without `close`, perhaps on that very thread.
  func abandon() {
    stopping.store(true, ordering: .relaxed)
    wake()
    thread.withLock { thread in
      if let left = thread { _ = pthread_detach(left) }
      thread = nil
    }
  }

  /// Ends the thread: a compaction that runs is given up.
  func stop() {
    stopping.store(true, ordering: .relaxed)
    wake()
    let joined = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    if let joined { pthread_join(joined, nil) }
  }
}
