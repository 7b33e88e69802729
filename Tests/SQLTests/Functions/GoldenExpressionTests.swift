import Foundation
import SQL
import Testing

/// Expressions whose results PostgreSQL 15 gave (`Scripts/expressions/*.golden`, rewritten by `regenerate`).
@Suite struct GoldenExpressionTests {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Scripts/expressions")

  @Test(arguments: ["input", "arithmetic", "casts", "math", "text", "datetime", "json", "random", "extremes"])
  func asPostgreSQL(_ name: String) throws {
    let text = try String(contentsOf: Self.folder.appending(path: "\(name).golden"), encoding: .utf8)
    var expression: String?
    var failures: [String] = []
    var count = 0
    for line in text.split(separator: "\n") {
      if line.hasPrefix("> ") {
        expression = String(line.dropFirst(2))
      } else if let source = expression, !line.hasPrefix("#") {
        count += 1
        let actual = evaluate(source)
        if actual != line { failures.append("\(source)\n  expected \(line)\n  actual   \(actual)") }
        expression = nil
      }
    }
    #expect(count >= 18)
    #expect(failures.isEmpty, "\(failures.count) of \(count) differ in \(name):\n\(failures.joined(separator: "\n"))")
  }

  private func evaluate(_ source: String) -> String {
    let evaluator = Evaluator()
    do {
      let bound = try TestBinder(resolver: evaluator.resolver).bind(try SQLParser.parseExpression(source))
      let settled = try evaluator.resolver.settle(bound)
      let value = try evaluator.text(settled)?
        .replacingOccurrences(of: "\n", with: "\\n").replacingOccurrences(of: "\t", with: "\\t")
      return "\(value ?? "NULL") :: \(SQLType(settled.type.id).description)"
    } catch let error as SQLError {
      return "ERROR \(error.state): \(error.message)"
    } catch {
      return "\(error)"
    }
  }
}
