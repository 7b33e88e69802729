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
    let sequences = objects.filter { $0.kind == .sequence && (pattern == nil) }
    let schemas = Set((sequences + tables).compactMap(schemaName)).sorted()
    for schema in schemas { shell.write("CREATE SCHEMA IF NOT EXISTS \(schema);\n") }
    for sequence in sequences { shell.write(sequence.definition + ";\n") }
    for table in tables {
      shell.write("\n" + table.definition + ";\n")
      let columns = table.storedColumns.map(quotedIdentifier).joined(separator: ", ")
      var target = table.qualifiedName
      if table.storedColumns.count < table.columns.count { target += " (\(columns))" }
      if table.definition.contains("GENERATED ALWAYS AS IDENTITY") { target += " OVERRIDING SYSTEM VALUE" }
      let sink = DumpSink(shell: shell, target: target, rowsPerStatement: Self.rowsPerStatement)
      defer { sink.progress.end() }
      try shell.connection.execute("SELECT \(columns) FROM \(table.qualifiedName)", into: sink)
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
    for sequence in sequences {
      for statement in sequence.laterStatements { shell.write(statement + ";\n") }
      let state = OneRow()
      try shell.connection.execute("SELECT last_value, is_called FROM \(sequence.qualifiedName)", into: state)
      guard state.fields.count == 2, let value = state.fields[0], let isCalled = state.fields[1] else { continue }
      let name = sqlLiteral(sequence.qualifiedName, .text)
      shell.write("SELECT setval(\(name), \(value), \(isCalled == "t"));\n")
    }
    shell.write("COMMIT;\n")
  }

  /// The quoted schema, nil for public.
  private func schemaName(_ object: SchemaObject) -> String? {
    let own = "." + quotedIdentifier(object.name)
    return object.qualifiedName.hasSuffix(own) ? String(object.qualifiedName.dropLast(own.count)) : nil
  }
}

/// Keeps the last row.
private final class OneRow: ShellSink {
  private(set) var fields: [String?] = []
  func columns(_ columns: [Column]) {}
  func row(_ fields: [String?]) { self.fields = fields }
  func completed(_ tag: String) {}
  func notice(_ severity: String, _ notice: DatabaseError) {}
  func copyOut(_ bytes: [UInt8]) {}
  func copyIn() throws(DatabaseError) -> [UInt8]? { nil }
}

/// Writes rows as INSERT statements of many rows.
private final class DumpSink: ShellSink {
  private let shell: Shell
  /// The table, and its columns where not all are given.
  private let target: String
  private let rowsPerStatement: Int
  private var kinds: [OutputColumn.Kind] = []
  private var rows = 0
  private var buffer: OutputBuffer
  var progress: Progress

  init(shell: Shell, target: String, rowsPerStatement: Int) {
    self.shell = shell
    self.target = target
    self.rowsPerStatement = rowsPerStatement
    let output = shell.outputOnce ?? shell.output
    buffer = OutputBuffer { output.write($0) }
    progress = Progress(total: nil, isShown: shell.isInteractive)
  }

  func columns(_ columns: [Column]) { kinds = columns.map(\.kind.outputKind) }

  func row(_ fields: [String?]) {
    let line = "(" + zip(fields, kinds).map { sqlLiteral($0, $1) }.joined(separator: ", ") + ")"
    buffer.write(
      rows % rowsPerStatement == 0 ? "\(rows == 0 ? "" : ";\n")INSERT INTO \(target) VALUES\n" : ",\n")
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
