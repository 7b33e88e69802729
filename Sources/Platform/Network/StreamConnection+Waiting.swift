internal import CSynod
internal import Glibc
internal import Synchronization

// Waiting for the peer in the middle of a turn.
extension StreamConnection {
  /// Blocks until bytes come, handing the loop over: for a handler that needs more of the peer before it can end its turn
  /// (the data of a COPY). They are given to the handler's `received`, and the peer's end to `inputEnded`, within this
  /// call. They come into the same memory as those of an enclosing `received`, whose bytes are no longer valid.
  ///
  /// - Returns: false where no more will come; true where bytes came or the time was up.
  package func waitForBytes(timeoutNanoseconds: UInt64 = .max) -> Bool {
    guard phase == .open, !hasInputEnded else { return false }
    return EventLoop.blocking {
      guard let thread = LoopThread.current else { preconditionFailure("a turn runs on a loop's thread") }
      if !earlyInput.isEmpty {
        receiveEarlyInput(thread)
        return phase == .open
      }
      let deadline = synod_boot_nanoseconds().addingReportingOverflow(timeoutNanoseconds)
      while phase == .open && !hasInputEnded && !abortRequested.load(ordering: .acquiring) {
        let now = synod_boot_nanoseconds()
        if !deadline.overflow && now >= deadline.partialValue { return true }
        let left = deadline.overflow ? -1 : Int64(clamping: deadline.partialValue - now)
        guard synod_wait_for(descriptor, Int32(POLLIN), left) > 0 else { continue }
        canRead = true
        read(thread)
        // What TLS holds back is no byte yet, and one look more is cheap.
        return phase == .open
      }
      return false
    }
  }
}
