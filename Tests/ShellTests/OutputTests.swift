import Shell
import Testing

/// Each mode over the same small result: numbers, text with everything that needs quoting, NULL.
@Suite struct OutputTests {
  static let columns = [
    OutputColumn(name: "id", kind: .number), OutputColumn(name: "name", kind: .text),
    OutputColumn(name: "ok", kind: .boolean),
  ]
  static let rows: [[String?]] = [["1", "Ada", "t"], ["20", "a \"b\", c|d\ne", "f"], ["300", nil, nil]]

  func write(_ mode: OutputMode, rows: [[String?]] = rows, _ adjust: (inout OutputOptions) -> Void = { _ in }) -> String
  {
    var options = OutputOptions()
    options.mode = mode
    adjust(&options)
    var bytes: [UInt8] = []
    var buffer = OutputBuffer { bytes += $0 }
    var writer = options.makeWriter()
    writer.begin(Self.columns, to: &buffer)
    for row in rows { writer.row(row, to: &buffer) }
    writer.end(to: &buffer)
    buffer.flush()
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func box() {
    #expect(
      write(.box) == """
        ┌─────┬───────────────┬────┐
        │ id  │ name          │ ok │
        ├─────┼───────────────┼────┤
        │   1 │ Ada           │ t  │
        │  20 │ a "b", c|d\\ne │ f  │
        │ 300 │               │    │
        └─────┴───────────────┴────┘

        """)
  }

  @Test func csvQuotesWhatItMust() {
    #expect(write(.csv) == "id,name,ok\r\n1,Ada,t\r\n20,\"a \"\"b\"\", c|d\ne\",f\r\n300,,\r\n")
    #expect(csvField("", separator: ",") == "\"\"")
    #expect(csvField(" x", separator: ",") == "\" x\"")
  }

  @Test func jsonHasTypes() {
    #expect(
      write(.json)
        == "[{\"id\":1,\"name\":\"Ada\",\"ok\":true},\n{\"id\":20,\"name\":\"a \\\"b\\\", c|d\\ne\",\"ok\":false},\n"
        + "{\"id\":300,\"name\":null,\"ok\":null}]\n")
    #expect(write(.json, rows: []) == "[]\n")
    #expect(write(.json, rows: [["NaN", "\u{1}", "t"]]) == "[{\"id\":\"NaN\",\"name\":\"\\u0001\",\"ok\":true}]\n")
  }

  @Test func insertMakesStatements() {
    #expect(
      write(.insert, rows: [["1", "O'Hara", "t"], ["2", nil, nil]]) { $0.insertTable = "Big Table" }
        == "INSERT INTO \"Big Table\" VALUES (1, 'O''Hara', true);\nINSERT INTO \"Big Table\" VALUES (2, NULL, NULL);\n"
    )
  }

  @Test func markdown() {
    #expect(
      write(.markdown, rows: [["1", "a|b", "t"]])
        == "| id | name | ok |\n|---:|------|----|\n|  1 | a\\|b | t  |\n")
  }

  @Test func listAndTabsAndLine() {
    #expect(write(.list, rows: [["1", "x", nil]]) { $0.nullText = "∅" } == "id|name|ok\n1|x|∅\n")
    #expect(write(.tabs, rows: [["1", "x", "t"]]) { $0.showsHeaders = false } == "1\tx\tt\n")
    #expect(write(.line, rows: [["1", "x", "t"]]) == "  id = 1\nname = x\n  ok = t\n")
    #expect(
      write(.html, rows: [["1", "<&>", "t"]]) { $0.showsHeaders = false }
        == "<TR><TD>1</TD>\n<TD>&lt;&amp;&gt;</TD>\n<TD>t</TD>\n</TR>\n")
  }

  @Test func narrowTerminalsCutTheWidestColumn() {
    let text = write(.box, rows: [["1", String(repeating: "x", count: 200), "t"]]) { $0.terminalWidth = 40 }
    for line in text.split(separator: "\n") { #expect(displayWidth(String(line)) == 40, "\(line)") }
    #expect(text.contains("x…"))
  }

  @Test func moreRowsThanTheSampleStillCome() {
    let rows = (0..<5000).map { ["\($0)", "n", "t"] as [String?] }
    let lines = write(.table, rows: rows).split(separator: "\n")
    #expect(lines.count == 5000 + 4)
    #expect(lines[4002].contains("3999"))
  }

  @Test func widthsOfWideAndCombiningCharacters() {
    #expect(displayWidth("日本") == 4)
    #expect(displayWidth("e\u{301}") == 1)
    #expect(displayWidth("🎉") == 2)
    #expect(displayable("a\u{1B}[31m\tb") == "a\\x1b[31m\\tb")
    #expect(cut("日本語", toWidth: 5) == "日本")
  }

  @Test func identifiersAreQuotedWhereTheyMust() {
    #expect(quotedIdentifier("flights") == "flights")
    #expect(quotedIdentifier("Flights") == "\"Flights\"")
    #expect(quotedIdentifier("a\"b") == "\"a\"\"b\"")
    #expect(quotedIdentifier("1a") == "\"1a\"")
  }
}

@Suite struct CommandLineTests {
  @Test func wordsAreSplitAsTyped() throws {
    #expect(try words("a  'b c' \"d\\\"e\" \\t") == ["a", "b c", "d\"e", "\t"])
    #expect(try words("'a\\b'") == ["a\\b"])
    #expect(try words("") == [])
    #expect(try words("''") == [""])
    #expect(throws: ShellProblem.self) { try words("'open") }
  }

  @Test func patterns() {
    #expect(matches("flights", "fl*"))
    #expect(matches("flights", "*ght?"))
    #expect(matches("flights", "%"))
    #expect(!matches("flights", "fl"))
    #expect(!matches("flights", "*x*"))
    #expect(matches("aXbXc", "a*X*c"))
  }
}
