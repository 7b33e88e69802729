// Reads dates and times in the forms that PostgreSQL accepts: 2024-03-01, 20240301, 3/1/2024, March 1, 2024, 1-Mar-2024,
// 10:20[:30.5], 102030, 10:20 PM, Z, +02, -03:30, UTC, CET, Europe/Berlin, BC, T between date and time, now, today, ….

struct DateTimeParser {
  enum Special: Equatable {
    case infinity, negativeInfinity, epoch, now
    case day(Int)
  }
  struct Fields {
    var year: Int?
    var month: Int?
    var day: Int?
    var yearDigits = 0
    var time: Int64?
    var zone: TimeZone?
    var special: Special?
    var isBC = false
    /// 0 for AM, 12 for PM.
    var halfDay: Int?
    var hasJulian: Int?
  }

  let text: Bytes
  let typeName: String
  let format: TextFormat
  var at = 0
  var fields = Fields()

  init(_ text: Bytes, _ typeName: String, _ format: TextFormat) {
    self.text = text
    self.typeName = typeName
    self.format = format
  }

  func invalid() -> SQLError {
    SQLError(.datetimeFormat, "invalid input syntax for type \(typeName): \"\(text.string)\"")
  }
  func outOfRange(hint: Bool = false) -> SQLError {
    SQLError(
      .datetimeOverflow, "date/time field value out of range: \"\(text.string)\"",
      hint: hint ? "Perhaps you need a different \"datestyle\" setting." : nil)
  }

  var current: UInt8? { at < text.count ? text[at] : nil }
  func peek(_ offset: Int) -> UInt8? { at + offset < text.count ? text[at + offset] : nil }

