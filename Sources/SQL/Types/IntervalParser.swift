// Intervals from text: `1 day 02:03:04`, `1 year 2 mons`, `-1.5 hours`, `1-2`, `3 4:05`, `P1Y2M3DT4H`, `@ 2 days ago`.

extension Interval {
  package static func parse(_ text: Bytes, modifier: Int32 = -1) throws(SQLError) -> Interval {
    var parser = IntervalParser(text, modifier: modifier)
    let result = try parser.parse()
    return result.applying(modifier: modifier)
  }
}

private struct IntervalParser {
  let text: Bytes
  let range: Int
  var at = 0
  // Sums in 128 bits; checked once at the end.
  var months: Int128 = 0
  var days: Int128 = 0
  var micros: Int128 = 0

  init(_ text: Bytes, modifier: Int32) {
    self.text = text
    range = modifier >= 0 ? Int(modifier >> 16) & 0x7fff : 0x7fff
  }

  func invalid() -> SQLError { SQLError(.datetimeFormat, "invalid input syntax for type interval: \"\(text.string)\"") }
  func outOfRange() -> SQLError {
    SQLError(SQLState(rawValue: "22015"), "interval field value out of range: \"\(text.string)\"")
  }

  var current: UInt8? { at < text.count ? text[at] : nil }
  mutating func skipSpace() { while let byte = current, TextScan.isSpace(byte) { at += 1 } }

  mutating func parse() throws(SQLError) -> Interval {
    skipSpace()
    if current == UInt8(ascii: "@") { at += 1 }
    skipSpace()
    guard current != nil, text.count <= 512 else { throw invalid() }
    if current == UInt8(ascii: "P") {
      try iso()
    } else {
      try traditional()
    }
    guard let m = Int32(exactly: months), let d = Int32(exactly: days), let u = Int64(exactly: micros) else {
      throw outOfRange()
    }
    return Interval(months: m, days: d, microseconds: u)
  }

  /// A number with its fraction in millionths-of-a-millionth (12 decimals kept).
  mutating func number() throws(SQLError) -> (whole: Int128, fraction: Double, isNegative: Bool)? {
    let start = at
    var isNegative = false
    if current == 45 || current == 43 {
      isNegative = current == 45
      at += 1
    }
    var whole: Int128 = 0
    var sawDigit = false
    while let byte = current, TextScan.isDigit(byte) {
      whole = whole * 10 + Int128(byte - 48)
      guard whole < 1 << 70 else { throw outOfRange() }
      sawDigit = true
      at += 1
    }
    var fraction = 0.0
    if current == UInt8(ascii: ".") {
      at += 1
      var scale = 1.0
      var digits = 0.0
      while let byte = current, TextScan.isDigit(byte) {
        if scale < 1e15 {
          scale *= 10
          digits = digits * 10 + Double(byte - 48)
        }
        sawDigit = true
        at += 1
      }
      fraction = digits / scale
    }
    guard sawDigit else {
      at = start
      return nil
    }
    return (isNegative ? -whole : whole, isNegative ? -fraction : fraction, isNegative)
  }

  mutating func traditional() throws(SQLError) {
    var sawField = false
    while true {
      skipSpace()
      guard let byte = current else { break }
      if TextScan.isLetter(byte) {
        let word = readWord()
        if word == "ago", sawField {
          skipSpace()
          guard current == nil else { throw invalid() }
          months = -months
          days = -days
          micros = -micros
          break
        }
        throw invalid()
      }
      let start = at
      guard let (whole, fraction, isNegative) = try number() else { throw invalid() }
      if current == UInt8(ascii: ":") {
        at = start
        try clock()
        sawField = true
        continue
      }
      if current == UInt8(ascii: "-"), at + 1 < text.count, TextScan.isDigit(text[at + 1]) {
        // years-months
        at += 1
        guard let (second, end) = TextScan.unsignedInt(text, at, limit: 11) else { throw outOfRange() }
        at = end
        months += whole * 12 + (isNegative ? -Int128(second) : Int128(second))
        sawField = true
        continue
      }
      skipSpace()
      if let next = current, TextScan.isLetter(next) {
        try apply(whole, fraction, readWord())
      } else if current == nil || current == UInt8(ascii: ",") {
        try apply(whole, fraction, defaultUnit)
        if current != nil { at += 1 }
      } else if isClockNext() {
        // `3 4:05:06`: days before a time.
        try apply(whole, fraction, "day")
      } else {
        throw invalid()
      }
      sawField = true
    }
    guard sawField else { throw invalid() }
  }

  func isClockNext() -> Bool {
    var p = at
    if p < text.count, text[p] == 43 || text[p] == 45 { p += 1 }
    while p < text.count, TextScan.isDigit(text[p]) { p += 1 }
    return p > at && p < text.count && text[p] == UInt8(ascii: ":")
  }

  var defaultUnit: String {
    switch Interval.lowestField(range == 0x7fff ? Interval.Field.second : range) {
    case Interval.Field.year: return "year"
    case Interval.Field.month: return "month"
    case Interval.Field.day: return "day"
    case Interval.Field.hour: return "hour"
    case Interval.Field.minute: return "minute"
    default: return "second"
    }
  }

