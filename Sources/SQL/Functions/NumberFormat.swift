// to_char of numbers and to_number, by templates: 9 0 . , D G FM S MI PL SG PR L RN TH V EEEE.

struct NumberTemplate {
  enum Item: Equatable {
    case digit(zero: Bool)
    case point, group
    case literal(String)
    case sign, minus, plus, plusMinus, currency
  }
  var items: [Item] = []
  var fillMode = true
  var hasBrackets = false
  var hasRoman = false
  var ordinal: String? = nil
  var isExponential = false
  var shift = 0
  var hasSign: Bool { items.contains { [.sign, .minus, .plusMinus].contains($0) } || hasBrackets }
  var leading: Int { items.prefix { $0 != .point }.filter(\.isDigit).count }
  var decimals: Int { items.drop { $0 != .point }.filter(\.isDigit).count }

  static func syntax(_ message: String) -> SQLError { SQLError(.syntaxError, message) }

  init(_ text: String) throws(SQLError) {
    var rest = Substring(text)
    var inShift = false
    func take(_ word: String) -> Bool {
      guard rest.prefix(word.count).uppercased() == word else { return false }
      rest = rest.dropFirst(word.count)
      return true
    }
    while let first = rest.first {
      if first == "\"" {
        rest = rest.dropFirst()
        items.append(.literal(String(rest.prefix { $0 != "\"" })))
        rest = rest.drop { $0 != "\"" }.dropFirst()
      } else if take("FM") {
        fillMode = false
      } else if take("EEEE") {
        isExponential = true
      } else if take("MI") {
        items.append(.minus)
      } else if take("PL") {
        items.append(.plus)
      } else if take("SG") {
        items.append(.plusMinus)
      } else if take("PR") {
        hasBrackets = true
      } else if take("RN") {
        hasRoman = true
      } else if rest.prefix(2).uppercased() == "TH" {
        ordinal = String(rest.prefix(2))
        rest = rest.dropFirst(2)
      } else {
        rest = rest.dropFirst()
        switch first {
        case "9", "0":
          items.append(.digit(zero: first == "0"))
          if inShift { shift += 1 }
        case ".", "D", "d":
          guard !items.contains(.point) else { throw NumberTemplate.syntax("multiple decimal points") }
          items.append(.point)
        case ",", "G", "g": items.append(.group)
        case "S", "s":
          guard !hasSign else { throw NumberTemplate.syntax("cannot use \"S\" twice") }
          items.append(.sign)
        case "L", "l": items.append(.currency)
        case "V", "v": inShift = true
        default: items.append(.literal(String(first)))
        }
      }
    }
  }

