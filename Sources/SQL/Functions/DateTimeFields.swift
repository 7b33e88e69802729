// extract / date_part, date_trunc, date_bin.

extension FunctionRegistry {
  mutating func addDateTimeFields() {
    for type in [TypeID.date, .time, .timestamp, .timestamptz, .interval] {
      let isStable: Volatility = type == .timestamptz ? .stable : .immutable
      // EXTRACT is numeric, date_part is double precision.
      scalar("extract", [.text, type], .numeric, isStable) { (a, c) throws(SQLError) in
        try DateTimeField.extract(a[0], a[1], type, &c)
      }
      scalar("date_part", [.text, type], .float8, isStable) { (a, c) throws(SQLError) in
        let value = try DateTimeField.extract(a[0], a[1], type, &c)
        return value.isNull ? .null : Value(Numeric.double(value))
      }
    }
    scalar("date_trunc", [.text, .timestamp], .timestamp) { (a, _) throws(SQLError) in
      Value(try DateTimeField.truncate(a[0], a[1].int, "timestamp without time zone"))
    }
    scalar("date_trunc", [.text, .timestamptz], .timestamptz, .stable) { (a, c) throws(SQLError) in
      try DateTimeField.truncate(a[0], a[1].int, c.format.timeZone)
    }
    scalar("date_trunc", [.text, .timestamptz, .text], .timestamptz, .stable) { (a, _) throws(SQLError) in
      try DateTimeField.truncate(a[0], a[1].int, try TimeZone.named(a[2].string))
    }
    scalar("date_trunc", [.text, .interval], .interval) { (a, c) throws(SQLError) in
      try DateTimeField.truncate(a[0], Interval(a[1])).value(c.arena)
    }
    for type in [TypeID.timestamp, .timestamptz] {
      scalar("date_bin", [.interval, type, type], type) { (a, _) throws(SQLError) in
        let stride = Interval(a[0])
        guard stride.months == 0 else {
          throw SQLError(.featureNotSupported, "timestamps cannot be binned into intervals containing months or years")
        }
        return Value(try DateTimeField.bin(stride, a[1].int, origin: a[2].int))
      }
    }
  }
}

enum DateTimeField {
  /// The start of the bin of `stride`'s length, counted from `origin`, that holds `timestamp`.
  static func bin(_ stride: Interval, _ timestamp: Int64, origin: Int64) throws(SQLError) -> Int64 {
    guard DateTime.isInRange(timestamp) else { return timestamp }
    guard DateTime.isInRange(origin) else { throw SQLError(.datetimeOverflow, "origin out of range") }
    // In 128 bits: two timestamps may be further apart than 64 bits hold, and a stride of days is longer yet.
    let size = stride.comparable
    guard size > 0 else { throw SQLError(.datetimeOverflow, "stride must be greater than zero") }
    guard size <= Int128(Int64.max) else { throw Interval.overflow() }
    let difference = Int128(timestamp) - Int128(origin)
    var whole = difference - difference % size
    if difference < 0, whole != difference { whole -= size }
    guard let start = Int64(exactly: Int128(origin) + whole), DateTime.isInRange(start) else {
      throw DateArithmetic.outOfRange()
    }
    return start
  }

  static func unknown(_ field: String, _ type: String) -> SQLError {
    SQLError(.invalidParameterValue, "unit \"\(field)\" not recognized for type \(type)")
  }
  static func unsupported(_ field: String, _ type: String) -> SQLError {
    SQLError(.featureNotSupported, "unit \"\(field)\" not supported for type \(type)")
  }

  /// The canonical name of a unit.
  static func unit(_ text: String) -> String {
    let lower = text.lowercased()
    switch lower {
    case "us", "usec", "usecs", "useconds", "microsecond", "microseconds": return "microseconds"
    case "ms", "msec", "msecs", "mseconds", "millisecond", "milliseconds": return "milliseconds"
    case "s", "sec", "secs", "second", "seconds": return "second"
    case "m", "min", "mins", "minute", "minutes": return "minute"
    case "h", "hr", "hrs", "hour", "hours": return "hour"
    case "d", "day", "days": return "day"
    case "w", "week", "weeks": return "week"
    case "mon", "mons", "month", "months": return "month"
    case "qtr", "quarter": return "quarter"
    case "y", "yr", "yrs", "year", "years": return "year"
    case "dec", "decs", "decade", "decades": return "decade"
    case "c", "cent", "century", "centuries": return "century"
    case "mil", "mils", "millennium", "millennia": return "millennium"
    default: return lower
    }
  }

  private static func integer(_ n: Int64) -> Value { Value(mantissa: n, scale: 0) }

