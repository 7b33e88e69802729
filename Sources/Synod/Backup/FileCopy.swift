internal import Encoding
internal import Platform

/// Copies files in pieces, so that memory does not grow with them.
enum FileCopy {
  private static let pieceSizeBytes = 1 << 20

  /// Copies `source` to the new file `target`, durably; returns size and CRC-32C of what was copied.
  static func copy(_ source: String, to target: String, disk: any Disk) throws(DiskError) -> (UInt64, UInt32) {
    let output = try disk.open(target, .create)
    defer { output.close() }
    let result = try scan(source, disk: disk) { (piece, offset) throws(DiskError) in
      try output.write(piece, at: offset)
    }
    try output.sync()
    return result
  }

  /// Size and CRC-32C of a file; `body` sees each piece and its offset.
  static func scan(
    _ path: String, disk: any Disk, _ body: ([UInt8], UInt64) throws(DiskError) -> Void = { _, _ in }
  ) throws(DiskError) -> (UInt64, UInt32) {
    let input = try disk.open(path, .read)
    defer { input.close() }
    var offset: UInt64 = 0
    var checksum: UInt32 = 0
    while true {
      let piece = try input.readBytes(pieceSizeBytes, at: offset)
      if piece.isEmpty { return (offset, checksum) }
      checksum = crc32c(piece, seed: checksum)
      try body(piece, offset)
      offset += UInt64(piece.count)
    }
  }
}
