internal import Glibc

// Floating-point numbers as text: the shortest digits that read back as the same number, in PostgreSQL's form
// (`1e+15`, `1.5e-07`, `100000`, `NaN`, `Infinity`); with extra_float_digits ≤ 0 as printf's %.*g.

enum FloatText {
  static func write(_ value: Double, _ extraDigits: Int, into buffer: inout ByteBuffer) {
    if writeSpecial(value, into: &buffer) { return }
    if extraDigits > 0 {
      writeShortest(value.description, into: &buffer, switchExponent: 15)
    } else {
      writePrintf(value, digits: max(1, 15 + extraDigits), into: &buffer)
    }
  }
  static func write(_ value: Float, _ extraDigits: Int, into buffer: inout ByteBuffer) {
    if writeSpecial(Double(value), into: &buffer) { return }
    if extraDigits > 0 {
      writeShortest(value.description, into: &buffer, switchExponent: 6)
    } else {
      writePrintf(Double(value), digits: max(1, 6 + extraDigits), into: &buffer)
    }
  }

  private static func writeSpecial(_ value: Double, into buffer: inout ByteBuffer) -> Bool {
    if value.isNaN {
      buffer.append("NaN" as StaticString)
    } else if value.isInfinite {
      buffer.append(value < 0 ? "-Infinity" as StaticString : "Infinity" as StaticString)
    } else {
      return false
    }
    return true
  }

  /// From Swift's shortest digits (`1e-07`, `123456.0`, `5e+20`) to PostgreSQL's layout: an exponent below -4 or from
  /// `switchExponent` on.
  private static func writeShortest(_ text: String, into buffer: inout ByteBuffer, switchExponent: Int) {
    var digits: [UInt8] = []
    var point: Int? = nil
    var exponent = 0
    var isNegative = false
    var iterator = Array(text.utf8)[...]
    if iterator.first == 45 {
      isNegative = true
      iterator = iterator.dropFirst()
    }
    while let byte = iterator.first {
      iterator = iterator.dropFirst()
      if byte == UInt8(ascii: ".") {
        point = digits.count
      } else if byte | 0x20 == UInt8(ascii: "e") {
        exponent = Int(String(decoding: iterator, as: UTF8.self)) ?? 0
        break
      } else {
        digits.append(byte)
      }
    }
    var decimal = (point ?? digits.count) + exponent  // value = 0.digits · 10^decimal
    var start = 0
    while start < digits.count - 1, digits[start] == 48 {
      start += 1
      decimal -= 1
    }
    var end = digits.count
    while end > start + 1, digits[end - 1] == 48 { end -= 1 }
    let body = digits[start..<end]
    if isNegative { buffer.append(UInt8(ascii: "-")) }
    if body.count == 1, body.first == 48 {
      buffer.append(UInt8(ascii: "0"))
      return
    }
    let scientific = decimal - 1
    if scientific < -4 || scientific >= switchExponent {
      buffer.append(body[body.startIndex])
      if body.count > 1 {
        buffer.append(UInt8(ascii: "."))
        for byte in body.dropFirst() { buffer.append(byte) }
      }
      buffer.append(UInt8(ascii: "e"))
      buffer.append(scientific < 0 ? UInt8(ascii: "-") : UInt8(ascii: "+"))
      buffer.append(decimal: UInt64(scientific.magnitude), minimumDigits: 2)
    } else if decimal <= 0 {
      buffer.append("0." as StaticString)
      buffer.append(repeating: 48, count: -decimal)
      for byte in body { buffer.append(byte) }
    } else {
      for (index, byte) in body.enumerated() {
        if index == decimal { buffer.append(UInt8(ascii: ".")) }
        buffer.append(byte)
      }
      if body.count < decimal { buffer.append(repeating: 48, count: decimal - body.count) }
    }
  }

  private static func writePrintf(_ value: Double, digits: Int, into buffer: inout ByteBuffer) {
    var text = [UInt8](repeating: 0, count: 64)
    let length = unsafe text.withUnsafeMutableBytes { raw in
      unsafe withVaList([Int32(digits), value]) { list in
        unsafe vsnprintf(raw.baseAddress!.assumingMemoryBound(to: CChar.self), 64, "%.*g", list)
      }
    }
    for byte in text.prefix(Int(length)) { buffer.append(byte) }
  }
}

extension TypeCodec {
  /// float4in and float8in.
  static func parseDouble(_ text: Bytes, isReal: Bool) throws(SQLError) -> Double {
    let name = isReal ? "real" : "double precision"
    let body = TextScan.trimmed(text)
    func invalid() -> SQLError { SQLError(.invalidText, "invalid input syntax for type \(name): \"\(text.string)\"") }
    guard body.count > 0 else { throw invalid() }
    let first = TextScan.lower(body[body[0] == 45 || body[0] == 43 ? min(1, body.count - 1) : 0])
    if first == UInt8(ascii: "n") || first == UInt8(ascii: "i") {
      switch body.string.lowercased() {
      case "nan": return .nan
      case "infinity", "+infinity", "inf", "+inf": return .infinity
      case "-infinity", "-inf": return -.infinity
      default: throw invalid()
      }
    }
    var terminated = body.array
    terminated.append(0)
    var consumed = 0
    let value: Double = unsafe terminated.withUnsafeBufferPointer { pointer in
      let start = unsafe UnsafeRawPointer(pointer.baseAddress!).assumingMemoryBound(to: CChar.self)
      var end: UnsafeMutablePointer<CChar>? = nil
      let result = unsafe isReal ? Double(strtof(start, &end)) : strtod(start, &end)
      consumed = unsafe end.map { unsafe UnsafePointer($0) - start } ?? 0
      return result
    }
    guard consumed == body.count else { throw invalid() }
    // Infinite from finite digits, or zero from digits that are not: out of range.
    let mantissaHasDigit = {
      for byte in body {
        if byte | 0x20 == UInt8(ascii: "e") { return false }
        if byte > 48, byte <= 57 { return true }
      }
      return false
    }()
    if value.isInfinite || (value == 0 && mantissaHasDigit) {
      throw SQLError(.numericOutOfRange, "\"\(body.string)\" is out of range for type \(name)")
    }
    return value
  }
}
