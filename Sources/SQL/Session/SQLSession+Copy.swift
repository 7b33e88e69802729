internal import Encoding
internal import Transactions

extension SQLSession {
  /// COPY: data come from and go to the sink.
  func copy(_ copy: Syntax.Copy, _ sink: any ResultSink) throws(SQLError) -> String {
    guard case .client = copy.endpoint else {
      throw SQLError(
        .featureNotSupported, "COPY to or from a file or program on the server is not supported",
        hint: "Use STDIN and STDOUT; psql's \\copy and the shell's .import read files on your side.",
        position: place(copy.position))
    }
    let options = try CopyOptions(copy.options, isFrom: copy.direction == .from)
    return copy.direction == .from ? try copyFrom(copy, options, sink) : try copyTo(copy, options, sink)
  }

  // MARK: FROM

  private func copyFrom(
    _ copy: Syntax.Copy, _ options: CopyOptions, _ sink: any ResultSink
  ) throws(SQLError) -> String {
    guard case .table(let name, let names) = copy.source else {
      throw SQLError(.syntaxError, "COPY query cannot be used with FROM", position: place(copy.position))
    }
    if transaction?.isReadOnly == true {
      throw SQLError(.readOnlyTransaction, "cannot execute COPY FROM in a read-only transaction")
    }
    var binder = try makeBinder()
    var table = try binder.table(name, for: "copy to")
    while try !lockTable(table) {
      binder = try makeBinder()
      table = try binder.table(name, for: "copy to")
    }
    let given = names.isEmpty ? table.live.map(\.name) : names.map(\.text)
    try require(.insert, on: table, columns: given.compactMap { table.column(named: $0)?.number })
    let insert = try BulkInsert(self, table, names.map { ($0.text, $0.position) }, binder, options, copy.condition)
    try sink.copyIn(CopyDescription(format: options.format, columnCount: insert.columns.count))
    if options.format == .binary { return "COPY \(try copyBinary(insert, sink))" }
    var reader = CopyReader(options)
    if options.header, try reader.next(sink), options.matchesHeader {
      for (index, column) in insert.columns.enumerated() {
        guard index < reader.count, let field = reader.field(index), field.string == column.name else {
          throw SQLError(
            .badCopyFormat, "column name mismatch in header line field \(index + 1): expected \"\(column.name)\"",
            detail: "COPY \(table.name), line 1")
        }
      }
    }
    while try reader.next(sink) {
      let expected = insert.columns.count
      guard reader.count == expected else {
        let message =
          reader.count > expected
          ? "extra data after last expected column"
          : "missing data for column \"\(insert.columns[reader.count].name)\""
        throw SQLError(.badCopyFormat, message, detail: "COPY \(table.name), line \(reader.line)")
      }
      insert.beginRow()
      for index in 0..<expected {
        do throws(SQLError) {
          try insert.set(index, reader.field(index))
        } catch {
          var placed = error
          let shown = reader.field(index).map { "\"\($0.prefix(100).string)\"" } ?? "null"
          placed.detail =
            "COPY \(table.name), line \(reader.line), column \(insert.columns[index].name): \(shown)"
          throw placed
        }
      }
      do throws(SQLError) {
        try insert.endRow()
      } catch {
        var placed = error
        placed.detail = [error.detail, "COPY \(table.name), line \(reader.line)"].compactMap { $0 }.joined(
          separator: "\n")
        throw placed
      }
    }
    return "COPY \(try insert.finish())"
  }

  // MARK: TO

  private func copyTo(
    _ copy: Syntax.Copy, _ options: CopyOptions, _ sink: any ResultSink
  ) throws(SQLError) -> String {
    let statement: Syntax.Statement
    switch copy.source {
    case .table(let name, let columns):
      let table = try makeBinder().table(name, for: "copy from")
      var select = Syntax.Select()
      let names = columns.isEmpty ? table.live.filter { $0.generated == nil }.map { Syntax.Name($0.name) } : columns
      select.targets = names.map {
        Syntax.Target(expression: Syntax.Expression(.column([$0.text]), $0.position))
      }
      select.from = [.relation(Syntax.RelationReference(relation: Syntax.RelationName(name: name)))]
      statement = .query(Syntax.Query(body: .select(select)))
    case .statement(let inner): statement = inner
    }
    let prepared = PreparedStatement(text: "", statement: statement, position: 0, parameterTypes: [])
    let runner = try self.runner(prepared)
    try sink.copyOut(CopyDescription(format: options.format, columnCount: runner.columns.count))
    if options.format == .binary { return "COPY \(try copyBinary(runner, sink))" }
    let writer = CopyWriter(options, runner.columns, textFormat)
    if options.header { try writer.header(sink) }
    let tag = unsafe try runner.run(self, []) { (row) throws(SQLError) in unsafe try writer.row(row, sink) }
    try writer.flush(sink)
    return "COPY \(tag.split(separator: " ").last ?? "0")"
  }
}

