import Shell
import Synod
import Testing

/// Variables in statements, and completion by where the cursor stands.
@Suite struct StatementToolsTests {
  @Test(arguments: [
    ("SELECT :a", "SELECT 5"), ("SELECT :'b', :\"b\"", "SELECT 'O''Hara x', \"O'Hara x\""),
    (
      "SELECT x::text, ':a', \":a\", $$:a$$, $t$ :a $t$ -- :a", "SELECT x::text, ':a', \":a\", $$:a$$, $t$ :a $t$ -- :a"
    ),
    ("SELECT /* :a */ :a", "SELECT /* :a */ 5"), ("SELECT :unknown, :'a", "SELECT :unknown, :'a"),
    ("SELECT $1, :a::int", "SELECT $1, 5::int"), (":", ":"), ("SELECT 'open :a", "SELECT 'open :a"),
  ])
  func variables(_ statement: String, _ expected: String) {
    #expect(interpolate(statement, ["a": "5", "b": "O'Hara x"]) == expected)
  }

  @Test func parametersAreQuotedWhereTheyMust() {
    #expect(parameterLiteral("5") == "5")
    #expect(parameterLiteral("-1.5e3") == "-1.5e3")
    #expect(parameterLiteral("NULL") == "NULL")
    #expect(parameterLiteral("'it''s'") == "'it''s'")
    #expect(parameterLiteral("O'Hara") == "'O''Hara'")
    #expect(parameterLiteral("\"two words\"") == "'two words'")
  }

  static let objects = [
    SchemaObject(kind: .table, name: "flights", definition: "", columns: ["id", "distance", "carrier"]),
    SchemaObject(kind: .table, name: "airlines", definition: "", columns: ["carrier", "name"]),
    SchemaObject(kind: .view, name: "fleet", definition: "", columns: ["planes"]),
    SchemaObject(kind: .index, name: "flights_by_day", table: "flights", definition: ""),
  ]

  @Test(arguments: [
    ("", "sel", ["select"]), ("", "SEL", ["SELECT"]),
    ("select * from ", "f", ["fleet", "flights"]), ("select * from ", "", ["airlines", "fleet", "flights"]),
    ("update ", "fl", ["fleet", "flights"]), ("insert into ", "a", ["airlines"]),
    ("insert into flights (", "d", ["distance"]), ("insert into flights (id, ", "ca", ["carrier"]),
    ("select * from flights where ", "di", ["distance"]),
    ("select ", "dist", ["distance"]), ("select ", "disti", ["distinct"]),
    ("select * from flights f where ", "f.c", ["carrier"]),
    ("select * from flights join airlines on flights.", "airlines.na", ["name"]),
    ("select * from flights, ", "air", ["airlines"]), ("update flights set ", "dis", ["distance"]),
    ("select count(*) from flights group by ", "carr", ["carrier"]),
    ("select * from flights where carrier = 'from ' and ", "carr", ["carrier"]),
  ])
  func completion(_ statement: String, _ word: String, _ expected: [String]) {
    #expect(CompletionContext(statement: statement, word: word).candidates(Self.objects) == expected)
  }
}
