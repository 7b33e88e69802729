/// Cuts a stream of lines into SQL statements, as psql does: at semicolons outside quotes, comments and parentheses.
///
/// A shell feeds it what was typed, takes the complete statements, and asks for the prompt of the next line:
///
///     splitter.append(line: line)
///     while let statement = splitter.next() { run(statement.text) }
///     prompt = splitter.state
///
/// 1. Each byte is looked at once, so that a long statement costs linear time however many lines it comes in.
/// 2. What follows a complete statement stays inside until `next()` is called again: the lines after `COPY … FROM STDIN`
///    are data and are taken by `takeRest()`.
/// 3. A token never goes over a line's end except inside quotes and comments, so that feeding whole lines needs no
///    look-ahead beyond the line.
package struct StatementSplitter: Sendable {
  /// What the next line continues; psql shows it in the prompt.
  package enum State: Hashable, Sendable {
    /// Nothing is pending: `=>`.
    case ready
    /// A statement is pending: `->`.
    case continued
    /// Within `'…'`: `'>`.
    case string
    /// Within `"…"`: `">`.
    case identifier
    /// Within `$tag$…$tag$`: `$>`.
    case dollar
    /// Within `/* … */`: `*>`.
    case comment
    /// Within parentheses: `(>`.
    case parenthesis
  }

  /// A complete statement.
  package struct Statement: Hashable, Sendable {
    /// The text without the semicolon, and without white space around it. Comments are kept.
    package var text: String
    /// The number of the line, from 1, on which the text begins.
    package var line: Int
  }

  private enum Mode: Hashable {
    case plain
    case string(escapes: Bool)
    case identifier
    case dollar(tag: [UInt8])
    case comment(depth: Int)
  }

  private var buffer: [UInt8] = []
  /// Where the pending statement begins in `buffer`.
  private var start = 0
  /// The first byte that was not looked at.
  private var offset = 0
  private var mode = Mode.plain
  private var parentheses = 0
  /// Whether anything but space and comments is pending.
  private var hasText = false
  /// The line of `offset`, and of the pending statement's first word.
  private var line = 1
  private var firstLine = 1
  private let classes = CharacterClass.table

  package init() {}

  // MARK: Input

  /// Takes a line, without its newline.
  package mutating func append(line: some StringProtocol) {
    compact()
    buffer.append(contentsOf: line.utf8)
    buffer.append(10)
  }

  /// Forgets what is pending, as Ctrl-C does. Line numbers go on.
  package mutating func reset() {
    while offset < buffer.count {
      if buffer[offset] == 10 { line += 1 }
      offset += 1
    }
    buffer.removeAll(keepingCapacity: true)
    start = 0
    offset = 0
    beginStatement()
  }

  // MARK: Output

  /// The next complete statement, if there is one. Statements without text (`;;`) are left out.
  package mutating func next() -> Statement? {
    while offset < buffer.count {
      guard scan() else { continue }
      let isText = hasText
      let text = trimmed(start..<offset)
      let first = firstLine
      offset += 1
      start = offset
      beginStatement()
      if isText { return Statement(text: text, line: first) }
    }
    return nil
  }

  /// What is left at the end of the input, if it is more than space and comments: a statement without a semicolon, or
  /// one whose quote is not closed.
  package mutating func finish() -> Statement? {
    if let statement = next() { return statement }
    defer { reset() }
    guard hasText else { return nil }
    return Statement(text: trimmed(start..<buffer.count), line: firstLine)
  }

  /// What was not scanned yet, and takes it away: data after `COPY … FROM STDIN;` on the same line.
  package mutating func takeRest() -> String {
    let rest = String(decoding: buffer[offset...], as: UTF8.self)
    reset()
    return rest
  }

  /// What is pending, as it was typed.
  package var pending: String { String(decoding: buffer[start...], as: UTF8.self) }

  /// Whether a line now would begin a statement; only then may it be a command of the shell's own.
  package var isReady: Bool { state == .ready }

  /// What the next line continues. Meaningful when `next()` has returned nil.
  package var state: State {
    switch mode {
    case .string: .string
    case .identifier: .identifier
    case .dollar: .dollar
    case .comment: .comment
    case .plain: parentheses > 0 ? .parenthesis : hasText ? .continued : .ready
    }
  }

  // MARK: Scanning

  private mutating func beginStatement() {
    mode = .plain
    parentheses = 0
    hasText = false
    firstLine = line
  }

  private mutating func compact() {
    guard start > 0, start == buffer.count || start > 1 << 16 else { return }
    buffer.removeFirst(start)
    offset -= start
    start = 0
  }

  private func trimmed(_ range: Range<Int>) -> String {
    var range = range
    while let first = range.first, isSpace(buffer[first]) { range.removeFirst() }
    while let last = range.last, isSpace(buffer[last]) { range.removeLast() }
    return String(decoding: buffer[range], as: UTF8.self)
  }

  private func isSpace(_ byte: UInt8) -> Bool { classes[Int(byte)] & CharacterClass.space != 0 }
  private func byte(at index: Int) -> UInt8 { index < buffer.count ? buffer[index] : 0 }

  /// Moves on by at least a byte; true at a semicolon that ends a statement, which stays current.
  private mutating func scan() -> Bool {
    switch mode {
    case .plain: return scanPlain()
    case .string(let escapes): scanQuoted(UInt8(ascii: "'"), escapes: escapes)
    case .identifier: scanQuoted(UInt8(ascii: "\""), escapes: false)
    case .dollar(let tag): scanDollar(tag)
    case .comment(let depth): scanComment(depth)
    }
    return false
  }

  private mutating func scanPlain() -> Bool {
    while offset < buffer.count {
      let byte = buffer[offset]
      switch byte {
      case 10:
        line += 1
        offset += 1
        continue
      case 9, 12, 13, 32:
        offset += 1
        continue
      case UInt8(ascii: "-") where self.byte(at: offset + 1) == byte:
        while offset < buffer.count, buffer[offset] != 10 { offset += 1 }
        continue
      case UInt8(ascii: "/") where self.byte(at: offset + 1) == UInt8(ascii: "*"):
        offset += 2
        mode = .comment(depth: 1)
        return false
      default: break
      }
      if !hasText, byte != UInt8(ascii: ";") {
        hasText = true
        firstLine = line
      }
      switch byte {
      case UInt8(ascii: ";"):
        if parentheses == 0 { return true }
        offset += 1
      case UInt8(ascii: "'"):
        mode = .string(escapes: hasEscapePrefix())
        offset += 1
        return false
      case UInt8(ascii: "\""):
        mode = .identifier
        offset += 1
        return false
      case UInt8(ascii: "$"):
        if beginDollar() { return false }
      case UInt8(ascii: "("):
        parentheses += 1
        offset += 1
      case UInt8(ascii: ")"):
        parentheses = max(0, parentheses - 1)
        offset += 1
      default: offset += 1
      }
    }
    return false
  }

  /// Whether the quote at `offset` has an `E` before it that is a word of its own.
  private func hasEscapePrefix() -> Bool {
    guard offset > start, buffer[offset - 1] | 0x20 == UInt8(ascii: "e") else { return false }
    return offset - 1 == start || classes[Int(buffer[offset - 2])] & CharacterClass.identifier == 0
  }

  private mutating func scanQuoted(_ quote: UInt8, escapes: Bool) {
    while offset < buffer.count {
      let byte = buffer[offset]
      offset += 1
      if byte == 10 {
        line += 1
      } else if byte == quote {
        if self.byte(at: offset) == quote {
          offset += 1
        } else {
          mode = .plain
          return
        }
      } else if byte == UInt8(ascii: "\\"), escapes, offset < buffer.count {
        if buffer[offset] == 10 { line += 1 }
        offset += 1
      }
    }
  }

  /// At a dollar sign: begins a dollar quote if it is one, else moves over it.
  private mutating func beginDollar() -> Bool {
    let begin = offset
    offset += 1
    // Within a name, a dollar sign is a letter.
    if begin > start, classes[Int(buffer[begin - 1])] & CharacterClass.identifier != 0 { return false }
    var end = offset
    if classes[Int(byte(at: end))] & CharacterClass.identifierStart != 0 {
      while classes[Int(byte(at: end))] & CharacterClass.identifier != 0, byte(at: end) != UInt8(ascii: "$") {
        end += 1
      }
    }
    guard byte(at: end) == UInt8(ascii: "$") else { return false }
    mode = .dollar(tag: Array(buffer[begin...end]))
    offset = end + 1
    return true
  }

  private mutating func scanDollar(_ tag: [UInt8]) {
    while offset < buffer.count {
      let byte = buffer[offset]
      if byte == UInt8(ascii: "$"), offset + tag.count <= buffer.count,
        buffer[offset..<offset + tag.count].elementsEqual(tag)
      {
        offset += tag.count
        mode = .plain
        return
      }
      if byte == 10 { line += 1 }
      offset += 1
    }
  }

  private mutating func scanComment(_ depth: Int) {
    var depth = depth
    while offset < buffer.count {
      let byte = buffer[offset]
      let next = self.byte(at: offset + 1)
      if byte == UInt8(ascii: "*"), next == UInt8(ascii: "/") {
        depth -= 1
        offset += 2
        if depth == 0 {
          mode = .plain
          return
        }
      } else if byte == UInt8(ascii: "/"), next == UInt8(ascii: "*") {
        depth += 1
        offset += 2
      } else {
        if byte == 10 { line += 1 }
        offset += 1
      }
    }
    mode = .comment(depth: depth)
  }
}