/// Rows of text fields into a table: typed, checked and written without a statement for each.
final class BulkInsert {
  let table: TableDescriptor
  let columns: [ColumnDescriptor]
  private unowned let session: SQLSession
  private let transaction: Transaction
  private let writer: TableWriter
  private let row: ValueBuffer
  private let defaults: [(place: Int, value: CompiledExpression)]
  private let evaluator: EvaluatingSource
  private let state: ExecutionState
  private let condition: CompiledExpression?
  private let format: TextFormat
  private(set) var count = 0
  /// What a row needs of each column.
  private struct Target {
    var place: Int
    var type: SQLType
    var forceNotNull: Bool
    var forceNull: Bool
  }
  private let targets: [Target]
  private let nullText: [UInt8]

  init(
    _ session: SQLSession, _ table: TableDescriptor, _ names: [(String, Int)], _ binder: Binder,
    _ options: CopyOptions, _ condition: Syntax.Expression?
  ) throws(SQLError) {
    self.session = session
    self.table = table
    guard let transaction = session.transaction else { preconditionFailure("COPY runs in a transaction") }
    self.transaction = transaction
    var columns: [ColumnDescriptor] = []
    for (name, position) in names {
      guard let column = table.column(named: name) else {
        throw SQLError(
          .undefinedColumn, "column \"\(name)\" of relation \"\(table.name)\" does not exist", position: place(position)
        )
      }
      guard column.generated == nil else {
        throw SQLError(
          .invalidColumnReference, "column \"\(name)\" is a generated column",
          detail: "Generated columns cannot be used in COPY.")
      }
      guard !columns.contains(where: { $0.number == column.number }) else {
        throw SQLError(.duplicateColumn, "column \"\(name)\" specified more than once", position: place(position))
      }
      columns.append(column)
    }
    if names.isEmpty { columns = table.live.filter { $0.generated == nil } }
    self.columns = columns
    let given = Set(columns.map(\.place))
    var defaults: [(place: Int, value: CompiledExpression)] = []
    for column in table.live where !given.contains(column.place) {
      let value = try binder.defaultValue(column)
      if value.constantValue != .null { defaults.append((column.place, try CompiledExpression(value))) }
    }
    self.defaults = defaults
    self.condition = try condition.map { (c) throws(SQLError) in
      try CompiledExpression(
        try binder.condition(c, binder.rowScope(table), .copyWhere, "WHERE"), asCondition: true)
    }
    writer = try session.writer(table)
    writer.pending = []
    writer.isBulk = true
    row = ValueBuffer(table.columns.count)
    format = session.textFormat
    let plan = session.makePlanner(binder).plan(BoundQuery(plan: .oneRow, columns: []))
    state = try ExecutionState(plan, services: session)
    state.begin(session, [])
    evaluator = EvaluatingSource(state)
    evaluator.refresh()
    targets = columns.map {
      Target(
        place: $0.place, type: $0.type, forceNotNull: options.forceNotNull.contains($0.name),
        forceNull: options.forceNull.contains($0.name))
    }
    nullText = options.null
  }

  deinit { writer.isBulk = false }

  func beginRow() {
    evaluator.arena.reset()
    for place in 0..<row.count { row[place] = .null }
  }

  /// Gives column `index` its text; nil is null.
  @inline(__always)
  func set(_ index: Int, _ text: Bytes?) throws(SQLError) {
    let target = targets[index]
    var text = text
    if text == nil, target.forceNotNull { text = evaluator.arena.copy(nullText) }
    if let given = text, target.forceNull, given.array == nullText { text = nil }
    guard let text else { return }
    switch target.type.id {
    case .int4, .int8, .int2:
      if let number = PlainText.integer(text, target.type.id) {
        row[target.place] = Value(number)
        return
      }
    case .text:
      if PlainText.isASCII(text) {
        row[target.place] = Value(text)
        return
      }
    default: break
    }
    try TextScan.checkUTF8(text)
    let base = try TypeCodec.parse(
      text, SQLType(target.type.id, modifier: target.type.id == .interval ? target.type.modifier : -1),
      evaluator.arena, format)
    row[target.place] =
      target.type.modifier < 0
      ? base : try TypeModifier.apply(base, target.type, explicit: false, evaluator.arena)
  }

