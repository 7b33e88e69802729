import Synod

extension Shell {
  /// What is in the database.
  static let schemaCommands: [MetaCommand] = [
    MetaCommand(".tables", "\\dt", usage: "[PATTERN]", "The tables and views; * and ? stand for any text or character")
    {
      shell, invocation in
      let names = try shell.objects([.table, .view], matching: invocation.arguments.first).map(\.name)
      if !names.isEmpty { shell.write(columns(names, width: shell.options.terminalWidth ?? 80) + "\n") }
    },
    MetaCommand(".indexes", ".indices", "\\di", usage: "[TABLE]", "The indexes, or those of one table") {
      shell, invocation in
      let indexes = try shell.objects([.index], matching: nil)
      let table = invocation.arguments.first
      for index in indexes where table == nil || matches(index.table ?? "", table!) { shell.write(index.name + "\n") }
    },
    MetaCommand(".schema", usage: "[PATTERN]", "The statements that create what is there") { shell, invocation in
      let pattern = invocation.arguments.first
      for object in try shell.connection.schemaObjects()
      where pattern == nil || matches(object.name, pattern!) || (object.table.map({ matches($0, pattern!) }) ?? false) {
        shell.write(object.definition + ";\n")
        for statement in object.laterStatements { shell.write(statement + ";\n") }
      }
    },
    MetaCommand("\\d", usage: "[NAME]", "What is there, or one table, index or view") { shell, invocation in
      let objects = try shell.connection.schemaObjects()
      guard let name = invocation.arguments.first else {
        let rows = objects.filter { $0.kind != .index }.map { [$0.name, $0.kind.rawValue] as [String?] }
        return shell.writeTable(["Name", "Type"], rows)
      }
      let found = objects.filter { matches($0.name, name) }
      guard !found.isEmpty else { throw ShellProblem("there is nothing named \"\(name)\"") }
      for object in found {
        shell.write(object.definition + ";\n")
        for index in objects where index.table == object.name { shell.write(index.definition + ";\n") }
        for statement in object.laterStatements { shell.write(statement + ";\n") }
      }
    },
    MetaCommand("\\dv", usage: "", "The views") { shell, _ in
      for view in try shell.objects([.view], matching: nil) { shell.write(view.name + "\n") }
    },
    MetaCommand("\\ds", usage: "", "The sequences") { shell, _ in
      for sequence in try shell.objects([.sequence], matching: nil) { shell.write(sequence.name + "\n") }
    },
  ]

  func objects(_ kinds: Set<SchemaObject.Kind>, matching pattern: String?) throws(DatabaseError) -> [SchemaObject] {
    try connection.schemaObjects().filter { kinds.contains($0.kind) && (pattern == nil || matches($0.name, pattern!)) }
      .sorted { $0.name < $1.name }
  }

  /// Writes rows of the shell's own in the mode in force.
  func writeTable(_ names: [String], _ rows: [[String?]]) {
    let target = outputOnce ?? output
    var buffer = OutputBuffer { target.write($0) }
    var writer = options.makeWriter()
    writer.begin(names.map { OutputColumn(name: $0, kind: .text) }, to: &buffer)
    for row in rows { writer.row(row, to: &buffer) }
    writer.end(to: &buffer)
    buffer.flush()
  }
}

/// Whether `name` matches a pattern in which `*` or `%` stands for any text and `?` or `_` for one character.
package func matches(_ name: String, _ pattern: String) -> Bool {
  let name = Array(name)
  let pattern = Array(pattern)
  // The classic greedy walk: remember the last star, and on a mismatch let it take one character more.
  var at = 0
  var in_ = 0
  var star: (pattern: Int, name: Int)?
  while at < name.count {
    if in_ < pattern.count, pattern[in_] == "*" || pattern[in_] == "%" {
      star = (in_, at)
      in_ += 1
    } else if in_ < pattern.count, pattern[in_] == "?" || pattern[in_] == name[at] || pattern[in_] == "_" {
      at += 1
      in_ += 1
    } else if let last = star {
      star = (last.pattern, last.name + 1)
      at = last.name + 1
      in_ = last.pattern + 1
    } else {
      return false
    }
  }
  return pattern[in_...].allSatisfy { $0 == "*" || $0 == "%" }
}
