internal import CSynod
internal import Glibc
internal import Synchronization

/// A thread that turns a loop, or is finishing what it began before its loop was taken away, or is parked.
///
/// `@unchecked Sendable`: everything but `signal` and `assignment` belongs to the thread itself; `assignment` is written
/// before `signal` is raised and read after.
@safe
final class LoopThread: @unchecked Sendable {
  /// Bytes come into this memory. It belongs to the thread, not to the loop: a handler goes on reading from it after the
  /// loop was taken away.
  static let scratchBytes = 64 * 1024
  /// A ciphertext of `scratchBytes` and what OpenSSL holds of an unfinished record decrypt to less than this.
  static let clearBytes = 96 * 1024

  /// The loop that it turns or turned last; nil while parked.
  var loop: EventLoop?
  /// The loop's word as this thread last set it; odd within a handler.
  var word: UInt64 = 0
  /// The loop belongs to another thread now.
  var isDetached = false
  /// The handler that runs is one of the only source that the loop has had events of lately.
  var isAlone = false
  /// Whether it pays to look for what handlers wait for.
  var waits = SpinCredit()
  /// What the handler that runs asked to be done behind it, on this thread.
  var afterwards: [@Sendable () -> Void] = []

  let signal = FutexWord(0)
  var assignment: EventLoop?

  private var scratchMemory: UnsafeMutableRawBufferPointer?
  private var clearMemory: UnsafeMutableRawBufferPointer?

  var scratch: UnsafeMutableRawBufferPointer {
    if let memory = unsafe scratchMemory { return unsafe memory }
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.scratchBytes, alignment: 64)
    unsafe scratchMemory = memory
    return unsafe memory
  }

  var clear: UnsafeMutableRawBufferPointer {
    if let memory = unsafe clearMemory { return unsafe memory }
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.clearBytes, alignment: 64)
    unsafe clearMemory = memory
    return unsafe memory
  }

  deinit {
    unsafe scratchMemory?.deallocate()
    unsafe clearMemory?.deallocate()
  }

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let status = unsafe pthread_key_create(&key, nil)
    precondition(status == 0, "no thread-specific key is free")
    return key
  }()

  /// The calling thread, where a pool started it.
  static var current: LoopThread? {
    guard let pointer = unsafe pthread_getspecific(key) else { return nil }
    return unsafe Unmanaged<LoopThread>.fromOpaque(pointer).takeUnretainedValue()
  }

  func becomeCurrent() { _ = unsafe pthread_setspecific(Self.key, Unmanaged.passUnretained(self).toOpaque()) }
  func resignCurrent() { _ = pthread_setspecific(Self.key, nil) }

  /// Gives the loop to another thread, if this one still turns it. Afterwards it does not.
  func handOver() {
    guard let loop, !isDetached, word & 1 == 1 else { return }
    isDetached = true
    if loop.take(word) { loop.group.assign(loop) }
  }
}

/// The threads of a group of loops: those that turn one, those that finish something, and spare ones.
///
/// A loop that needs a thread gets the spare one that was parked last, else a new one, else (`maximum` is met, or the
/// system refuses) it waits in `orphans` for the next thread that becomes free.
struct LoopThreads: ~Copyable {
  var parked: [LoopThread] = []
  var orphans: [EventLoop] = []
  var count = 0
  var isShuttingDown = false
}

extension EventLoopGroup {
  /// A spare thread beyond one for each loop ends after so long without work.
  private static var spareLifetimeNanoseconds: UInt64 { 10_000_000_000 }

  /// Finds a thread for a loop that none turns.
  func assign(_ loop: EventLoop) {
    enum Choice { case parked(LoopThread), new, wait }
    let choice = threads.withLock { threads -> Choice in
      if let thread = threads.parked.popLast() { return .parked(thread) }
      guard threads.count < maximumThreads else {
        threads.orphans.append(loop)
        return .wait
      }
      threads.count += 1
      return .new
    }
    switch choice {
    case .wait: break
    case .parked(let thread):
      thread.assignment = loop
      thread.signal.store(1)
      thread.signal.wake(1)
    case .new:
      guard !startThread(for: loop) else { return }
      threads.withLock { threads in
        threads.count -= 1
        threads.orphans.append(loop)
      }
      adoptOrphans()
    }
  }

  /// The system refused a thread: one that was parked meanwhile may have missed the orphan.
  private func adoptOrphans() {
    let pair = threads.withLock { threads -> (EventLoop, LoopThread)? in
      guard !threads.orphans.isEmpty, let thread = threads.parked.popLast() else { return nil }
      return (threads.orphans.removeFirst(), thread)
    }
    guard let (loop, thread) = pair else { return }
    thread.assignment = loop
    thread.signal.store(1)
    thread.signal.wake(1)
  }

  private final class Start: Sendable {
    let group: EventLoopGroup
    let loop: EventLoop
    init(_ group: EventLoopGroup, _ loop: EventLoop) {
      self.group = group
      self.loop = loop
    }
  }

  private func startThread(for loop: EventLoop) -> Bool {
    let start = unsafe Unmanaged.passRetained(Start(self, loop))
    var handle = pthread_t()
    let code = unsafe pthread_create(
      &handle, nil,
      { argument in
        let start = unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
        nameThread("loop")
        start.group.run(start.loop)
        return nil
      }, start.toOpaque())
    guard code == 0 else {
      unsafe start.release()
      return false
    }
    pthread_detach(handle)
    return true
  }

  /// The life of a thread.
  private func run(_ first: EventLoop) {
    let thread = LoopThread()
    thread.becomeCurrent()
    var next: EventLoop? = first
    while let loop = next {
      thread.loop = loop
      thread.word = loop.currentWord
      thread.isDetached = false
      if loop.turn(thread) { loopHasStopped() }
      thread.loop = nil
      next = park(thread)
    }
    thread.resignCurrent()
    threads.withLock { $0.count -= 1 }
    ended.increment()
    ended.wake()
  }

  /// Waits for a loop; nil when the thread should end.
  private func park(_ thread: LoopThread) -> EventLoop? {
    enum Choice { case orphan(EventLoop), wait, end }
    let choice = threads.withLock { threads -> Choice in
      if !threads.orphans.isEmpty { return .orphan(threads.orphans.removeFirst()) }
      if threads.isShuttingDown { return .end }
      thread.signal.store(0)
      thread.assignment = nil
      threads.parked.append(thread)
      return .wait
    }
    switch choice {
    case .orphan(let loop): return loop
    case .end: return nil
    case .wait: break
    }
    while thread.signal.load() == 0 {
      let isExtra = threads.withLock { $0.parked.count > count }
      thread.signal.wait(while: 0, timeoutNanoseconds: isExtra ? Self.spareLifetimeNanoseconds : 0)
      guard isExtra, thread.signal.load() == 0 else { continue }
      let mayEnd = threads.withLock { threads -> Bool in
        guard threads.parked.count > count, let place = threads.parked.firstIndex(where: { $0 === thread })
        else { return false }
        threads.parked.remove(at: place)
        return true
      }
      if mayEnd { return nil }
    }
    return thread.assignment
  }

  /// Lets every parked thread end and waits until all have.
  func endThreads() {
    let parked = threads.withLock { threads -> [LoopThread] in
      threads.isShuttingDown = true
      defer { threads.parked.removeAll() }
      return threads.parked
    }
    for thread in parked {
      thread.signal.store(1)
      thread.signal.wake(1)
    }
    while true {
      let seen = ended.load()
      if threads.withLock({ $0.count }) == 0 { return }
      ended.wait(while: seen)
    }
  }
}
