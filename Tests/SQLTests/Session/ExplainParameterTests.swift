import SQL
import Testing

/// EXPLAIN takes the parameters of the statement that it explains, as drivers' `explain` expects.
@Suite struct ExplainParameterTests {
  @Test func parametersAreThoseOfTheStatement() throws {
    let session = try TestSQL().session()
    _ = session.lines("CREATE TABLE t (id int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    let statement = try session.prepare("e", "EXPLAIN (ANALYZE, COSTS off) SELECT * FROM t WHERE id = $1 AND b > $2")
    #expect(statement.parameterTypes.map(\.description) == ["integer", "text"])
    #expect(statement.columns?.map(\.name) == ["QUERY PLAN"])
    let sink = TextSink(session)
    try session.execute(try session.bind("", statement: "e", parameters: [.int(1), .text("a")]), sink)
    #expect(sink.lines.contains { $0.contains("actual") && $0.contains("rows=1") }, "\(sink.lines)")
    #expect(throws: SQLError.self) { try session.prepare("", "EXPLAIN SELECT * FROM nothing WHERE a = $1") }
  }
}

/// A parameter of a type that names objects is read before its statement has a transaction (DBD::Pg's last_insert_id).
@Suite struct ObjectNameParameterTests {
  @Test func namesAreLookedUpOutsideOfATransaction() throws {
    let session = try TestSQL().session()
    _ = session.lines("CREATE TABLE t (id int)")
    let arena = Arena()
    func number(_ name: String) throws(SQLError) -> Int64 {
      try TypeCodec.parse(arena.copy(name), SQLType(.regclass), arena, session.textFormat).int
    }
    #expect("\(try number("t"))" == session.lines("SELECT 't'::regclass::oid").last)
    #expect(throws: SQLError.self) { try number("nothing") }
    #expect(session.status == .idle)
  }

  /// Ruby's pg joins the two, and knows types by the names of their input functions.
  @Test func everyTypeHasItsFunctions() throws {
    let session = try TestSQL().session()
    let named = session.lines(
      """
      SELECT t.typname, ti.proname FROM pg_type t JOIN pg_proc ti ON ti.oid = t.typinput
      WHERE t.oid IN (16, 23, 1007, 3802) ORDER BY t.oid
      """
    )
    #expect(named == ["typname | proname", "bool | boolin", "int4 | int4in", "_int4 | array_in", "jsonb | jsonb_in"])
    #expect(session.lines("SELECT count(*) FROM pg_type WHERE typinput = 0").last == "0")
  }
}
