import Synod

/// Writes a statement's results as the shell's settings say.
final class PrintingSink: ShellSink {
  private unowned let shell: Shell
  private let copySource: (any LineSource)?
  private var writer: (any ResultWriter)?
  private var buffer: OutputBuffer
  private var rows = 0
  private var shape: [OutputColumn]?

  init(shell: Shell, copySource: (any LineSource)?) {
    self.shell = shell
    self.copySource = copySource
    let target = shell.outputOnce ?? shell.output
    buffer = OutputBuffer { target.write($0) }
  }

  func columns(_ columns: [Column]) {
    endResult()
    rows = 0
    shape = columns.map { OutputColumn(name: $0.name, kind: $0.kind.outputKind) }
  }

  /// Nothing is written before the first row or the end: a statement that fails at once leaves no empty table behind.
  private func begin() {
    guard let shape else { return }
    writer = shell.options.makeWriter()
    writer?.begin(shape, to: &buffer)
    self.shape = nil
  }

  func row(_ fields: [String?]) {
    rows += 1
    begin()
    writer?.row(fields, to: &buffer)
  }

  func completed(_ tag: String) {
    begin()
    let hadRows = writer != nil
    endResult()
    if hadRows {
      if shell.isInteractive && [.box, .table, .column].contains(shell.options.mode) {
        buffer.line(rows == 1 ? "(1 row)" : "(\(rows) rows)")
      }
    } else if shell.isInteractive || shell.settings.showsChanges {
      buffer.line(tag)
    }
    buffer.flush()
  }

  func notice(_ severity: String, _ notice: DatabaseError) {
    buffer.flush()
    shell.writeError("\(severity):  \(notice.message)\n")
    if let hint = notice.hint { shell.writeError("HINT:  \(hint)\n") }
  }

  func copyOut(_ bytes: [UInt8]) { buffer.write(bytes) }

  func copyIn() throws(DatabaseError) -> [UInt8]? {
    // As in psql, the data follows the statement and ends with `\.` on a line of its own.
    guard let line = copySource?.nextLine() else { return nil }
    if line == [0x5C, 0x2E] || line == [0x5C, 0x2E, 0x0D] { return nil }
    return line + [0x0A]
  }

  /// Ends a result that a failure cut short, so that what was written stays well formed.
  func abandon() {
    shape = nil
    endResult()
  }

  func finish() { buffer.flush() }

  private func endResult() {
    writer?.end(to: &buffer)
    writer = nil
    buffer.flush()
  }
}

extension Column.Kind {
  var outputKind: OutputColumn.Kind {
    switch self {
    case .integer, .float, .numeric: .number
    case .boolean: .boolean
    case .json: .json
    case .text, .bytes, .timestamp, .other: .text
    }
  }
}
