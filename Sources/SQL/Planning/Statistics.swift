internal import Synchronization

// What the planner knows of the sizes of tables. Kept in memory, shared by all sessions, written down by ANALYZE.
//
// Row counts come from, in this order: ANALYZE; a scan that reached the end of the table; counting the first rows. They
// are corrected by what statements insert and delete. They only steer the choice of plans: nothing is wrong when they are.

/// Sizes of one table.
package struct TableStatistics: Sendable, Hashable {
  package struct Column: Sendable, Hashable {
    /// Fraction of nulls.
    package var nulls: Double
    /// Distinct values that are not null.
    package var distinct: Double
  }
  package var rows: Double
  /// By place.
  package var columns: [Int: Column] = [:]
}

package final class StatisticsStore: Sendable {
  private let tables: Mutex<[ObjectID: TableStatistics]> = Mutex([:])
  package init() {}

  package func find(_ storage: ObjectID) -> TableStatistics? { tables.withLock { $0[storage] } }
  package func set(_ storage: ObjectID, _ statistics: TableStatistics) {
    tables.withLock { $0[storage] = statistics }
  }
  /// The rows that a full scan met.
  func observed(_ storage: ObjectID, rows: Int) {
    tables.withLock { $0[storage, default: TableStatistics(rows: 0)].rows = Double(rows) }
  }
  func changed(_ storage: ObjectID, by delta: Int) {
    tables.withLock { map in
      guard var known = map[storage] else { return }
      known.rows = max(0, known.rows + Double(delta))
      map[storage] = known
    }
  }
}
