// Client sessions: what makes a repeated request harmless (Ongaro §6.3).
//
// The table is part of the replicated state: every node applies the same calls in log order, so every node has the same
// table, and checkpoints carry it. Nothing here looks at a clock; `time` is the record's own.

/// What became of a request.
package enum SessionOutcome: Hashable, Sendable {
  /// It committed at this version.
  case version(UInt64)
  /// It failed for good with this SQLSTATE, as five ASCII characters in the low bytes.
  case state(UInt64)
}

/// Whether a request was seen before.
package enum SessionCheck: Hashable, Sendable {
  case new
  case duplicate(SessionOutcome)
  /// Older than the newest of its session; its outcome is no longer kept.
  case stale
  /// Expired, or never opened. It is an error, and never opens a session by itself.
  case unknownSession
}

/// The newest request of each session and its outcome, bounded by dropping the session longest unused.
package struct SessionTable: Hashable, Sendable {
  private struct Row: Hashable, Sendable {
    var id: UInt64
    var sequence: UInt64
    var outcome: SessionOutcome
    var used: UInt64
  }
  private var rows: [Row] = []
  package let capacity: Int

  package init(capacity: Int) {
    precondition(capacity > 0)
    self.capacity = capacity
  }

  package var count: Int { rows.count }

  /// - Complexity: O(log n).
  private func position(_ id: UInt64) -> (index: Int, found: Bool) {
    var low = 0
    var high = rows.count
    while low < high {
      let middle = (low + high) / 2
      if rows[middle].id < id { low = middle + 1 } else { high = middle }
    }
    return (low, low < rows.count && rows[low].id == id)
  }

  package func contains(_ id: UInt64) -> Bool { position(id).found }

  /// Opens a session; the identifier comes from a chosen record and is new. Drops the session longest unused if full.
  package mutating func open(_ id: UInt64, time: UInt64) {
    if position(id).found { return }
    if rows.count == capacity, let oldest = rows.indices.min(by: { (rows[$0].used, $0) < (rows[$1].used, $1) }) {
      rows.remove(at: oldest)
    }
    rows.insert(Row(id: id, sequence: 0, outcome: .version(0), used: time), at: position(id).index)
  }

  /// Whether request `sequence` (from 1) of a session is to be carried out.
  package func check(_ id: UInt64, sequence: UInt64) -> SessionCheck {
    let (i, found) = position(id)
    guard found else { return .unknownSession }
    if sequence > rows[i].sequence { return .new }
    return sequence == rows[i].sequence ? .duplicate(rows[i].outcome) : .stale
  }

  package mutating func record(_ id: UInt64, sequence: UInt64, outcome: SessionOutcome, time: UInt64) {
    let (i, found) = position(id)
    guard found, sequence > rows[i].sequence else { return }
    rows[i].sequence = sequence
    rows[i].outcome = outcome
    rows[i].used = max(rows[i].used, time)
  }

  /// Drops sessions unused since before `time`.
  package mutating func expire(unusedSince time: UInt64) { rows.removeAll { $0.used < time } }
}
