import SQL
import Testing

@Suite struct SQLCompletionTests {
  /// `|` marks the cursor.
  private func complete(_ marked: String) -> SQLCompletion {
    let parts = marked.split(separator: "|", maxSplits: 1, omittingEmptySubsequences: false)
    return SQLCompletion(parts.joined(), cursor: parts[0].utf8.count)
  }

  @Test(
    arguments: [
      ("|", "", .keyword), ("sel|", "sel", .keyword), ("select * from |", "", .table),
      ("select * from ac|", "ac", .table),
      ("select |", "", .column), ("select a, b|", "b", .column), ("update |", "", .table),
      ("insert into |", "", .table),
      ("select * from a, |", "", .table), ("select * from a join |", "", .table),
      ("select * from a where |", "", .column),
      ("update t set |", "", .column), ("set |", "", .setting), ("show sta|", "sta", .setting),
      ("select a::|", "", .type), ("drop index |", "", .index), ("drop view x|", "x", .view),
      ("select 1; select * from |", "", .table), ("select * from t order by |", "", .column),
      ("select (select a from |", "", .table), ("create index on |", "", .table), ("grant select on |", "", .table),
      ("select * from \"Ac|", "\"Ac", .table),
    ] as [(String, String, SQLCompletion.Kind)])
  func kinds(text: String, prefix: String, kind: SQLCompletion.Kind) {
    let completion = complete(text)
    #expect(completion.prefix == prefix)
    #expect(completion.kinds.first == kind)
  }

  @Test func nothingInStringsAndComments() {
    for text in ["select 'a|", "select 'a|b'", "select /* fr|", "select 1 -- fr|", "select $$ a|", "-- |"] {
      #expect(complete(text).kinds.isEmpty, "\(text)")
    }
  }

  @Test func qualifiersAndTables() {
    let completion = complete(
      "select x.| from s.account as x, \"Other\" join third on x.a = third.b where 1 = 1; select")
    #expect(completion.qualifier == ["x"])
    #expect(completion.kinds.first == .column)
    #expect(completion.tables.map(\.alias) == ["x", "Other", "third"])
    #expect(completion.tables[0].name == ["s", "account"])
    #expect(complete("select * from s.t|").qualifier == ["s"])
    #expect(complete("select * from s.t|").kinds == [.table])
  }

  /// Whatever stands there, there is an answer.
  @Test func neverTraps() {
    for text in SyntaxScript.all.flatMap(\.entries).map(\.text) {
      for cursor in stride(from: 0, through: text.utf8.count + 1, by: 5) { _ = SQLCompletion(text, cursor: cursor) }
    }
  }
}
