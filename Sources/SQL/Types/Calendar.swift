// The proleptic Gregorian calendar over days since 2000-01-01, years astronomical (1 BC is year 0).

/// A date in its fields.
package struct CivilDate: Hashable, Sendable {
  package var year: Int
  package var month: Int
  package var day: Int
  package init(year: Int, month: Int, day: Int) {
    self.year = year
    self.month = month
    self.day = day
  }
}

package enum Calendar {
  package static let microsecondsPerDay: Int64 = 86_400_000_000
  package static let microsecondsPerHour: Int64 = 3_600_000_000
  package static let microsecondsPerMinute: Int64 = 60_000_000
  package static let microsecondsPerSecond: Int64 = 1_000_000
  /// Seconds from 1970-01-01 to 2000-01-01.
  package static let unixEpochOffset: Int64 = 946_684_800
  /// 4714-11-24 BC and the day after 5874897-12-31.
  package static let minimumDay: Int64 = -2_451_545
  package static let endDay: Int64 = 2_145_031_949
  /// 4714-11-24 BC and 294277-01-01, the first that is out of range.
  package static let minimumTimestamp: Int64 = -211_813_488_000_000_000
  package static let endTimestamp: Int64 = 9_223_371_331_200_000_000

  /// Days since 2000-01-01; Howard Hinnant's days_from_civil, moved by 10,957 days.
  package static func days(_ date: CivilDate) -> Int {
    let year = date.month <= 2 ? date.year - 1 : date.year
    let era = (year >= 0 ? year : year - 399) / 400
    let yearOfEra = year - era * 400
    let dayOfYear = (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468 - 10_957
  }

  package static func date(_ days: Int) -> CivilDate {
    let z = days + 10_957 + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return CivilDate(year: year, month: month, day: dayOfYear - (153 * shifted + 2) / 5 + 1)
  }

  package static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  package static func daysInMonth(_ year: Int, _ month: Int) -> Int {
    switch month {
    case 2: return isLeap(year) ? 29 : 28
    case 4, 6, 9, 11: return 30
    default: return 31
    }
  }

  /// 0 = Sunday.
  package static func weekday(_ days: Int) -> Int {
    let r = (days + 6) % 7
    return r < 0 ? r + 7 : r
  }

  /// The day and the microseconds within it.
  @inlinable package static func split(_ timestamp: Int64) -> (day: Int, time: Int64) {
    var day = timestamp / 86_400_000_000
    var time = timestamp % 86_400_000_000
    if time < 0 {
      time += 86_400_000_000
      day -= 1
    }
    return (Int(day), time)
  }
}