  /// `value` is finite; the result is the template filled in, `#` where it does not fit.
  func format(_ value: NumericVariable) -> String {
    if hasRoman { return roman(value) }
    if isExponential { return exponential(value) }
    var number = shift > 0 ? value.shifted(decimals: shift) : value
    number.round(to: decimals)
    let isNegative = number.isNegative
    number.isNegative = false
    var buffer = ByteBuffer()
    number.displayScale = decimals
    NumericText.write(number, into: &buffer)
    let parts = buffer.string.split(separator: ".", omittingEmptySubsequences: false).map { Array($0) }
    var whole = parts[0]
    let fraction = parts.count > 1 ? parts[1] : []
    let overflow = whole.count > leading && !(whole == ["0"])
    if whole == ["0"], leading == 0 || decimals > 0 { whole = [] }
    // Position of the first digit shown: a zero in the template forces all behind it.
    let digits = items.prefix { $0 != .point }.filter(\.isDigit)
    let firstZero = digits.firstIndex { $0 == .digit(zero: true) } ?? Int.max
    var shown = leading - whole.count
    if whole.isEmpty, decimals == 0 { shown = leading - 1 }
    let firstShown = min(shown, firstZero)
    var result = ""
    var at = 0
    var fractionAt = 0
    var seenPoint = false
    var signPlace: String.Index? = nil
    // Where the number begins, behind literals: the place of a blank sign.
    var numberStart: String.Index? = nil
    // Trailing zeros that FM drops: those of 9s behind the point.
    var lastKept = fraction.count
    if !fillMode {
      let behind = items.drop { $0 != .point }.filter(\.isDigit)
      while lastKept > 0, fraction[lastKept - 1] == "0", behind[lastKept - 1] == .digit(zero: false) { lastKept -= 1 }
    }
    for item in items {
      if numberStart == nil, item.isDigit || item == .point { numberStart = result.endIndex }
      switch item {
      case .digit:
        if seenPoint {
          if overflow { result += "#" } else if fractionAt < lastKept { result.append(fraction[fractionAt]) }
          fractionAt += 1
        } else {
          if at >= firstShown {
            if signPlace == nil { signPlace = result.endIndex }
            let index = at - shown
            result.append(overflow ? "#" : index >= 0 && index < whole.count ? whole[index] : "0")
          } else if overflow {
            if signPlace == nil { signPlace = result.endIndex }
            result += "#"
          } else if fillMode {
            result += " "
          }
          at += 1
        }
      case .point:
        if signPlace == nil { signPlace = result.endIndex }
        seenPoint = true
        result += "."
      case .group: if at > firstShown || overflow { result += "," } else if fillMode { result += " " }
      case .literal(let text): result += text
      case .minus: result += isNegative ? "-" : (fillMode ? " " : "")
      case .plus: result += isNegative ? (fillMode ? " " : "") : "+"
      case .plusMinus: result += isNegative ? "-" : "+"
      case .currency: result += fillMode ? " " : ""
      case .sign:
        if seenPoint || at > 0 {
          result += isNegative ? "-" : "+"
        }
      }
    }
    let place = signPlace ?? result.endIndex
    if items.first(where: { $0 == .sign || $0.isDigit || $0 == .point }) == .sign {
      result.insert(contentsOf: isNegative ? "-" : "+", at: place)
    } else if hasBrackets {
      if isNegative {
        result.insert("<", at: place)
        result += ">"
      } else if fillMode {
        result = " " + result + " "
      }
    } else if !hasSign {
      if isNegative {
        result.insert("-", at: place)
      } else if fillMode {
        result.insert(" ", at: numberStart ?? result.startIndex)
      }
    }
    if let ordinal, !isNegative { result += DateTimeTemplate.ordinal(Int(number.rounded(to: 0).int64 ?? 0), ordinal) }
    return result
  }

  private func exponential(_ value: NumericVariable) -> String {
    let text = NumberTemplate.scientific(value, decimals)
    if hasSign { return (value.isNegative ? "" : "+") + text }
    return value.isNegative || !fillMode ? text : " " + text
  }

  static func scientific(_ value: NumericVariable, _ decimals: Int) -> String {
    var exponent = 0
    var mantissa = value
    if !value.isZero {
      exponent = value.weight * 4 + String(value.digits[0]).count - 1
      mantissa = value.shifted(decimals: -exponent)
      mantissa.round(to: decimals)
      if mantissa.weight == 0, mantissa.digits.first.map({ $0 >= 10 }) == true {
        exponent += 1
        mantissa = value.shifted(decimals: -exponent).rounded(to: decimals)
      }
    }
    mantissa.displayScale = decimals
    var buffer = ByteBuffer()
    NumericText.write(mantissa, into: &buffer)
    return buffer.string + "e" + (exponent < 0 ? "-" : "+") + DateTimeTemplate.padded(abs(exponent), 2, true)
  }