  mutating func parse() throws(SQLError) -> Fields {
    guard text.count <= 256 else { throw invalid() }
    var sawAnything = false
    while let byte = current {
      if TextScan.isSpace(byte) || byte == UInt8(ascii: ",") {
        at += 1
        continue
      }
      sawAnything = true
      if TextScan.isDigit(byte) {
        try number()
      } else if TextScan.isLetter(byte) {
        try word()
      } else if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") {
        if let next = peek(1), TextScan.isLetter(next) {
          at += 1
          try word(isNegative: byte == UInt8(ascii: "-"))
        } else if fields.time != nil || fields.day != nil {
          try numericZone()
        } else {
          throw invalid()
        }
      } else {
        throw invalid()
      }
    }
    guard sawAnything else { throw invalid() }
    if let half = fields.halfDay, let time = fields.time {
      let hour = Int(time / Calendar.microsecondsPerHour)
      guard hour >= 1, hour <= 12 else { throw outOfRange() }
      fields.time = time + Int64((hour % 12 + half - hour)) * Calendar.microsecondsPerHour
    }
    return fields
  }

  // MARK: Numbers

  private mutating func digits() throws(SQLError) -> (value: Int, count: Int) {
    let start = at
    var value = 0
    while let byte = current, TextScan.isDigit(byte) {
      value = value * 10 + Int(byte - 48)
      guard value < 1 << 50 else { throw outOfRange() }
      at += 1
    }
    return (value, at - start)
  }

  private mutating func number() throws(SQLError) {
    let start = at
    let (value, count) = try digits()
    switch current {
    case UInt8(ascii: ":")?:
      at = start
      try time()
      return
    case UInt8(ascii: "-")?, UInt8(ascii: "/")?, UInt8(ascii: ".")?:
      let separator = current
      let dateIsOpen = fields.day == nil && fields.year == nil
      let next = peek(1)
      if dateIsOpen, let next, TextScan.isDigit(next) || (TextScan.isLetter(next) && separator != UInt8(ascii: ".")) {
        // 102030.5 after a date is a time; before one, dots separate the date's fields.
        at = start
        try date(separator!)
        return
      }
    default: break
    }
    if fields.day != nil || (fields.month != nil && fields.day != nil), fields.time == nil, count == 6 || count == 4 {
      // HHMMSS or HHMM after the date, perhaps with a fraction.
      var fraction: Int64 = 0
      if current == UInt8(ascii: "."), count == 6 { fraction = try self.fraction() }
      let (h, m, s) = count == 6 ? (value / 10000, value / 100 % 100, value % 100) : (value / 100, value % 100, 0)
      if fields.year != nil {
        try setTime(h, m, s, fraction)
        return
      }
    }
    if fields.month == nil, fields.day == nil, fields.year == nil {
      if typeName == "time", count == 6 {
        try setTime(value / 10000, value / 100 % 100, value % 100, current == UInt8(ascii: ".") ? try fraction() : 0)
      } else if count >= 8 {
        (fields.year, fields.month, fields.day) = (value / 10000, value / 100 % 100, value % 100)
        fields.yearDigits = count - 4
      } else if count == 6 {
        (fields.year, fields.month, fields.day) = (value / 10000, value / 100 % 100, value % 100)
        fields.yearDigits = 2
      } else if typeName == "time", count == 4 {
        try setTime(value / 100, value % 100, 0, 0)
      } else if let next = current, TextScan.isLetter(next) || TextScan.isSpace(next) {
        // `1 March 2024`, `10 PM`
        if count <= 2 { fields.day = value } else { fields.year = value; fields.yearDigits = count }
        if isHalfDayNext() {
          fields.day = nil
          try setTime(value, 0, 0, 0)
        }
      } else {
        throw invalid()
      }
      return
    }
    // Beside a month's name: a day, then a year.
    if fields.day == nil, count <= 2, fields.month != nil || fields.year != nil {
      fields.day = value
    } else if fields.year == nil {
      fields.year = value
      fields.yearDigits = count
    } else if isHalfDayNext(), fields.time == nil {
      try setTime(value, 0, 0, 0)
    } else {
      throw invalid()
    }
  }

  private func isHalfDayNext() -> Bool {
    var p = at
    while p < text.count, TextScan.isSpace(text[p]) { p += 1 }
    guard p + 1 < text.count, TextScan.lower(text[p + 1]) == UInt8(ascii: "m") else { return false }
    let first = TextScan.lower(text[p])
    let ends = p + 2 == text.count || !TextScan.isLetter(text[p + 2])
    return ends && (first == UInt8(ascii: "a") || first == UInt8(ascii: "p"))
  }

  private mutating func fraction() throws(SQLError) -> Int64 {
    at += 1
    var value: Int64 = 0
    var places = 0
    var roundUp = false
    while let byte = current, TextScan.isDigit(byte) {
      if places < 6 { value = value * 10 + Int64(byte - 48) } else if places == 6 { roundUp = byte >= 53 }
      places += 1
      at += 1
    }
    while places < 6 {
      value *= 10
      places += 1
    }
    return value + (roundUp ? 1 : 0)
  }

  private mutating func time() throws(SQLError) {
    guard fields.time == nil else { throw invalid() }
    let (hour, _) = try digits()
    at += 1
    let (minute, minuteDigits) = try digits()
    guard minuteDigits > 0 else { throw invalid() }
    var second = 0
    var micro: Int64 = 0
    if current == UInt8(ascii: ":") {
      at += 1
      let (value, count) = try digits()
      guard count > 0 else { throw invalid() }
      second = value
      if current == UInt8(ascii: ".") { micro = try fraction() }
    } else if current == UInt8(ascii: ".") {
      // mm:ss.f
      micro = try fraction()
      try setTime(0, hour, minute, micro)
      return
    }
    try setTime(hour, minute, second, micro)
  }

  private mutating func setTime(_ hour: Int, _ minute: Int, _ second: Int, _ micro: Int64) throws(SQLError) {
    guard hour <= 24, minute < 60, second <= 60, hour < 24 || (minute == 0 && second == 0 && micro == 0) else {
      throw outOfRange()
    }
    fields.time = Int64(hour * 3600 + minute * 60 + second) * 1_000_000 + micro
  }

  private mutating func date(_ separator: UInt8) throws(SQLError) {
    var parts: [(value: Int, count: Int, month: Int?)] = []
    while parts.count < 3 {
      if let byte = current, TextScan.isDigit(byte) {
        let (value, count) = try digits()
        parts.append((value, count, nil))
      } else if let byte = current, TextScan.isLetter(byte) {
        let start = at
        while let letter = current, TextScan.isLetter(letter) { at += 1 }
        guard let month = DateTimeParser.month(text[start..<at].string.lowercased()) else { throw invalid() }
        parts.append((0, 0, month))
      } else {
        throw invalid()
      }
      guard current == separator, parts.count < 3 else { break }
      at += 1
    }
    if parts.count == 2, parts[0].count >= 3, parts[1].count == 3 {
      // Year and day of the year.
      fields.year = parts[0].value
      fields.yearDigits = parts[0].count
      fields.hasJulian = parts[1].value
      fields.month = 1
      fields.day = 1
      return
    }
    guard parts.count == 3 else { throw invalid() }
    func set(_ y: Int, _ m: Int, _ d: Int) {
      fields.year = parts[y].value
      fields.yearDigits = parts[y].count
      fields.month = parts[m].month ?? parts[m].value
      fields.day = parts[d].value
    }
    if let named = parts.firstIndex(where: { $0.month != nil }) {
      switch named {
      case 0: set(2, 0, 1)
      case 1: if parts[0].count >= 3 { set(0, 1, 2) } else { set(2, 1, 0) }
      default: throw invalid()
      }
      return
    }
    if parts[0].count >= 3 {
      set(0, 1, 2)
    } else {
      switch format.dateOrder {
      case .ymd: set(0, 1, 2)
      case .mdy: set(2, 0, 1)
      case .dmy: set(2, 1, 0)
      }
    }
  }

  private mutating func numericZone() throws(SQLError) {
    let isNegative = current == UInt8(ascii: "-")
    at += 1
    let (value, count) = try digits()
    guard count > 0 else { throw invalid() }
    var seconds = 0
    if current == UInt8(ascii: ":") {
      at += 1
      let (minutes, _) = try digits()
      var rest = 0
      if current == UInt8(ascii: ":") {
        at += 1
        rest = try digits().value
      }
      guard minutes < 60, rest < 60 else { throw outOfRangeZone() }
      seconds = value * 3600 + minutes * 60 + rest
    } else if count > 4 {
      seconds = value / 10000 * 3600 + value / 100 % 100 * 60 + value % 100
    } else if count > 2 {
      seconds = value / 100 * 3600 + value % 100 * 60
    } else {
      seconds = value * 3600
    }
    guard seconds <= 15 * 3600 + 59 * 60 + 59 else { throw outOfRangeZone() }
    fields.zone = .fixed(isNegative ? -seconds : seconds)
  }
  private func outOfRangeZone() -> SQLError {
    SQLError(SQLState(rawValue: "22009"), "time zone displacement out of range: \"\(text.string)\"")
  }

  // MARK: Words

  static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
  static let monthNames = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
  ]
  static let weekdays = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]

  static func month(_ word: String) -> Int? {
    if let index = months.firstIndex(of: word) ?? monthNames.firstIndex(of: word) { return index + 1 }
    return word == "sept" ? 9 : nil
  }

  private mutating func word(isNegative: Bool = false) throws(SQLError) {
    let start = at
    while let byte = current, TextScan.isLetter(byte) { at += 1 }
    let short = text[start..<at].string.lowercased()
    if isNegative {
      guard short == "infinity" else { throw invalid() }
      fields.special = .negativeInfinity
      return
    }
    switch short {
    case "infinity", "inf": fields.special = .infinity
    case "epoch": fields.special = .epoch
    case "now": fields.special = .now
    case "today": fields.special = .day(0)
    case "tomorrow": fields.special = .day(1)
    case "yesterday": fields.special = .day(-1)
    case "allballs": fields.time = 0
    case "am": fields.halfDay = 0
    case "pm": fields.halfDay = 12
    case "bc": fields.isBC = true
    case "ad", "at", "on": break
    case "t" where fields.day != nil && fields.time == nil: break
    case "z", "zulu", "utc", "gmt", "ut": fields.zone = .utc
    default:
      if let month = DateTimeParser.month(short) {
        guard fields.month == nil else { throw invalid() }
        fields.month = month
        if current == UInt8(ascii: "-") { at += 1 }
        return
      }
      if DateTimeParser.weekdays.contains(where: { $0 == short || (short.utf8.count >= 3 && $0.hasPrefix(short)) }) {
        return
      }
      // A zone's name goes on over slashes, underscores and digits.
      while let byte = current, !TextScan.isSpace(byte), byte != UInt8(ascii: ",") { at += 1 }
      let name = text[start..<at].string
      if let zone = TimeZone.find(name) {
        fields.zone = zone
      } else if name.contains("/") {
        throw SQLError(.invalidParameterValue, "time zone \"\(name.lowercased())\" not recognized")
      } else {
        throw invalid()
      }
    }
  }

  // MARK: The day

  func day(_ fields: Fields) throws(SQLError) -> Int {
    guard var year = fields.year, let month = fields.month, let day = fields.day else { throw invalid() }
    if fields.isBC {
      guard year > 0 else { throw outOfRange() }
      year = 1 - year
    } else if fields.yearDigits <= 2 {
      year += year < 70 ? 2000 : 1900
    } else if year == 0 {
      throw outOfRange()
    }
    guard year < 10_000_000 else { throw outOfRange() }
    if let julian = fields.hasJulian {
      guard julian >= 1, julian <= (Calendar.isLeap(year) ? 366 : 365) else { throw outOfRange() }
      return Calendar.days(CivilDate(year: year, month: 1, day: 1)) + julian - 1
    }
    guard month >= 1, month <= 12, day >= 1, day <= 31 else { throw outOfRange(hint: true) }
    guard day <= Calendar.daysInMonth(year, month) else { throw outOfRange() }
    return Calendar.days(CivilDate(year: year, month: month, day: day))
  }
}
