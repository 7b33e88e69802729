// to_char of dates and intervals, and to_date / to_timestamp, by templates (PostgreSQL's formatting.c).
//
// A template is a run of keywords, quoted text and other characters. Keywords are matched longest first, in any case where
// their case has no meaning; FM before one drops padding, TH or th behind a number adds its ordinal ending.

enum DateTimeTemplate {
  enum Part {
    case keyword(Keyword, fill: Bool, ordinal: String?)
    case literal(String)
  }

  struct Keyword: Hashable {
    let name: String
  }

  private static let names: [String] = [
    "A.D.", "A.M.", "AD", "AM", "B.C.", "BC", "CC", "DAY", "Day", "day", "DDD", "DD", "DY", "Dy", "dy", "D", "FF1",
    "FF2", "FF3", "FF4",
    "FF5", "FF6", "HH24", "HH12", "HH", "IDDD", "ID", "IW", "IYYY", "IYY", "IY", "I", "J", "MI", "MM", "MONTH", "Month",
    "month",
    "MON", "Mon", "mon", "MS", "OF", "P.M.", "PM", "Q", "RM", "rm", "SSSSS", "SSSS", "SS", "TZH", "TZM", "TZ", "tz",
    "US", "WW", "W",
    "Y,YYY", "YYYY", "YYY", "YY", "Y", "a.d.", "a.m.", "ad", "am", "b.c.", "bc", "p.m.", "pm",
  ].sorted { $0.utf8.count > $1.utf8.count }

  static func parse(_ text: String) -> [Part] {
    var parts: [Part] = []
    var rest = Substring(text)
    func addLiteral(_ character: Character) {
      if case .literal(let known)? = parts.last {
        parts[parts.count - 1] = .literal(known + String(character))
      } else {
        parts.append(.literal(String(character)))
      }
    }
    while let first = rest.first {
      if first == "\"" {
        rest = rest.dropFirst()
        var quoted = ""
        while let character = rest.first, character != "\"" {
          rest = rest.dropFirst()
          if character == "\\", let escaped = rest.first {
            quoted.append(escaped)
            rest = rest.dropFirst()
          } else {
            quoted.append(character)
          }
        }
        rest = rest.dropFirst()
        parts.append(.literal(quoted))
        continue
      }
      var fill = true
      var at = rest
      while at.prefix(2).uppercased() == "FM" || at.prefix(2).uppercased() == "TM" {
        fill = false
        at = at.dropFirst(2)
      }
      guard let name = keyword(at) else {
        if !fill {
          rest = at
        } else {
          addLiteral(first)
          rest = rest.dropFirst()
        }
        continue
      }
      at = at.dropFirst(name.count)
      var ordinal: String? = nil
      if at.prefix(2).uppercased() == "TH" {
        ordinal = String(at.prefix(2))
        at = at.dropFirst(2)
      }
      parts.append(.keyword(Keyword(name: name), fill: fill, ordinal: ordinal))
      rest = at
    }
    return parts
  }

  private static let longest = names.map(\.count).max() ?? 0
  /// Those that may be written in any case: yyyy, hh24, mi.
  private static let caseless = names.filter { $0 == $0.uppercased() }

  /// The keyword that `text` begins with. Looks at no more of it than the longest keyword has: a template may be long.
  private static func keyword(_ text: Substring) -> String? {
    let head = text.prefix(longest)
    for name in names where head.hasPrefix(name) { return name }
    let upper = head.uppercased()
    for name in caseless where upper.hasPrefix(name) { return name }
    return nil
  }

  // MARK: Output

  struct Fields {
    var date = CivilDate(year: 0, month: 0, day: 0)
    var day: Int? = nil
    var hour: Int = 0
    var minute: Int = 0
    var second: Int = 0
    var micro: Int = 0
    var zone: (name: String, offset: Int)? = nil
  }

  static func ordinal(_ n: Int, _ spelling: String) -> String {
    let last = n % 100
    let ending =
      (11...13).contains(last) ? "th" : last % 10 == 1 ? "st" : last % 10 == 2 ? "nd" : last % 10 == 3 ? "rd" : "th"
    return spelling == "TH" ? ending.uppercased() : ending
  }

  static func format(_ template: String, _ f: Fields) -> String {
    var result = ""
    for part in parse(template) {
      switch part {
      case .literal(let text): result += text
      case .keyword(let keyword, let fill, let ordinalSpelling):
        let (text, number) = field(keyword.name, f, fill)
        result += text
        if let ordinalSpelling, let number { result += ordinal(abs(number), ordinalSpelling) }
      }
    }
    return result
  }

