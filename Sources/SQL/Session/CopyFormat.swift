internal import Glibc

// The options of COPY, and its text and CSV formats as PostgreSQL writes and reads them.

/// The options of one COPY.
struct CopyOptions {
  var format = CopyDescription.Format.text
  var delimiter = UInt8(ascii: "\t")
  var null: [UInt8] = Array("\\N".utf8)
  var header = false
  var matchesHeader = false
  var quote = UInt8(ascii: "\"")
  var escape = UInt8(ascii: "\"")
  var forceQuote: Set<String> = []
  var forcesAllQuotes = false
  var forceNotNull: Set<String> = []
  var forceNull: Set<String> = []

  init(_ options: [Syntax.Option], isFrom: Bool) throws(SQLError) {
    var delimiter: UInt8?
    var null: [UInt8]?
    var escape: UInt8?
    var isCSVOnly: String?
    func invalid(_ message: String, _ option: Syntax.Option) -> SQLError {
      SQLError(.featureNotSupported, message, position: place(option.position))
    }
    func text(_ option: Syntax.Option) -> String { option.value.map(SQLSession.text) ?? "" }
    func byte(_ option: Syntax.Option) throws(SQLError) -> UInt8 {
      let bytes = Array(text(option).utf8)
      guard bytes.count == 1 else {
        throw invalid("COPY \(option.name) must be a single one-byte character", option)
      }
      return bytes[0]
    }
    func names(_ option: Syntax.Option) -> Set<String> {
      if case .list(let items)? = option.value { return Set(items.map(SQLSession.text)) }
      return [text(option)]
    }
    for option in options {
      switch option.name {
      case "format":
        switch text(option) {
        case "text": format = .text
        case "csv": format = .csv
        case "binary": format = .binary
        default:
          throw SQLError(
            .invalidParameterValue, "COPY format \"\(text(option))\" not recognized", position: place(option.position))
        }
      case "freeze": break
      case "delimiter": delimiter = try byte(option)
      case "null": null = Array(text(option).utf8)
      case "header":
        switch option.value {
        case nil, .word("true"), .word("on"), .number("1"): header = true
        case .word("match"):
          header = true
          matchesHeader = true
        case .word("false"), .word("off"), .number("0"): header = false
        default:
          throw SQLError(
            .syntaxError, "header requires a Boolean value or \"match\"", position: place(option.position))
        }
      case "quote":
        quote = try byte(option)
        isCSVOnly = "quote"
      case "escape":
        escape = try byte(option)
        isCSVOnly = "escape"
      case "force_quote":
        if case .star? = option.value { forcesAllQuotes = true } else { forceQuote = names(option) }
        isCSVOnly = "force quote"
      case "force_not_null":
        forceNotNull = names(option)
        isCSVOnly = "force not null"
      case "force_null":
        forceNull = names(option)
        isCSVOnly = "force null"
      case "encoding":
        guard ["utf8", "utf-8", "unicode"].contains(text(option).lowercased()) else {
          throw invalid("COPY in encoding \"\(text(option))\" is not supported", option)
        }
      default:
        throw SQLError(
          .syntaxError, "option \"\(option.name)\" not recognized", position: place(option.position))
      }
    }
    if let isCSVOnly, format != .csv {
      throw SQLError(.featureNotSupported, "COPY \(isCSVOnly) available only in CSV mode")
    }
    if format == .binary, delimiter != nil || null != nil || header {
      throw SQLError(.syntaxError, "cannot specify DELIMITER, NULL or HEADER in BINARY mode")
    }
    self.delimiter = delimiter ?? (format == .csv ? UInt8(ascii: ",") : UInt8(ascii: "\t"))
    self.null = null ?? (format == .csv ? [] : Array("\\N".utf8))
    self.escape = escape ?? quote
    guard self.delimiter != UInt8(ascii: "\n"), self.delimiter != UInt8(ascii: "\r"),
      self.delimiter != quote || format != .csv
    else { throw SQLError(.invalidParameterValue, "COPY delimiter cannot be newline or carriage return") }
  }
}

