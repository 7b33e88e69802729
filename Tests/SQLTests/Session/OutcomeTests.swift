import SQL
import Testing

/// Idempotency keys and transaction numbers (Outcomes.swift).
@Suite struct OutcomeTests {
  private func ready() throws -> (TestSQL, SQLSession) {
    let test = try TestSQL()
    let session = test.session()
    _ = session.lines("CREATE TABLE t (id int PRIMARY KEY, v text)")
    return (test, session)
  }

  @Test func aStatementIsRunOnceUnderItsKey() throws {
    let (test, session) = try ready()
    _ = session.lines("SET synod.idempotency_key = 'a'")
    #expect(session.lines("INSERT INTO t VALUES (1, 'x')") == ["INSERT 0 1"])
    // Another session of the same role, as after a broken connection: the first answer, and nothing is done.
    let other = test.session()
    _ = other.lines("SET synod.idempotency_key = 'a'")
    #expect(other.lines("INSERT INTO t VALUES (1, 'x')").last == "INSERT 0 1")
    #expect(session.lines("SELECT count(*) FROM t") == ["count", "1"])
    // Another statement under the same key is not the first one's.
    #expect(other.lines("DELETE FROM t").joined().contains("SY001"))
    #expect(other.lines("INSERT INTO t VALUES (2, 'y') RETURNING id").joined().contains("SY001"))
    #expect(session.lines("SELECT count(*) FROM t") == ["count", "1"])
    _ = other.lines("RESET synod.idempotency_key")
    #expect(other.lines("DELETE FROM t") == ["DELETE 1"])
  }

  @Test func aBlockIsRefusedThatHasCommittedBefore() throws {
    let (test, session) = try ready()
    for statement in ["BEGIN", "SET LOCAL synod.idempotency_key = 'b'", "INSERT INTO t VALUES (1, 'x')", "COMMIT"] {
      _ = session.lines(statement)
    }
    let other = test.session()
    _ = other.lines("BEGIN")
    #expect(other.lines("SET LOCAL synod.idempotency_key = 'b'").joined().contains("SY001"))
    _ = other.lines("ROLLBACK")
    _ = other.lines("SET synod.idempotency_key = 'b'")
    #expect(other.lines("BEGIN").joined().contains("SY001"))
    #expect(other.status == .idle)
    #expect(session.lines("SELECT count(*) FROM t") == ["count", "1"])
  }

  @Test func whatWasRolledBackMayBeTriedAgain() throws {
    let (_, session) = try ready()
    _ = session.lines("SET synod.idempotency_key = 'c'")
    for statement in ["BEGIN", "INSERT INTO t VALUES (1, 'x')", "ROLLBACK"] { _ = session.lines(statement) }
    for statement in ["BEGIN", "INSERT INTO t VALUES (1, 'x')"] { _ = session.lines(statement) }
    #expect(session.lines("COMMIT") == ["COMMIT"])
    #expect(session.lines("SELECT count(*) FROM t") == ["count", "1"])
  }

  @Test func numbersTellOutcomes() throws {
    let (test, session) = try ready()
    func number(_ session: SQLSession) -> Int { Int(session.lines("SELECT txid_current()").last ?? "") ?? 0 }
    _ = session.lines("BEGIN")
    #expect(session.lines("SELECT txid_current_if_assigned() IS NULL").last == "t")
    let first = number(session)
    #expect(first > 0 && number(session) == first)
    let other = test.session()
    #expect(other.lines("SELECT txid_status(\(first))").last == "in progress")
    _ = session.lines("COMMIT")
    #expect(other.lines("SELECT txid_status(\(first)), pg_xact_status(\(first))").last == "committed | committed")
    _ = session.lines("BEGIN")
    let second = number(session)
    #expect(second > first)
    _ = session.lines("ROLLBACK")
    #expect(other.lines("SELECT txid_status(\(second))").last == "aborted")
    #expect(other.lines("SELECT txid_status(\(second + 1000))").joined().contains("22023"))
    _ = other.lines("BEGIN READ ONLY")
    #expect(other.lines("SELECT txid_current()").joined().contains("25006"))
  }

  @Test func tokensAreOfOneHistory() throws {
    let (_, session) = try ready()
    let token = session.lines("SHOW synod.session_token").last ?? ""
    #expect(SessionToken(token)?.version ?? 0 > 0)
    #expect(!session.lines("SET synod.session_token = '\(token)'").joined().contains("ERROR"))
    #expect(session.lines("SET synod.session_token = 'ff:1'").joined().contains("55000"))
    #expect(session.lines("SET synod.session_token = 'nonsense'").joined().contains("22023"))
    var reported: [String] = []
    session.onReportedSetting = { name, value in if name == "synod.session_token" { reported.append(value) } }
    _ = session.lines("INSERT INTO t VALUES (1, 'x')")
    #expect(reported.isEmpty)
    _ = session.lines("SET synod.read_consistency = session")
    _ = session.lines("INSERT INTO t VALUES (2, 'x')")
    #expect(reported.count == 1)
  }
}
