// Operators and functions of dates, times and intervals.

extension FunctionRegistry {
  mutating func addDateTime() {
    addDateOperators()
    addTimestampOperators()
    addIntervalOperators()
    addClocks()
    addConstruction()
    addOverlaps()
  }

  private mutating func both(
    _ name: String, _ left: TypeID, _ right: TypeID, _ result: TypeID, _ volatility: Volatility = .immutable,
    _ body: @escaping @Sendable (Value, Value, inout EvaluationContext) throws(SQLError) -> Value
  ) {
    infix(name, left, right, result, volatility, commutator: name) { (a, c) throws(SQLError) in try body(a[0], a[1], &c)
    }
    infix(name, right, left, result, volatility, commutator: name) { (a, c) throws(SQLError) in try body(a[1], a[0], &c)
    }
  }

  private mutating func addDateOperators() {
    both("+", .date, .int4, .date) { (d, n, _) throws(SQLError) in try DateTimeFunctions.addDays(d.int, n.int) }
    infix("-", .date, .int4, .date) { (a, _) throws(SQLError) in try DateTimeFunctions.addDays(a[0].int, -a[1].int) }
    infix("-", .date, .date, .int4) { (a, _) throws(SQLError) in
      for index in 0..<2 where a[index].int == DateTime.dateInfinity || a[index].int == DateTime.dateNegativeInfinity {
        throw SQLError(.datetimeOverflow, "cannot subtract infinite dates")
      }
      return Value(a[0].int - a[1].int)
    }
    both("+", .date, .time, .timestamp) { (d, t, _) throws(SQLError) in
      let midnight = try DateArithmetic.timestamp(ofDay: d.int)
      return Value(midnight == Int64.max || midnight == Int64.min ? midnight : midnight + t.int)
    }
    both("+", .date, .interval, .timestamp) { (d, i, _) throws(SQLError) in
      Value(try DateArithmetic.add(try DateArithmetic.timestamp(ofDay: d.int), Interval(i)))
    }
    infix("-", .date, .interval, .timestamp) { (a, _) throws(SQLError) in
      Value(try DateArithmetic.add(try DateArithmetic.timestamp(ofDay: a[0].int), try Interval(a[1]).negated()))
    }
    both("+", .time, .interval, .time) { (t, i, _) throws(SQLError) in
      Value(Calendar.split(t.int &+ Interval(i).microseconds).time)
    }
    infix("-", .time, .interval, .time) { (a, _) throws(SQLError) in
      Value(Calendar.split(a[0].int &- Interval(a[1]).microseconds).time)
    }
    infix("-", .time, .time, .interval) { (a, c) throws(SQLError) in
      Interval(microseconds: a[0].int - a[1].int).value(c.arena)
    }
  }