/// Cuts a stream of bytes into rows of fields.
///
/// Fields are unescaped into one buffer that is kept between rows: `field(i)` is valid until the next row.
struct CopyReader: ~Copyable {
  let options: CopyOptions
  private var input: [UInt8] = []
  private var at = 0
  private var isAtEnd = false
  private var fields = ByteBuffer(capacity: 1024)
  /// Where each field of the row lies in `fields`.
  private var spans: [Span] = []
  private struct Span {
    var start: Int
    var end: Int
    var isNull: Bool
  }
  /// The current line, from 1.
  private(set) var line = 0

  init(_ options: CopyOptions) { self.options = options }

  var count: Int { spans.count }
  /// Field `index` of the row; nil for null.
  @inline(__always)
  func field(_ index: Int) -> Bytes? {
    let span = spans[index]
    return span.isNull ? nil : fields.bytes[span.start..<span.end]
  }

  private mutating func fill(_ sink: any ResultSink) throws(SQLError) -> Bool {
    if isAtEnd { return false }
    guard let piece = try sink.nextCopyData() else {
      isAtEnd = true
      return false
    }
    if at > 0 {
      input.removeFirst(at)
      at = 0
    }
    guard input.count + piece.count <= 1 << 30 else {
      throw SQLError(.programLimit, "COPY line \(line + 1) is longer than 1 GiB")
    }
    input += piece
    return true
  }

  /// Reads the next row; false at the end of the data.
  mutating func next(_ sink: any ResultSink) throws(SQLError) -> Bool {
    var searched = at
    while true {
      if let end = options.format == .csv ? endOfRecord(from: &searched) : endOfLine(from: &searched) {
        line += 1
        var stop = end
        if stop > at, input[stop - 1] == UInt8(ascii: "\r") { stop -= 1 }
        let start = at
        at = end + 1
        if isTerminator(start, stop) {
          isAtEnd = true
          at = input.count
          return false
        }
        try split(start, stop)
        return true
      }
      let offset = searched - at
      if try fill(sink) {
        searched = at + offset
        continue
      }
      guard at < input.count else { return false }
      // The last line may lack its newline.
      line += 1
      var stop = input.count
      if input[stop - 1] == UInt8(ascii: "\r") { stop -= 1 }
      let start = at
      at = input.count
      if isTerminator(start, stop) { return false }
      if options.format == .csv, isInQuotes {
        throw SQLError(.badCopyFormat, "unterminated CSV quoted field", detail: "COPY, line \(line)")
      }
      try split(start, stop)
      return true
    }
  }

  /// `\.` alone on a line.
  private func isTerminator(_ start: Int, _ end: Int) -> Bool {
    end - start == 2 && input[start] == UInt8(ascii: "\\") && input[start + 1] == UInt8(ascii: ".")
  }

  private func endOfLine(from position: inout Int) -> Int? {
    let found = find(UInt8(ascii: "\n"), from: position, to: input.count)
    position = found ?? input.count
    return found
  }

  /// The first `byte` in a part of the input.
  private func find(_ byte: UInt8, from start: Int, to end: Int) -> Int? {
    precondition(start >= 0 && start <= end && end <= input.count)
    return unsafe input.withUnsafeBytes { bytes in
      guard start < end, let base = bytes.baseAddress, let found = unsafe memchr(base + start, Int32(byte), end - start)
      else { return nil }
      return unsafe UnsafeRawPointer(found) - base
    }
  }

  private var isInQuotes = false
  /// The newline that ends a CSV record: not one inside quotes.
  private mutating func endOfRecord(from position: inout Int) -> Int? {
    let newline = UInt8(ascii: "\n")
    let quote = options.quote
    let escape = options.escape
    let count = input.count
    if position == at { isInQuotes = false }
    // Up to the first quote a newline ends the record.
    if !isInQuotes {
      let line = find(newline, from: position, to: count)
      guard let first = find(quote, from: position, to: line ?? count) else {
        position = line ?? count
        return line
      }
      position = first
    }
    var inside = isInQuotes
    let found: Int? = unsafe input.withUnsafeBufferPointer { bytes in
      while position < count {
        let byte = unsafe bytes[position]
        if byte == quote {
          inside.toggle()
        } else if inside, byte == escape, escape != quote {
          position += 1
        } else if byte == newline, !inside {
          return position
        }
        position += 1
      }
      return nil
    }
    isInQuotes = inside
    return found
  }

