import Foundation
import SQL
import Testing

/// Aggregates over lists of values, against PostgreSQL's results (`Scripts/aggregates.vectors`); split in two at every
/// place where the aggregate can combine.
@Suite struct AggregateTests {
  @Test func asPostgreSQL() throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Scripts/aggregates.vectors")
    var failures: [String] = []
    var count = 0
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#") {
      let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
      count += 1
      let items = parts[2].isEmpty ? [] : parts[2].split(separator: ";").map(String.init)
      for split in 0...items.count {
        guard let actual = evaluate(parts[0], parts[1], items, split: split) else { continue }
        if actual != parts[3] {
          failures.append("\(parts[0])(\(parts[1])) of \(parts[2]), split \(split): \(actual), not \(parts[3])")
        }
      }
    }
    #expect(count > 100)
    #expect(failures.isEmpty, "\(failures.count):\n\(failures.joined(separator: "\n"))")
  }

  /// Nil when the aggregate does not combine and `split` is not 0.
  private func evaluate(_ name: String, _ typeName: String, _ items: [String], split: Int) -> String? {
    let e = Evaluator()
    do {
      let binder = TestBinder(resolver: e.resolver)
      let type = try binder.sqlType(try SQLParser.parseTypeName(typeName))
      var arguments = [TypedExpression.column(0, type)]
      if name == "string_agg" { arguments.append(e.literal(",")) }
      let call = try e.resolver.call(name, arguments, at: nil)
      guard case .aggregate(let aggregate) = call.function else { return "not an aggregate" }
      // Sums of floating point depend on their order.
      if split > 0, aggregate.combine == nil || typeName.hasPrefix("float") { return nil }
      let plans = try call.arguments.map { try CompiledExpression($0) }
      func run(_ part: ArraySlice<String>) throws -> UnsafeMutableRawPointer {
        let state = UnsafeMutableRawPointer.allocate(byteCount: aggregate.stateSize, alignment: 16)
        state.initializeMemory(as: UInt8.self, repeating: 0, count: aggregate.stateSize)
        aggregate.initialize(state)
        for item in part {
          let value =
            item == "null" ? Value.null : try e.evaluate(e.resolver.coerce(e.literal(item), to: type, .explicit))
          let row = [value]
          let values = try row.withUnsafeBufferPointer { row in
            try plans.map { try $0.evaluate(row: row.baseAddress!, &e.context) }
          }
          if aggregate.isStrict, values.contains(where: \.isNull) { continue }
          try values.withUnsafeBufferPointer {
            try aggregate.accumulate(state, Arguments($0.baseAddress!, count: $0.count), &e.context)
          }
        }
        return state
      }
      let first = try run(items[split...])
      defer { first.deallocate() }
      if split > 0 {
        let second = try run(items[..<split])
        defer { second.deallocate() }
        try aggregate.combine!(first, second, &e.context)
      }
      let value = try aggregate.finish(first, &e.context)
      if value.isNull { return "NULL" }
      let text = try TypeCodec.string(value, call.type.id, e.context.format).replacingOccurrences(of: "\n", with: "\\n")
      return "\(text) :: \(SQLType(call.type.id).description)"
    } catch let error as SQLError {
      return "ERROR \(error.state): \(error.message)"
    } catch { return "\(error)" }
  }
}
