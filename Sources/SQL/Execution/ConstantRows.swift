// The rows of an INSERT … VALUES that are read from the statement's text while it runs.
//
// Most rows of a large INSERT are numbers and strings that a column takes as they are written. Such a row is converted twice
// by the same code: once when the statement is bound, so that what is wrong is said before anything is done, and once when
// it runs; in between only its place in the text is kept. A row that this code does not convert (a date, an escape, a value
// that is out of range) is bound like any other, and kept so.
//
// What is converted here does not depend on settings, and gives the value that binding the constant and assigning it to the
// column gives: `ConstantRowsTests` compares the two.

/// Rows by part, in order.
package struct ConstantRows: Sendable {
  enum Part: Sendable {
    case bound([[TypedExpression]])
    case text(Syntax.ConstantText)
  }
  var parts: [Part] = []
  /// The types of the columns.
  let types: [SQLType]
  private(set) var count = 0

  init(types: [SQLType]) { self.types = types }

  mutating func append(_ row: [TypedExpression]) {
    count += 1
    if case .bound(var rows)? = parts.last {
      parts[parts.count - 1] = .bound([])
      rows.append(row)
      parts[parts.count - 1] = .bound(rows)
    } else {
      parts.append(.bound([row]))
    }
  }

  mutating func append(_ text: Syntax.ConstantText) {
    guard text.count > 0 else { return }
    count += text.count
    parts.append(.text(text))
  }

  /// The expressions of the rows that are bound.
  var expressions: [TypedExpression] {
    parts.flatMap { part -> [TypedExpression] in
      if case .bound(let rows) = part { rows.flatMap { $0 } } else { [] }
    }
  }

  /// The rows that are bound, if all are.
  var allBound: [[TypedExpression]]? {
    if parts.isEmpty { return [] }
    guard parts.count == 1, case .bound(let rows) = parts[0] else { return nil }
    return rows
  }

  /// Adds the rows of `text`; those that are not converted here go through `bind`.
  mutating func append(
    _ text: Syntax.ConstantText, orBind bind: ([Syntax.Expression]) throws(SQLError) -> [TypedExpression]
  ) throws(SQLError) {
    let reader = ConstantRowReader(text, types)
    var parser: SQLParser?
    var run = text
    run.count = 0
    for _ in 0..<text.count {
      let place = reader.offset
      if try reader.next({ _, _ in }) {
        run.count += 1
        continue
      }
      append(run)
      var trees = parser ?? text.parser
      trees.skip(to: place)
      append(try bind(trees.takeConstantRow()))
      parser = trees
      run = Syntax.ConstantText(lexer: text.lexer, start: reader.offset, position: 0, isASCII: text.isASCII, count: 0)
    }
    append(run)
  }
}

/// Converts rows of plain constants to values of columns.
final class ConstantRowReader {
  private let lexer: Lexer
  private let types: [SQLType]
  private var constants: [PlainConstant] = []
  private let arena = Arena(initialBytes: 512)
  private let format = TextFormat()
  /// Where the next row begins.
  private(set) var offset: Int

  init(_ text: Syntax.ConstantText, _ types: [SQLType]) {
    lexer = text.lexer
    self.types = types
    offset = text.start
  }

  /// Gives `body` the values of the next row, borrowed until the next call, and moves behind the row; false if one is not
  /// converted here (some were given then).
  func next(_ body: (Int, Value) -> Void) throws(SQLError) -> Bool {
    guard lexer.plainRow(at: &offset, into: &constants), constants.count <= types.count else {
      throw SQLError(.internalError, "a row of constants was one before")
    }
    _ = lexer.passComma(at: &offset)
    arena.reset()
    for index in constants.indices {
      guard let value = value(constants[index], types[index]) else { return false }
      body(index, value)
    }
    return true
  }

  private func value(_ constant: PlainConstant, _ type: SQLType) -> Value? {
    switch constant.kind {
    case .null: return .sqlNull
    case .true: return type.id == .bool ? Value(true) : nil
    case .false: return type.id == .bool ? Value(false) : nil
    case .integer, .decimal, .string: break
    }
    let text = Bytes.with(lexer.bytes) { $0[Int(constant.start)..<Int(constant.end)].copied(to: arena) }
    switch type.id {
    case .int2, .int4, .int8:
      return constant.kind == .decimal ? nil : PlainText.integer(text, type.id).map { Value($0) }
    case .text: return constant.kind == .string ? Value(text) : nil
    case .varchar, .bpchar: return constant.kind == .string ? modified(Value(text), type) : nil
    case .numeric, .float8:
      guard let base = try? TypeCodec.parse(text, SQLType(type.id), arena, format) else { return nil }
      return modified(base, type)
    case .bool, .uuid:
      return constant.kind == .string ? try? TypeCodec.parse(text, type, arena, format) : nil
    default: return nil
    }
  }

  private func modified(_ value: Value, _ type: SQLType) -> Value? {
    type.modifier < 0 ? value : try? TypeModifier.apply(value, type, explicit: false, arena)
  }
}

extension Bytes {
  fileprivate func copied(to arena: Arena) -> Bytes { arena.copy(self) }
}

/// The rows of a `ConstantRows`, one after the other.
final class ConstantRowsSource: EvaluatingSource {
  private let rows: ConstantRows
  private let slots: [FrameSlot]
  private var part = 0
  private var row = 0
  private var reader: ConstantRowReader?

  init(_ state: ExecutionState, _ rows: ConstantRows, _ slots: [FrameSlot]) {
    self.rows = rows
    self.slots = slots
    super.init(state)
  }

  override func open() throws(SQLError) {
    refresh()
    close()
  }

  override func next() throws(SQLError) -> Bool {
    while part < rows.parts.count {
      switch rows.parts[part] {
      case .bound(let bound):
        if row < bound.count {
          try show(bound[row])
          row += 1
          return true
        }
      case .text(let text):
        if row < text.count {
          let reader = self.reader ?? ConstantRowReader(text, rows.types)
          self.reader = reader
          row += 1
          if row & 0xff == 0 { try state.services.checkInterrupt() }
          guard try reader.next({ frame[slots[$0]] = $1 }) else {
            throw SQLError(.internalError, "a constant was converted before")
          }
          return true
        }
      }
      part += 1
      row = 0
      reader = nil
    }
    return false
  }

  private func show(_ row: [TypedExpression]) throws(SQLError) {
    arena.reset()
    for index in slots.indices {
      if let constant = row[index].constantValue {
        frame[slots[index]] = constant.value(in: arena)
      } else {
        frame[slots[index]] = unsafe try CompiledExpression(row[index]).value(frame, &context).copied(into: arena)
      }
    }
  }

  override func close() {
    part = 0
    row = 0
    reader = nil
  }
}
