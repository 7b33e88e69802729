import Synod

/// Fields between separators, as they are.
struct SeparatedWriter: ResultWriter {
  private let options: OutputOptions
  private let separator: String

  init(options: OutputOptions, separator: String? = nil) {
    self.options = options
    self.separator = separator ?? options.columnSeparator
  }

  mutating func begin(_ columns: [OutputColumn], to output: inout OutputBuffer) {
    if options.showsHeaders { row(columns.map(\.name), to: &output) }
  }

  mutating func row(_ fields: [String?], to output: inout OutputBuffer) {
    output.write(fields.map { $0 ?? options.nullText }.joined(separator: separator))
    output.write(options.rowSeparator)
  }

  mutating func end(to output: inout OutputBuffer) {}
}

/// Comma-separated values (RFC 4180): NULL is an empty field, an empty string is `""`, as PostgreSQL's COPY writes them.
struct CSVWriter: ResultWriter {
  private let options: OutputOptions
  private let separator: String

  init(options: OutputOptions) {
    self.options = options
    separator = options.columnSeparator == "|" ? "," : options.columnSeparator
  }

  mutating func begin(_ columns: [OutputColumn], to output: inout OutputBuffer) {
    if options.showsHeaders { row(columns.map(\.name), to: &output) }
  }

  mutating func row(_ fields: [String?], to output: inout OutputBuffer) {
    for (index, field) in fields.enumerated() {
      if index > 0 { output.write(separator) }
      output.write(field.map { csvField($0, separator: separator) } ?? options.nullText)
    }
    output.write("\r\n")
  }

  mutating func end(to output: inout OutputBuffer) {}
}

/// A field as CSV writes it: quoted where it is empty or holds a separator, a quote, or the end of a line.
package func csvField(_ field: String, separator: String) -> String {
  let special = field.utf8.contains { $0 == 0x22 || $0 == 0x0A || $0 == 0x0D } || field.contains(separator)
  guard special || field.isEmpty || field.utf8.first == 0x20 || field.utf8.last == 0x20 else { return field }
  return "\"" + field.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}

/// An array of objects; numbers and booleans as JSON's own, where JSON can write them.
struct JSONWriter: ResultWriter {
  private var columns: [OutputColumn] = []
  private var rows = 0

  mutating func begin(_ columns: [OutputColumn], to output: inout OutputBuffer) {
    self.columns = columns
    output.write("[")
  }

  mutating func row(_ fields: [String?], to output: inout OutputBuffer) {
    output.write(rows == 0 ? "{" : ",\n{")
    rows += 1
    for (index, field) in fields.enumerated() where index < columns.count {
      if index > 0 { output.write(",") }
      output.write(jsonString(columns[index].name))
      output.write(":")
      output.write(jsonValue(field, columns[index].kind))
    }
    output.write("}")
  }

  mutating func end(to output: inout OutputBuffer) { output.line("]") }

  private func jsonValue(_ field: String?, _ kind: OutputColumn.Kind) -> String {
    guard let field else { return "null" }
    switch kind {
    case .number: return field.utf8.allSatisfy { (0x2B...0x39).contains($0) || $0 == 0x65 } ? field : jsonString(field)
    case .boolean: return field == "t" ? "true" : "false"
    case .json: return field
    case .text: return jsonString(field)
    }
  }
}

/// `text` as a JSON string (RFC 8259).
package func jsonString(_ text: String) -> String {
  var quoted = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": quoted += "\\\""
    case "\\": quoted += "\\\\"
    case "\n": quoted += "\\n"
    case "\r": quoted += "\\r"
    case "\t": quoted += "\\t"
    case _ where scalar.value < 0x20:
      let hex = String(scalar.value, radix: 16)
      quoted += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
    default: quoted.unicodeScalars.append(scalar)
    }
  }
  return quoted + "\""
}

/// SQLite's line mode: a field a line, an empty line between rows.
struct LineWriter: ResultWriter {
  private let options: OutputOptions
  private var names: [String] = []
  private var width = 0
  private var rows = 0

  init(options: OutputOptions) { self.options = options }

