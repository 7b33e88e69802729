// Arithmetic of dates, timestamps and intervals.

package enum DateArithmetic {
  static func outOfRange(_ what: String = "timestamp") -> SQLError {
    SQLError(.datetimeOverflow, "\(what) out of range")
  }

  /// Midnight of a day.
  static func timestamp(ofDay day: Int64) throws(SQLError) -> Int64 {
    if day == DateTime.dateInfinity { return Int64.max }
    if day == DateTime.dateNegativeInfinity { return Int64.min }
    let (result, overflow) = day.multipliedReportingOverflow(by: Calendar.microsecondsPerDay)
    guard !overflow, DateTime.isInRange(result) else {
      throw SQLError(.datetimeOverflow, "date out of range for timestamp")
    }
    return result
  }

  static func day(of timestamp: Int64) -> Int64 {
    if timestamp == Int64.max { return DateTime.dateInfinity }
    if timestamp == Int64.min { return DateTime.dateNegativeInfinity }
    return Int64(Calendar.split(timestamp).day)
  }

  /// date, timestamp and timestamptz on one scale, in 128 bits so that every date has a place.
  static func common(_ value: Int64, _ type: TypeID, withZone: Bool, _ zone: TimeZone) -> Int128 {
    if type == .timestamptz { return Int128(value) }
    var local = Int128(value)
    if type == .date {
      if value == DateTime.dateInfinity { return Int128(Int64.max) }
      if value == DateTime.dateNegativeInfinity { return Int128(Int64.min) }
      local = Int128(value) * Int128(Calendar.microsecondsPerDay)
    } else if value == Int64.max || value == Int64.min {
      return local
    }
    guard withZone, let narrow = Int64(exactly: local), DateTime.isInRange(narrow) else { return local }
    return Int128(zone.instant(ofLocal: narrow))
  }

  /// timestamp + interval: months (clamped to the month's end), then days, then the time.
  package static func add(_ timestamp: Int64, _ interval: Interval) throws(SQLError) -> Int64 {
    if timestamp == Int64.max || timestamp == Int64.min { return timestamp }
    var (day, time) = Calendar.split(timestamp)
    if interval.months != 0 {
      var date = Calendar.date(day)
      let months = date.year * 12 + date.month - 1 + Int(interval.months)
      date.year = months >= 0 ? months / 12 : -((11 - months) / 12)
      date.month = months - date.year * 12 + 1
      date.day = min(date.day, Calendar.daysInMonth(date.year, date.month))
      day = Calendar.days(date)
    }
    day += Int(interval.days)
    let total = Int128(day) * Int128(Calendar.microsecondsPerDay) + Int128(time) + Int128(interval.microseconds)
    time = 0
    guard let result = Int64(exactly: total), DateTime.isInRange(result) else { throw outOfRange() }
    return result
  }

  /// timestamptz + interval: months and days by the clocks of the zone, the time by the instant.
  static func add(_ instant: Int64, _ interval: Interval, _ zone: TimeZone) throws(SQLError) -> Int64 {
    if instant == Int64.max || instant == Int64.min { return instant }
    var moved = instant
    if interval.months != 0 || interval.days != 0 {
      let local = try add(
        DateTime.local(instant, zone), Interval(months: interval.months, days: interval.days, microseconds: 0))
      moved = zone.instant(ofLocal: local)
    }
    let (result, overflow) = moved.addingReportingOverflow(interval.microseconds)
    guard !overflow, DateTime.isInRange(result) else { throw outOfRange() }
    return result
  }

  /// a - b in days and time.
  static func difference(_ a: Int64, _ b: Int64) throws(SQLError) -> Interval {
    guard DateTime.isInRange(a), DateTime.isInRange(b) else {
      throw SQLError(.datetimeOverflow, "cannot subtract infinite timestamps")
    }
    let (difference, overflow) = a.subtractingReportingOverflow(b)
    guard !overflow else { throw Interval.overflow() }
    return Interval(
      days: Int32(difference / Calendar.microsecondsPerDay), microseconds: difference % Calendar.microsecondsPerDay)
  }

  /// age(a, b): years, months, days and time, as counted on a calendar.
  static func age(_ a: Int64, _ b: Int64) throws(SQLError) -> Interval {
    guard DateTime.isInRange(a), DateTime.isInRange(b) else { throw outOfRange() }
    let isNegative = a < b
    let (late, early) = isNegative ? (b, a) : (a, b)
    let (lateDay, lateTime) = Calendar.split(late)
    let (earlyDay, earlyTime) = Calendar.split(early)
    let (x, y) = (Calendar.date(lateDay), Calendar.date(earlyDay))
    var months = (x.year - y.year) * 12 + x.month - y.month
    var days = x.day - y.day
    var time = lateTime - earlyTime
    if time < 0 {
      time += Calendar.microsecondsPerDay
      days -= 1
    }
    if days < 0 {
      // The days of the month in which the earlier date lies.
      days += Calendar.daysInMonth(y.year, y.month)
      months -= 1
    }
    let result = Interval(months: Int32(months), days: Int32(days), microseconds: time)
    return isNegative ? try result.negated() : result
  }
}