  mutating func readWord() -> String {
    let start = at
    while let byte = current, TextScan.isLetter(byte) { at += 1 }
    return text[start..<at].string.lowercased()
  }

  mutating func clock() throws(SQLError) {
    var isNegative = false
    if current == 45 || current == 43 {
      isNegative = current == 45
      at += 1
    }
    guard let (hours, end) = TextScan.unsignedInt(text, at, limit: 1 << 40) else { throw outOfRange() }
    at = end + 1
    guard let (minutes, end2) = TextScan.unsignedInt(text, at, limit: 1 << 30) else { throw invalid() }
    at = end2
    var total = Int128(hours) * 3600 + Int128(minutes) * 60
    var micro: Int128 = 0
    if current == UInt8(ascii: ":") {
      at += 1
      guard let (seconds, end3) = TextScan.unsignedInt(text, at, limit: 1 << 30) else { throw invalid() }
      at = end3
      guard minutes < 60, seconds <= 60 else { throw outOfRange() }
      total += Int128(seconds)
      micro = fractionMicros()
    } else if current == UInt8(ascii: ".") {
      // mm:ss.f
      total = Int128(hours) * 60 + Int128(minutes)
      micro = fractionMicros()
    } else {
      // HH:MM; MM:SS if the fields are minutes to seconds.
      if range == Interval.Field.minute | Interval.Field.second { total = Int128(hours) * 60 + Int128(minutes) }
      guard minutes < 60 else { throw outOfRange() }
    }
    let sum = total * 1_000_000 + micro
    micros += isNegative ? -sum : sum
  }

  mutating func fractionMicros() -> Int128 {
    guard current == UInt8(ascii: ".") else { return 0 }
    at += 1
    var value: Int128 = 0
    var places = 0
    var up = false
    while let byte = current, TextScan.isDigit(byte) {
      if places < 6 { value = value * 10 + Int128(byte - 48) } else if places == 6 { up = byte >= 53 }
      places += 1
      at += 1
    }
    while places < 6 {
      value *= 10
      places += 1
    }
    return value + (up ? 1 : 0)
  }

  mutating func apply(_ whole: Int128, _ fraction: Double, _ unit: String) throws(SQLError) {
    func addMicros(_ perUnit: Int128) { micros += whole * perUnit + Int128((fraction * Double(perUnit)).rounded()) }
    func addDays(_ n: Int128, fraction f: Double) {
      days += n
      micros += Int128((f * 86_400_000_000).rounded())
    }
    func addMonths(_ perUnit: Int128) {
      let exact = fraction * Double(perUnit)
      let extra = perUnit == 1 ? 0 : exact.rounded()
      months += whole * perUnit + Int128(extra)
      guard perUnit == 1 else { return }
      let dayPart = fraction * 30
      let wholeDays = dayPart.rounded(.towardZero)
      addDays(Int128(wholeDays), fraction: dayPart - wholeDays)
    }
    switch unit {
    case "us", "usec", "usecs", "usecond", "useconds", "microsecond", "microseconds", "microsecon": addMicros(1)
    case "ms", "msec", "msecs", "mseconds", "msecond", "millisecond", "milliseconds", "millisecon": addMicros(1000)
    case "s", "sec", "secs", "second", "seconds": addMicros(1_000_000)
    case "m", "min", "mins", "minute", "minutes": addMicros(60_000_000)
    case "h", "hr", "hrs", "hour", "hours": addMicros(3_600_000_000)
    case "d", "day", "days": addDays(whole, fraction: fraction)
    case "w", "week", "weeks":
      let part = fraction * 7
      let wholeDays = part.rounded(.towardZero)
      addDays(whole * 7 + Int128(wholeDays), fraction: part - wholeDays)
    case "mon", "mons", "month", "months": addMonths(1)
    case "y", "yr", "yrs", "year", "years": addMonths(12)
    case "dec", "decs", "decade", "decades": addMonths(120)
    case "c", "cent", "century", "centuries": addMonths(1200)
    case "mil", "mils", "millennium", "millennia": addMonths(12_000)
    default: throw invalid()
    }
  }

  mutating func iso() throws(SQLError) {
    at += 1
    var inTime = false
    var sawField = false
    while let byte = current {
      if byte == UInt8(ascii: "T"), !inTime {
        inTime = true
        at += 1
        continue
      }
      guard let (whole, fraction, _) = try number(), let unit = current else { throw invalid() }
      at += 1
      sawField = true
      switch (unit, inTime) {
      case (UInt8(ascii: "Y"), false): try apply(whole, fraction, "year")
      case (UInt8(ascii: "M"), false): try apply(whole, fraction, "month")
      case (UInt8(ascii: "W"), false): try apply(whole, fraction, "week")
      case (UInt8(ascii: "D"), false): try apply(whole, fraction, "day")
      case (UInt8(ascii: "H"), true): try apply(whole, fraction, "hour")
      case (UInt8(ascii: "M"), true): try apply(whole, fraction, "minute")
      case (UInt8(ascii: "S"), true): try apply(whole, fraction, "second")
      default: throw invalid()
      }
    }
    guard sawField else { throw invalid() }
  }
}
