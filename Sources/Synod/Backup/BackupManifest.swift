internal import Encoding
internal import Log
internal import Platform

// BACKUP: what a backup is, as text; written last, so that a backup without it is none.
//
//   synod-backup 1
//   cluster  HASH                       of the database that was backed up
//   created  NANOSECONDS                since 1970
//   tables   SLOT VERSION CHAIN         the tables hold everything up to here
//   log      SLOT VERSION CHAIN TIME    the records behind it reach to here; the leader's time there
//   file     SIZE CRC32C NAME           for each file, in order of names
//   checksum CRC32C                     of all bytes before this line
//
// Hashes and checksums are hexadecimal, numbers decimal. Fields are separated by one space, lines end with a newline.

/// The manifest of a backup.
struct BackupManifest: Hashable {
  struct File: Hashable {
    var name: String
    var sizeBytes: UInt64
    var checksum: UInt32
  }

  static let fileName = "BACKUP"
  static let recordsName = "records"
  static let format = 1

  var cluster = Hash128.zero
  var createdNanoseconds: UInt64 = 0
  var tables = LogPosition.zero
  var log = LogPosition.zero
  var leaderTime: UInt64 = 0
  var files: [File] = []

  func encode() -> [UInt8] {
    func words(_ position: LogPosition) -> String {
      "\(position.slot.rawValue) \(position.version.rawValue) \(Self.hex(position.chain))"
    }
    var text = """
      synod-backup \(Self.format)
      cluster \(Self.hex(cluster))
      created \(createdNanoseconds)
      tables \(words(tables))
      log \(words(log)) \(leaderTime)

      """
    for file in files { text += "file \(file.sizeBytes) \(String(file.checksum, radix: 16)) \(file.name)\n" }
    return Array((text + "checksum \(String(crc32c(Array(text.utf8)), radix: 16))\n").utf8)
  }

  /// Reads one, or says what is wrong with it.
  init(_ bytes: [UInt8]) throws(DecodingError) {
    func wrong(_ reason: String) -> DecodingError { .invalid(offset: 0, reason: reason) }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw wrong("it is not text") }
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    guard lines.popLast() == "", let last = lines.popLast(), last.hasPrefix("checksum ") else {
      throw wrong("it is cut off")
    }
    guard let checksum = UInt32(last.dropFirst(9), radix: 16),
      checksum == crc32c(Array(bytes[..<(bytes.count - last.utf8.count - 1)]))
    else { throw wrong("its checksum is wrong") }
    guard let first = lines.first?.split(separator: " "), first.count == 2, first[0] == "synod-backup" else {
      throw wrong("it is no manifest of a backup")
    }
    guard let format = Int(first[1]), format <= Self.format else {
      throw wrong("it has the format \(first[1]), and this program reads \(Self.format)")
    }
    for line in lines.dropFirst() {
      let fields = line.split(separator: " ", maxSplits: line.hasPrefix("file ") ? 3 : .max).map(String.init)
      guard let name = fields.first, take(name, Array(fields.dropFirst())) else {
        throw wrong("the line \"\(line)\" makes no sense")
      }
    }
  }

  init() {}

  /// Of a database whose tables hold everything up to `start`.
  init(of core: Core, tables start: LogPosition) {
    cluster = core.log.superblock.cluster
    createdNanoseconds = LinuxClock().wallNanoseconds
    tables = start
  }

  private mutating func take(_ name: String, _ fields: [String]) -> Bool {
    switch (name, fields.count) {
    case ("cluster", 1):
      guard let hash = Self.hash(fields[0]) else { return false }
      cluster = hash
    case ("created", 1):
      guard let time = UInt64(fields[0]) else { return false }
      createdNanoseconds = time
    case ("tables", 3):
      guard let position = Self.position(fields) else { return false }
      tables = position
    case ("log", 4):
      guard let position = Self.position(fields), let time = UInt64(fields[3]) else { return false }
      (log, leaderTime) = (position, time)
    case ("file", 3):
      // A name out of a backup must not lead out of it.
      guard let size = UInt64(fields[0]), let checksum = UInt32(fields[1], radix: 16), !fields[2].hasPrefix("/"),
        !fields[2].split(separator: "/").contains("..")
      else { return false }
      files.append(File(name: fields[2], sizeBytes: size, checksum: checksum))
    default: return false
    }
    return true
  }

  private static func position(_ fields: [String]) -> LogPosition? {
    guard let slot = UInt64(fields[0]), let version = UInt64(fields[1]), let chain = hash(fields[2]) else { return nil }
    return LogPosition(slot: Slot(slot), chain: chain, version: Version(version))
  }

  static func hex(_ hash: Hash128) -> String {
    [hash.high, hash.low].map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }

  static func hash(_ text: String) -> Hash128? {
    guard text.utf8.count == 32, let high = UInt64(text.prefix(16), radix: 16),
      let low = UInt64(text.suffix(16), radix: 16)
    else { return nil }
    return Hash128(low: low, high: high)
  }
}