  mutating func begin(_ columns: [OutputColumn], to output: inout OutputBuffer) {
    names = columns.map(\.name)
    width = names.map(displayWidth).max() ?? 0
  }

  mutating func row(_ fields: [String?], to output: inout OutputBuffer) {
    if rows > 0 { output.line() }
    rows += 1
    for (name, field) in zip(names, fields) {
      output.spaces(width - displayWidth(name))
      output.line("\(name) = \(field ?? options.nullText)")
    }
  }

  mutating func end(to output: inout OutputBuffer) {}
}

/// psql's expanded form (`\x`).
struct ExpandedWriter: ResultWriter {
  private let options: OutputOptions
  private var names: [String] = []
  private var width = 0
  private var rows = 0

  init(options: OutputOptions) { self.options = options }

  mutating func begin(_ columns: [OutputColumn], to output: inout OutputBuffer) {
    names = columns.map(\.name)
    width = names.map(displayWidth).max() ?? 0
  }

  mutating func row(_ fields: [String?], to output: inout OutputBuffer) {
    rows += 1
    let title = "-[ RECORD \(rows) ]"
    output.line(title + String(repeating: "-", count: max(0, width + 3 - title.count)))
    for (name, field) in zip(names, fields) {
      output.write(name)
      output.spaces(width - displayWidth(name))
      output.line(" | " + displayable(field ?? options.nullText))
    }
  }

  mutating func end(to output: inout OutputBuffer) { if rows == 0 { output.line("(0 rows)") } }
}

/// One INSERT statement a row.
struct InsertWriter: ResultWriter {
  private let options: OutputOptions
  private var columns: [OutputColumn] = []

  init(options: OutputOptions) { self.options = options }

  mutating func begin(_ columns: [OutputColumn], to output: inout OutputBuffer) { self.columns = columns }

  mutating func row(_ fields: [String?], to output: inout OutputBuffer) {
    output.write("INSERT INTO \(quotedIdentifier(options.insertTable)) VALUES (")
    for (index, field) in fields.enumerated() where index < columns.count {
      if index > 0 { output.write(", ") }
      output.write(sqlLiteral(field, columns[index].kind))
    }
    output.line(");")
  }

  mutating func end(to output: inout OutputBuffer) {}
}

/// A field as an SQL literal.
package func sqlLiteral(_ field: String?, _ kind: OutputColumn.Kind) -> String {
  guard let field else { return "NULL" }
  switch kind {
  case .number where field.utf8.allSatisfy { (0x2B...0x39).contains($0) || $0 == 0x65 } && field != "-0": return field
  case .boolean: return field == "t" ? "true" : "false"
  default: return "'" + field.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
  }
}

/// A name as SQL must write it: quoted unless it is a plain lower-case word.
package func quotedIdentifier(_ name: String) -> String {
  if ScriptReader.keywords.contains(where: { $0.lowercased() == name }) { return "\"\(name)\"" }
  let plain =
    name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F }
    && !(name.utf8.first.map { (0x30...0x39).contains($0) } ?? true)
  return plain
    ? name : "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}

/// An HTML table without its TABLE element, as SQLite writes it.
struct HTMLWriter: ResultWriter {
  private let options: OutputOptions

  init(options: OutputOptions) { self.options = options }

  mutating func begin(_ columns: [OutputColumn], to output: inout OutputBuffer) {
    if options.showsHeaders { write(columns.map(\.name), element: "TH", to: &output) }
  }

  mutating func row(_ fields: [String?], to output: inout OutputBuffer) {
    write(fields.map { $0 ?? options.nullText }, element: "TD", to: &output)
  }

  mutating func end(to output: inout OutputBuffer) {}

  private func write(_ fields: [String], element: String, to output: inout OutputBuffer) {
    output.write("<TR>")
    for field in fields { output.write("<\(element)>\(escaped(field))</\(element)>\n") }
    output.line("</TR>")
  }

  private func escaped(_ text: String) -> String {
    var result = ""
    for character in text.unicodeScalars {
      switch character {
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "&": result += "&amp;"
      case "\"": result += "&quot;"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }
}
