// EXPLAIN (FORMAT JSON): the same plan with PostgreSQL's names of properties, for the tools that draw it.

/// One operator as EXPLAIN tells it.
struct PlanRecord {
  let depth: Int
  let title: String
  /// `CTE x`, `SubPlan 1`, for the first operator of one.
  let heading: String?
  let node: PlanNode
  let measured: InstrumentedSource?
  var details: [(label: String, text: String)] = []
}

extension PlanPrinter {
  /// The plan as JSON, and what was measured around it (names and numbers, in milliseconds).
  mutating func json(_ around: [(name: String, value: String)]) -> String {
    records.removeAll()
    _ = lines()
    var buffer = ByteBuffer()
    buffer.append("[\n  {\n    \"Plan\": " as StaticString)
    var next = 0
    write(&next, 2, into: &buffer)
    for item in around {
      buffer.append(",\n    \"\(item.name)\": \(item.value)")
    }
    buffer.append("\n  }\n]" as StaticString)
    return buffer.bytes.string
  }

  /// Writes the operator at `next` and those below it.
  private func write(_ next: inout Int, _ level: Int, into buffer: inout ByteBuffer) {
    guard next < records.count else {
      buffer.append("{}" as StaticString)
      return
    }
    let record = records[next]
    let isRoot = next == 0
    next += 1
    let indent = String(repeating: "  ", count: level + 1)
    var isFirst = true
    func property(_ name: String, _ value: String, quoted: Bool = true) {
      buffer.append(isFirst ? "{\n" : ",\n")
      isFirst = false
      buffer.append("\(indent)\"\(name)\": ")
      if quoted { JSONText.writeString(value, into: &buffer) } else { buffer.append(value) }
    }
    for (name, value) in PlanPrinter.parts(of: record.title) { property(name, value) }
    if let heading = record.heading {
      property("Parent Relationship", heading.hasPrefix("SubPlan") ? "SubPlan" : "InitPlan")
      property("Subplan Name", heading)
    } else if !isRoot {
      property("Parent Relationship", "Outer")
    }
    property("Parallel Aware", "false", quoted: false)
    property("Async Capable", "false", quoted: false)
    if costs {
      property("Startup Cost", fixed(record.node.startup), quoted: false)
      property("Total Cost", fixed(record.node.cost), quoted: false)
      property("Plan Rows", "\(Int(max(1, record.node.rows.rounded())))", quoted: false)
    }
    if let measured = record.measured {
      let loops = max(1, measured.loops)
      if timing {
        property(
          "Actual Startup Time", PlanPrinter.milliseconds(measured.firstNanoseconds / Int64(loops)), quoted: false)
        property("Actual Total Time", PlanPrinter.milliseconds(measured.nanoseconds / Int64(loops)), quoted: false)
      }
      property("Actual Rows", "\(measured.rows / loops)", quoted: false)
      property("Actual Loops", "\(measured.loops)", quoted: false)
    }
    for (label, text) in record.details {
      guard label.hasSuffix("Key") else {
        property(label, text)
        continue
      }
      var list = ByteBuffer()
      JSONText.writeString(text, into: &list)
      property(label, "[\(list.bytes.string)]", quoted: false)
    }
    var hasChildren = false
    while next < records.count, records[next].depth > record.depth, isRoot || records[next].heading == nil {
      if hasChildren {
        buffer.append(",\n\(indent)  ")
      } else {
        property("Plans", "[\n\(indent)  ", quoted: false)
        hasChildren = true
      }
      write(&next, level + 2, into: &buffer)
    }
    if hasChildren { buffer.append("\n\(indent)]") }
    buffer.append("\n\(String(repeating: "  ", count: level))}")
  }

  /// `Index Scan using i on t a` as properties.
  private static func parts(of title: String) -> [(String, String)] {
    var kind = title
    var result: [(String, String)] = []
    if let on = title.range(" on ") {
      let target = title[on.upperBound...].split(separator: " ", maxSplits: 1).map(String.init)
      kind = String(title[..<on.lowerBound])
      if let using = kind.range(" using ") {
        result.append(("Index Name", String(kind[using.upperBound...])))
        kind = String(kind[..<using.lowerBound])
      }
      if kind.hasSuffix(" Backward") {
        kind = String(kind.dropLast(9))
        result.append(("Scan Direction", "Backward"))
      }
      let name = kind == "CTE Scan" ? "CTE Name" : kind == "Function Scan" ? "Function Name" : "Relation Name"
      if let relation = target.first { result.append((name, relation)) }
      result.append(("Alias", target.last ?? ""))
    }
    switch kind {
    case "Insert", "Update", "Delete": return [("Node Type", "ModifyTable"), ("Operation", kind)] + result
    case "Aggregate": return [("Node Type", "Aggregate"), ("Strategy", "Plain")] + result
    case "HashAggregate": return [("Node Type", "Aggregate"), ("Strategy", "Hashed")] + result
    case "GroupAggregate": return [("Node Type", "Aggregate"), ("Strategy", "Sorted")] + result
    default: break
    }
    for (word, type) in [("Hash", "Hash Join"), ("Nested Loop", "Nested Loop")] {
      guard kind.hasPrefix(word), kind == word + " Join" || kind == word || kind.hasSuffix(" Join") else { continue }
      let join = kind.dropFirst(word.count).split(separator: " ").first.map(String.init) ?? "Inner"
      return [("Node Type", type), ("Join Type", join == "Join" ? "Inner" : join)] + result
    }
    return [("Node Type", kind)] + result
  }
}

extension String {
  /// Where `needle` first occurs.
  fileprivate func range(_ needle: String) -> Range<String.Index>? { firstRange(of: needle) }
}