  private mutating func addTimestampOperators() {
    both("+", .timestamp, .interval, .timestamp) { (t, i, _) throws(SQLError) in
      Value(try DateArithmetic.add(t.int, Interval(i)))
    }
    both("+", .timestamptz, .interval, .timestamptz, .stable) { (t, i, c) throws(SQLError) in
      Value(try DateArithmetic.add(t.int, Interval(i), c.format.timeZone))
    }
    infix("-", .timestamp, .interval, .timestamp) { (a, _) throws(SQLError) in
      Value(try DateArithmetic.add(a[0].int, try Interval(a[1]).negated()))
    }
    infix("-", .timestamptz, .interval, .timestamptz, .stable) { (a, c) throws(SQLError) in
      Value(try DateArithmetic.add(a[0].int, try Interval(a[1]).negated(), c.format.timeZone))
    }
    for type in [TypeID.timestamp, .timestamptz] {
      infix("-", type, type, .interval) { (a, c) throws(SQLError) in
        try DateArithmetic.difference(a[0].int, a[1].int).value(c.arena)
      }
      scalar("isfinite", [type], .bool) { (a, _) throws(SQLError) in Value(DateTime.isInRange(a[0].int)) }
    }
    scalar("isfinite", [.date], .bool) { (a, _) throws(SQLError) in
      Value(a[0].int != DateTime.dateInfinity && a[0].int != DateTime.dateNegativeInfinity)
    }
    scalar("isfinite", [.interval], .bool) { (_, _) throws(SQLError) in Value(true) }
    scalar("age", [.timestamp, .timestamp], .interval) { (a, c) throws(SQLError) in
      try DateArithmetic.age(a[0].int, a[1].int).value(c.arena)
    }
    scalar("age", [.timestamptz, .timestamptz], .interval, .stable) { (a, c) throws(SQLError) in
      let zone = c.format.timeZone
      return try DateArithmetic.age(DateTime.local(a[0].int, zone), DateTime.local(a[1].int, zone)).value(c.arena)
    }
    scalar("age", [.timestamp], .interval, .stable) { (a, c) throws(SQLError) in
      let today =
        Int64(Calendar.split(DateTime.local(c.format.now, c.format.timeZone)).day) * Calendar.microsecondsPerDay
      return try DateArithmetic.age(today, a[0].int).value(c.arena)
    }
    scalar("age", [.timestamptz], .interval, .stable) { (a, c) throws(SQLError) in
      let zone = c.format.timeZone
      let today = Int64(Calendar.split(DateTime.local(c.format.now, zone)).day) * Calendar.microsecondsPerDay
      return try DateArithmetic.age(today, DateTime.local(a[0].int, zone)).value(c.arena)
    }
    // x AT TIME ZONE z is timezone(z, x).
    scalar("timezone", [.text, .timestamp], .timestamptz) { (a, _) throws(SQLError) in
      if !DateTime.isInRange(a[1].int) { return a[1] }
      return Value(try DateTimeFunctions.inRange(try TimeZone.named(a[0].string).instant(ofLocal: a[1].int)))
    }
    scalar("timezone", [.text, .timestamptz], .timestamp) { (a, _) throws(SQLError) in
      let zone = try TimeZone.named(a[0].string)
      if !DateTime.isInRange(a[1].int) { return a[1] }
      return Value(try DateTimeFunctions.inRange(DateTime.local(a[1].int, zone)))
    }
    scalar("timezone", [.interval, .timestamp], .timestamptz) { (a, _) throws(SQLError) in
      try DateTimeFunctions.shift(a[1], by: try Interval(a[0]).negated(), zone: Interval(a[0]))
    }
    scalar("timezone", [.interval, .timestamptz], .timestamp) { (a, _) throws(SQLError) in
      try DateTimeFunctions.shift(a[1], by: Interval(a[0]), zone: Interval(a[0]))
    }
  }

  private mutating func addIntervalOperators() {
    infix("+", .interval, .interval, .interval, commutator: "+") { (a, c) throws(SQLError) in
      try Interval.add(Interval(a[0]), Interval(a[1])).value(c.arena)
    }
    infix("-", .interval, .interval, .interval) { (a, c) throws(SQLError) in
      try Interval.add(Interval(a[0]), try Interval(a[1]).negated()).value(c.arena)
    }
    prefix("-", .interval, .interval) { (a, c) throws(SQLError) in try Interval(a[0]).negated().value(c.arena) }
    both("*", .interval, .float8, .interval) { (i, x, c) throws(SQLError) in
      try Interval(i).multiplied(by: x.double).value(c.arena)
    }
    infix("/", .interval, .float8, .interval) { (a, c) throws(SQLError) in
      guard a[1].double != 0 else { throw SQLError(.divisionByZero, "division by zero") }
      return try Interval(a[0]).multiplied(by: 1 / a[1].double).value(c.arena)
    }
    scalar("justify_hours", [.interval], .interval) { (a, c) throws(SQLError) in
      try DateTimeFunctions.justifyHours(Interval(a[0])).value(c.arena)
    }
    scalar("justify_days", [.interval], .interval) { (a, c) throws(SQLError) in
      try DateTimeFunctions.justifyDays(Interval(a[0])).value(c.arena)
    }
    scalar("justify_interval", [.interval], .interval) { (a, c) throws(SQLError) in
      try DateTimeFunctions.justify(Interval(a[0])).value(c.arena)
    }
  }

