import Foundation
import Histogram
internal import Platform

/// The disk's own speed: what any durable commit is measured against.
///
/// 4 KiB writes over space that was zero-filled and synced before, each followed by fdatasync: no allocation of extents,
/// no growing file, the least that a log can ask of a file system through the page cache.
enum Floor {
  static let blockSizeBytes = 4096
  static let blocks = 2048

  /// Measures for about `seconds` in a scratch file inside `directory` and adds the latencies, in nanoseconds.
  static func measure(in directory: String, seconds: Double, into histogram: inout Histogram<UInt64>) throws {
    let disk = LinuxDisk()
    let path = "\(directory)/.synod-floor-\(ProcessInfo.processInfo.processIdentifier)"
    let file = try disk.open(path, .create)
    defer {
      file.close()
      try? disk.remove(path)
    }
    let chunk = [UInt8](repeating: 0, count: 1 << 20)
    for offset in stride(from: 0, to: blocks * blockSizeBytes, by: chunk.count) {
      try file.write(chunk, at: UInt64(offset))
    }
    try file.sync()
    let block = AlignedBuffer(sizeBytes: blockSizeBytes)
    let clock = LinuxClock()
    let end = clock.bootNanoseconds + UInt64(seconds * 1e9)
    var index = 0
    while true {
      let start = clock.bootNanoseconds
      if start >= end { break }
      unsafe try file.write(UnsafeRawBufferPointer(block.bytes), at: UInt64(index % blocks * blockSizeBytes))
      try file.sync()
      histogram.record(clock.bootNanoseconds - start)
      index += 1
    }
  }
}
