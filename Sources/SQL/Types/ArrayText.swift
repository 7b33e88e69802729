// Arrays as text: `{1,2,NULL}`, `{{a,b},{c,"d e"}}`, `[0:1]={1,2}`.

enum ArrayText {
  static func malformed(_ text: Bytes, _ detail: String) -> SQLError {
    SQLError(.invalidText, "malformed array literal: \"\(text.string)\"", detail: detail)
  }

  static func parse(
    _ text: Bytes, element: TypeID, modifier: Int32, _ arena: Arena, _ format: TextFormat
  ) throws(SQLError) -> Value {
    var parser = Parser(text: text, element: SQLType(element, modifier: modifier), arena: arena, format: format)
    return try parser.parse()
  }

  struct Parser {
    let text: Bytes
    let element: SQLType
    let arena: Arena
    let format: TextFormat
    var at = 0
    var values: [Value] = []
    /// The length of each dimension, found by the first sub-array of each depth.
    var lengths: [Int?] = []
    var lowerBounds: [Int] = []

    mutating func skipSpace() { while at < text.count, TextScan.isSpace(text[at]) { at += 1 } }
    var current: UInt8? { at < text.count ? text[at] : nil }

    mutating func parse() throws(SQLError) -> Value {
      skipSpace()
      var declared: [Int] = []
      while current == UInt8(ascii: "[") {
        at += 1
        guard let (first, end) = TextScan.signedInt(text, at, limit: 1 << 30) else {
          throw malformed(text, "\"[\" must introduce explicitly-specified array dimensions.")
        }
        at = end
        var lower = 1
        var upper = first
        if current == UInt8(ascii: ":") {
          guard let (second, stop) = TextScan.signedInt(text, at + 1, limit: 1 << 30) else {
            throw malformed(text, "Missing array dimension value.")
          }
          at = stop
          lower = first
          upper = second
        }
        guard current == UInt8(ascii: "]") else { throw malformed(text, "Missing \"]\" after array dimensions.") }
        at += 1
        guard upper >= lower else {
          throw SQLError(SQLState(rawValue: "2202E"), "upper bound cannot be less than lower bound")
        }
        lowerBounds.append(lower)
        declared.append(upper - lower + 1)
        skipSpace()
      }
      if !declared.isEmpty {
        guard current == UInt8(ascii: "=") else { throw malformed(text, "Missing \"=\" after array dimensions.") }
        at += 1
        skipSpace()
      }
      guard current == UInt8(ascii: "{") else {
        throw malformed(
          text,
          declared.isEmpty
            ? "Array value must start with \"{\" or dimension information." : "Array contents must start with \"{\".")
      }
      try level(0)
      skipSpace()
      guard at == text.count else { throw malformed(text, "Junk after closing right brace.") }
      if values.isEmpty { return try ArrayBuilder.make([], element: element.id, arena) }
      var dimensions: [(length: Int, lowerBound: Int)] = []
      for (depth, length) in lengths.enumerated() {
        guard let length else { break }
        dimensions.append((length, depth < lowerBounds.count ? lowerBounds[depth] : 1))
      }
      if !declared.isEmpty, declared != dimensions.map(\.length) {
        throw malformed(text, "Specified array dimensions do not match array contents.")
      }
      return try ArrayBuilder.make(values, element: element.id, dimensions: dimensions, arena)
    }

    mutating func level(_ depth: Int) throws(SQLError) {
      guard depth < 6 else {
        throw SQLError(.programLimit, "number of array dimensions (\(depth + 1)) exceeds the maximum allowed (6)")
      }
      if lengths.count <= depth { lengths.append(nil) }
      at += 1
      var count = 0
      var sawArray = false
      skipSpace()
      if current == UInt8(ascii: "}") {
        at += 1
        guard depth == 0 else { throw malformed(text, "Unexpected \"}\" character.") }
        return
      }
      while true {
        skipSpace()
        guard let byte = current else { throw malformed(text, "Unexpected end of input.") }
        if byte == UInt8(ascii: "{") {
          if count > 0, !sawArray { throw malformed(text, "Unexpected array element.") }
          sawArray = true
          try level(depth + 1)
        } else {
          if sawArray || (lengths.count > depth + 1 && lengths[depth + 1] != nil) {
            throw malformed(text, "Unexpected array element.")
          }
          try item()
        }
        count += 1
        skipSpace()
        guard let next = current else { throw malformed(text, "Unexpected end of input.") }
        at += 1
        if next == UInt8(ascii: "}") { break }
        guard next == UInt8(ascii: ",") else { throw malformed(text, "Unexpected array element.") }
      }
      if let known = lengths[depth] {
        guard known == count else {
          throw malformed(text, "Multidimensional arrays must have sub-arrays with matching dimensions.")
        }
      } else {
        lengths[depth] = count
      }
    }

