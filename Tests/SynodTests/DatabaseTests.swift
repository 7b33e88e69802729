import Foundation
import Synod
import Testing

/// The library as an application uses it.
@Suite struct DatabaseTests {
  final class Directory {
    let path = NSTemporaryDirectory() + "/synod-library-\(UUID().uuidString).db"
    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  @Test func sqlAndKeysShareATransaction() throws {
    let directory = Directory()
    let database = try Database.open(at: directory.path)
    try database.execute("CREATE TABLE account (id int PRIMARY KEY, balance numeric NOT NULL CHECK (balance >= 0))")
    try database.transaction(isolation: .serializable) { transaction in
      try transaction.execute("INSERT INTO account VALUES ($1, $2)", 1, "100.00")
      try transaction.put([1, 2], [3])
      #expect(try transaction.get([1, 2]) == [3])
    }
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try database.transaction { transaction in
        try transaction.execute("UPDATE account SET balance = 0")
        try transaction.put([1, 2], [4])
        throw Stop()
      }
    }
    #expect(try database.query("SELECT balance FROM account").first?["balance"] == .text("100.00"))
    #expect(try database.get([1, 2]) == [3])
    let refused = #expect(throws: DatabaseError.self) { try database.execute("UPDATE account SET balance = -1") }
    #expect(refused?.sqlState == "23514")
    try database.close()
    let again = try Database.open(at: directory.path)
    #expect(try again.query("SELECT id, balance FROM account").map { $0["id"] } == [.int(1)])
    #expect(try again.get([1, 2]) == [3])
    try again.close()
  }

  @Test func concurrentIncrementsAllCount() throws {
    let directory = Directory()
    let database = try Database.open(at: directory.path)
    defer { try? database.close() }
    try database.execute("CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL)")
    try database.execute("INSERT INTO counter VALUES (1, 0)")
    for isolation in IsolationLevel.allCases {
      let before = try database.query("SELECT n FROM counter").first![0].int!
      let failures = Mutexed(0)
      DispatchQueue.concurrentPerform(iterations: 4) { _ in
        for _ in 0..<25 {
          do {
            _ = try database.transaction(isolation: isolation) { transaction in
              try transaction.execute("UPDATE counter SET n = n + 1 WHERE id = 1")
            }
          } catch { failures.add(1) }
        }
      }
      let after = try database.query("SELECT n FROM counter").first![0].int!
      #expect(after - before == Int64(100 - failures.value), "\(isolation)")
    }
  }

  @Test func writeSkewIsRefusedAtSerializableOnly() throws {
    let directory = Directory()
    let database = try Database.open(at: directory.path)
    defer { try? database.close() }
    try database.execute("CREATE TABLE doctor (name text PRIMARY KEY, on_call bool NOT NULL)")
    func skew(_ isolation: IsolationLevel) throws -> Bool {
      try database.execute("DELETE FROM doctor")
      try database.execute("INSERT INTO doctor VALUES ('a', true), ('b', true)")
      let first = try database.makeSession()
      let second = try database.makeSession()
      for session in [first, second] {
        try session.execute("BEGIN ISOLATION LEVEL \(isolation.rawValue)")
        #expect(try session.query("SELECT count(*) FROM doctor WHERE on_call").first![0].int == 2)
      }
      try first.execute("UPDATE doctor SET on_call = false WHERE name = 'a'")
      try second.execute("UPDATE doctor SET on_call = false WHERE name = 'b'")
      try first.execute("COMMIT")
      do { try second.execute("COMMIT") } catch {
        #expect(error.sqlState == "40001")
        #expect(error.isRetryable)
        return false
      }
      return true
    }
    #expect(try skew(.repeatableRead))
    #expect(try !skew(.serializable))
  }

  @Test func asyncFormsDoTheSame() async throws {
    let directory = Directory()
    let database = try Database.open(at: directory.path)
    try await database.execute("CREATE TABLE t (id int)", [])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<20 {
        group.addTask { _ = try await database.execute("INSERT INTO t VALUES ($1)", [.int(Int64(index))]) }
      }
      try await group.waitForAll()
    }
    #expect(try await database.query("SELECT count(*), sum(id) FROM t").first?[0] == .int(20))
    try database.close()
  }

  final class Mutexed: @unchecked Sendable {
    // Unchecked: `lock` guards `count`.
    private let lock = NSLock()
    private var count: Int
    init(_ count: Int) { self.count = count }
    func add(_ n: Int) { lock.withLock { count += n } }
    var value: Int { lock.withLock { count } }
  }
}
