// The rows of VALUES.
//
// A statement may carry millions of rows, and a tree takes hundreds of bytes for each of their constants. So after the first
// thousand, rows that hold nothing but plain constants are kept as a place in the statement's text and read again when they
// are wanted: as trees by iterating, as tokens by INSERT (see `ConstantRows`).
//
// 1. A plain constant is NULL, TRUE, FALSE, a number with or without a minus, or a string of one piece without escapes; a
//    row of them has as many as the first row. Everything else is kept as a tree, in its place between the others.
// 2. What was taken for a row of plain constants once is one always: the text does not change, and the lexer has no state.

extension Syntax {
  /// The rows of VALUES; at least one once they are parsed.
  package struct ValueRows: Sendable, Sequence {
    enum Part: Sendable {
      case trees([[Expression]])
      case text(ConstantText)
    }
    /// From this many rows on, plain constants stay in the text.
    static let treeLimit = 1000

    private(set) var parts: [Part] = []
    package private(set) var count = 0

    /// How many constants the first row has.
    var width: Int {
      guard case .trees(let trees)? = parts.first else { return 0 }
      return trees.first?.count ?? 0
    }

    mutating func append(_ row: [Expression]) {
      count += 1
      if case .trees(var trees)? = parts.last {
        parts[parts.count - 1] = .trees([])
        trees.append(row)
        parts[parts.count - 1] = .trees(trees)
      } else {
        parts.append(.trees([row]))
      }
    }

    mutating func append(_ text: ConstantText) {
      count += text.count
      parts.append(.text(text))
    }

    package struct Iterator: IteratorProtocol {
      fileprivate let parts: [Part]
      private var part = 0
      private var row = 0
      private var parser: SQLParser?

      fileprivate init(_ parts: [Part]) { self.parts = parts }

      package mutating func next() -> [Expression]? {
        while part < parts.count {
          switch parts[part] {
          case .trees(let trees):
            if row < trees.count {
              row += 1
              return trees[row - 1]
            }
          case .text(let text):
            if row < text.count {
              if row == 0 { parser = text.parser }
              row += 1
              return parser?.takeConstantRow()
            }
          }
          part += 1
          row = 0
        }
        return nil
      }
    }

    package func makeIterator() -> Iterator { Iterator(parts) }
  }

  /// Rows of plain constants in a statement's text.
  struct ConstantText: Sendable {
    let lexer: Lexer
    /// Where the first row's parenthesis stands, in bytes and as a position.
    let start: Int
    let position: Int
    let isASCII: Bool
    var count: Int

    /// A parser that stands on the first row.
    var parser: SQLParser { SQLParser(lexer, at: start, position: position, isASCII: isASCII) }
  }
}

extension Syntax.ValueRows: Hashable {
  package static func == (a: Self, b: Self) -> Bool { a.count == b.count && a.elementsEqual(b) }
  package func hash(into hasher: inout Hasher) {
    hasher.combine(count)
    for row in prefix(8) { hasher.combine(row) }
  }
}

/// A plain constant: its kind, and the bytes that say what it is (of a string, those between its quotes).
struct PlainConstant: BitwiseCopyable {
  enum Kind: UInt8 { case null, `true`, `false`, integer, decimal, string }
  var kind: Kind
  var start: Int32
  var end: Int32
}

extension Lexer {
  /// Reads `( constant, … )` at `offset` and moves behind it; false, with `offset` anywhere, if something else stands there.
  func plainRow(at offset: inout Int, into constants: inout [PlainConstant]) -> Bool {
    constants.removeAll(keepingCapacity: true)
    var token = self.token(at: offset)
    guard token.kind == .leftParen else { return false }
    while true {
      token = self.token(at: Int(token.end))
      var start = token.start
      if token.kind == .minus {
        token = self.token(at: Int(token.end))
        guard token.kind == .integer || token.kind == .decimal, token.start == start + 1 else { return false }
      } else {
        start = token.start
      }
      switch token.kind {
      case .integer: constants.append(PlainConstant(kind: .integer, start: start, end: token.end))
      case .decimal: constants.append(PlainConstant(kind: .decimal, start: start, end: token.end))
      case .string:
        guard token.form == .plain, bytes[Int(token.start)] == UInt8(ascii: "'") else { return false }
        constants.append(PlainConstant(kind: .string, start: token.start + 1, end: token.end - 1))
      case .keyword:
        switch token.keyword {
        case .null: constants.append(PlainConstant(kind: .null, start: start, end: token.end))
        case .true: constants.append(PlainConstant(kind: .true, start: start, end: token.end))
        case .false: constants.append(PlainConstant(kind: .false, start: start, end: token.end))
        default: return false
        }
      default: return false
      }
      token = self.token(at: Int(token.end))
      if token.kind == .rightParen {
        offset = Int(token.end)
        return true
      }
      guard token.kind == .comma else { return false }
    }
  }

  /// Moves behind a comma; false if none is there.
  func passComma(at offset: inout Int) -> Bool {
    let token = token(at: offset)
    guard token.kind == .comma else { return false }
    offset = Int(token.end)
    return true
  }
}

extension SQLParser {
  mutating func parseValues() throws(SyntaxError) -> Syntax.ValueRows {
    try expect(.values)
    var rows = Syntax.ValueRows()
    repeat {
      if rows.count >= Syntax.ValueRows.treeLimit, let text = passPlainRows(width: rows.width) {
        rows.append(text)
      } else {
        rows.append(try parseExpressionList())
      }
    } while take(.comma)
    return rows
  }

  /// Passes over the rows from here on that hold nothing but plain constants; nil if the first does not.
  private mutating func passPlainRows(width: Int) -> Syntax.ConstantText? {
    let start = Int(token.start)
    var offset = start
    var end = start
    var count = 0
    var constants: [PlainConstant] = []
    while lexer.plainRow(at: &offset, into: &constants), constants.count == width {
      count += 1
      end = offset
      guard lexer.passComma(at: &offset) else { break }
    }
    guard count > 0 else { return nil }
    let text = Syntax.ConstantText(lexer: lexer, start: start, position: here, isASCII: isASCII, count: count)
    skip(to: end)
    return text
  }

  /// The row of plain constants here as trees; passes over the comma behind it.
  mutating func takeConstantRow() -> [Expression] {
    do throws(SyntaxError) {
      let row = try parseExpressionList()
      _ = take(.comma)
      return row
    } catch { preconditionFailure("a row of constants was one before") }
  }
}
