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
