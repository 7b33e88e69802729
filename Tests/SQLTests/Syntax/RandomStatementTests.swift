import SQL
import Testing

/// Statements made up by grammar: every operator beside every other, so that precedence is tried on both ways.
struct StatementGenerator {
  var dice: Dice

  private mutating func chance(_ percent: Int) -> Bool { dice.below(100) < percent }

  private mutating func leaf() -> String {
    dice.pick([
      "a", "b.c", "1", "2.5", "'x'", "$1", "null", "true", "f(x)", "current_date", "\"Q\"", "-1", "(select 1)", "x[1]",
      "(1,2)", "row(1)", "array[1]", "count(*)", "E'\\n'", "date '2020-01-01'", "interval '1' day",
    ])
  }

  mutating func expression(_ depth: Int) -> String {
    if depth <= 0 { return leaf() }
    func spaced(_ parts: String...) -> String { parts.joined(separator: " ") }
    let a = expression(depth - 1 - dice.below(2))
    let b = expression(depth - 1 - dice.below(2))
    switch dice.below(26) {
    case 0...7:
      let op = dice.pick([
        "+", "-", "*", "/", "%", "^", "=", "<", ">", "<=", ">=", "<>", "||", "->", "@>", "operator(pg_catalog.+)",
      ])
      return spaced(a, op, b)
    case 8: return spaced("-", a)
    case 9: return spaced("not", a)
    case 10: return spaced(a, "and", b)
    case 11: return spaced(a, "or", b)
    case 12: return spaced(a, dice.pick(["is null", "is not true", "isnull", "is unknown", "notnull"]))
    case 13: return spaced(a, dice.pick(["is distinct from", "is not distinct from"]), b)
    case 14: return spaced(a, dice.pick(["between", "not between symmetric"]), b, "and", leaf())
    case 15: return "\(a) in (\(b), \(leaf()))"
    case 16: return spaced(a, dice.pick(["like", "not ilike", "similar to"]), b, chance(30) ? "escape " + leaf() : "")
    case 17: return a + "::" + dice.pick(["int", "text[]", "numeric(3,1)", "timestamp", "interval day to second(2)"])
    case 18: return spaced(a, "at time zone", b)
    case 19: return spaced(a, "collate \"C\"")
    case 20: return "(\(a))"
    case 21: return spaced("@", a)
    case 22: return spaced("case", chance(30) ? a : "", "when", a, "then", b, "else", leaf(), "end")
    case 23: return "\(a) \(dice.pick(["=", "<", "+", "like"])) \(dice.pick(["any", "all"])) (\(b))"
    case 24: return "(\(a))" + dice.pick([".f", "[1]", "[1:2]", ".f.g", ".f[1]"])
    default: return "(\(query(depth - 2)))"
    }
  }

  mutating func table(_ depth: Int) -> String {
    if depth <= 0 { return dice.pick(["t", "u x", "s.v as y", "f(1) z", "t as of version 3"]) }
    let a = table(depth - 1)
    let b = table(depth - 1)
    switch dice.below(7) {
    case 0: return a
    case 1: return "(\(query(depth - 2))) s"
    case 2: return "\(a) cross join \(b)"
    case 3: return "\(a) \(dice.pick(["join", "left join", "full outer join"])) \(b) on \(expression(depth - 2))"
    case 4: return "(\(a) natural join \(b))" + dice.pick(["", " as j"])
    case 5: return "\(a) join \(b) using (a)"
    default: return "(\(a) join \(b) on \(expression(depth - 2)))"
    }
  }

  mutating func query(_ depth: Int) -> String {
    if depth > 0 {
      switch dice.below(9) {
      case 0:
        return "\(query(depth - 1)) \(dice.pick(["union", "union all", "intersect", "except"])) \(query(depth - 1))"
      case 1: return "(\(query(depth - 1))) \(dice.pick(["union", "intersect", "except all"])) (\(query(depth - 1)))"
      case 2: return "(\(query(depth - 1)))"
      case 3: return "values (\(expression(depth - 2))), (\(expression(depth - 2)))"
      case 4: return "with w as (\(query(depth - 1))) \(query(0))"
      default: break
      }
    }
    var text = "select \(expression(depth - 1))\(dice.pick(["", " as z", " zz"])) from \(table(depth - 1))"
    if chance(30) { text += " where \(expression(depth - 1))" }
    if chance(10) { text += " group by \(expression(depth - 2))" }
    if chance(10) { text += " order by \(expression(depth - 2))\(dice.pick(["", " desc", " nulls first"]))" }
    if chance(10) { text += " limit \(leaf())" }
    return text
  }
}

