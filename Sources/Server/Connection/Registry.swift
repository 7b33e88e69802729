internal import SQL
internal import Synchronization
internal import Wire

/// Who is connected: for cancel requests, pg_stat_activity, limits and the end.
package final class ConnectionRegistry: Sendable {
  private struct Entry {
    var connection: Connection
    var key: CancelKey?
  }
  private struct State {
    var entries: [UInt32: Entry] = [:]
    var isClosing = false
  }
  private let state = Mutex(State())
  private let limit: Int
  private let reserve: Int

  package init(limit: Int, superuserReserve: Int) {
    self.limit = limit
    reserve = superuserReserve
  }

  /// Takes a connection in; or says why not.
  func admit(_ connection: Connection, _ process: UInt32, isSuperuser: Bool, roleLimit: Int) -> String? {
    state.withLock { state in
      if state.isClosing { return "the database system is shutting down" }
      let count = state.entries.count
      if count >= limit { return "sorry, too many clients already" }
      if !isSuperuser {
        if count >= limit - reserve {
          return "remaining connection slots are reserved for superusers"
        }
        if roleLimit >= 0,
          state.entries.values.count(where: { $0.connection.roleName == connection.roleName }) >= roleLimit
        {
          return "too many connections for role \"\(connection.roleName)\""
        }
      }
      state.entries[process] = Entry(connection: connection)
      return nil
    }
  }

  func register(_ key: CancelKey) { state.withLock { $0.entries[key.process]?.key = key } }

  func remove(_ process: UInt32) { state.withLock { _ = $0.entries.removeValue(forKey: process) } }

  /// Cancels the statement of whoever has the key. A wrong key is answered as a right one: not at all.
  func cancel(_ key: CancelKey) {
    let connection = state.withLock { state -> Connection? in
      guard let entry = state.entries[key.process], let known = entry.key, known.matches(key) else { return nil }
      return entry.connection
    }
    connection?.cancelStatement()
  }

  func connection(_ process: UInt32) -> Connection? { state.withLock { $0.entries[process]?.connection } }

  /// Everybody, by process id.
  var all: [(process: UInt32, connection: Connection)] {
    state.withLock { state in
      state.entries.map { ($0.key, $0.value.connection) }
    }.sorted { $0.process < $1.process }
  }

  package var count: Int { state.withLock { $0.entries.count } }

  /// From now on nobody comes in.
  func close() { state.withLock { $0.isClosing = true } }
}
