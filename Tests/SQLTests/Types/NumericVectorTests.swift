import Foundation
import SQL
import Testing

/// Random operations whose results PostgreSQL gave (`Scripts/numeric.vectors`): every digit and every scale must agree.
@Suite struct NumericVectorTests {
  @Test func asPostgreSQL() throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Scripts/numeric.vectors")
    var failures: [String] = []
    var count = 0
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#") {
      let parts = line.split(separator: "\t").map(String.init)
      count += 1
      let actual = evaluate(parts[0], parts[1], parts[2])
      if actual != parts[3] { failures.append("\(parts[1]) \(parts[0]) \(parts[2]): \(actual), not \(parts[3])") }
    }
    #expect(count > 2000)
    #expect(failures.isEmpty, "\(failures.count) of \(count):\n\(failures.prefix(40).joined(separator: "\n"))")
  }

  private func evaluate(_ op: String, _ a: String, _ b: String) -> String {
    let e = Evaluator()
    do {
      let x = try e.typed(a, .numeric)
      switch op {
      case "typmod":
        let numbers = b.split(separator: ",").map { Int($0)! }
        return try e.text(
          try e.resolver.coerce(x, to: .numeric(precision: numbers[0], scale: numbers[1]), .explicit)) ?? "NULL"
      case "round", "trunc": return try e.call(op, x, e.integer(Int(b)!)) ?? "NULL"
      case "sqrt", "exp", "ln", "log": return try e.call(op, x) ?? "NULL"
      case "power", "powi": return try e.call("power", x, try e.typed(b, .numeric)) ?? "NULL"
      case "div": return try e.call("div", x, try e.typed(b, .numeric)) ?? "NULL"
      case "cmp":
        let y = try e.typed(b, .numeric)
        if try e.op(x, "<", y) == "t" { return "-1" }
        return try e.op(x, ">", y) == "t" ? "1" : "0"
      default: return try e.op(x, op, try e.typed(b, .numeric)) ?? "NULL"
      }
    } catch let error as SQLError {
      return "ERROR \(error.state): \(error.message)"
    } catch { return "\(error)" }
  }
}