  private mutating func addClocks() {
    for name in ["now", "transaction_timestamp"] {
      scalar(name, [], .timestamptz, .stable) { (_, c) throws(SQLError) in Value(c.format.now) }
    }
    scalar("statement_timestamp", [], .timestamptz, .stable) { (_, c) throws(SQLError) in Value(c.statementTime) }
    scalar("clock_timestamp", [], .timestamptz, .volatile) { (_, _) throws(SQLError) in Value(EvaluationContext.clock())
    }
    // CURRENT_DATE, LOCALTIMESTAMP and their like are bound to these.
    scalar("current_date", [], .date, .stable) { (_, c) throws(SQLError) in
      Value(Calendar.split(DateTime.local(c.format.now, c.format.timeZone)).day)
    }
    scalar("localtimestamp", [], .timestamp, .stable) { (_, c) throws(SQLError) in
      Value(DateTime.local(c.format.now, c.format.timeZone))
    }
    scalar("localtime", [], .time, .stable) { (_, c) throws(SQLError) in
      Value(Calendar.split(DateTime.local(c.format.now, c.format.timeZone)).time)
    }
    scalar("timeofday", [], .text, .volatile) { (_, c) throws(SQLError) in
      let now = EvaluationContext.clock()
      return Value(c.arena.copy(try TypeCodec.string(Value(now), .timestamptz, c.format)))
    }
  }

  /// (a, b) OVERLAPS (c, d), the second of a pair a time or a length.
  private mutating func addOverlaps() {
    for type in [TypeID.timestamp, .timestamptz, .time] {
      for first in [type, .interval] {
        for second in [type, .interval] {
          scalar(
            "overlaps", [type, first, type, second], .bool, type == .timestamptz ? .stable : .immutable, strict: false
          ) {
            (a, c) throws(SQLError) in
            func end(_ start: Value, _ end: Value, _ kind: TypeID) throws(SQLError) -> Value {
              if start.isNull || end.isNull || kind != .interval { return end }
              switch type {
              case .time: return Value(Calendar.split(start.int &+ Interval(end).microseconds).time)
              case .timestamp: return Value(try DateArithmetic.add(start.int, Interval(end)))
              default: return Value(try DateArithmetic.add(start.int, Interval(end), c.format.timeZone))
              }
            }
            return DateTimeFunctions.overlaps(a[0], try end(a[0], a[1], first), a[2], try end(a[2], a[3], second))
          }
        }
      }
    }
  }

