internal import Dispatch

// The same for callers that are tasks. The engine is synchronous: the work runs on threads of its own, so that a wait for
// a lock or the disk never holds up Swift's cooperative pool.

/// Where the work of tasks is done.
private let workers = DispatchQueue(label: "synod.workers", qos: .userInitiated, attributes: .concurrent)

private func onWorker<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
  try await withCheckedThrowingContinuation { continuation in
    workers.async { continuation.resume(with: Swift.Result { try body() }) }
  }
}

extension Database {
  /// Runs `body` in a transaction, as the synchronous form does, without blocking the task's thread.
  public func transaction<R: Sendable>(
    isolation: IsolationLevel? = nil, isReadOnly: Bool = false, isDurable: Bool = true,
    _ body: @escaping @Sendable (Transaction) throws -> R
  ) async throws -> R {
    try await onWorker {
      try self.transaction(isolation: isolation, isReadOnly: isReadOnly, isDurable: isDurable, body)
    }
  }

  /// Runs statements outside of any block, without blocking the task's thread.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [SQLValue]) async throws -> Result {
    try await onWorker { try self.runAlone(sql, parameters) }
  }

  /// Runs a query outside of any block, without blocking the task's thread.
  public func query(_ sql: String, _ parameters: [SQLValue] = []) async throws -> Result {
    try await onWorker { try self.runAlone(sql, parameters) }
  }

  /// The newest committed value of `key`, without blocking the task's thread.
  public func get(_ key: [UInt8]) async throws -> [UInt8]? { try await onWorker { try self.get(key) } }

  /// Writes `value` under `key`, without blocking the task's thread.
  public func put(_ key: [UInt8], _ value: [UInt8]) async throws { try await onWorker { try self.put(key, value) } }
}