  private func roman(_ value: NumericVariable) -> String {
    guard let n = value.int64, n >= 1, n <= 3999 else {
      return fillMode ? String(repeating: "#", count: 15) : "###############"
    }
    let symbols: [(Int64, String)] = [
      (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"),
      (9, "IX"), (5, "V"),
      (4, "IV"), (1, "I"),
    ]
    var rest = n
    var text = ""
    for (size, symbol) in symbols {
      while rest >= size {
        text += symbol
        rest -= size
      }
    }
    return fillMode ? String(repeating: " ", count: max(0, 15 - text.count)) + text : text
  }
}

extension NumberTemplate.Item {
  var isDigit: Bool { if case .digit = self { return true } else { return false } }
}

extension FunctionRegistry {
  mutating func addFormatting() {
    for type in [TypeID.int4, .int8, .numeric, .float4, .float8] {
      scalar("to_char", [type, .text], .text) { (a, c) throws(SQLError) in
        let template = try NumberTemplate(a[1].string)
        let number: Value
        switch type {
        case .numeric: number = a[0]
        case .float4, .float8: number = try Numeric.fromDouble(a[0].double, digits: type == .float4 ? 6 : 15, c.arena)
        default: number = Numeric.fromInt(a[0].int, c.arena)
        }
        if number.numericSpecial != nil {
          return Value(c.arena.copy(String(repeating: "#", count: template.leading + template.decimals + 1)))
        }
        return Value(c.arena.copy(template.format(NumericVariable(number))))
      }
    }
    for type in [TypeID.date, .timestamp, .timestamptz, .time] {
      scalar("to_char", [type, .text], .text, .stable) { (a, c) throws(SQLError) in
        try FormatFunctions.text(a[0].int, type, a[1].string, &c)
      }
    }
    scalar("to_char", [.interval, .text], .text) { (a, c) throws(SQLError) in
      let i = Interval(a[0])
      var f = DateTimeTemplate.Fields()
      f.date = CivilDate(year: Int(i.months) / 12, month: Int(i.months) % 12, day: Int(i.days))
      f.hour = Int(i.microseconds / 3_600_000_000)
      f.minute = Int(i.microseconds / 60_000_000 % 60)
      f.second = Int(i.microseconds / 1_000_000 % 60)
      f.micro = Int(i.microseconds % 1_000_000)
      return Value(c.arena.copy(DateTimeTemplate.format(a[1].string, f)))
    }
    scalar("to_date", [.text, .text], .date, .stable) { (a, _) throws(SQLError) in
      Value(Calendar.split(try DateTimeTemplate.read(a[0].string, a[1].string).local).day)
    }
    scalar("to_timestamp", [.text, .text], .timestamptz, .stable) { (a, c) throws(SQLError) in
      let (local, offset) = try DateTimeTemplate.read(a[0].string, a[1].string)
      return Value(offset.map { local - Int64($0) * 1_000_000 } ?? c.format.timeZone.instant(ofLocal: local))
    }
    scalar("to_number", [.text, .text], .numeric, .stable) { (a, c) throws(SQLError) in
      var text = ""
      var isNegative = false
      for character in a[0].string {
        if character.isASCII, character.isNumber { text.append(character) }
        if character == ".", !text.contains(".") { text.append(character) }
        if character == "-" || character == "<" { isNegative = true }
      }
      guard text.contains(where: \.isNumber) else {
        throw SQLError(.invalidText, "invalid input syntax for type numeric: \"\(a[0].string)\"")
      }
      if text.hasSuffix(".") { text.removeLast() }
      let shown = (isNegative ? "-" : "") + (text.hasPrefix(".") ? "0" + text : text)
      return try Bytes.with(shown) { (bytes) throws(SQLError) in try NumericText.parse(bytes, c.arena) }
    }
  }
}

enum FormatFunctions {
  static func text(
    _ value: Int64, _ type: TypeID, _ template: String, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    var f = DateTimeTemplate.Fields()
    var local = value
    if type == .date {
      if value == DateTime.dateInfinity || value == DateTime.dateNegativeInfinity { return .null }
      local = try DateArithmetic.timestamp(ofDay: value)
    } else if type != .time, !DateTime.isInRange(value) {
      return .null
    }
    if type == .timestamptz {
      let zone = context.format.timeZone
      f.zone = (zone.abbreviation(at: value), zone.offset(at: value))
      local = DateTime.local(value, zone)
    }
    let (day, time) = type == .time ? (0, value) : Calendar.split(local)
    f.date = Calendar.date(day)
    f.day = day
    f.hour = Int(time / 3_600_000_000)
    f.minute = Int(time / 60_000_000 % 60)
    f.second = Int(time / 1_000_000 % 60)
    f.micro = Int(time % 1_000_000)
    return Value(context.arena.copy(DateTimeTemplate.format(template, f)))
  }
}
