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
    // At most 17 digits and the zeros of `description`; written behind the buffer's end first, then moved into place.
    let scratch = buffer.count
    var point: Int? = nil
    var exponent = 0
    var isNegative = false
    var inExponent = false
    var exponentIsNegative = false
    for byte in text.utf8 {
      if inExponent {
        if byte == 45 { exponentIsNegative = true } else if byte != 43 { exponent = exponent * 10 + Int(byte - 48) }
      } else if byte == UInt8(ascii: ".") {
        point = buffer.count - scratch
      } else if byte | 0x20 == UInt8(ascii: "e") {
        inExponent = true
      } else if byte == 45 {
        isNegative = true
      } else {
        buffer.append(byte)
      }
    }
    if exponentIsNegative { exponent = -exponent }
    let digitCount = buffer.count - scratch
    var decimal = (point ?? digitCount) + exponent  // value = 0.digits · 10^decimal
    var start = 0
    while start < digitCount - 1, buffer[scratch + start] == 48 {
      start += 1
      decimal -= 1
    }
    var end = digitCount
    while end > start + 1, buffer[scratch + end - 1] == 48 { end -= 1 }
    // The digits as a number: 17 decimal digits fit a word.
    var digits: UInt64 = 0
    for index in start..<min(end, start + 19) { digits = digits &* 10 &+ UInt64(buffer[scratch + index] &- 48) }
    let count = min(end, start + 19) - start
    buffer.truncate(to: scratch)
    if isNegative { buffer.append(UInt8(ascii: "-")) }
    if digits == 0 {
      buffer.append(UInt8(ascii: "0"))
      return
    }
    let scientific = decimal - 1
    if scientific < -4 || scientific >= switchExponent {
      let divisor = powersOfTen[count - 1]
      buffer.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digits / divisor))
      if count > 1 {
        buffer.append(UInt8(ascii: "."))
        buffer.append(decimal: digits % divisor, minimumDigits: count - 1)
      }
      buffer.append(UInt8(ascii: "e"))
      buffer.append(scientific < 0 ? UInt8(ascii: "-") : UInt8(ascii: "+"))
      buffer.append(decimal: UInt64(scientific.magnitude), minimumDigits: 2)
    } else if decimal <= 0 {
      buffer.append("0." as StaticString)
      buffer.append(repeating: 48, count: -decimal)
      buffer.append(decimal: digits, minimumDigits: count)
    } else if decimal >= count {
      buffer.append(decimal: digits)
      buffer.append(repeating: 48, count: decimal - count)
    } else {
      let divisor = powersOfTen[count - decimal]
      buffer.append(decimal: digits / divisor)
      buffer.append(UInt8(ascii: "."))
      buffer.append(decimal: digits % divisor, minimumDigits: count - decimal)
    }
  }

  private static let powersOfTen: [UInt64] = {
    var powers: [UInt64] = [1]
    for _ in 1...19 { powers.append(powers[powers.count - 1] * 10) }
    return powers
  }()

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
