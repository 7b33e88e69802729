import SQL
import Testing

/// Cursors and portals whose rows exceed work_mem, and so lie in a temporary file.
@Suite struct KeptRowsTests {
  /// Rows of every kind of value, each told from the others; about 3 MB in memory.
  private static let query = """
    SELECT g, CASE WHEN g % 7 = 0 THEN NULL ELSE repeat(chr(97 + g % 26), g % 300) END, g * 1.25, g::float8 / 3,
      ('1e30'::numeric + g), g % 2 = 0, 'NaN'::numeric, ARRAY[g, NULL]
    FROM generate_series(1, 10000) g
    """

  private func start() throws -> (TestSQL, SQLSession, [String]) {
    let sql = try TestSQL()
    let session = sql.session()
    let rows = Array(session.lines(Self.query).dropFirst())
    #expect(rows.count == 10_000)
    _ = session.lines("SET work_mem = '64kB'")
    return (sql, session, rows)
  }

  @Test func aCursorGoesForwardAndBackOverRowsOnDisk() throws {
    let (_, session, body) = try start()
    func fetched(_ what: String) -> [String] { Array(session.lines("FETCH \(what) FROM c").dropFirst()) }
    #expect(session.lines("BEGIN; DECLARE c SCROLL CURSOR FOR \(Self.query)").last == "DECLARE CURSOR")
    #expect(fetched("3") == Array(body[0..<3]))
    #expect(fetched("ALL") == Array(body[3...]))
    #expect(fetched("BACKWARD 2") == [body[9999], body[9998]])
    #expect(fetched("ABSOLUTE 5000") == [body[4999]])
    #expect(fetched("RELATIVE -4999") == [body[0]])
    #expect(fetched("LAST") == [body[9999]])
    #expect(fetched("BACKWARD ALL") == Array(body[0..<9999].reversed()))
    #expect(fetched("FORWARD 10000") == body)
    #expect(session.lines("MOVE BACKWARD 10 FROM c").last == "MOVE 10")
    #expect(session.lines("CLOSE c; COMMIT").last == "COMMIT")
  }

  @Test func aCursorWithHoldOutlivesItsTransaction() throws {
    let (_, session, all) = try start()
    _ = session.lines("BEGIN; DECLARE h CURSOR WITH HOLD FOR \(Self.query); COMMIT")
    #expect(Array(session.lines("FETCH ALL FROM h").dropFirst()) == all)
  }

  @Test func rowsWithoutColumnsAreCounted() throws {
    let (_, session, _) = try start()
    _ = session.lines("BEGIN; DECLARE n CURSOR FOR SELECT FROM generate_series(1, 10000)")
    #expect(session.lines("MOVE ALL FROM n").last == "MOVE 10000")
  }

  @Test func aPortalIsReadInPieces() throws {
    let (_, session, all) = try start()
    _ = session.lines("BEGIN")
    let portal = try session.bind("p", try session.prepare("", Self.query), [])
    let sink = TextSink(session)
    var pieces = 1
    while try !session.execute(portal, maxRows: 777, sink) { pieces += 1 }
    #expect(pieces == 13)
    // Every piece comes with the names of the columns.
    let heading = sink.lines[0]
    #expect(sink.lines.filter { $0 != heading } == all)
  }
}
