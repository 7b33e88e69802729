// Numerics as text: `-12.340`, `1e10`, `NaN`, `Infinity`. Output never uses an exponent.

package enum NumericText {
  static func invalid(_ text: Bytes) -> SQLError {
    SQLError(.invalidText, "invalid input syntax for type numeric: \"\(text.string)\"")
  }

  /// Reads a numeric, surrounding white space allowed.
  package static func parse(_ text: Bytes, _ arena: Arena) throws(SQLError) -> Value {
    var at = 0
    var end = text.count
    while at < end, TextScan.isSpace(text[at]) { at += 1 }
    while end > at, TextScan.isSpace(text[end - 1]) { end -= 1 }
    guard at < end else { throw invalid(text) }
    if let special = specialValue(text[at..<end]) { return special }
    var isNegative = false
    if text[at] == UInt8(ascii: "-") || text[at] == UInt8(ascii: "+") {
      isNegative = text[at] == UInt8(ascii: "-")
      at += 1
    }
    let first = at
    var mantissa: UInt64 = 0
    var digits = 0
    var scale = 0
    var sawPoint = false
    var sawDigit = false
    while at < end {
      let byte = text[at]
      if TextScan.isDigit(byte) {
        sawDigit = true
        if digits < 18 {
          mantissa = mantissa * 10 + UInt64(byte - 48)
          if mantissa != 0 { digits += 1 }
        } else {
          digits += 1
        }
        if sawPoint { scale += 1 }
      } else if byte == UInt8(ascii: "."), !sawPoint {
        sawPoint = true
      } else {
        break
      }
      at += 1
    }
    guard sawDigit else { throw invalid(text) }
    let lastDigit = at
    var exponent = 0
    if at < end {
      guard text[at] | 0x20 == UInt8(ascii: "e") else { throw invalid(text) }
      at += 1
      guard let (value, stop) = TextScan.signedInt(text[0..<end], at, limit: 1 << 30), stop == end else {
        throw invalid(text)
      }
      exponent = value
    }
    if digits <= 18, exponent == 0, scale <= 18 {
      return Value(mantissa: isNegative ? -Int64(mantissa) : Int64(mantissa), scale: scale)
    }
    return try parseLarge(text[first..<lastDigit], isNegative: isNegative, exponent: exponent, arena)
  }

  private static func parseLarge(
    _ text: Bytes, isNegative: Bool, exponent: Int, _ arena: Arena
  ) throws(SQLError) -> Value {
    var decimals: [UInt8] = []
    var pointAt = -1
    for byte in text {
      if byte == UInt8(ascii: ".") { pointAt = decimals.count } else { decimals.append(byte - 48) }
    }
    if pointAt < 0 { pointAt = decimals.count }
    let scale = max(0, decimals.count - pointAt - exponent)
    // Digits before the point, after the exponent has moved it.
    let before = pointAt + exponent
    var leadingZeros = 0
    while leadingZeros < decimals.count, decimals[leadingZeros] == 0 { leadingZeros += 1 }
    let isZero = leadingZeros == decimals.count
    guard isZero || before - leadingZeros <= (NumericVariable.maximumWeight + 1) * 4,
      scale <= NumericVariable.maximumDisplayScale || before <= 0 && scale < 1 << 31
    else { throw NumericVariable.overflow() }
    if scale > NumericVariable.maximumDisplayScale { throw NumericVariable.overflow() }
    var variable = NumericVariable()
    variable.displayScale = scale
    if !isZero {
      variable.isNegative = isNegative
      variable.weight = before > 0 ? (before - 1) / 4 : -((-before) / 4 + 1)
      // Zeros to put before the first digit so that the groups of four end at the point.
      let pad = (variable.weight + 1) * 4 - before
      var group = 0
      var filled = pad
      for digit in decimals {
        group = group * 10 + Int(digit)
        filled += 1
        if filled == 4 {
          variable.digits.append(Int16(group))
          group = 0
          filled = 0
        }
      }
      if filled > 0 {
        while filled < 4 {
          group *= 10
          filled += 1
        }
        variable.digits.append(Int16(group))
      }
      variable.normalize()
    }
    return try Numeric.checked(variable, arena)
  }

  static func specialValue(_ text: Bytes) -> Value? {
    guard text.count <= 9, text.count >= 3 else { return nil }
    let last = text[text.count - 1]
    guard last > 57 else { return nil }
    switch text.string.lowercased() {
    case "nan": return .numericNaN
    case "infinity", "+infinity", "inf", "+inf": return .numericInfinity
    case "-infinity", "-inf": return .numericNegativeInfinity
    default: return nil
    }
  }

  /// Writes a numeric with its display scale.
  package static func write(_ value: Value, into buffer: inout ByteBuffer) {
    if let special = value.numericSpecial {
      switch special {
      case .nan: buffer.append("NaN" as StaticString)
      case .infinity: buffer.append("Infinity" as StaticString)
      case .negativeInfinity: buffer.append("-Infinity" as StaticString)
      }
      return
    }
    if value.kind == .numeric {
      if value.mantissa < 0 { buffer.append(UInt8(ascii: "-")) }
      let divisor = Numeric.powers64[value.displayScale].magnitude
      let magnitude = value.mantissa.magnitude
      buffer.append(decimal: magnitude / divisor)
      if value.displayScale > 0 {
        buffer.append(UInt8(ascii: "."))
        buffer.append(decimal: magnitude % divisor, minimumDigits: value.displayScale)
      }
      return
    }
    write(NumericVariable(value), into: &buffer)
  }

  static func write(_ variable: NumericVariable, into buffer: inout ByteBuffer) {
    if variable.isNegative { buffer.append(UInt8(ascii: "-")) }
    if variable.weight < 0 || variable.isZero {
      buffer.append(UInt8(ascii: "0"))
    } else {
      for w in stride(from: variable.weight, through: 0, by: -1) {
        buffer.append(decimal: UInt64(variable.digit(atWeight: w)), minimumDigits: w == variable.weight ? 1 : 4)
      }
    }
    guard variable.displayScale > 0 else { return }
    buffer.append(UInt8(ascii: "."))
    let start = buffer.count
    var w = -1
    while buffer.count - start < variable.displayScale {
      buffer.append(decimal: UInt64(variable.digit(atWeight: w)), minimumDigits: 4)
      w -= 1
    }
    buffer.truncate(to: start + variable.displayScale)
  }
}
