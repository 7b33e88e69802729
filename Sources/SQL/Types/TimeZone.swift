internal import Glibc
internal import Synchronization

// Time zones: UTC, fixed offsets, and the system's zone files (TZif, RFC 8536), read once per name.
//
// Of a file we use the 64-bit block (version 2 and later): transition times, the type that begins at each, and per type
// the offset, whether it is daylight time and its abbreviation; after the last transition the footer's POSIX rule.

/// A time zone.
package struct TimeZone: Sendable, Hashable {
  /// As the session set it: `UTC`, `Europe/Berlin`, `<+02>-02`.
  package let name: String
  /// Seconds east of UTC, when `rules` is nil.
  let fixedOffset: Int
  let rules: ZoneRules?

  package static let utc = TimeZone(name: "UTC", fixedOffset: 0, rules: nil)
  package static func == (a: TimeZone, b: TimeZone) -> Bool { a.name == b.name && a.fixedOffset == b.fixedOffset }
  package func hash(into hasher: inout Hasher) { hasher.combine(name) }

  /// A zone at `seconds` east of UTC.
  package static func fixed(_ seconds: Int) -> TimeZone {
    if seconds == 0 { return utc }
    let magnitude = abs(seconds)
    var text = magnitude / 3600 < 10 ? "0\(magnitude / 3600)" : "\(magnitude / 3600)"
    if magnitude % 3600 != 0 { text += ":\(magnitude / 60 % 60 < 10 ? "0" : "")\(magnitude / 60 % 60)" }
    return TimeZone(
      name: "<\(seconds < 0 ? "-" : "+")\(text)>\(seconds < 0 ? "+" : "-")\(text)", fixedOffset: seconds, rules: nil)
  }

  /// The zone that `SET TimeZone` or AT TIME ZONE names: a zone's name or abbreviation, in any case, or hours.
  ///
  /// - Throws: invalid_parameter_value (22023).
  package static func named(_ name: String) throws(SQLError) -> TimeZone {
    if let zone = find(name) { return zone }
    if let hours = Double(name), abs(hours) < 168 { return fixed(Int(hours * 3600)) }
    throw SQLError(.invalidParameterValue, "time zone \"\(name)\" not recognized")
  }

  static func find(_ name: String) -> TimeZone? {
    let lower = name.lowercased()
    if ["utc", "gmt", "z", "zulu", "ut", "universal"].contains(lower) {
      return TimeZone(name: lower == "gmt" ? "GMT" : "UTC", fixedOffset: 0, rules: nil)
    }
    if let seconds = abbreviations[lower] { return TimeZone(name: name.uppercased(), fixedOffset: seconds, rules: nil) }
    if let (canonical, rules) = ZoneRules.named(name) {
      return TimeZone(name: canonical, fixedOffset: 0, rules: rules)
    }
    // A fixed offset in POSIX's manner, west of Greenwich being positive: `UTC+3`, `<+02>-02`.
    guard let rule = PosixZone(name), rule.daylight == nil, abs(rule.standard.offset) < 168 * 3600 else { return nil }
    return TimeZone(name: name, fixedOffset: rule.standard.offset, rules: nil)
  }

  /// The abbreviations of PostgreSQL's default set that are in wide use; seconds east.
  static let abbreviations: [String: Int] = {
    let hours: [String: Double] = [
      "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "akst": -9, "akdt": -8,
      "hst": -10, "ast": -4, "adt": -3, "nst": -3.5, "ndt": -2.5, "cet": 1, "cest": 2, "met": 1, "mest": 2, "eet": 2,
      "eest": 3, "wet": 0, "west": 1, "bst": 1, "msk": 3, "msd": 4, "ist": 2, "jst": 9, "kst": 9, "hkt": 8, "sgt": 8,
      "aest": 10, "aedt": 11, "acst": 9.5, "acdt": 10.5, "awst": 8, "nzst": 12, "nzdt": 13, "brt": -3, "art": -3,
      "pkt": 5, "npt": 5.75, "ict": 7, "wib": 7, "wita": 8, "wit": 9,
    ]
    return hours.mapValues { Int($0 * 3600) }
  }()

  /// Seconds east of UTC at an instant (microseconds since 2000 UTC).
  package func offset(at timestamp: Int64) -> Int {
    guard let rules else { return fixedOffset }
    return rules.offset(at: floorSeconds(timestamp) + Calendar.unixEpochOffset).offset
  }

  /// The abbreviation in force at an instant.
  package func abbreviation(at timestamp: Int64) -> String {
    guard let rules else { return name }
    return rules.offset(at: floorSeconds(timestamp) + Calendar.unixEpochOffset).abbreviation
  }

  /// The instant at which clocks in this zone show `local`; in a gap the offset before it is used, in an overlap the one
  /// after, as PostgreSQL does.
  package func instant(ofLocal local: Int64) -> Int64 {
    guard let rules else { return local - Int64(fixedOffset) * 1_000_000 }
    let seconds = floorSeconds(local) + Calendar.unixEpochOffset
    // The offsets a day before and after bracket any one transition near the time.
    let before = rules.offset(at: seconds - 86_400).offset
    let after = rules.offset(at: seconds + 86_400).offset
    let chosen: Int
    if before == after {
      chosen = rules.offset(at: seconds - Int64(before)).offset
    } else {
      let withBefore = seconds - Int64(before)
      let withAfter = seconds - Int64(after)
      let beforeHolds = rules.offset(at: withBefore).offset == before
      let afterHolds = rules.offset(at: withAfter).offset == after
      if beforeHolds != afterHolds {
        chosen = beforeHolds ? before : after
      } else {
        chosen = withBefore > withAfter ? before : after
      }
    }
    return local - Int64(chosen) * 1_000_000
  }

  private func floorSeconds(_ timestamp: Int64) -> Int64 {
    timestamp >= 0 ? timestamp / 1_000_000 : -((999_999 - timestamp) / 1_000_000)
  }
}

