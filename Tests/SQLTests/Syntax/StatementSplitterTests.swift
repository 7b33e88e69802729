import SQL
import Testing

@Suite struct StatementSplitterTests {
  private func split(_ text: String) -> (statements: [StatementSplitter.Statement], state: StatementSplitter.State) {
    var splitter = StatementSplitter()
    var found: [StatementSplitter.Statement] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      splitter.append(line: line)
      while let statement = splitter.next() { found.append(statement) }
    }
    return (found, splitter.state)
  }

  @Test func statementsAndLines() {
    let (found, state) = split("select 1; select\n 2;\n\n-- note\ninsert into t\nvalues (1);;")
    #expect(
      found.map(\.text)
        == ["select 1", "select\n 2", "insert into t\nvalues (1)"].enumerated().map { index, text in
          index == 2 ? "-- note\n" + text : text
        })
    #expect(found.map(\.line) == [1, 1, 5])
    #expect(state == .ready)
  }

  @Test(
    arguments: [
      ("", .ready), ("  -- only a comment", .ready), ("select", .continued), ("select 'a;b", .string),
      ("select \"a;b", .identifier), ("select $$a;b", .dollar), ("select $x$ a $$ b", .dollar),
      ("select /* ;", .comment),
      ("select /* /* */ ;", .comment), ("select (1; 2", .parenthesis), ("select E'\\';", .string),
      ("select 'a\\';", .ready),
      ("select 'a''", .string), ("select a$b$;", .ready), ("select $1;", .ready), ("select e'x\\\\';", .ready),
      ("select name'\\';", .ready), ("select 1 -- x;", .continued), ("select ')';", .ready),
      ("select \"a\"\"", .identifier), ("select (1));", .ready), ("select $a$ $b$ $a$;", .ready),
    ] as [(String, StatementSplitter.State)])
  func states(text: String, expected: StatementSplitter.State) {
    #expect(split(text).state == expected)
  }

  @Test func quotesOverLines() {
    let (found, _) = split("select 'a\n;b', $f$\n;\n$f$, E'\\\n;', \"x\n;\" /* ;\n ; */ ; select 2;")
    #expect(found.map(\.text) == ["select 'a\n;b', $f$\n;\n$f$, E'\\\n;', \"x\n;\" /* ;\n ; */", "select 2"])
    #expect(found.map(\.line) == [1, 7])
  }

  @Test func copyDataIsLeftAlone() {
    var splitter = StatementSplitter()
    splitter.append(line: "copy t from stdin; select ';' it's data")
    #expect(splitter.next()?.text == "copy t from stdin")
    #expect(splitter.takeRest() == " select ';' it's data\n")
    #expect(splitter.isReady)
    splitter.append(line: "select 1")
    #expect(splitter.next() == nil)
    #expect(splitter.pending == "select 1\n")
    #expect(splitter.finish()?.text == "select 1")
    #expect(splitter.finish() == nil)
  }

  @Test func resetForgetsWhatIsPending() {
    var splitter = StatementSplitter()
    splitter.append(line: "select ('")
    #expect(splitter.next() == nil)
    #expect(splitter.state == .string)
    splitter.reset()
    #expect(splitter.isReady)
    splitter.append(line: "select 1;")
    let next = splitter.next()
    #expect(next?.text == "select 1")
    #expect(next?.line == 2)
  }

  /// Splitting a script gives the statements that the parser finds in it.
  @Test func agreesWithTheParser() throws {
    let script = SyntaxScript.accepted.filter { !$0.contains("--") && !$0.isEmpty }.joined(separator: ";\n") + ";"
    let bytes = Array(script.utf8)
    let parsed = try SQLParser.parse(script).map { String(decoding: bytes[$0.range], as: UTF8.self) }
    let (found, state) = split(script)
    #expect(state == .ready)
    // The splitter keeps comments around a statement, the parser's range leaves them out.
    let same = zip(found, parsed).filter { $0.text.hasPrefix($1) || $0.text.hasSuffix($1) || $0.text.contains($1) }
    #expect(found.count == parsed.count)
    #expect(same.count == parsed.count)
  }
}