  private mutating func split(_ start: Int, _ end: Int) throws(SQLError) {
    fields.removeAll()
    spans.removeAll(keepingCapacity: true)
    let special = options.format == .csv ? options.quote : UInt8(ascii: "\\")
    if find(special, from: start, to: end) == nil {
      splitPlainly(start, end)
    } else if options.format == .csv {
      try splitCSV(start, end)
    } else {
      try splitText(start, end)
    }
  }

  private mutating func endField(_ begin: Int, isNull: Bool) {
    spans.append(Span(start: begin, end: fields.count, isNull: isNull))
  }

  @inline(__always)
  private func isNull(_ field: Bytes) -> Bool {
    field.count == options.null.count && Bytes.with(options.null) { $0.equals(field) }
  }

  /// A row without quotes or backslashes: its bytes as they are, cut at the delimiters.
  private mutating func splitPlainly(_ start: Int, _ end: Int) {
    unsafe input.withUnsafeBytes { bytes in
      unsafe fields.append(Bytes(UnsafeRawBufferPointer(rebasing: bytes[start..<end])))
    }
    let row = fields.bytes
    var begin = 0
    while true {
      let stop = row.firstIndex(of: options.delimiter, from: begin) ?? row.count
      let isNull = isNull(row[begin..<stop])
      spans.append(Span(start: begin, end: stop, isNull: isNull))
      if stop == row.count { return }
      begin = stop + 1
    }
  }

  private mutating func splitText(_ start: Int, _ end: Int) throws(SQLError) {
    var position = start
    var fieldStart = start
    var begin = 0
    let delimiter = options.delimiter
    while true {
      if position == end || input[position] == delimiter {
        let raw = input[fieldStart..<position]
        let isNull = raw.count == options.null.count && raw.elementsEqual(options.null)
        if isNull { fields.truncate(to: begin) }
        endField(begin, isNull: isNull)
        if position == end { return }
        position += 1
        fieldStart = position
        begin = fields.count
        continue
      }
      let byte = input[position]
      position += 1
      guard byte == UInt8(ascii: "\\"), position < end else {
        fields.append(byte)
        continue
      }
      let escaped = input[position]
      position += 1
      switch escaped {
      case UInt8(ascii: "b"): fields.append(8 as UInt8)
      case UInt8(ascii: "f"): fields.append(12 as UInt8)
      case UInt8(ascii: "n"): fields.append(10 as UInt8)
      case UInt8(ascii: "r"): fields.append(13 as UInt8)
      case UInt8(ascii: "t"): fields.append(9 as UInt8)
      case UInt8(ascii: "v"): fields.append(11 as UInt8)
      case UInt8(ascii: "x"):
        var value: UInt8?
        var digits = 0
        while digits < 2, position < end, let digit = Character(UnicodeScalar(input[position])).hexDigitValue {
          value = (value ?? 0) &* 16 &+ UInt8(digit)
          position += 1
          digits += 1
        }
        fields.append(value ?? escaped)
      case UInt8(ascii: "0")...UInt8(ascii: "7"):
        var value = escaped - UInt8(ascii: "0")
        var digits = 1
        while digits < 3, position < end, (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(input[position]) {
          value = value &* 8 &+ (input[position] - UInt8(ascii: "0"))
          position += 1
          digits += 1
        }
        fields.append(value)
      default: fields.append(escaped)
      }
    }
  }

  private mutating func splitCSV(_ start: Int, _ end: Int) throws(SQLError) {
    var position = start
    let delimiter = options.delimiter
    let quote = options.quote
    let escape = options.escape
    while true {
      let begin = fields.count
      var wasQuoted = false
      while position < end, input[position] != delimiter {
        let byte = input[position]
        position += 1
        guard byte == quote else {
          fields.append(byte)
          continue
        }
        wasQuoted = true
        var closed = false
        while position < end {
          let inner = input[position]
          position += 1
          if inner == escape, position < end, input[position] == quote || input[position] == escape {
            fields.append(input[position])
            position += 1
          } else if inner == quote {
            closed = true
            break
          } else {
            fields.append(inner)
          }
        }
        guard closed else {
          throw SQLError(.badCopyFormat, "unterminated CSV quoted field", detail: "COPY, line \(line)")
        }
      }
      let isNull = !wasQuoted && isNull(fields.bytes[begin..<fields.count])
      if isNull { fields.truncate(to: begin) }
      endField(begin, isNull: isNull)
      if position >= end { return }
      position += 1
    }
  }
}
