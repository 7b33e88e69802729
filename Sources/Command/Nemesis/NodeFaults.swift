import Foundation

/// What `tools/faults.c` does to one node's disk and wall clock; the file's layout is at the head of that source.
struct NodeFaults: Equatable {
  var wallOffsetSeconds = 0
  /// What each write and sync takes longer.
  var diskDelayMicroseconds = 0
  /// What is there can be written over; nothing can grow.
  var isDiskFull = false
  /// Writes and syncs fail.
  var failsWrites = false

  /// Writes over the file in place, for the process has it mapped.
  func write(to path: String) throws {
    var bytes: [UInt8] = []
    func put<T: FixedWidthInteger>(_ value: T) {
      for shift in stride(from: 0, to: T.bitWidth, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> T(shift))) }
    }
    put(Int64(wallOffsetSeconds) * 1_000_000_000)
    put(UInt32(diskDelayMicroseconds))
    put(UInt32(isDiskFull ? 1 : 0))
    put(UInt32(failsWrites ? 1 : 0))
    bytes += [UInt8](repeating: 0, count: 64 - bytes.count)
    let descriptor = unsafe open(path, O_RDWR | O_CREAT, 0o600)
    guard descriptor >= 0 else { throw CommandFailure("cannot write \(path)") }
    defer { close(descriptor) }
    guard unsafe pwrite(descriptor, bytes, bytes.count, 0) == bytes.count else {
      throw CommandFailure("cannot write \(path)")
    }
  }
}