  private mutating func addConstruction() {
    scalar("make_date", [.int4, .int4, .int4], .date) { (a, _) throws(SQLError) in
      Value(Int64(try DateTimeFunctions.civilDay(a[0].int, a[1].int, a[2].int)))
    }
    scalar("make_time", [.int4, .int4, .float8], .time) { (a, _) throws(SQLError) in
      Value(try DateTimeFunctions.clockTime(a[0].int, a[1].int, a[2].double))
    }
    scalar("make_timestamp", [.int4, .int4, .int4, .int4, .int4, .float8], .timestamp) { (a, _) throws(SQLError) in
      let day = Int64(try DateTimeFunctions.civilDay(a[0].int, a[1].int, a[2].int))
      let time = try DateTimeFunctions.clockTime(a[3].int, a[4].int, a[5].double)
      return Value(try DateTimeFunctions.inRange(try DateArithmetic.timestamp(ofDay: day) + time))
    }
    for hasZone in [false, true] {
      let fields: [TypeID] = [.int4, .int4, .int4, .int4, .int4, .float8]
      scalar("make_timestamptz", hasZone ? fields + [.text] : fields, .timestamptz, .stable) {
        (a, c) throws(SQLError) in
        let day = Int64(try DateTimeFunctions.civilDay(a[0].int, a[1].int, a[2].int))
        let local =
          try DateArithmetic.timestamp(ofDay: day) + (try DateTimeFunctions.clockTime(a[3].int, a[4].int, a[5].double))
        let zone = hasZone ? try TimeZone.named(a[6].string) : c.format.timeZone
        return Value(try DateTimeFunctions.inRange(zone.instant(ofLocal: local)))
      }
    }
    scalar(
      "make_interval", [.int4, .int4, .int4, .int4, .int4, .int4, .float8], .interval,
      defaults: [.int(0), .int(0), .int(0), .int(0), .int(0), .int(0), .double(0)]
    ) { (a, c) throws(SQLError) in
      guard let months = Int32(exactly: a[0].int * 12 + a[1].int), let days = Int32(exactly: a[2].int * 7 + a[3].int),
        abs(a[6].double) < 9e12
      else { throw Interval.overflow() }
      let micros =
        Int128(a[4].int) * 3_600_000_000 + Int128(a[5].int) * 60_000_000 + Int128((a[6].double * 1e6).rounded())
      guard let micros = Int64(exactly: micros) else { throw Interval.overflow() }
      return Interval(months: months, days: days, microseconds: micros).value(c.arena)
    }
    scalar("to_timestamp", [.float8], .timestamptz) { (a, _) throws(SQLError) in
      let seconds = a[0].double
      if seconds.isNaN { throw SQLError(.datetimeOverflow, "timestamp cannot be NaN") }
      if seconds.isInfinite { return Value(seconds > 0 ? Int64.max : Int64.min) }
      let micros = ((seconds - Double(Calendar.unixEpochOffset)) * 1e6).rounded()
      guard abs(micros) < 9.2e18, DateTime.isInRange(Int64(micros)) else {
        throw SQLError(.datetimeOverflow, "timestamp out of range: \"\(seconds)\"")
      }
      return Value(Int64(micros))
    }
  }
}

enum DateTimeFunctions {
  /// A timestamp moved by an offset from UTC that is given as an interval.
  static func shift(_ timestamp: Value, by offset: Interval, zone: Interval) throws(SQLError) -> Value {
    guard zone.months == 0, zone.days == 0 else {
      var text = ByteBuffer(capacity: 64)
      zone.write(into: &text, .postgres)
      throw SQLError(
        .invalidParameterValue, "interval time zone \"\(text.string)\" must not include months or days")
    }
    guard DateTime.isInRange(timestamp.int) else { return timestamp }
    let (moved, overflow) = timestamp.int.addingReportingOverflow(offset.microseconds)
    guard !overflow, DateTime.isInRange(moved) else { throw DateArithmetic.outOfRange() }
    return Value(moved)
  }

  /// The standard's OVERLAPS: periods include their starts, not their ends; a null bound may leave the answer open.
  static func overlaps(_ a: Value, _ b: Value, _ c: Value, _ d: Value) -> Value {
    func ordered(_ x: Value, _ y: Value) -> (Value, Value)? {
      if x.isNull { return y.isNull ? nil : (y, .null) }
      if y.isNull { return (x, .null) }
      return x.int > y.int ? (y, x) : (x, y)
    }
    guard let (start1, end1) = ordered(a, b), let (start2, end2) = ordered(c, d) else { return .null }
    if start1.int == start2.int { return end1.isNull || end2.isNull ? .null : Value(true) }
    let (laterStart, earlierEnd) = start1.int > start2.int ? (start1, end2) : (start2, end1)
    let otherEnd = start1.int > start2.int ? end1 : end2
    if earlierEnd.isNull { return .null }
    if laterStart.int < earlierEnd.int { return Value(true) }
    return otherEnd.isNull ? .null : Value(false)
  }

