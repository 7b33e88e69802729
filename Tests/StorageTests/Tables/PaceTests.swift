import Storage
import Synchronization
import Testing

@Suite struct PaceTests {
  /// One rests after a step if there was a commit since the last one, and nothing is behind.
  @Test func restsForCommitsAlone() {
    let version = Mutex<UInt64>(0)
    let isUrgent = Mutex(false)
    let pace = Pace(progress: { version.withLock { $0 } }, isUrgent: { isUrgent.withLock { $0 } })
    pace.rest(after: 1)
    #expect(pace.rests == 0)
    for round in 1...3 {
      version.withLock { $0 += 1 }
      pace.rest(after: 1)
      pace.rest(after: 1)
      #expect(pace.rests == UInt64(round))
    }
    isUrgent.withLock { $0 = true }
    version.withLock { $0 += 1 }
    pace.rest(after: 1)
    #expect(pace.rests == 3)
  }
}