/// The rules of a named zone. Immutable after it is read.
package final class ZoneRules: Sendable {
  struct LocalType: Sendable {
    let offset: Int
    let isDaylight: Bool
    let abbreviation: String
  }
  private let transitions: [Int64]
  private let typeAt: [UInt8]
  private let types: [LocalType]
  private let footer: PosixZone?

  private static let cache = Mutex<[String: (String, ZoneRules)?]>([:])
  private static let root = "/usr/share/zoneinfo/"

  static func named(_ name: String) -> (String, ZoneRules)? {
    guard name.utf8.count <= 64, !name.isEmpty else { return nil }
    let key = name.lowercased()
    if let known = cache.withLock({ $0[key] }) { return known }
    let found = read(name)
    // Names come from users: the cache is bounded.
    cache.withLock { if $0.count < 1024 { $0[key] = .some(found) } }
    return found
  }

  private static func read(_ name: String) -> (String, ZoneRules)? {
    // Letters, digits and a few marks only: never a path that leaves the folder.
    guard
      name.utf8.allSatisfy({
        TextScan.isLetter($0) || TextScan.isDigit($0) || $0 == 47 || $0 == 95 || $0 == 43 || $0 == 45
      }),
      !name.hasPrefix("/")
    else { return nil }
    for candidate in [name, canonicalCase(name)] {
      if let bytes = readFile(root + candidate), let rules = ZoneRules(bytes) { return (candidate, rules) }
    }
    return nil
  }

  /// `america/new_york` → `America/New_York`; short names such as `cet` in capitals.
  private static func canonicalCase(_ name: String) -> String {
    if !name.contains("/"), name.utf8.count <= 4 { return name.uppercased() }
    var result = ""
    var up = true
    for character in name.lowercased() {
      result += up ? character.uppercased() : String(character)
      up = character == "/" || character == "_" || character == "-"
    }
    return result
  }

  private static func readFile(_ path: String) -> [UInt8]? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    // The largest zone files have a few KiB.
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    var used = 0
    while used < bytes.count {
      let count = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe Glibc.read(descriptor, buffer.baseAddress! + used, buffer.count - used)
      }
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { break }
      used += count
    }
    return used > 44 && used < bytes.count ? Array(bytes.prefix(used)) : nil
  }

  private init?(_ bytes: [UInt8]) {
    func u32(_ at: Int) -> Int { at + 4 <= bytes.count ? bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) } : 0 }
    func i64(_ at: Int) -> Int64 {
      at + 8 <= bytes.count ? Int64(bitPattern: bytes[at..<at + 8].reduce(0) { $0 << 8 | UInt64($1) }) : 0
    }
    guard Array(bytes.prefix(4)) == Array("TZif".utf8), bytes[4] >= UInt8(ascii: "2") else { return nil }
    let first = [20, 24, 28, 32, 36, 40].map(u32)  // isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt
    let skip = 44 + first[3] * 5 + first[4] * 6 + first[5] + first[2] * 8 + first[1] + first[0]
    guard skip + 44 <= bytes.count else { return nil }
    let counts = [20, 24, 28, 32, 36, 40].map { u32(skip + $0) }
    let (timeCount, typeCount, charCount) = (counts[3], counts[4], counts[5])
    let times = skip + 44
    let indexes = times + timeCount * 8
    let typesAt = indexes + timeCount
    let names = typesAt + typeCount * 6
    let end = names + charCount + counts[2] * 12 + counts[1] + counts[0]
    guard typeCount > 0, typeCount <= 256, timeCount <= 10_000, end <= bytes.count else { return nil }
    transitions = (0..<timeCount).map { i64(times + 8 * $0) }
    typeAt = Array(bytes[indexes..<indexes + timeCount])
    guard typeAt.allSatisfy({ Int($0) < typeCount }) else { return nil }
    types = (0..<typeCount).map { index in
      let at = typesAt + 6 * index
      let nameStart = min(names + Int(bytes[at + 5]), names + charCount)
      let name = bytes[nameStart..<names + charCount].prefix { $0 != 0 }
      return LocalType(
        offset: Int(Int32(truncatingIfNeeded: u32(at))), isDaylight: bytes[at + 4] != 0,
        abbreviation: String(decoding: name, as: UTF8.self))
    }
    let text = String(decoding: bytes[end...].drop { $0 == 10 }.prefix { $0 != 10 }, as: UTF8.self)
    footer = PosixZone(text)
  }

  /// The offset in force at a Unix time.
  func offset(at seconds: Int64) -> LocalType {
    guard let last = transitions.last, seconds < last else {
      if let footer { return footer.type(at: seconds) }
      return types[typeAt.last.map { Int($0) } ?? 0]
    }
    var low = 0
    var high = transitions.count
    while low < high {
      let middle = (low + high) / 2
      if transitions[middle] <= seconds { low = middle + 1 } else { high = middle }
    }
    if low == 0 { return types.first { !$0.isDaylight } ?? types[0] }
    return types[Int(typeAt[low - 1])]
  }
}

