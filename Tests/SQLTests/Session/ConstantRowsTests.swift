import Foundation
import Platform
import SQL
import Testing

/// INSERT … VALUES of many rows reads most of them from the text while it runs. The table must be what single statements
/// make of the same rows, and the errors those of the same statement with few rows.
@Suite struct ConstantRowsTests {
  private static let columns =
    "id int8, a int2, b int4, c text, d varchar(6), e char(9), f numeric(8,2), g float8, h bool, i date"

  private func constant(_ column: Int, _ random: inout SeededRandomness) -> String {
    if random.oneIn(9) { return "NULL" }
    let number = random.below(3000) - 1500
    switch column {
    case 0, 1, 2:
      return random.oneIn(6) ? "'\(number)'" : random.oneIn(8) ? "\(number).4" : random.oneIn(9) ? "- 7" : "\(number)"
    case 3, 4, 5:
      return ["'x'", "'ab '", "'it''s'", "''", "E'a\\tb'", "'é'", "12", "'c' || 'd'", "U&'\\0061'", "$$q$$"][
        random.below(10)]
    case 6, 7:
      return ["\(number)", "\(number).125", "1e3", "'\(number).5'", "'NaN'", "-.5", "+4", "2 + 2"][random.below(8)]
    case 8: return ["TRUE", "false", "'t'", "'off'", "1 = 1", "'yes'"][random.below(6)]
    default: return ["'2024-02-03'", "date '2020-01-01'", "DEFAULT"][random.below(3)]
    }
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func manyRowsAreWhatSingleRowsAre(_ seed: UInt64) throws {
    var random = SeededRandomness(seed: seed)
    let session = try TestSQL().session()
    _ = session.lines("CREATE TABLE many (\(Self.columns)); CREATE TABLE single (\(Self.columns))")
    var rows: [String] = []
    for _ in 0..<1600 {
      rows.append("(" + (0..<10).map { constant($0, &random) }.joined(separator: random.oneIn(5) ? " , " : ",") + ")")
    }
    let text = rows.joined(separator: random.oneIn(2) ? "," : ",\n -- a comment\n ")
    #expect(session.lines("INSERT INTO many VALUES \(text)") == ["INSERT 0 1600"])
    _ = session.lines("BEGIN")
    for row in rows { try #require(session.lines("INSERT INTO single VALUES \(row)") == ["INSERT 0 1"], "\(row)") }
    _ = session.lines("COMMIT")
    let all = "SELECT *, pg_typeof(f), length(e), c IS NULL FROM"
    #expect(session.lines("\(all) many") == session.lines("\(all) single"), "seed \(seed)")
    // As a query, the same rows by iterating.
    let numbers = (0..<2500).map { "(\($0), 'v\($0)')" }.joined(separator: ", ")
    #expect(
      session.lines("SELECT count(*), sum(x), max(y) FROM (VALUES \(numbers)) v (x, y)")
        == ["count | sum | max", "2500 | 3123750 | v999"])
    #expect(
      session.lines("INSERT INTO many (id, c) VALUES \(numbers) RETURNING c").suffix(2) == ["v2499", "INSERT 0 2500"])
  }

  @Test func errorsPointAtTheRow() throws {
    let session = try TestSQL().session()
    _ = session.lines("CREATE TABLE t (a int PRIMARY KEY, b varchar(3) NOT NULL, c text)")
    let good = (0..<1500).map { "(\($0), 'b', 'ü')" }
    let cases: [(row: String, says: String)] = [
      ("(99999999999, 'b', 'c')", "22003"), ("(5000, 'long', 'c')", "22001"), ("('x', 'b', 'c')", "22P02"),
      ("(5000, 'b')", "42601"), ("(5000, NULL, 'c')", "23502"), ("(7, 'b', 'c')", "23505"), ("(5000, 'b', c)", "42703"),
      ("(5000 'b', 'c')", "42601"),
    ]
    for (row, state) in cases {
      var rows = good
      rows.insert(row, at: 1400)
      let text = "INSERT INTO t VALUES " + rows.joined(separator: ", ")
      do {
        try session.execute(text, TextSink(session))
        Issue.record("accepted: \(row)")
      } catch {
        #expect(error.state.rawValue == state, "\(row): \(error)")
        guard let position = error.position else { continue }
        let place = text.index(text.startIndex, offsetBy: position - 1)
        let distance = text.distance(from: place, to: text.index(text.range(of: row)!.lowerBound, offsetBy: row.count))
        #expect((1...row.count).contains(distance), "\(row): position \(position)")
      }
      #expect(session.lines("SELECT count(*) FROM t") == ["count", "0"])
    }
  }
}
