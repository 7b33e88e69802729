// Records outside of a log: header and stored payload of each, one behind the other, as they were stored and shipped
// (Record.swift). The chain makes the whole verifiable from the position that it continues.

internal import Encoding
package import Platform

/// Reads an archive of records, checking header, chain and payload of each. One thread at a time.
///
/// 1. A record is handed out only if its slot and its chain follow the one before.
/// 2. Memory is one record's, whatever the length of the archive.
package final class RecordArchiveReader {
  private let file: any DiskFile
  private var offset: UInt64 = 0
  private var stored: [UInt8] = []
  private var raw: [UInt8] = []
  /// The position of the last record that was read.
  package private(set) var position: LogPosition

  /// Reads `file`, whose first record follows `position`.
  package init(_ file: any DiskFile, after position: LogPosition) {
    self.file = file
    self.position = position
  }

  /// Hands the next record's header and decompressed payload to `body`; false at the end of the archive.
  ///
  /// - Throws: `.corrupt`, naming the offset, for a record that is cut off, damaged, or not the next one.
  package func next(
    _ body: (RecordHeader, UnsafeRawBufferPointer) throws(LogError) -> Void
  ) throws(LogError) -> Bool {
    func damage(_ reason: String) -> LogError {
      .corrupt(LogPlace(file: file.path, offset: offset), reason: reason, expected: 0, found: 0)
    }
    let head = try onDisk { () throws(DiskError) in try file.readBytes(RecordHeader.sizeBytes, at: offset) }
    if head.isEmpty { return false }
    let header: RecordHeader
    let chain: Hash128
    do throws(DecodingError) {
      (header, chain) = try Self.decode(head)
    } catch { throw damage("\(error)") }
    guard header.slot == position.slot.next, header.previousChain == position.chain else {
      throw damage("slot \(header.slot.rawValue) does not continue slot \(position.slot.rawValue)")
    }
    stored = try onDisk { () throws(DiskError) in
      try file.readBytes(Int(header.storedSizeBytes), at: offset + UInt64(RecordHeader.sizeBytes))
    }
    guard stored.count == Int(header.storedSizeBytes) else { throw damage("the end of the file within a record") }
    do throws(DecodingError) { try decompress(header) } catch { throw damage("\(error)") }
    let count = header.codec == .lz4 ? Int(header.rawSizeBytes) : stored.count
    let source = header.codec == .lz4 ? raw : stored
    let version = header.transactionCount > 0 ? header.lastVersion : position.version
    var failure: LogError?
    unsafe source.withUnsafeBytes { bytes in
      do throws(LogError) { unsafe try body(header, UnsafeRawBufferPointer(rebasing: bytes[0..<count])) } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    position = LogPosition(slot: header.slot, chain: chain, version: version)
    offset += UInt64(header.recordSizeBytes)
    return true
  }

  private static func decode(_ head: [UInt8]) throws(DecodingError) -> (RecordHeader, Hash128) {
    var result: (RecordHeader, Hash128)?
    var failure: DecodingError?
    unsafe head.withUnsafeBytes { bytes in
      do throws(DecodingError) {
        result = unsafe (try RecordHeader(from: bytes), RecordHeader.chain(ofHeader: bytes))
      } catch { failure = error }
    }
    guard let result else { throw failure! }
    return result
  }

  /// Checks the stored payload, and decompresses it where it is compressed.
  private func decompress(_ header: RecordHeader) throws(DecodingError) {
    let count = Int(header.rawSizeBytes)
    // LZ4 cannot expand more than 255 times: a length that is a lie takes no memory.
    guard count <= stored.count * 255 + 16 else { throw .invalid(offset: 72, reason: "impossible raw length") }
    if header.codec == .lz4, raw.count < count { raw = [UInt8](repeating: 0, count: count) }
    var failure: DecodingError?
    unsafe stored.withUnsafeBytes { source in
      unsafe raw.withUnsafeMutableBytes { target in
        do throws(DecodingError) {
          unsafe try header.verify(payload: source)
          guard header.codec == .lz4 else { return }
          unsafe try LZ4Codec.decompress(source, into: UnsafeMutableRawBufferPointer(rebasing: target[0..<count]))
        } catch { failure = error }
      }
    }
    if let failure { throw failure }
  }
}
