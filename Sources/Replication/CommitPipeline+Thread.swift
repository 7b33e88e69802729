internal import Encoding
package import Log
internal import Platform
internal import Synchronization

// The log thread: passes where many wait, and what is due when nobody does.
extension CommitPipeline {
  func startThread() {
    thread.withLock { slot in
      // Keeps the pipeline alive until `close`.
      slot = BackgroundThread("log") { self.threadLoop() }
    }
  }

  private enum Turn { case stop, run, tend, sleep(UInt32, UInt64) }

  func threadLoop() {
    while true {
      let turn = state.withLock { state -> Turn in
        state.isThreadSignalled = false
        state.isThreadParked = false
        if state.isStopping { return .stop }
        if state.isRunning {
          // Whoever runs hands over.
          state.isThreadParked = true
          return .sleep(threadWord.load(), 0)
        }
        if state.hasWork && state.failure == nil {
          state.isRunning = true
          return .run
        }
        let (due, wait) = tending(state)
        if due {
          state.isRunning = true
          return .tend
        }
        state.isThreadParked = wait == 0
        return .sleep(threadWord.load(), wait)
      }
      switch turn {
      case .stop: return
      case .run: runAll()
      case .tend: tend()
      case .sleep(let seen, let timeout): threadWord.wait(while: seen, timeoutNanoseconds: timeout)
      }
    }
  }

  /// Pass after pass while somebody waits.
  func runAll() {
    while true {
      pass()
      let goesOn = state.withLock { state in
        if state.hasWork && state.failure == nil { return true }
        state.isRunning = false
        return false
      }
      if !goesOn { return }
    }
  }

  /// Whether unsynced transactions are to be written or the end is to be sealed now, or else in how many nanoseconds
  /// (0 = there is neither).
  func tending(_ state: State) -> (due: Bool, waitNanoseconds: UInt64) {
    guard state.failure == nil else { return (false, 0) }
    let now = clock.bootNanoseconds
    if state.unwrittenSizeBytes > 0 {
      let due = state.unwrittenSince &+ options.unsyncedDelayNanoseconds
      return now >= due ? (true, 0) : (false, due - now)
    }
    if state.isUnsealed {
      let due = state.lastWrite &+ options.sealDelayNanoseconds
      return now >= due ? (true, 0) : (false, due - now)
    }
    return (false, 0)
  }

  /// Writes what is unsynced, or seals. The caller set `isRunning`.
  func tend() {
    let writes = state.withLock { state in
      if state.unwrittenSizeBytes > 0 { state.isFlushAsked = true }
      return state.unwrittenSizeBytes > 0
    }
    if writes {
      writeFrame()
    } else {
      do throws(LogError) {
        try log.seal()
        state.withLock { $0.isUnsealed = false }
      } catch { fail(error) }
    }
    state.withLock { $0.isRunning = false }
    handOver()
  }

  /// Writes the frame as it is.
  func writeFrame() {
    var failure: LogError?
    var wrote = false
    leader.withLock { leader in
      guard !leader.frame.isEmpty else { return }
      do throws(LogError) {
        try write(&leader)
        leader.hasWritten = false
        wrote = true
      } catch { failure = error }
    }
    if let failure { fail(failure) } else { finish(nil, wrote: wrote, unwritten: 0) }
  }

  /// Does now what the log thread would do after a while: for simulations, which have none.
  package func tick() {
    let runs = state.withLock { state in
      if state.isRunning || state.failure != nil { return false }
      guard state.unwrittenSizeBytes > 0 || state.isUnsealed else { return false }
      state.isRunning = true
      return true
    }
    if runs { tend() }
  }

  /// Writes what is unsynced and ends the log thread. Nobody may append or wait any more. Does not close the log.
  package func close() throws(LogError) {
    var failure: LogError?
    do throws(LogError) { try flush() } catch { failure = error }
    state.withLock { $0.isStopping = true }
    wakeThread()
    thread.withLock { slot in
      slot?.join()
      slot = nil
    }
    state.withLock { if $0.failure == nil { $0.failure = .closed } }
    if let failure { throw failure }
  }
}
