// Dates, times and timestamps as text (DateStyle ISO), and the conversions between them.
// Input follows PostgreSQL's rules for free-form dates; the reader of fields is in `DateTimeParser.swift`.

package enum DateTime {
  package static let infinity = Int64.max
  package static let negativeInfinity = Int64.min
  /// A date's infinities as they lie in its 32 bits.
  package static let dateInfinity = Int64(Int32.max)
  package static let dateNegativeInfinity = Int64(Int32.min)

  static func outOfRange(_ what: String, _ text: Bytes) -> SQLError {
    SQLError(.datetimeOverflow, "\(what) out of range: \"\(text.string)\"")
  }

  // MARK: Input

  /// `YYYY-MM-DD`, and with a time `YYYY-MM-DD HH:MM:SS[.ffffff]`, in exactly this form: what programs send. Nil for
  /// everything else, which the general reader takes.
  private static func plain(_ text: Bytes, withTime: Bool) -> (day: Int64, time: Int64)? {
    func two(_ at: Int) -> Int? {
      let (a, b) = (text[at] &- 48, text[at + 1] &- 48)
      return a < 10 && b < 10 ? Int(a) * 10 + Int(b) : nil
    }
    guard text.count == 10 || (withTime && text.count >= 19 && text.count <= 26), text[4] == 45, text[7] == 45,
      let century = two(0), let years = two(2), let month = two(5), let day = two(8), month >= 1, month <= 12, day >= 1
    else { return nil }
    let year = century * 100 + years
    guard year > 0, day <= Calendar.daysInMonth(year, month) else { return nil }
    let days = Int64(Calendar.days(CivilDate(year: year, month: month, day: day)))
    if text.count == 10 { return (days, 0) }
    guard text[10] == 32 || text[10] == 84, text[13] == 58, text[16] == 58, let hour = two(11), let minute = two(14),
      let second = two(17), hour < 24, minute < 60, second < 60
    else { return nil }
    var micros = 0
    if text.count > 19 {
      guard text[19] == 46, text.count > 20 else { return nil }
      for at in 20..<26 {
        let digit = at < text.count ? text[at] &- 48 : 0
        guard digit < 10 else { return nil }
        micros = micros * 10 + Int(digit)
      }
    }
    return (days, Int64(hour * 3600 + minute * 60 + second) * 1_000_000 + Int64(micros))
  }

  static func parseDate(_ text: Bytes, _ format: TextFormat) throws(SQLError) -> Int64 {
    if let (day, _) = plain(text, withTime: false) { return day }
    var parser = DateTimeParser(text, "date", format)
    let fields = try parser.parse()
    switch fields.special {
    case .infinity?: return dateInfinity
    case .negativeInfinity?: return dateNegativeInfinity
    case .epoch?: return -10_957
    case .now?: return Int64(Calendar.split(local(format.now, format.timeZone)).day)
    case .day(let offset)?: return Int64(Calendar.split(local(format.now, format.timeZone)).day + offset)
    case nil: break
    }
    let day = try parser.day(fields)
    guard day >= Calendar.minimumDay, day < Calendar.endDay else { throw outOfRange("date", text) }
    return Int64(day)
  }

  static func parseTime(_ text: Bytes, _ format: TextFormat) throws(SQLError) -> Int64 {
    var parser = DateTimeParser(text, "time", format)
    let fields = try parser.parse()
    if fields.special == .now { return Calendar.split(local(format.now, format.timeZone)).time }
    guard let time = fields.time, fields.special == nil else { throw parser.invalid() }
    return time
  }

  static func parseTimestamp(_ text: Bytes, withZone: Bool, _ format: TextFormat) throws(SQLError) -> Int64 {
    if let (day, time) = plain(text, withTime: true) {
      let local = day * Calendar.microsecondsPerDay + time
      return withZone ? format.timeZone.instant(ofLocal: local) : local
    }
    var parser = DateTimeParser(text, withZone ? "timestamp with time zone" : "timestamp", format)
    let fields = try parser.parse()
    switch fields.special {
    case .infinity?: return infinity
    case .negativeInfinity?: return negativeInfinity
    case .epoch?: return -Calendar.unixEpochOffset * 1_000_000
    case .now?: return withZone ? format.now : local(format.now, format.timeZone)
    case .day(let offset)?:
      let day = Int64(Calendar.split(local(format.now, format.timeZone)).day + offset)
      let midnight = day * Calendar.microsecondsPerDay + (fields.time ?? 0)
      return withZone ? (fields.zone ?? format.timeZone).instant(ofLocal: midnight) : midnight
    case nil: break
    }
    let day = try parser.day(fields)
    guard day >= Calendar.minimumDay - 2, day <= 106_751_991 else { throw outOfRange("timestamp", text) }
    let (scaled, o1) = Int64(day).multipliedReportingOverflow(by: Calendar.microsecondsPerDay)
    let (sum, o2) = scaled.addingReportingOverflow(fields.time ?? 0)
    guard !o1, !o2 else { throw outOfRange("timestamp", text) }
    var result = sum
    if withZone { result = (fields.zone ?? format.timeZone).instant(ofLocal: sum) }
    guard isInRange(result) else { throw outOfRange("timestamp", text) }
    return result
  }

  @inlinable package static func isInRange(_ timestamp: Int64) -> Bool {
    timestamp >= Calendar.minimumTimestamp && timestamp < Calendar.endTimestamp
  }

  /// What clocks in `zone` show at an instant.
  package static func local(_ instant: Int64, _ zone: TimeZone) -> Int64 {
    if instant == infinity || instant == negativeInfinity { return instant }
    return instant &+ Int64(zone.offset(at: instant)) &* 1_000_000
  }

  /// Rounds to `digits` decimals of a second.
  package static func round(_ microseconds: Int64, digits: Int) -> Int64 {
    guard digits >= 0, digits < 6 else { return microseconds }
    let unit = Numeric.powers64[6 - digits]
    let half = unit / 2
    let (sum, overflow) = microseconds.addingReportingOverflow(microseconds >= 0 ? half : -half)
    return overflow ? microseconds : sum / unit * unit
  }

  // MARK: Output

  static func writeDate(_ day: Int64, _ format: TextFormat, into buffer: inout ByteBuffer) {
    if day == dateInfinity || day == dateNegativeInfinity {
      buffer.append(day == dateInfinity ? "infinity" as StaticString : "-infinity" as StaticString)
      return
    }
    let date = Calendar.date(Int(day))
    writeCivil(date, into: &buffer)
    if date.year <= 0 { buffer.append(" BC" as StaticString) }
  }

  private static func writeCivil(_ date: CivilDate, into buffer: inout ByteBuffer) {
    let year = date.year > 0 ? date.year : 1 - date.year
    buffer.append(decimal: UInt64(year), minimumDigits: 4)
    buffer.append(UInt8(ascii: "-"))
    buffer.append(decimal: UInt64(date.month), minimumDigits: 2)
    buffer.append(UInt8(ascii: "-"))
    buffer.append(decimal: UInt64(date.day), minimumDigits: 2)
  }

  static func writeTime(_ time: Int64, into buffer: inout ByteBuffer) {
    // A time is not negative; one from damaged bytes may be, and must not trap.
    let seconds = time.magnitude / 1_000_000
    buffer.append(decimal: UInt64(seconds / 3600), minimumDigits: 2)
    buffer.append(UInt8(ascii: ":"))
    buffer.append(decimal: UInt64(seconds / 60 % 60), minimumDigits: 2)
    buffer.append(UInt8(ascii: ":"))
    buffer.append(decimal: UInt64(seconds % 60), minimumDigits: 2)
    writeFraction(time % 1_000_000, into: &buffer)
  }

  static func writeFraction(_ microseconds: Int64, into buffer: inout ByteBuffer) {
    guard microseconds != 0 else { return }
    buffer.append(UInt8(ascii: "."))
    let start = buffer.count
    buffer.append(decimal: microseconds.magnitude, minimumDigits: 6)
    var end = buffer.count
    while end > start, buffer[end - 1] == 48 { end -= 1 }
    buffer.truncate(to: end)
  }

  static func writeTimestamp(_ timestamp: Int64, zone: TimeZone?, _ format: TextFormat, into buffer: inout ByteBuffer) {
    if timestamp == infinity || timestamp == negativeInfinity {
      buffer.append(timestamp == infinity ? "infinity" as StaticString : "-infinity" as StaticString)
      return
    }
    let offset = zone?.offset(at: timestamp) ?? 0
    let (day, time) = Calendar.split(timestamp &+ Int64(offset) &* 1_000_000)
    let date = Calendar.date(day)
    writeCivil(date, into: &buffer)
    buffer.append(UInt8(ascii: " "))
    writeTime(time, into: &buffer)
    if zone != nil { writeOffset(offset, into: &buffer) }
    if date.year <= 0 { buffer.append(" BC" as StaticString) }
  }

  /// +02, -03:30, +00:19:32
  static func writeOffset(_ offset: Int, into buffer: inout ByteBuffer) {
    buffer.append(offset < 0 ? UInt8(ascii: "-") : UInt8(ascii: "+"))
    let magnitude = abs(offset)
    buffer.append(decimal: UInt64(magnitude / 3600), minimumDigits: 2)
    if magnitude % 3600 != 0 {
      buffer.append(UInt8(ascii: ":"))
      buffer.append(decimal: UInt64(magnitude / 60 % 60), minimumDigits: 2)
      if magnitude % 60 != 0 {
        buffer.append(UInt8(ascii: ":"))
        buffer.append(decimal: UInt64(magnitude % 60), minimumDigits: 2)
      }
    }
  }
}
