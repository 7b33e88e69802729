import Synod

/// `.dump`: statements that make the database again, from one snapshot.
///
/// Tables first, then their rows as INSERT statements of many rows each, then indexes, and last what needs all tables to
/// be there. Running the output against an empty database gives an equal one.
struct DumpCommand {
  private static let rowsPerStatement = 200
  var pattern: String?

  func run(_ shell: Shell) throws {
    guard shell.connection.transactionStatus == .idle else {
      throw ShellProblem("a transaction is open; a dump reads from a transaction of its own")
    }
    let quiet = SilentSink()
    try shell.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", into: quiet)
    defer { try? shell.connection.execute("ROLLBACK", into: quiet) }
    let objects = try shell.connection.schemaObjects()
    let tables = objects.filter { $0.kind == .table && (pattern == nil || matches($0.name, pattern!)) }
    let names = Set(tables.map(\.name))
    shell.write("-- SynodDB dump\nBEGIN;\n")
    for object in objects where object.kind == .sequence && pattern == nil { shell.write(object.definition + ";\n") }
    for table in tables {
      shell.write("\n" + table.definition + ";\n")
      let sink = DumpSink(shell: shell, table: table.name, rowsPerStatement: Self.rowsPerStatement)
      defer { sink.progress.end() }
      try shell.connection.execute("SELECT * FROM \(quotedIdentifier(table.name))", into: sink)
      sink.finish()
    }
    shell.write("\n")
    for object in objects {
      switch object.kind {
      case .index where names.contains(object.table ?? ""): shell.write(object.definition + ";\n")
      case .view where pattern == nil: shell.write(object.definition + ";\n")
      default: break
      }
    }
    for table in tables { for statement in table.laterStatements { shell.write(statement + ";\n") } }
    shell.write("COMMIT;\n")
  }
}

/// Writes rows as INSERT statements of many rows.
private final class DumpSink: ShellSink {
  private let shell: Shell
  private let table: String
  private let rowsPerStatement: Int
  private var kinds: [OutputColumn.Kind] = []
  private var rows = 0
  private var buffer: OutputBuffer
  var progress: Progress

  init(shell: Shell, table: String, rowsPerStatement: Int) {
    self.shell = shell
    self.table = table
    self.rowsPerStatement = rowsPerStatement
    let target = shell.outputOnce ?? shell.output
    buffer = OutputBuffer { target.write($0) }
    progress = Progress(total: nil, isShown: shell.isInteractive)
  }

  func columns(_ columns: [Column]) { kinds = columns.map(\.kind.outputKind) }

  func row(_ fields: [String?]) {
    let line = "(" + zip(fields, kinds).map { sqlLiteral($0, $1) }.joined(separator: ", ") + ")"
    buffer.write(
      rows % rowsPerStatement == 0 ? "\(rows == 0 ? "" : ";\n")INSERT INTO \(quotedIdentifier(table)) VALUES\n" : ",\n")
    buffer.write(line)
    progress.advance(by: line.utf8.count)
    rows += 1
  }

  func finish() {
    if rows > 0 { buffer.write(";\n") }
    buffer.flush()
  }

  func completed(_ tag: String) {}
  func notice(_ severity: String, _ notice: DatabaseError) {}
  func copyOut(_ bytes: [UInt8]) {}
  func copyIn() throws(DatabaseError) -> [UInt8]? { nil }
}