  static func extract(
    _ field: Value, _ value: Value, _ type: TypeID, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    let name = field.string
    let unit = unit(name)
    let arena = context.arena
    switch type {
    case .interval: return try extract(unit, name, Interval(value), arena)
    case .time:
      guard let result = clockField(unit, value.int) ?? (unit == "epoch" ? Value(mantissa: value.int, scale: 6) : nil)
      else {
        throw known.contains(unit)
          ? unsupported(name, "time without time zone") : unknown(name, "time without time zone")
      }
      return result
    default: break
    }
    var local = value.int
    var offset = 0
    let typeName = SQLType(type).description
    if type == .date {
      if value.int == DateTime.dateInfinity || value.int == DateTime.dateNegativeInfinity {
        return try infinite(unit, name, typeName, value.int > 0)
      }
      guard let exact = Int64(exactly: Int128(value.int) * Int128(Calendar.microsecondsPerDay)) else {
        // Beyond timestamps: only fields of the day.
        return try dayField(unit, name, typeName, Int(value.int))
      }
      if ["microseconds", "milliseconds", "second", "minute", "hour", "timezone", "timezone_hour", "timezone_minute"]
        .contains(unit)
      {
        throw unsupported(name, "date")
      }
      local = exact
    } else {
      if value.int == Int64.max || value.int == Int64.min { return try infinite(unit, name, typeName, value.int > 0) }
      if type == .timestamptz {
        offset = context.format.timeZone.offset(at: value.int)
        local = value.int + Int64(offset) * 1_000_000
      }
    }
    let (day, time) = Calendar.split(local)
    if type == .timestamptz {
      switch unit {
      case "timezone": return integer(Int64(offset))
      case "timezone_hour": return integer(Int64(offset / 3600))
      case "timezone_minute": return integer(Int64(offset / 60 % 60))
      default: break
      }
    }
    if unit == "epoch" {
      let epoch = Int128(type == .timestamptz ? value.int : local) + Int128(Calendar.unixEpochOffset) * 1_000_000
      if type == .date { return Numeric.make(epoch / 1_000_000, scale: 0, arena) }
      return Numeric.make(epoch, scale: 6, arena)
    }
    if unit == "julian" {
      if type == .date { return integer(Int64(day) + 2_451_545) }
      let fraction = NumericVariable.divide(
        NumericVariable(time), NumericVariable(Calendar.microsecondsPerDay), scale: 20)
      return Numeric.make(NumericVariable(Int64(day) + 2_451_545) + fraction, arena)
    }
    if let result = clockField(unit, time) { return result }
    return try dayField(unit, name, typeName, day)
  }

  static let known: Set<String> = [
    "microseconds", "milliseconds", "second", "minute", "hour", "day", "week", "month", "quarter", "year", "decade",
    "century",
    "millennium", "epoch", "julian", "dow", "isodow", "doy", "isoyear", "timezone", "timezone_hour", "timezone_minute",
  ]

  private static func clockField(_ unit: String, _ time: Int64) -> Value? {
    switch unit {
    case "microseconds": return integer(time % 60_000_000)
    case "milliseconds": return Value(mantissa: time % 60_000_000, scale: 3)
    case "second": return Value(mantissa: time % 60_000_000, scale: 6)
    case "minute": return integer(time / 60_000_000 % 60)
    case "hour": return integer(time / 3_600_000_000)
    default: return nil
    }
  }

  private static func dayField(_ unit: String, _ name: String, _ typeName: String, _ day: Int) throws(SQLError) -> Value
  {
    let date = Calendar.date(day)
    // Years before the first are numbered without a zero: 1 BC is -1.
    let year = date.year > 0 ? date.year : date.year - 1
    switch unit {
    case "day": return integer(Int64(date.day))
    case "month": return integer(Int64(date.month))
    case "quarter": return integer(Int64((date.month - 1) / 3 + 1))
    case "year": return integer(Int64(year))
    case "decade": return integer(Int64(date.year >= 0 ? date.year / 10 : -((8 - (date.year - 1)) / 10)))
    case "century": return integer(Int64(date.year > 0 ? (date.year + 99) / 100 : -((99 - (date.year - 1)) / 100)))
    case "millennium":
      return integer(Int64(date.year > 0 ? (date.year + 999) / 1000 : -((999 - (date.year - 1)) / 1000)))
    case "dow": return integer(Int64(Calendar.weekday(day)))
    case "isodow": return integer(Int64((Calendar.weekday(day) + 6) % 7 + 1))
    case "doy": return integer(Int64(day - Calendar.days(CivilDate(year: date.year, month: 1, day: 1)) + 1))
    case "week": return integer(Int64(isoWeek(day).week))
    case "isoyear":
      let iso = isoWeek(day).year
      return integer(Int64(iso > 0 ? iso : iso - 1))
    default: throw known.contains(unit) ? unsupported(name, typeName) : unknown(name, typeName)
    }
  }

  /// ISO 8601: the week that holds the year's first Thursday is week 1.
  static func isoWeek(_ day: Int) -> (year: Int, week: Int) {
    let thursday = day - (Calendar.weekday(day) + 6) % 7 + 3
    let year = Calendar.date(thursday).year
    let first = Calendar.days(CivilDate(year: year, month: 1, day: 1))
    return (year, (thursday - first) / 7 + 1)
  }

