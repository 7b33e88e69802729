import SQL
import Testing

/// Every function, operator and cast with the ends of its arguments' ranges, infinities and empty values: each answers or
/// refuses. A trap would take the whole server along, so one that overflows ends this process.
@Suite struct ExtremeArgumentsTests {
  /// Values at the edges of a type, as literals.
  private static func extremes(_ type: TypeID) -> [String]? {
    switch type {
    case .bool: ["true", "false"]
    case .int2: ["-32768", "32767", "0", "-1"]
    case .int4: ["-2147483648", "2147483647", "0", "-1", "7"]
    case .int8: ["-9223372036854775808", "9223372036854775807", "0", "-1", "3"]
    case .oid: ["0", "4294967295"]
    case .float4: ["nan", "inf", "-inf", "3.4e38", "1e-45", "0"]
    case .float8: ["nan", "inf", "-inf", "1.7e308", "-1.7e308", "5e-324", "0", "9.3e18", "-8.9e12"]
    case .numeric: ["nan", "inf", "-inf", "9e131071", "-9e131071", "1e-20", "0", "-0.5", "100"]
    case .text, .varchar, .bpchar, .name:
      [
        "", "a", "äx", "%", "\\", "(", "UTC", "year", "week", "99999999999", "YYYYJ", "9.99EEEE", "hex", "{1,2}",
        "infinity",
      ]
    case .bytea: ["", "\\x00", "\\xff00ff"]
    case .date: ["infinity", "-infinity", "4714-11-24 BC", "5874897-12-31", "2024-02-29"]
    case .time: ["00:00", "24:00", "12:34:56.789"]
    case .timestamp, .timestamptz:
      [
        "infinity", "-infinity", "4714-11-24 00:00 BC UTC", "294276-12-31 23:59:59.999999 UTC",
        "2024-02-29 12:34:56 UTC",
      ]
    case .interval:
      [
        "2147483647 mon 2147483647 days 9223372036854775807 us",
        "-2147483648 mon -2147483648 days -9223372036854775808 us", "2147483647 days", "9223372036854775807 us",
        "-9223372036854775808 us", "0", "1 day", "1 mon -1 day",
      ]
    case .uuid: ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]
    case .json, .jsonb: ["null", "{}", "[]", "{\"a\":[1,{\"b\":null}]}", "[1,\"x\"]", "1e5000", "\"s\""]
    default: nil
    }
  }

  /// The places in `counts` of at most `limit` of all choices, spread evenly.
  private static func choices(_ counts: [Int], limit: Int) -> [[Int]] {
    let all = counts.reduce(1) { $0.multipliedReportingOverflow(by: $1).overflow ? Int.max / 64 : $0 * $1 }
    let step = max(1, all / limit) | 1
    return stride(from: 0, to: all, by: step).map { index in
      var rest = index
      return counts.map { count in
        defer { rest /= count }
        return rest % count
      }
    }
  }

  /// Calls `make` with extremes of `types`, and counts the calls. A refusal is as good as a value.
  private static func tryAll(
    _ types: [TypeID], limit: Int = 80, _ make: (Evaluator, [TypedExpression]) throws -> TypedExpression
  ) -> Int {
    let lists = types.compactMap(extremes)
    guard lists.count == types.count else { return 0 }
    let chosen = choices(lists.map(\.count), limit: limit)
    var evaluator = Evaluator()
    for (index, places) in chosen.enumerated() {
      if index % 64 == 63 { evaluator = Evaluator() }
      _ = try? {
        let arguments = try zip(zip(types, lists), places).map { try evaluator.typed($0.0.1[$0.1], SQLType($0.0.0)) }
        _ = try evaluator.text(try make(evaluator, arguments))
      }()
    }
    return chosen.count
  }

  @Test func functionsAnswerOrRefuse() {
    var calls = 0
    for (name, overloads) in FunctionRegistry.builtin.scalars.sorted(by: { $0.key < $1.key }) {
      // A root of 131,072 digits is a minute's work in a debug build.
      for function in overloads where function.arguments != [.numeric] || name != "sqrt" {
        calls += Self.tryAll(function.arguments) { try $0.resolver.scalarCall(name, $1, at: nil) }
      }
    }
    #expect(calls > 3_000)
  }

  @Test func operatorsAnswerOrRefuse() {
    var calls = 0
    for (name, overloads) in FunctionRegistry.builtin.operators.sorted(by: { $0.key < $1.key }) {
      for entry in overloads {
        calls += Self.tryAll([entry.left, entry.right].compactMap { $0 }, limit: 100) { evaluator, arguments in
          let left = entry.left == nil ? nil : arguments[0]
          return try evaluator.resolver.operatorCall(name, left, arguments[arguments.count - 1], at: nil)
        }
      }
    }
    #expect(calls > 3_000)
  }

  @Test func castsAnswerOrRefuse() {
    var calls = 0
    for cast in FunctionRegistry.builtin.allCasts {
      calls += Self.tryAll([cast.source]) { evaluator, arguments in
        try evaluator.resolver.coerce(arguments[0], to: SQLType(cast.target), .explicit)
      }
    }
    #expect(calls > 300)
  }
}
