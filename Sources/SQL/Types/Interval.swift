// Intervals: months, days and microseconds kept apart, since months and days differ in length.
// As a value: 16 bytes, microseconds Int64, days Int32, months Int32, little-endian.

package struct Interval: Hashable, Sendable {
  package var months: Int32
  package var days: Int32
  package var microseconds: Int64

  package init(months: Int32 = 0, days: Int32 = 0, microseconds: Int64 = 0) {
    self.months = months
    self.days = days
    self.microseconds = microseconds
  }

  package init(_ value: Value) {
    let bytes = value.bytes
    guard bytes.count == 16 else {
      self.init()
      return
    }
    self.init(
      months: bytes.load(12, as: Int32.self), days: bytes.load(8, as: Int32.self),
      microseconds: bytes.load(0, as: Int64.self))
  }

  package func value(_ arena: Arena) -> Value {
    var buffer = ByteBuffer(capacity: 16)
    buffer.append(little: microseconds)
    buffer.append(little: days)
    buffer.append(little: months)
    return Value(buffer.copied(into: arena))
  }

  static func overflow() -> SQLError { SQLError(.datetimeOverflow, "interval out of range") }

  /// The length in microseconds with months of 30 days: what comparison is by.
  package var comparable: Int128 {
    (Int128(months) * 30 + Int128(days)) * Int128(Calendar.microsecondsPerDay) + Int128(microseconds)
  }

  package func negated() throws(SQLError) -> Interval {
    guard months != Int32.min, days != Int32.min, microseconds != Int64.min else { throw Interval.overflow() }
    return Interval(months: -months, days: -days, microseconds: -microseconds)
  }

  package static func add(_ a: Interval, _ b: Interval) throws(SQLError) -> Interval {
    let (m, o1) = a.months.addingReportingOverflow(b.months)
    let (d, o2) = a.days.addingReportingOverflow(b.days)
    let (u, o3) = a.microseconds.addingReportingOverflow(b.microseconds)
    guard !o1, !o2, !o3 else { throw overflow() }
    return Interval(months: m, days: d, microseconds: u)
  }

  /// This interval times a factor; fractions of months go to days, of days to microseconds.
  package func multiplied(by factor: Double) throws(SQLError) -> Interval {
    let m = Double(months) * factor
    let d = Double(days) * factor
    guard m.isFinite, d.isFinite, abs(m) < 2_147_483_648, abs(d) < 2_147_483_648 else { throw Interval.overflow() }
    let wholeMonths = m.rounded(.towardZero)
    let wholeDays = d.rounded(.towardZero)
    func settle(_ x: Double) -> Double { (x * 1e6).rounded() / 1e6 }
    var fractionDays = settle((m - wholeMonths) * 30)
    var seconds = settle((d - wholeDays + fractionDays - fractionDays.rounded(.towardZero)) * 86_400)
    var extraDays = fractionDays.rounded(.towardZero)
    if abs(seconds) >= 86_400 {
      let carried = (seconds / 86_400).rounded(.towardZero)
      extraDays += carried
      seconds -= carried * 86_400
    }
    fractionDays = 0
    let total = (Double(microseconds) * factor + seconds * 1e6).rounded(.toNearestOrEven)
    guard abs(total) < 9.2233720368547e18, abs(wholeDays + extraDays) < 2_147_483_648 else { throw Interval.overflow() }
    return Interval(
      months: Int32(wholeMonths), days: Int32(wholeDays + extraDays), microseconds: Int64(total))
  }

  /// Rounds to the modifier's digits.
  func applying(modifier: Int32) -> Interval {
    guard modifier >= 0 else { return self }
    var result = self
    let digits = Int(modifier & 0xffff)
    if digits < 6 { result.microseconds = DateTime.round(microseconds, digits: digits) }
    let range = Int(modifier >> 16) & 0x7fff
    if range != 0x7fff { result.keep(range) }
    return result
  }

  /// Bits of the modifier's field mask.
  enum Field {
    static let month = 1 << 1, year = 1 << 2, day = 1 << 3, hour = 1 << 10, minute = 1 << 11, second = 1 << 12
  }

  /// The fields that a type such as `INTERVAL DAY TO SECOND` has, and its name for them.
  private static let masks: [(fields: Syntax.IntervalFields, mask: Int)] = [
    (.year, Field.year), (.month, Field.month), (.day, Field.day), (.hour, Field.hour), (.minute, Field.minute),
    (.second, Field.second), (.yearToMonth, Field.year | Field.month), (.dayToHour, Field.day | Field.hour),
    (.dayToMinute, Field.day | Field.hour | Field.minute),
    (.dayToSecond, Field.day | Field.hour | Field.minute | Field.second), (.hourToMinute, Field.hour | Field.minute),
    (.hourToSecond, Field.hour | Field.minute | Field.second), (.minuteToSecond, Field.minute | Field.second),
  ]
  static func mask(_ fields: Syntax.IntervalFields) -> Int { masks.first { $0.fields == fields }?.mask ?? 0x7fff }
  static func fieldsName(_ mask: Int) -> String? { masks.first { $0.mask == mask }?.fields.rawValue }

  private mutating func keep(_ range: Int) {
    let lowest = Interval.lowestField(range)
    switch lowest {
    case Field.year:
      months = months / 12 * 12
      days = 0
      microseconds = 0
    case Field.month:
      days = 0
      microseconds = 0
    case Field.day: microseconds = 0
    case Field.hour: microseconds = microseconds / Calendar.microsecondsPerHour * Calendar.microsecondsPerHour
    case Field.minute: microseconds = microseconds / Calendar.microsecondsPerMinute * Calendar.microsecondsPerMinute
    default: break
    }
  }
  static func lowestField(_ range: Int) -> Int {
    for field in [Field.second, Field.minute, Field.hour, Field.day, Field.month, Field.year] where range & field != 0 {
      return field
    }
    return Field.second
  }

  // MARK: Output

  package func write(into buffer: inout ByteBuffer, _ style: TextFormat.IntervalStyle) {
    if style == .iso8601 {
      writeISO(into: &buffer)
      return
    }
    var wroteAny = false
    var negativeBefore = false
    func part(_ value: Int, _ unit: StaticString, _ buffer: inout ByteBuffer) {
      guard value != 0 else { return }
      if wroteAny { buffer.append(UInt8(ascii: " ")) }
      if negativeBefore, value > 0 { buffer.append(UInt8(ascii: "+")) }
      buffer.append(decimal: Int64(value))
      buffer.append(UInt8(ascii: " "))
      buffer.append(unit)
      if value != 1 { buffer.append(UInt8(ascii: "s")) }
      negativeBefore = value < 0
      wroteAny = true
    }
    part(Int(months) / 12, "year", &buffer)
    part(Int(months) % 12, "mon", &buffer)
    part(Int(days), "day", &buffer)
    guard microseconds != 0 || !wroteAny else { return }
    if wroteAny { buffer.append(UInt8(ascii: " ")) }
    if microseconds < 0 {
      buffer.append(UInt8(ascii: "-"))
    } else if negativeBefore {
      buffer.append(UInt8(ascii: "+"))
    }
    let magnitude = microseconds.magnitude
    buffer.append(decimal: magnitude / 3_600_000_000, minimumDigits: 2)
    buffer.append(UInt8(ascii: ":"))
    buffer.append(decimal: magnitude / 60_000_000 % 60, minimumDigits: 2)
    buffer.append(UInt8(ascii: ":"))
    buffer.append(decimal: magnitude / 1_000_000 % 60, minimumDigits: 2)
    DateTime.writeFraction(Int64(magnitude % 1_000_000), into: &buffer)
  }

  private func writeISO(into buffer: inout ByteBuffer) {
    buffer.append(UInt8(ascii: "P"))
    func part(_ value: Int64, _ unit: StaticString, _ buffer: inout ByteBuffer) {
      guard value != 0 else { return }
      buffer.append(decimal: value)
      buffer.append(unit)
    }
    part(Int64(months / 12), "Y", &buffer)
    part(Int64(months % 12), "M", &buffer)
    part(Int64(days), "D", &buffer)
    if microseconds == 0 {
      if months == 0, days == 0 { buffer.append("T0S" as StaticString) }
      return
    }
    buffer.append(UInt8(ascii: "T"))
    part(microseconds / 3_600_000_000, "H", &buffer)
    part(microseconds / 60_000_000 % 60, "M", &buffer)
    let rest = microseconds % 60_000_000
    if rest != 0 {
      if rest < 0 { buffer.append(UInt8(ascii: "-")) }
      buffer.append(decimal: rest.magnitude / 1_000_000)
      DateTime.writeFraction(rest % 1_000_000, into: &buffer)
      buffer.append(UInt8(ascii: "S"))
    }
  }
}