  /// Gives column `index` its binary form.
  func setBinary(_ index: Int, _ bytes: Bytes) throws(SQLError) {
    let column = columns[index]
    let base: Value
    do throws(SQLError) {
      base = try TypeCodec.decodeBinary(bytes, column.type.id, evaluator.arena)
    } catch {
      guard error.message.hasPrefix("incorrect binary data format") else { throw error }
      throw SQLError(.invalidBinary, "incorrect binary data format")
    }
    row[column.place] =
      column.type.modifier < 0
      ? base : try TypeModifier.apply(base, column.type, explicit: false, evaluator.arena)
  }

  func endRow() throws(SQLError) {
    for (place, value) in defaults { row[place] = unsafe try value.value(row.frame, &evaluator.context) }
    if let condition, unsafe !(try condition.holds(row.frame, &evaluator.context)) { return }
    unsafe try writer.insert(row, transaction, &evaluator.context)
    count += 1
    if count & 0xff == 0 { try session.checkInterrupt() }
  }

  /// The number of rows; checks that waited for the end are made.
  func finish() throws(SQLError) -> Int {
    let pending = writer.pending
    writer.pending = []
    session.database.statistics.changed(table.storage, by: writer.takeDelta())
    if !pending.isEmpty { try session.check(pending, transaction) }
    return count
  }
}

/// Rows as text or CSV, collected into pieces of about 64 KiB.
final class CopyWriter {
  private let options: CopyOptions
  private let columns: [ColumnDescription]
  private let format: TextFormat
  private var buffer = ByteBuffer(capacity: 70 << 10)
  private let arena = Arena(initialBytes: 1024)
  private let forced: [Bool]

  init(_ options: CopyOptions, _ columns: [ColumnDescription], _ format: TextFormat) {
    self.options = options
    self.columns = columns
    self.format = format
    forced = columns.map { options.forcesAllQuotes || options.forceQuote.contains($0.name) }
  }

  func header(_ sink: any ResultSink) throws(SQLError) {
    for (index, column) in columns.enumerated() {
      if index > 0 { buffer.append(options.delimiter) }
      put(arena.copy(column.name), forced: false)
    }
    try endLine(sink)
  }

  func row(_ values: UnsafeBufferPointer<Value>, _ sink: any ResultSink) throws(SQLError) {
    arena.reset()
    for index in columns.indices {
      if index > 0 { buffer.append(options.delimiter) }
      let value = unsafe values[index]
      if value.isNull {
        buffer.append(options.null)
      } else {
        put(try TypeCodec.text(value, columns[index].type.id, arena, format), forced: forced[index])
      }
    }
    try endLine(sink)
  }

  private func endLine(_ sink: any ResultSink) throws(SQLError) {
    buffer.append(UInt8(ascii: "\n"))
    // A message for each row, as PostgreSQL sends it: readers of COPY rely on that.
    try flush(sink)
  }

  func flush(_ sink: any ResultSink) throws(SQLError) {
    guard buffer.count > 0 else { return }
    unsafe try sink.copyData(buffer.bytes.buffer)
    buffer.removeAll()
  }

  private func put(_ text: Bytes, forced: Bool) {
    if options.format == .csv {
      var needsQuotes = forced || (text.count == options.null.count && text.array == options.null)
      if !needsQuotes {
        for byte in text
        where byte == options.delimiter || byte == options.quote || byte == UInt8(ascii: "\n")
          || byte == UInt8(ascii: "\r")
        {
          needsQuotes = true
          break
        }
      }
      if text.count == 2, text[0] == UInt8(ascii: "\\"), text[1] == UInt8(ascii: ".") { needsQuotes = true }
      guard needsQuotes else {
        buffer.append(text)
        return
      }
      buffer.append(options.quote)
      for byte in text {
        if byte == options.quote || byte == options.escape { buffer.append(options.escape) }
        buffer.append(byte)
      }
      buffer.append(options.quote)
      return
    }
    for byte in text {
      switch byte {
      case 8: buffer.append("\\b" as StaticString)
      case 9: buffer.append("\\t" as StaticString)
      case 10: buffer.append("\\n" as StaticString)
      case 11: buffer.append("\\v" as StaticString)
      case 12: buffer.append("\\f" as StaticString)
      case 13: buffer.append("\\r" as StaticString)
      case UInt8(ascii: "\\"): buffer.append("\\\\" as StaticString)
      case options.delimiter:
        buffer.append(UInt8(ascii: "\\"))
        buffer.append(byte)
      default: buffer.append(byte)
      }
    }
  }
}