@Suite struct RandomStatementTests {
  @Test func randomQueriesSurviveTheWayToTextAndBack() {
    let seed = Dice.seed(20_263)
    var generator = StatementGenerator(dice: Dice(seed: seed))
    var accepted = 0
    for number in 0..<3_000 {
      let text = number % 2 == 0 ? "select " + generator.expression(4) : generator.query(3)
      // What is refused is a comparison beside a comparison, a clause twice, and the like.
      guard let parsed = try? SQLParser.parse(text) else { continue }
      accepted += 1
      for style in [SQLWriter.Parentheses.needed, .always] {
        var writer = SQLWriter(parentheses: style)
        parsed.forEach { writer.statement($0.statement) }
        let again = try? SQLParser.parse(writer.text)
        #expect(again?.map(\.statement) == parsed.map(\.statement), "seed \(seed)\n\(text)\n\(writer.text)")
      }
    }
    #expect(accepted > 1_500)
  }

  /// Parentheses where precedence puts them anyway change nothing.
  @Test(arguments: [
    ("a - b - c", "(a - b) - c"), ("a ^ b ^ c", "(a ^ b) ^ c"), ("a - b * c ^ d", "a - (b * (c ^ d))"),
    ("- a ^ b", "(- a) ^ b"), ("- a::int", "- (a::int)"), ("-1::int", "-(1::int)"), ("a || b + c", "a || (b + c)"),
    ("a || b || c", "(a || b) || c"), ("@ a || b", "(@ a) || b"), ("@ a + b", "@ (a + b)"),
    ("a = b || c", "a = (b || c)"), ("a = b is null", "(a = b) is null"), ("not a = b", "not (a = b)"),
    ("not a is null", "not (a is null)"), ("not a and b", "(not a) and b"), ("a or b and c", "a or (b and c)"),
    ("a and b or c and d", "(a and b) or (c and d)"), ("a in (1) = b", "(a in (1)) = b"),
    ("a like b || c", "a like (b || c)"), ("a < b like c", "a < (b like c)"),
    ("a between b + 1 and c + 1 and d", "(a between (b + 1) and (c + 1)) and d"),
    ("a + b at time zone c", "a + (b at time zone c)"), ("a at time zone b collate c", "a at time zone (b collate c)"),
    ("a || b collate c", "a || (b collate c)"), ("- a collate c", "(- a) collate c"),
    ("a + b = any (c)", "(a + b) = any (c)"), ("a = b and c = d", "(a = b) and (c = d)"),
    ("a operator(s.*) b * c", "a operator(s.*) (b * c)"), ("a <> b is distinct from c", "(a <> b) is distinct from c"),
    ("a is distinct from b = c", "a is distinct from (b = c)"), ("a[1].b", "(a[1]).b"),
    ("a.b[1]", "(a.b)[1]"), ("not not a", "not (not a)"), ("- - a", "- (- a)"),
  ])
  func precedence(bare: String, explicit: String) throws {
    #expect(try SQLParser.parseExpression(bare) == SQLParser.parseExpression(explicit))
  }

  /// A combining mark makes one character of itself and the quote before it; found by the fuzzer.
  @Test func quotesBeforeCombiningMarks() throws {
    for text in ["'''\u{611}'", "'a''\u{301}''b'", "\"a\"\"\u{301}x\"", "E'\\u0027\\u0301'", "'\r\n''\u{200D}'"] {
      let tree = try SQLParser.parseExpression(text)
      #expect(try SQLParser.parseExpression(tree.description) == tree)
    }
    #expect(SQLWriter.literal("'\u{301}").utf8.elementsEqual("'''\u{301}'".utf8))
    #expect(SQLWriter.quoted("\"\u{301}").utf8.elementsEqual("\"\"\"\u{301}\"".utf8))
  }

  @Test(arguments: ["a - (b - c)", "(a - b)::int", "(a, b) = (c, d)", "(not a) = b", "a ^ (b ^ c)", "(a or b) and c"])
  func neededParenthesesAreKept(_ text: String) throws {
    #expect(try SQLParser.parseExpression(text).description.lowercased() == text.replacing("::int", with: "::integer"))
  }
}