    mutating func item() throws(SQLError) {
      var buffer = ByteBuffer(capacity: 32)
      if current == UInt8(ascii: "\"") {
        at += 1
        while true {
          guard let byte = current else { throw malformed(text, "Unexpected end of input.") }
          at += 1
          if byte == UInt8(ascii: "\"") { break }
          if byte == UInt8(ascii: "\\") {
            guard let escaped = current else { throw malformed(text, "Unexpected end of input.") }
            at += 1
            buffer.append(escaped)
          } else {
            buffer.append(byte)
          }
        }
      } else {
        var kept = 0
        while let byte = current, byte != UInt8(ascii: ","), byte != UInt8(ascii: "}"), byte != UInt8(ascii: "{") {
          at += 1
          if byte == UInt8(ascii: "\"") { throw malformed(text, "Unexpected array element.") }
          if byte == UInt8(ascii: "\\") {
            guard let escaped = current else { throw malformed(text, "Unexpected end of input.") }
            at += 1
            buffer.append(escaped)
            kept = buffer.count
          } else {
            buffer.append(byte)
            if !TextScan.isSpace(byte) { kept = buffer.count }
          }
        }
        buffer.truncate(to: kept)
        if kept == 0 {
          throw malformed(text, "Unexpected \"\(current.map { String(UnicodeScalar($0)) } ?? "}")\" character.")
        }
        if kept == 4, buffer.string.lowercased() == "null" {
          values.append(.null)
          return
        }
      }
      let parsed = try TypeCodec.parse(buffer.bytes, element, arena, format)
      values.append(parsed.copied(into: arena))
    }
  }

  static func write(_ bytes: Bytes, into buffer: inout ByteBuffer, _ format: TextFormat) throws(SQLError) {
    let view = try ArrayView(bytes)
    guard view.count > 0 else {
      buffer.append("{}" as StaticString)
      return
    }
    if (0..<view.dimensions).contains(where: { view.lowerBound($0) != 1 }) {
      for d in 0..<view.dimensions {
        buffer.append("[\(view.lowerBound(d)):\(view.lowerBound(d) + view.length(d) - 1)]")
      }
      buffer.append(UInt8(ascii: "="))
    }
    var index = 0
    try writeLevel(view, 0, &index, &buffer, format)
  }

  private static func writeLevel(
    _ view: ArrayView, _ depth: Int, _ index: inout Int, _ buffer: inout ByteBuffer, _ format: TextFormat
  ) throws(SQLError) {
    buffer.append(UInt8(ascii: "{"))
    for n in 0..<view.length(depth) {
      if n > 0 { buffer.append(UInt8(ascii: ",")) }
      if depth + 1 < view.dimensions {
        try writeLevel(view, depth + 1, &index, &buffer, format)
        continue
      }
      let value = try view.value(index)
      index += 1
      if value.isNull {
        buffer.append("NULL" as StaticString)
        continue
      }
      var item = ByteBuffer(capacity: 32)
      try TypeCodec.format(value, view.element, into: &item, format)
      appendQuoted(item.bytes, &buffer)
    }
    buffer.append(UInt8(ascii: "}"))
  }

  private static func appendQuoted(_ text: Bytes, _ buffer: inout ByteBuffer) {
    var needsQuotes = text.isEmpty || (text.count == 4 && text.string.lowercased() == "null")
    for byte in text {
      switch byte {
      case 0x22, 0x5c, 0x7b, 0x7d, 0x2c: needsQuotes = true
      default: if TextScan.isSpace(byte) { needsQuotes = true }
      }
    }
    guard needsQuotes else {
      buffer.append(text)
      return
    }
    buffer.append(0x22 as UInt8)
    for byte in text {
      if byte == 0x22 || byte == 0x5c { buffer.append(0x5c as UInt8) }
      buffer.append(byte)
    }
    buffer.append(0x22 as UInt8)
  }
}
