package import Encoding

/// Makes records: compresses the payload, hashes it and writes the header, straight into the memory from which the record
/// is written and shipped.
///
/// Compression is tried on each record; where it saves less than a tenth the payload stays raw and the next 16 records
/// are not tried: data that does not compress (hashes, pictures) should not cost a trial each time.
package struct RecordBuilder: Sendable {
  /// Payloads shorter than this are not worth a trial: a block of 4 KiB holds them either way.
  package static let smallestTrialSizeBytes = 256
  static let skippedAfterFailure = 16

  private var skip = 0
  package init() {}

  /// The most bytes that a record with `count` payload bytes can take.
  package static func bound(_ count: Int) -> Int { RecordHeader.sizeBytes + count }

  /// Writes the record of `header` and the raw `payload` to the start of `memory`, which must have
  /// `bound(payload.count)` bytes; fills in the header's lengths, codec and hash, and returns its chain value.
  package mutating func build(
    _ header: inout RecordHeader, payload: UnsafeRawBufferPointer, into memory: UnsafeMutableRawBufferPointer
  ) -> Hash128 {
    precondition(payload.count <= RecordHeader.maximumRawSizeBytes)
    precondition(memory.count >= Self.bound(payload.count))
    let room = unsafe UnsafeMutableRawBufferPointer(
      rebasing: memory[RecordHeader.sizeBytes..<RecordHeader.sizeBytes + payload.count])
    header.rawSizeBytes = UInt32(payload.count)
    if let compressed = unsafe compress(payload, into: room) {
      header.codec = .lz4
      header.storedSizeBytes = UInt32(compressed)
    } else {
      unsafe room.copyMemory(from: payload)
      header.codec = .raw
      header.storedSizeBytes = UInt32(payload.count)
    }
    header.payloadHash = unsafe Hash128(
      of: UnsafeRawBufferPointer(rebasing: room[0..<Int(header.storedSizeBytes)]))
    return unsafe header.encode(into: UnsafeMutableRawBufferPointer(rebasing: memory[0..<RecordHeader.sizeBytes]))
  }

  private mutating func compress(_ payload: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer) -> Int? {
    guard payload.count >= Self.smallestTrialSizeBytes else { return nil }
    guard skip == 0 else {
      skip -= 1
      return nil
    }
    let worthIt = payload.count - payload.count / 10
    if let size = unsafe LZ4Codec.compress(payload, into: UnsafeMutableRawBufferPointer(rebasing: room[0..<worthIt])) {
      return size
    }
    skip = Self.skippedAfterFailure
    return nil
  }
}
