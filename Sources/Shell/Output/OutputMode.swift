/// How results are written.
package enum OutputMode: String, CaseIterable, Sendable {
  case box, table, column, list, line, csv, json, markdown, insert, tabs, html, expanded

  /// The modes' names for messages.
  package static var names: String { allCases.map(\.rawValue).joined(separator: " ") }
}

/// What a writer of results may be told.
package struct OutputOptions: Sendable {
  package init() {}
  package var mode = OutputMode.box
  package var showsHeaders = true
  /// What stands for NULL where the mode has no word of its own for it.
  package var nullText = ""
  /// Between columns in list mode (and csv, when it was set).
  package var columnSeparator = "|"
  package var rowSeparator = "\n"
  /// Fixed widths by column for the column mode; 0 = as wide as needed; negative = right aligned.
  package var widths: [Int] = []
  /// The table that insert mode names.
  package var insertTable = "table"
  /// The columns of the terminal, where the output is one: wider lines are cut with an ellipsis.
  package var terminalWidth: Int?
}

/// A column of a result as the shell sees it.
package struct OutputColumn: Sendable {
  package enum Kind: Sendable { case number, boolean, text, json }
  package var name: String
  package var kind: Kind

  package init(name: String, kind: Kind) {
    self.name = name
    self.kind = kind
  }
}

/// Writes one result. `row` may be called any number of times between `begin` and `end`.
package protocol ResultWriter {
  mutating func begin(_ columns: [OutputColumn], to output: inout OutputBuffer)
  mutating func row(_ fields: [String?], to output: inout OutputBuffer)
  mutating func end(to output: inout OutputBuffer)
}

extension OutputOptions {
  /// The writer for the mode in force.
  package func makeWriter() -> any ResultWriter {
    switch mode {
    case .box: AlignedWriter(options: self, frame: .box)
    case .table: AlignedWriter(options: self, frame: .ascii)
    case .column: AlignedWriter(options: self, frame: .none)
    case .markdown: AlignedWriter(options: self, frame: .markdown)
    case .list: SeparatedWriter(options: self)
    case .tabs: SeparatedWriter(options: self, separator: "\t")
    case .csv: CSVWriter(options: self)
    case .json: JSONWriter()
    case .line: LineWriter(options: self)
    case .expanded: ExpandedWriter(options: self)
    case .insert: InsertWriter(options: self)
    case .html: HTMLWriter(options: self)
    }
  }
}