  static func padded(_ n: Int, _ width: Int, _ fill: Bool) -> String {
    let digits = String(abs(n))
    let zeros = fill ? String(repeating: "0", count: max(0, width - digits.count)) : ""
    return (n < 0 ? "-" : "") + zeros + digits
  }

  private static func word(_ text: String, _ model: String, _ width: Int, _ fill: Bool) -> String {
    let first = model.prefix(1)
    let cased: String
    if model == model.uppercased() {
      cased = text.uppercased()
    } else if first == first.uppercased() {
      cased = text.prefix(1).uppercased() + text.dropFirst()
    } else {
      cased = text
    }
    return fill ? cased + String(repeating: " ", count: max(0, width - cased.count)) : cased
  }

  static let roman = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]

  private static func field(_ name: String, _ f: Fields, _ fill: Bool) -> (String, Int?) {
    func number(_ n: Int, _ width: Int) -> (String, Int?) { (padded(n, width, fill), n) }
    let isDate = f.day != nil
    let year = isDate ? (f.date.year > 0 ? f.date.year : 1 - f.date.year) : f.date.year
    let day = f.day ?? 0
    switch name {
    case "AM", "PM": return (f.hour % 24 >= 12 ? "PM" : "AM", nil)
    case "am", "pm": return (f.hour % 24 >= 12 ? "pm" : "am", nil)
    case "A.M.", "P.M.": return (f.hour % 24 >= 12 ? "P.M." : "A.M.", nil)
    case "a.m.", "p.m.": return (f.hour % 24 >= 12 ? "p.m." : "a.m.", nil)
    case "HH", "HH12": return number(f.hour % 12 == 0 ? 12 : abs(f.hour % 12), 2)
    case "HH24": return number(f.hour, 2)
    case "MI": return number(f.minute, 2)
    case "SS": return number(f.second, 2)
    case "MS": return number(f.micro / 1000, 3)
    case "US": return number(f.micro, 6)
    case "FF1", "FF2", "FF3", "FF4", "FF5", "FF6":
      let digits = Int(name.dropFirst(2)) ?? 6
      return (String(padded(f.micro, 6, true).prefix(digits)), nil)
    case "SSSS", "SSSSS": return (String(f.hour * 3600 + f.minute * 60 + f.second), f.hour * 3600)
    case "TZ": return (f.zone?.name.uppercased() ?? "", nil)
    case "tz": return (f.zone?.name.lowercased() ?? "", nil)
    case "TZH":
      return (
        (f.zone?.offset ?? 0) < 0
          ? "-" + padded(abs(f.zone!.offset) / 3600, 2, true) : "+" + padded((f.zone?.offset ?? 0) / 3600, 2, true), nil
      )
    case "TZM": return (padded(abs(f.zone?.offset ?? 0) / 60 % 60, 2, true), nil)
    case "OF":
      let offset = f.zone?.offset ?? 0
      let minutes = abs(offset) / 60 % 60
      return (
        (offset < 0 ? "-" : "+") + padded(abs(offset) / 3600, 2, true)
          + (minutes == 0 ? "" : ":" + padded(minutes, 2, true)), nil
      )
    case "AD", "BC": return (f.date.year <= 0 ? "BC" : "AD", nil)
    case "ad", "bc": return (f.date.year <= 0 ? "bc" : "ad", nil)
    case "A.D.", "B.C.": return (f.date.year <= 0 ? "B.C." : "A.D.", nil)
    case "a.d.", "b.c.": return (f.date.year <= 0 ? "b.c." : "a.d.", nil)
    case "MONTH", "Month", "month":
      return f.date.month == 0 ? ("", nil) : (word(DateTimeParser.monthNames[f.date.month - 1], name, 9, fill), nil)
    case "MON", "Mon", "mon":
      return f.date.month == 0 ? ("", nil) : (word(DateTimeParser.months[f.date.month - 1], name, 0, false), nil)
    case "MM": return number(f.date.month, 2)
    case "RM", "rm":
      guard f.date.month > 0 else { return ("", nil) }
      let text = name == "RM" ? roman[f.date.month - 1] : roman[f.date.month - 1].lowercased()
      return (fill ? text + String(repeating: " ", count: 4 - text.count) : text, nil)
    case "DAY", "Day", "day": return (word(DateTimeParser.weekdays[Calendar.weekday(day)], name, 9, fill), nil)
    case "DY", "Dy", "dy":
      return (word(String(DateTimeParser.weekdays[Calendar.weekday(day)].prefix(3)), name, 0, false), nil)
    case "DDD":
      return number(isDate ? day - Calendar.days(CivilDate(year: f.date.year, month: 1, day: 1)) + 1 : f.date.day, 3)
    case "DD": return number(f.date.day, 2)
    case "D": return number(Calendar.weekday(day) + 1, 1)
    case "ID": return number((Calendar.weekday(day) + 6) % 7 + 1, 1)
    case "IDDD":
      let monday = day - (Calendar.weekday(day) + 6) % 7
      let week = DateTimeField.isoWeek(day)
      return number((week.week - 1) * 7 + day - monday + 1, 3)
    case "WW": return number((day - Calendar.days(CivilDate(year: f.date.year, month: 1, day: 1))) / 7 + 1, 2)
    case "IW": return number(DateTimeField.isoWeek(day).week, 2)
    case "W": return number((f.date.day - 1) / 7 + 1, 1)
    case "Q": return f.date.month == 0 ? ("", nil) : number((f.date.month - 1) / 3 + 1, 1)
    case "CC": return number(f.date.year > 0 ? (f.date.year + 99) / 100 : -((99 - (f.date.year - 1)) / 100), 2)
    case "J": return number(day + 2_451_545, 1)
    case "Y,YYY": return (padded(year / 1000, 1, fill) + "," + padded(year % 1000, 3, true), year)
    case "YYYY": return number(year, 4)
    case "YYY": return number(year % 1000, 3)
    case "YY": return number(year % 100, 2)
    case "Y": return number(year % 10, 1)
    case "IYYY", "IYY", "IY", "I":
      let iso = DateTimeField.isoWeek(day).year
      let modulus = name == "IYYY" ? Int.max : name == "IYY" ? 1000 : name == "IY" ? 100 : 10
      return number((iso > 0 ? iso : 1 - iso) % modulus, name.count)
    default: return (name, nil)
    }
  }

  // MARK: Input

  static func invalid(_ value: String, _ field: String, detail: String) -> SQLError {
    SQLError(.datetimeFormat, "invalid value \"\(value)\" for \"\(field)\"", detail: detail)
  }

  /// Reads `text` by the template: the local timestamp and the zone's offset, if one was read.
  static func read(_ text: String, _ template: String) throws(SQLError) -> (local: Int64, offset: Int?) {
    var input = Substring(text)
    var year: Int? = nil
    var (month, day, hour, minute, second, micro) = (1, 1, 0, 0, 0, 0)
    var (isBC, half) = (false, Int?.none)
    var (dayOfYear, julian, secondsPastMidnight) = (Int?.none, Int?.none, Int?.none)
    var offset: Int? = nil
    let parts = parse(template)
    func digits(_ limit: Int, _ field: String) throws(SQLError) -> Int {
      while let character = input.first, character.isWhitespace { input = input.dropFirst() }
      var sign = 1
      if input.first == "-" || input.first == "+" {
        sign = input.first == "-" ? -1 : 1
        input = input.dropFirst()
      }
      let found = input.prefix(limit).prefix { $0.isASCII && $0.isNumber }
      guard let value = Int(found) else {
        throw invalid(String(input.prefix(limit)), field, detail: "Value must be an integer.")
      }
      input = input.dropFirst(found.count)
      return sign * value
    }
    func name(_ list: [String], _ field: String) throws(SQLError) -> Int {
      let lower = input.lowercased()
      for (index, item) in list.enumerated() where lower.hasPrefix(item) {
        input = input.dropFirst(item.count)
        return index
      }
      throw invalid(
        String(input.prefix(9)), field,
        detail: "The given value did not match any of the allowed values for this field.")
    }
    for (index, part) in parts.enumerated() {
      switch part {
      case .literal(let literal):
        for character in literal {
          guard let next = input.first else { break }
          if character.isWhitespace {
            while let space = input.first, space.isWhitespace { input = input.dropFirst() }
          } else if character == next || !(next.isLetter || next.isNumber) {
            // Any separator stands for any other.
            input = input.dropFirst()
          } else if character.isLetter || character.isNumber {
            input = input.dropFirst()
          }
        }
      case .keyword(let keyword, _, _):
        // A number that another number follows takes only its own width.
        var isTight = false
        if index + 1 < parts.count, case .keyword = parts[index + 1] { isTight = true }
        let field = keyword.name
        func number(_ width: Int) throws(SQLError) -> Int {
          try digits(isTight ? width : max(width, field.hasPrefix("Y") ? 9 : width), field)
        }
        switch field {
        case "YYYY", "IYYY": year = try number(4)
        case "Y,YYY":
          let thousands = try digits(4, field)
          if input.first == "," { input = input.dropFirst() }
          year = thousands * 1000 + (try digits(3, field))
        case "YYY", "YY", "Y":
          let value = try number(field.count)
          year =
            value < 70
            ? value + 2000
            : value < 100 ? value + 1900 : value < 520 ? value + 2000 : value < 1000 ? value + 1000 : value
        case "MM": month = try number(2)
        case "MONTH", "Month", "month": month = try name(DateTimeParser.monthNames, field) + 1
        case "MON", "Mon", "mon": month = try name(DateTimeParser.months, field) + 1
        case "DD": day = try number(2)
        case "DDD": dayOfYear = try number(3)
        case "J": julian = try digits(9, field)
        case "DAY", "Day", "day": _ = try name(DateTimeParser.weekdays, field)
        case "DY", "Dy", "dy": _ = try name(DateTimeParser.weekdays.map { String($0.prefix(3)) }, field)
        case "D", "ID", "W", "Q": _ = try number(1)
        case "HH24": hour = try number(2)
        case "HH", "HH12":
          hour = try number(2)
          guard (1...12).contains(hour) else {
            throw SQLError(
              .datetimeFormat, "hour \"\(hour)\" is invalid for the 12-hour clock",
              hint: "Use the 24-hour clock, or give an hour between 1 and 12.")
          }
          half = half ?? 0
        case "MI": minute = try number(2)
        case "SS": second = try number(2)
        case "MS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6":
          let width = field == "MS" ? 3 : field == "US" ? 6 : Int(field.dropFirst(2)) ?? 6
          let before = input
          let value = try digits(width, field)
          let count = before.count - input.count
          micro = value * [1_000_000, 100_000, 10_000, 1000, 100, 10, 1][min(count, 6)]
        case "SSSS", "SSSSS": secondsPastMidnight = try digits(5, field)
        case "AM", "PM", "am", "pm": half = try name(["am", "pm"], field) * 12
        case "A.M.", "P.M.", "a.m.", "p.m.": half = try name(["a.m.", "p.m."], field) * 12
        case "AD", "BC", "ad", "bc": isBC = try name(["ad", "bc"], field) == 1
        case "A.D.", "B.C.", "a.d.", "b.c.": isBC = try name(["a.d.", "b.c."], field) == 1
        case "TZH": offset = (try digits(2, field)) * 3600
        case "TZM": offset = (offset ?? 0) + ((offset ?? 0) < 0 ? -60 : 60) * (try digits(2, field))
        case "OF":
          offset = try digits(2, field) * 3600
          if input.first == ":" {
            input = input.dropFirst()
            offset! += (offset! < 0 ? -60 : 60) * (try digits(2, field))
          }
        default:
          throw SQLError(.featureNotSupported, "formatting field \"\(field)\" is only supported in to_char")
        }
      }
    }
    func outOfRange() -> SQLError { SQLError(.datetimeOverflow, "date/time field value out of range: \"\(text)\"") }
    if let half, hour <= 12, half == 12 || hour == 12 { hour = hour % 12 + half }
    if let secondsPastMidnight {
      (hour, minute, second) = (secondsPastMidnight / 3600, secondsPastMidnight / 60 % 60, secondsPastMidnight % 60)
    }
    guard (0...24).contains(hour), (0..<60).contains(minute), (0...60).contains(second), micro >= 0 else {
      throw outOfRange()
    }
    var civil = year ?? 0
    if isBC { civil = 1 - civil }
    var dayNumber: Int
    if let julian {
      dayNumber = julian - 2_451_545
    } else if let dayOfYear {
      guard dayOfYear >= 1, dayOfYear <= (Calendar.isLeap(civil) ? 366 : 365) else { throw outOfRange() }
      dayNumber = Calendar.days(CivilDate(year: civil, month: 1, day: 1)) + dayOfYear - 1
    } else {
      guard abs(civil) < 6_000_000, (1...12).contains(month), day >= 1, day <= Calendar.daysInMonth(civil, month) else {
        throw outOfRange()
      }
      dayNumber = Calendar.days(CivilDate(year: civil, month: month, day: day))
    }
    guard Int64(dayNumber) >= Calendar.minimumDay, dayNumber < 106_751_990 else { throw outOfRange() }
    let time = Int64(hour * 3600 + minute * 60 + second) * 1_000_000 + Int64(micro)
    return (Int64(dayNumber) * Calendar.microsecondsPerDay + time, offset)
  }
}
