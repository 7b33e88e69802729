import Foundation
import SQL
import Testing

@Suite struct ParserTests {
  @Test(arguments: SyntaxScript.all.map(\.name))
  func goldenScript(_ name: String) throws {
    let script = try #require(SyntaxScript.all.first { $0.name == name })
    if ProcessInfo.processInfo.environment["SYNOD_REWRITE"] == "1" { return try script.rewrite() }
    #expect(!script.entries.isEmpty)
    for entry in script.entries {
      #expect(SyntaxScript.outcome(of: entry.text) == entry.expected, "\(name): \(entry.text)")
    }
  }

  // MARK: Scripts and statements

  @Test func scriptRanges() throws {
    let text = "  select 1 ; ; /* é */ insert into t values (1) -- end\n;commit"
    let statements = try SQLParser.parse(text)
    let bytes = Array(text.utf8)
    let texts = statements.map { String(decoding: bytes[$0.range], as: UTF8.self) }
    #expect(texts == ["select 1", "insert into t values (1)", "commit"])
    // Positions count characters, ranges bytes: é has two.
    #expect(statements.map(\.position) == [3, 24, 57])
    #expect(statements[1].range.lowerBound == 24)
  }

  @Test func emptyScripts() throws {
    for text in ["", " ", ";", ";;;", "-- nothing", "/* /* nothing */ */", "\n\t;\r\n"] {
      #expect(try SQLParser.parse(text).isEmpty)
      #expect(try SQLParser.parseStatement(text) == nil)
    }
  }

  @Test func oneStatementOnly() throws {
    #expect(try SQLParser.parseStatement("select 1;") != nil)
    let error = #expect(throws: SQLError.self) { try SQLParser.parseStatement("select 1; select 2") }
    #expect(error?.state == .syntaxError)
    #expect(error?.position == 11)
  }

  @Test func parameterCounts() throws {
    let counts = try SQLParser.parse("select $2; select 1; select $1 + $7; prepare p as select $3; execute p ($1)")
      .map(\.parameterCount)
    #expect(counts == [2, 0, 7, 0, 1])
    for text in ["select $0", "select $65536", "select $99999999999999999999"] {
      let error = #expect(throws: SQLError.self) { try SQLParser.parse(text) }
      #expect(error?.state == .undefinedParameter)
    }
    #expect(try SQLParser.parse("select $65535")[0].parameterCount == 65_535)
  }

  @Test func positionsCountCharacters() throws {
    let error = #expect(throws: SQLError.self) { try SQLParser.parse("select 'äöü€😀' frm t x") }
    #expect(error?.position == 20)
    #expect(error?.message == "syntax error at or near \"t\"")
    let expression = try SQLParser.parseExpression("'😀' || b")
    guard case .binary(_, let left, let right) = expression.kind else {
      Issue.record("not an operator")
      return
    }
    let positions: [Int] = [left.position, expression.position, right.position]
    #expect(positions == [1, 5, 8])
  }

  @Test func equalityIgnoresPositions() throws {
    let first = try SQLParser.parseExpression("a+b * f( c )")
    let second = try SQLParser.parseExpression("a  + (b*f(c))")
    #expect(first == second)
    #expect(first.hashValue == second.hashValue)
    #expect(first.position != second.position)
    #expect(try SQLParser.parseExpression("(a + b) * f(c)") != first)
  }

  @Test func singleParts() throws {
    #expect(try SQLParser.parseTypeName("numeric(10, 2)[]").description == "numeric(10, 2)[]")
    #expect(try SQLParser.parseTypeName("INT").name.parts == ["pg_catalog", "int4"])
    #expect(try SQLParser.parseTypeName("\"int\"").name.parts == ["int"])
    #expect(try SQLParser.parseQualifiedName("Public.\"T a\"").parts == ["public", "T a"])
    #expect(throws: SQLError.self) { try SQLParser.parseTypeName("int int") }
    #expect(throws: SQLError.self) { try SQLParser.parseExpression("1; 2") }
    #expect(throws: SQLError.self) { try SQLParser.parseQualifiedName("a.b.c.d") }
  }

  @Test func namesAreFoldedAndTruncated() throws {
    let long = String(repeating: "x", count: 70)
    let query = try SQLParser.parseExpression(long.uppercased())
    #expect(query == (try SQLParser.parseExpression(String(repeating: "x", count: 63))))
    // A character is never cut in half: 31 of two bytes, not 31 and a half.
    let accents = String(repeating: "é", count: 40)
    guard case .column(let parts) = try SQLParser.parseExpression("\"\(accents)\"").kind else {
      Issue.record("not a column")
      return
    }
    #expect(parts == [String(repeating: "é", count: 31)])
    // Only ASCII letters are folded.
    guard case .column(let folded) = try SQLParser.parseExpression("ÄbÇ").kind else {
      Issue.record("not a column")
      return
    }
    #expect(folded == ["ÄbÇ".replacing("B", with: "b")])
  }

  // MARK: Keywords

  /// What the keyword may name, by its category, as in PostgreSQL's grammar.
  @Test func keywordCategories() throws {
    let keywords = SQLCompletion.keywords
    #expect(keywords.count == 460)
    #expect(keywords == keywords.sorted())
    func takes(_ text: String) -> Bool { (try? SQLParser.parse(text)) != nil }
    var tables = 0
    var labels = 0
    for keyword in keywords {
      #expect(takes("select 1 as \(keyword)"), "\(keyword) is a label after AS")
      #expect(takes("select a.\(keyword) from a"), "\(keyword) is a field")
      if takes("create index on \(keyword) (a)") { tables += 1 }
      if takes("select 1 \(keyword) from a") { labels += 1 }
      #expect(takes("select \"\(keyword)\" from \"\(keyword)\""))
    }
    // pg_get_keywords(): 309 unreserved and 51 column names; ONLY cannot be told from a table here.
    #expect(tables == 360)
    // 421 bare labels; ISNULL and NOTNULL are operators here.
    #expect(labels == 423)
  }

  // MARK: Bytes

  @Test func badEncodings() {
    let bad: [[UInt8]] = [
      [0xFF], [0xC0, 0x80], [0xC3], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF8, 0x88], [0x80],
      [0xE0, 0x80, 0x80], [0xF0, 0x80, 0x80, 0x80], [0],
    ]
    for sequence in bad {
      let text = Array("select '".utf8) + sequence + Array("'".utf8)
      let error = #expect(throws: SQLError.self) { try SQLParser.parse(utf8: text) }
      #expect(error?.state == .invalidEncoding)
    }
    let error = #expect(throws: SQLError.self) {
      try SQLParser.parse(utf8: Array("select '".utf8) + [0xE2, 0x28, 0xA1])
    }
    #expect(error?.message == "invalid byte sequence for encoding \"UTF8\": 0xe2 0x28 0xa1")
    let nul = #expect(throws: SQLError.self) { try SQLParser.parse("select '\0'") }
    #expect(nul?.message == "invalid byte sequence for encoding \"UTF8\": 0x00")
    // An escape may not make what the text itself may not hold.
    for text in ["select E'\\xff'", "select E'\\000'", "select E'\\x00'", "select E'\\xc3'"] {
      let error = #expect(throws: SQLError.self) { try SQLParser.parse(text) }
      #expect(error?.state == .invalidEncoding)
    }
    #expect(try! SQLParser.parseExpression("E'\\xc3\\xa9'") == (try! SQLParser.parseExpression("'é'")))
  }
}
