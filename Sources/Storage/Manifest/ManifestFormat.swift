internal import Encoding

// The manifest: which tables there are, as a sequence of edits. `MANIFEST-000007` in the database directory; `CURRENT`
// names the one that counts.
//
// The file consists of sectors of 512 bytes (little endian). The first is its head:
//
//   0     8     magic "synodMAN"
//   8     4     format (1)
//   12    4     zeros
//   16    8     number of the manifest: a file under a wrong name is told
//   24    484   zeros
//   508   4     CRC-32C of bytes 0 ..< 508
//
// A record is one edit (`ManifestEdit.swift`) and takes whole sectors, each:
//
//   0     4     CRC-32C of bytes 4 ..< 512
//   4     4     which sector of the record this is, from 0
//   8     8     the record's sequence number: 1, 2, …
//   16    4     length of the record's payload
//   20    4     the manifest's number, low half
//   24    8     chain: XXH3-64 of the payload, seeded with the chain of the record before (0 before the first)
//   32    480   part of the payload; zeros after its end
//
// Sectors are what a disk writes whole or not at all. So what a power cut leaves of the last record is some of its
// sectors, intact, and instead of the others nothing: zeros, or the end of the file. That, at the end of the file, is a
// torn tail: the record was never acknowledged and is left out. Anything else (a sector that is neither intact nor empty,
// a gap with records after it, a broken chain) is damage, and the file is refused. One flipped bit in an acknowledged
// record is therefore damage and never taken for a torn tail.
//
// 1. A record is acknowledged after it was synced; the next one is written only then.
// 2. Nothing is appended to a file that another process wrote, nor after a failed write or sync: a new manifest is begun
//    (`Manifest`), which starts with a record of the whole state.
// 3. `CURRENT` is replaced by rename, and the directory synced, only after the new manifest is durable.
//
// `CURRENT` is a line of text: `synod 1 MANIFEST-000007 0x0123abcd`, the last being the CRC-32C of what comes before it,
// with the space.

enum ManifestFormat {
  /// "synodMAN", little endian.
  static let magic: UInt64 = 0x4E41_4D64_6F6E_7973
  static let version: UInt32 = 1
  static let sectorSizeBytes = 512
  static let sectorHeadSizeBytes = 32
  static let payloadPerSectorBytes = sectorSizeBytes - sectorHeadSizeBytes
  /// The largest manifest that is read.
  static let maximumSizeBytes: UInt64 = 1 << 30

  static func fileName(_ number: UInt64) -> String {
    let digits = String(number)
    return "MANIFEST-" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
  }

  static func number(ofFileName name: String) -> UInt64? {
    guard name.hasPrefix("MANIFEST-") else { return nil }
    let digits = name.dropFirst(9)
    guard digits.count >= 6, digits.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
    return UInt64(digits)
  }

  static func encodeHead(number: UInt64) -> [UInt8] {
    var writer = ByteWriter(capacity: sectorSizeBytes)
    writer.append(integer: magic)
    writer.append(integer: version)
    writer.append(integer: UInt32(0))
    writer.append(integer: number)
    writer.append([UInt8](repeating: 0, count: sectorSizeBytes - 4 - writer.count))
    writer.append(integer: crc32c(writer.bytes))
    return writer.bytes
  }

  /// The sectors of one record.
  static func encodeRecord(_ payload: [UInt8], sequence: UInt64, manifest: UInt64, chain: UInt64) -> [UInt8] {
    var writer = ByteWriter()
    let count = sectorCount(payload.count)
    writer.bytes.reserveCapacity(count * sectorSizeBytes)
    for index in 0..<count {
      let start = writer.count
      writer.append(integer: UInt32(0))
      writer.append(integer: UInt32(index))
      writer.append(integer: sequence)
      writer.append(integer: UInt32(payload.count))
      writer.append(integer: UInt32(truncatingIfNeeded: manifest))
      writer.append(integer: chain)
      let from = index * payloadPerSectorBytes
      let end = min(payload.count, from + payloadPerSectorBytes)
      writer.append(Array(payload[from..<end]))
      writer.append([UInt8](repeating: 0, count: payloadPerSectorBytes - (end - from)))
      writer.patch(integer: crc32c(Array(writer.bytes[(start + 4)...])), at: start)
    }
    return writer.bytes
  }

  /// A record takes at least one sector.
  static func sectorCount(_ payloadSizeBytes: Int) -> Int {
    max(1, (payloadSizeBytes + payloadPerSectorBytes - 1) / payloadPerSectorBytes)
  }

  static func chain(_ payload: [UInt8], after previous: UInt64) -> UInt64 { xxh3(payload, seed: previous) }

  static func encodeCurrent(_ number: UInt64) -> [UInt8] {
    let head = "synod \(version) \(fileName(number)) "
    return Array((head + hexadecimal(crc32c(Array(head.utf8))) + "\n").utf8)
  }

  /// The manifest that `CURRENT` names, or nil where it is damaged. `newerFormat` tells a format beyond this one.
  static func decodeCurrent(_ bytes: [UInt8]) -> (number: UInt64?, newerFormat: UInt32?) {
    guard bytes.count < 200, bytes.last == UInt8(ascii: "\n"),
      let text = String(validating: bytes.dropLast(), as: UTF8.self)
    else { return (nil, nil) }
    let parts = text.split(separator: " ", omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0] == "synod", let format = UInt32(parts[1]),
      hexadecimal(crc32c(Array(text.dropLast(parts[3].count).utf8))) == parts[3]
    else { return (nil, nil) }
    guard format == version else { return (nil, format) }
    return (number(ofFileName: String(parts[2])), nil)
  }
}

/// One sector of a record, taken apart; nil where its checksum or its place is wrong.
struct ManifestSector {
  var index: UInt32
  var sequence: UInt64
  var payloadSizeBytes: Int
  var chain: UInt64
  var payload: ArraySlice<UInt8>

  init?(_ bytes: [UInt8], at offset: Int, manifest: UInt64) {
    guard bytes.count - offset >= ManifestFormat.sectorSizeBytes else { return nil }
    func field<T: FixedWidthInteger>(_ place: Int) -> T {
      unsafe bytes.withUnsafeBytes {
        T(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: offset + place, as: T.self))
      }
    }
    let end = offset + ManifestFormat.sectorSizeBytes
    let stored: UInt32 = field(0)
    let actual = unsafe bytes.withUnsafeBytes {
      unsafe crc32c(UnsafeRawBufferPointer(rebasing: $0[(offset + 4)..<end]))
    }
    let number: UInt32 = field(20)
    guard stored == actual, number == UInt32(truncatingIfNeeded: manifest) else { return nil }
    index = field(4)
    sequence = field(8)
    payloadSizeBytes = Int(field(16) as UInt32)
    chain = field(24)
    payload = bytes[(offset + ManifestFormat.sectorHeadSizeBytes)..<end]
  }
}
