// What the clients of a database did and were told, as a value: the input of `HistoryChecker`.
//
// Two kinds of object, both such that what is read tells who wrote it:
//
//   list       grows by appending elements; an element is appended once in the whole history, by one transaction
//   register   holds a value that is written once in the whole history, and the number of writes up to it, which the
//              database counts (`SET v = …, n = n + 1`); position 0 is the register before its first write
//
// Times are nanoseconds of one monotonic clock, taken by the client before it sends and after it has the answer.

/// Everything that was tried, and what was there in the end.
package struct ClientHistory: Sendable {
  package var transactions: [ClientTransaction] = []
  /// By key: the list at the end, read when no client ran any more.
  package var finalLists: [Int: [Int]] = [:]
  /// By key: number of writes, and the value.
  package var finalRegisters: [Int: RegisterState] = [:]
  package init() {}
}

package struct RegisterState: Hashable, Sendable {
  package var position: Int
  package var value: Int
  package init(position: Int, value: Int) {
    self.position = position
    self.value = value
  }
}

/// One transaction as its client saw it.
package struct ClientTransaction: Sendable {
  package enum Level: Int, Sendable, CaseIterable { case readCommitted, repeatableRead, serializable }
  package enum Outcome: Sendable {
    /// The client was told that it is committed.
    case committed
    /// The client was told that it is not; or it never asked to commit.
    case failed
    /// Nobody knows: the connection broke after COMMIT was sent.
    case unknown
  }
  /// What the session asked of the node's state.
  package enum Freshness: Hashable, Sendable {
    case linearizable
    /// No older than so many nanoseconds.
    case bounded(UInt64)
    /// A node's own state, but nothing that the session has seen or done may be missing, wherever it did.
    case session
    case stale
  }
  package enum Action: Sendable {
    case append(key: Int, element: Int)
    case list(key: Int, [Int])
    case write(key: Int, RegisterState)
    case read(key: Int, RegisterState)
  }
  package struct Operation: Sendable {
    package var action: Action
    /// When its statement was sent.
    package var start: UInt64
    package init(_ action: Action, start: UInt64) {
      self.action = action
      self.start = start
    }
  }

  /// Transactions of one session came one after the other: over one connection to one node, or with a token that went along.
  package var session: Int
  package var level: Level
  package var freshness: Freshness
  package var operations: [Operation] = []
  package var outcome = Outcome.failed
  /// When its first statement was sent, and when its last answer came.
  package var start: UInt64
  package var end: UInt64 = .max

  package init(
    session: Int, level: Level, freshness: Freshness = .linearizable, start: UInt64
  ) {
    self.session = session
    self.level = level
    self.freshness = freshness
    self.start = start
  }
}

/// Something that must not be.
package struct HistoryAnomaly: Sendable, CustomStringConvertible {
  package enum Kind: String, Sendable, CaseIterable {
    /// An acknowledged write is not there.
    case lostWrite = "lost acknowledged write"
    /// A write of a failed transaction was read, or is there.
    case abortedRead = "G1a aborted read"
    /// A state in the middle of a transaction was read.
    case intermediateRead = "G1b intermediate read"
    /// Something was read that nobody wrote, or was written twice.
    case impossibleValue = "impossible value"
    /// Two reads of one list cannot both be prefixes of one order.
    case incompatibleOrder = "incompatible order"
    /// Two transactions wrote over the same version.
    case lostUpdate = "P4 lost update"
    /// A transaction does not see its own writes, or one snapshot shows two states.
    case internalRead = "internal inconsistency"
    case dirtyWrite = "G0 write cycle"
    case circularFlow = "G1c circular information flow"
    case readSkew = "G-single read skew"
    case writeSkew = "G2 anti-dependency cycle"
    /// The same with edges of real time.
    case realTimeFlow = "G1c-realtime"
    case realTimeSkew = "G-single-realtime stale snapshot"
    case realTimeCycle = "G2-realtime not strictly serializable"
    /// A read that began after a write was acknowledged did not see it.
    case staleRead = "stale read"
    /// A session saw less than it saw before.
    case notMonotonic = "not monotonic"
    /// A session did not see what it had written itself.
    case ownWriteUnseen = "own write unseen"
  }
  package var kind: Kind
  package var detail: String
  package var description: String { "\(kind.rawValue): \(detail)" }
}