/// A POSIX zone rule such as `CET-1CEST,M3.5.0,M10.5.0/3`.
struct PosixZone: Sendable {
  enum Day: Sendable {
    case julian(Int)  // Jn: 1…365, never 29 February
    case zeroBased(Int)
    case weekday(month: Int, week: Int, day: Int)
  }
  struct Rule: Sendable {
    let day: Day
    let seconds: Int
  }
  let standard: ZoneRules.LocalType
  let daylight: ZoneRules.LocalType?
  let start: Rule?
  let end: Rule?

  init?(_ text: String) {
    var scanner = Scanner(Array(text.utf8))
    guard let name = scanner.name(), let offset = scanner.offset() else { return nil }
    standard = ZoneRules.LocalType(offset: -offset, isDaylight: false, abbreviation: name)
    guard let summer = scanner.name() else {
      guard scanner.peek == nil else { return nil }
      daylight = nil
      start = nil
      end = nil
      return
    }
    let summerOffset = scanner.peek == UInt8(ascii: ",") ? offset - 3600 : (scanner.offset() ?? offset - 3600)
    daylight = ZoneRules.LocalType(offset: -summerOffset, isDaylight: true, abbreviation: summer)
    start = scanner.rule()
    end = scanner.rule()
    guard start != nil, end != nil else { return nil }
  }