  static func inRange(_ timestamp: Int64) throws(SQLError) -> Int64 {
    guard DateTime.isInRange(timestamp) else { throw DateArithmetic.outOfRange() }
    return timestamp
  }

  static func addDays(_ day: Int64, _ n: Int64) throws(SQLError) -> Value {
    if day == DateTime.dateInfinity || day == DateTime.dateNegativeInfinity { return Value(day) }
    let sum = day + n
    guard sum >= Calendar.minimumDay, sum < Calendar.endDay else { throw DateArithmetic.outOfRange("date") }
    return Value(sum)
  }

  static func civilDay(_ year: Int64, _ month: Int64, _ day: Int64) throws(SQLError) -> Int {
    func bad() -> SQLError {
      SQLError(
        .datetimeOverflow,
        "date field value out of range: \(year)-\(month < 10 ? "0" : "")\(month)-\(day < 10 ? "0" : "")\(day)")
    }
    // Negative years count back from 1 BC.
    let astronomical = year < 0 ? year + 1 : year
    guard year != 0, abs(year) < 6_000_000, (1...12).contains(month), day >= 1,
      day <= Calendar.daysInMonth(Int(astronomical), Int(month))
    else { throw bad() }
    let result = Calendar.days(CivilDate(year: Int(astronomical), month: Int(month), day: Int(day)))
    guard result >= Calendar.minimumDay, result < Calendar.endDay else { throw bad() }
    return result
  }

  static func clockTime(_ hour: Int64, _ minute: Int64, _ second: Double) throws(SQLError) -> Int64 {
    guard hour >= 0, minute >= 0, minute < 60, second >= 0, second <= 60,
      hour < 24 || (hour == 24 && minute == 0 && second == 0)
    else {
      throw SQLError(
        .datetimeOverflow, "time field value out of range: \(hour):\(minute):\(second < 10 ? "0" : "")\(second)")
    }
    return hour * 3_600_000_000 + minute * 60_000_000 + Int64((second * 1e6).rounded())
  }

  static func justifyHours(_ i: Interval) throws(SQLError) -> Interval {
    var result = i
    let days = i.microseconds / Calendar.microsecondsPerDay
    result.microseconds -= days * Calendar.microsecondsPerDay
    guard let total = Int32(exactly: Int64(i.days) + days) else { throw Interval.overflow() }
    result.days = total
    if result.days > 0, result.microseconds < 0 {
      result.microseconds += Calendar.microsecondsPerDay
      result.days -= 1
    } else if result.days < 0, result.microseconds > 0 {
      result.microseconds -= Calendar.microsecondsPerDay
      result.days += 1
    }
    return result
  }

  static func justifyDays(_ i: Interval) throws(SQLError) -> Interval {
    var result = i
    let months = i.days / 30
    result.days -= months * 30
    let (total, overflow) = i.months.addingReportingOverflow(months)
    guard !overflow else { throw Interval.overflow() }
    result.months = total
    if result.months > 0, result.days < 0 {
      result.days += 30
      result.months -= 1
    } else if result.months < 0, result.days > 0 {
      result.days -= 30
      result.months += 1
    }
    return result
  }

  static func justify(_ i: Interval) throws(SQLError) -> Interval {
    var result = try justifyDays(try justifyHours(i))
    if result.months > 0, result.days < 0 || (result.days == 0 && result.microseconds < 0) {
      result.days += 30
      result.months -= 1
    } else if result.months < 0, result.days > 0 || (result.days == 0 && result.microseconds > 0) {
      result.days -= 30
      result.months += 1
    }
    if result.days > 0, result.microseconds < 0 {
      result.microseconds += Calendar.microsecondsPerDay
      result.days -= 1
    } else if result.days < 0, result.microseconds > 0 {
      result.microseconds -= Calendar.microsecondsPerDay
      result.days += 1
    }
    return result
  }
}