  private static func infinite(_ unit: String, _ name: String, _ typeName: String, _ isPositive: Bool) throws(SQLError)
    -> Value
  {
    switch unit {
    case "epoch", "year", "decade", "century", "millennium", "julian", "isoyear":
      return isPositive ? .numericInfinity : .numericNegativeInfinity
    case _ where known.contains(unit): return .null
    default: throw unknown(name, typeName)
    }
  }

  private static func extract(_ unit: String, _ name: String, _ i: Interval, _ arena: Arena) throws(SQLError) -> Value {
    switch unit {
    case "microseconds": return integer(i.microseconds % 60_000_000)
    case "milliseconds": return Value(mantissa: i.microseconds % 60_000_000, scale: 3)
    case "second": return Value(mantissa: i.microseconds % 60_000_000, scale: 6)
    case "minute": return integer(i.microseconds / 60_000_000 % 60)
    case "hour": return integer(i.microseconds / 3_600_000_000)
    case "day": return integer(Int64(i.days))
    case "month": return integer(Int64(i.months % 12))
    case "quarter": return integer(Int64(i.months % 12 / 3 + 1))
    case "year": return integer(Int64(i.months / 12))
    case "decade": return integer(Int64(i.months / 120))
    case "century": return integer(Int64(i.months / 1200))
    case "millennium": return integer(Int64(i.months / 12_000))
    case "epoch":
      // A year counts 365.25 days, a month 30.
      let days = Int128(i.months / 12) * 1461 * 21_600 + Int128(i.months % 12) * 30 * 86_400 + Int128(i.days) * 86_400
      return Numeric.make(days * 1_000_000 + Int128(i.microseconds), scale: 6, arena)
    default: throw known.contains(unit) ? unsupported(name, "interval") : unknown(name, "interval")
    }
  }

  // MARK: Truncation

  static func truncate(_ field: Value, _ timestamp: Int64, _ typeName: String) throws(SQLError) -> Int64 {
    if timestamp == Int64.max || timestamp == Int64.min { return timestamp }
    let name = field.string
    let (day, time) = Calendar.split(timestamp)
    var date = Calendar.date(day)
    func midnight(_ date: CivilDate) throws(SQLError) -> Int64 {
      try DateArithmetic.timestamp(ofDay: Int64(Calendar.days(date)))
    }
    switch unit(name) {
    case "microseconds": return timestamp
    case "milliseconds": return timestamp - (time % 1000)
    case "second": return timestamp - time % 1_000_000
    case "minute": return timestamp - time % 60_000_000
    case "hour": return timestamp - time % 3_600_000_000
    case "day": return timestamp - time
    case "week":
      return try DateArithmetic.timestamp(ofDay: Int64(day - (Calendar.weekday(day) + 6) % 7))
    case "month": break
    case "quarter": date.month = (date.month - 1) / 3 * 3 + 1
    case "year": date.month = 1
    case "decade":
      date.year = date.year >= 0 ? date.year / 10 * 10 : -((9 - date.year) / 10) * 10
      date.month = 1
    case "century":
      date.year = date.year > 0 ? (date.year + 99) / 100 * 100 - 99 : -((99 - (date.year - 1)) / 100) * 100 + 1
      date.month = 1
    case "millennium":
      date.year = date.year > 0 ? (date.year + 999) / 1000 * 1000 - 999 : -((999 - (date.year - 1)) / 1000) * 1000 + 1
      date.month = 1
    default: throw known.contains(unit(name)) ? unsupported(name, typeName) : unknown(name, typeName)
    }
    date.day = 1
    return try midnight(date)
  }

  static func truncate(_ field: Value, _ instant: Int64, _ zone: TimeZone) throws(SQLError) -> Value {
    if instant == Int64.max || instant == Int64.min { return Value(instant) }
    let local = try truncate(field, DateTime.local(instant, zone), "timestamp with time zone")
    // Below a day the offset of the instant itself holds: an hour that comes twice stays in its half.
    switch unit(field.string) {
    case "microseconds", "milliseconds", "second", "minute", "hour":
      return Value(local - Int64(zone.offset(at: instant)) * 1_000_000)
    default: return Value(zone.instant(ofLocal: local))
    }
  }

  static func truncate(_ field: Value, _ interval: Interval) throws(SQLError) -> Interval {
    let name = field.string
    var i = interval
    func cutTime(_ unit: Int64) { i.microseconds -= i.microseconds % unit }
    func cutMonths(_ n: Int32) {
      i.months -= i.months % n
      i.days = 0
      i.microseconds = 0
    }
    switch unit(name) {
    case "microseconds": break
    case "milliseconds": cutTime(1000)
    case "second": cutTime(1_000_000)
    case "minute": cutTime(60_000_000)
    case "hour": cutTime(3_600_000_000)
    case "day": i.microseconds = 0
    case "month": cutMonths(1)
    case "quarter": cutMonths(3)
    case "year": cutMonths(12)
    case "decade": cutMonths(120)
    case "century": cutMonths(1200)
    case "millennium": cutMonths(12_000)
    default: throw known.contains(unit(name)) ? unsupported(name, "interval") : unknown(name, "interval")
    }
    return i
  }
}
