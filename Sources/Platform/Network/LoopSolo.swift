/// When a loop looks for events for a moment rather than sleep at once.
///
/// A processor that has nothing to do is halted, and waking it takes tens of microseconds where the machine is virtual: as
/// long as a client takes to read an answer and to ask again. A client that is alone waits for that at every request; with
/// several, some processor is awake anyway, and looking would only take it from them. So a loop spins
///
/// 1. when its last `turns` turns were one source's: others would have events of their own meanwhile;
/// 2. for at most `spinNanoseconds`, and while no other loop of its group does;
/// 3. as long as that finds something at least every third time; otherwise only every `pause`th time, to see whether it
///    does again. A client that thinks between its requests costs nothing more then.
///
/// Adaptive spinning of locks, and the halt polling of hypervisors, decide in the same way.
package struct LoopSolo {
  package static let turns = 32
  package static let spinNanoseconds: UInt64 = 50_000
  package static let mostCredit = 8
  package static let pause = 64

  private var token: UInt64 = 0
  private var inRow = 0
  private var credit = SpinCredit()

  package init() {}

  /// A source has its turn.
  @inline(__always)
  package mutating func note(_ token: UInt64) {
    if token == self.token {
      inRow &+= 1
    } else {
      self.token = token
      inRow = 0
    }
  }

  /// The last turns were one source's.
  package var isAlone: Bool { inRow >= Self.turns }

  /// Whether to spin now; called each time that the loop would sleep.
  package mutating func maySpin() -> Bool { isAlone && credit.maySpin() }

  package mutating func hasSpun(found: Bool) { credit.hasSpun(found: found) }
}

/// Rule 3 of `LoopSolo`.
struct SpinCredit {
  private var credit = 1
  private var skipped = 0

  mutating func maySpin() -> Bool {
    if credit > 0 { return true }
    skipped &+= 1
    guard skipped >= LoopSolo.pause else { return false }
    skipped = 0
    return true
  }

  mutating func hasSpun(found: Bool) {
    credit = found ? min(credit + 2, LoopSolo.mostCredit) : max(credit - 1, 0)
  }
}
