import SQL
import Testing

/// What random and hostile texts must not do: trap, exhaust the stack, or come back as another tree.
@Suite struct RobustnessTests {
  /// Writes the tree as SQL in both styles, and parses that again.
  private func expectRoundTrip(_ text: String, _ note: String = "") {
    guard let statements = try? SQLParser.parse(text) else { return }
    for parsed in statements {
      for style in [SQLWriter.Parentheses.needed, .always] {
        var writer = SQLWriter(parentheses: style)
        writer.statement(parsed.statement)
        let again = try? SQLParser.parse(writer.text)
        #expect(again?.map(\.statement) == [parsed.statement], "\(text)\n\(writer.text)\n\(note)")
      }
    }
  }

  @Test func everyScriptSurvivesTheWayToTextAndBack() {
    #expect(SyntaxScript.accepted.count > 350)
    for text in SyntaxScript.accepted { expectRoundTrip(text) }
  }

  @Test func truncatedStatements() {
    for text in SyntaxScript.accepted {
      let bytes = Array(text.utf8)
      for end in stride(from: 0, to: bytes.count, by: 3) { _ = try? SQLParser.parse(utf8: Array(bytes[..<end])) }
    }
  }

  @Test func mutatedTokens() {
    let seed = Dice.seed(20_261)
    var dice = Dice(seed: seed)
    let texts = SyntaxScript.accepted.map { $0.split { $0 == " " || $0 == "\n" }.map(String.init) }
    let pool = texts.flatMap(\.self) + ["(", ")", ",", ".", "::", "[", "]", "-", "*", ";", "$1", "''", "\"a\"", "E'\\"]
    for _ in 0..<6_000 {
      var words = dice.pick(texts)
      for _ in 0...dice.below(3) where !words.isEmpty {
        let index = dice.below(words.count)
        switch dice.below(5) {
        case 0: words.remove(at: index)
        case 1: words.insert(dice.pick(pool), at: index)
        case 2: words[index] = dice.pick(pool)
        case 3: words.swapAt(index, dice.below(words.count))
        default: words[index] = dice.pick(SQLCompletion.keywords)
        }
      }
      expectRoundTrip(words.joined(separator: " "), "seed \(seed)")
    }
  }

  @Test func mutatedBytes() {
    let seed = Dice.seed(20_262)
    var dice = Dice(seed: seed)
    let texts = SyntaxScript.accepted.map { Array($0.utf8) }
    let special = Array("'\"$\\/*-.;()[]E&Uu+e0 \n".utf8) + [0xC3, 0x80, 0xFF, 0]
    for _ in 0..<6_000 {
      var bytes = dice.pick(texts)
      for _ in 0...dice.below(4) {
        let index = dice.below(bytes.count)
        switch dice.below(3) {
        case 0: bytes[index] = dice.pick(special)
        case 1: bytes.insert(dice.pick(special), at: index)
        default: bytes[index] = UInt8(truncatingIfNeeded: dice.next())
        }
      }
      // An error or a tree; the position, if any, lies within the text.
      do throws(SQLError) {
        _ = try SQLParser.parse(utf8: bytes)
      } catch {
        #expect((error.position ?? 1) >= 1 && (error.position ?? 1) <= bytes.count + 1, "seed \(seed)")
      }
    }
  }

  // MARK: Depth and length

  @Test(arguments: [
    ("(", "1", ""), ("select (", "", ""), ("select - ", "1", ""), ("select not ", "true", ""), ("select 1 + ", "1", ""),
    ("select 1", "", "::int"), ("select 1", "", " union select 1"), ("select * from a", "", " cross join a"),
    ("select * from a join ", "b", ""), ("select * from (", "", ""), ("select array[", "", ""), ("select f(", "", ""),
    ("select case when ", "", ""), ("select a in (", "", ""), ("select (a)", "", ".b"), ("with a as (", "", ""),
    ("select 1 group by grouping sets (", "", ""), ("select exists (select ", "", ""),
    ("select a between b and (", "", ""), ("select (1+1+1+1+1+1+1+1+", "", ""), ("select a[", "", ""),
    ("insert into t values ((((", "", ""), ("create view v as (", "", ""), ("explain (", "", ""),
    ("select a = any (", "", ""), ("select a is distinct from ", "b", ""), ("select @ ", "1", ""),
    ("select a at time zone ", "b", ""), ("select row(", "", ""), ("select 1 over (partition by ", "", ""),
  ])
  func deepTexts(head: String, middle: String, tail: String) {
    // The head after its first word is what repeats, or the tail.
    let repeated = tail.isEmpty ? String(head.drop { $0 != " " }) : ""
    let text =
      head + String(repeating: repeated.isEmpty ? head : repeated, count: tail.isEmpty ? 100_000 : 0) + middle
      + String(repeating: tail, count: tail.isEmpty ? 0 : 100_000)
    do throws(SQLError) {
      _ = try SQLParser.parse(text)
      Issue.record("no error for \(text.prefix(40))…")
    } catch {
      #expect([SQLState.tooComplex, .syntaxError].contains(error.state), "\(text.prefix(40))… \(error.message)")
    }
  }

  /// The deepest trees that are taken can be written, compared, copied and dropped.
  @Test func deepestTreesAreUsable() throws {
    let texts = [
      String(repeating: "(", count: 240) + "1" + String(repeating: ")", count: 240) + " + 1",
      String(repeating: "f(", count: 450) + "1" + String(repeating: ")", count: 450),
      String(repeating: "- ", count: 490) + "a", "1" + String(repeating: " + 1", count: 490),
      "a" + String(repeating: "::int", count: 490), "(a)" + String(repeating: ".b", count: 490),
    ]
    for text in texts {
      let tree = try SQLParser.parseExpression(text)
      #expect(tree.hashValue == (try SQLParser.parseExpression(tree.description)).hashValue)
      #expect(try SQLParser.parseExpression(tree.description) == tree)
    }
    let unions = "select 1" + String(repeating: " union all select 1", count: 490)
    let parsed = try #require(try SQLParser.parseStatement(unions))
    #expect(try SQLParser.parseStatement(parsed.statement.description)?.statement == parsed.statement)
  }

  @Test func longFlatTexts() throws {
    let count = 20_000
    let chain = "select " + String(repeating: "a and ", count: count) + "b"
    #expect(try SQLParser.parse(chain).count == 1)
    let list = "select a in (" + String(repeating: "1, ", count: count) + "2)"
    #expect(try SQLParser.parse(list).count == 1)
    let rows = "insert into t values " + String(repeating: "(1, 'x', 2.5), ", count: count) + "(1, 'y', 3)"
    #expect(try SQLParser.parse(rows).count == 1)
    let script = String(repeating: "select 1;", count: count)
    #expect(try SQLParser.parse(script).count == count)
  }

  @Test func longTokens() {
    let length = 2_000_000
    let texts = [
      "select '" + String(repeating: "x", count: length), "select \"" + String(repeating: "x", count: length),
      "select " + String(repeating: "+", count: length), "select 1 " + String(repeating: "@", count: length),
      "select /*" + String(repeating: "/*", count: length), "select $a$" + String(repeating: "$", count: length),
      "select " + String(repeating: "9", count: length) + "x", String(repeating: "x", count: length),
      "select $" + String(repeating: "9", count: length),
      "select 1" + String(repeating: " ", count: length) + "foo bar",
    ]
    for text in texts {
      do throws(SQLError) {
        _ = try SQLParser.parse(text)
        Issue.record("no error for \(text.prefix(20))…")
      } catch {
        #expect(error.message.utf8.count < 2_000)
      }
    }
  }
}