  func type(at seconds: Int64) -> ZoneRules.LocalType {
    guard let daylight, let start, let end else { return standard }
    let local = seconds - Calendar.unixEpochOffset + Int64(standard.offset)
    let day = Int(local >= 0 ? local / 86_400 : -((86_399 - local) / 86_400))
    let year = Calendar.date(day).year
    let begin = instant(start, year) - Int64(standard.offset)
    let finish = instant(end, year) - Int64(daylight.offset)
    let moment = seconds - Calendar.unixEpochOffset
    let inSummer = begin < finish ? (moment >= begin && moment < finish) : !(moment >= finish && moment < begin)
    return inSummer ? daylight : standard
  }

  /// Local seconds since 2000-01-01 at which the rule strikes in `year`.
  private func instant(_ rule: Rule, _ year: Int) -> Int64 {
    let newYear = Calendar.days(CivilDate(year: year, month: 1, day: 1))
    let day: Int
    switch rule.day {
    case .julian(let n): day = newYear + n - 1 + (Calendar.isLeap(year) && n > 59 ? 1 : 0)
    case .zeroBased(let n): day = newYear + n
    case .weekday(let month, let week, let weekday):
      let first = Calendar.days(CivilDate(year: year, month: month, day: 1))
      var at = first + (weekday - Calendar.weekday(first) + 7) % 7 + (week - 1) * 7
      if at >= first + Calendar.daysInMonth(year, month) { at -= 7 }
      day = at
    }
    return Int64(day) * 86_400 + Int64(rule.seconds)
  }

  private struct Scanner {
    let bytes: [UInt8]
    var at = 0
    init(_ bytes: [UInt8]) { self.bytes = bytes }
    var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

    mutating func name() -> String? {
      let start = at
      if peek == UInt8(ascii: "<") {
        while let byte = peek, byte != UInt8(ascii: ">") { at += 1; _ = byte }
        at += 1
        return at <= bytes.count ? String(decoding: bytes[start + 1..<at - 1], as: UTF8.self) : nil
      }
      while let byte = peek, TextScan.isLetter(byte) { at += 1 }
      return at - start >= 3 ? String(decoding: bytes[start..<at], as: UTF8.self) : nil
    }
    mutating func number() -> Int? {
      let start = at
      var value = 0
      while let byte = peek, TextScan.isDigit(byte), value < 100_000 {
        value = value * 10 + Int(byte - 48)
        at += 1
      }
      return at == start ? nil : value
    }
    mutating func offset() -> Int? {
      var sign = 1
      if peek == 45 || peek == 43 {
        sign = peek == 45 ? -1 : 1
        at += 1
      }
      guard let hours = number() else { return nil }
      var total = hours * 3600
      if peek == 58 {
        at += 1
        total += (number() ?? 0) * 60
        if peek == 58 {
          at += 1
          total += number() ?? 0
        }
      }
      return sign * total
    }
    mutating func rule() -> Rule? {
      guard peek == UInt8(ascii: ",") else { return nil }
      at += 1
      let day: Day
      if peek == UInt8(ascii: "M") {
        at += 1
        guard let month = number(), (1...12).contains(month) else { return nil }
        at += 1
        guard let week = number(), (1...5).contains(week) else { return nil }
        at += 1
        guard let weekday = number(), weekday < 7 else { return nil }
        day = .weekday(month: month, week: week, day: weekday)
      } else if peek == UInt8(ascii: "J") {
        at += 1
        guard let n = number(), (1...365).contains(n) else { return nil }
        day = .julian(n)
      } else {
        guard let n = number(), n < 366 else { return nil }
        day = .zeroBased(n)
      }
      guard peek == UInt8(ascii: "/") else { return Rule(day: day, seconds: 7200) }
      at += 1
      return offset().map { Rule(day: day, seconds: $0) }
    }
  }
}
