package import Encoding
internal import Synchronization

extension Log {
  /// The last slot that can be given back if the segments behind it are to take at least `sizeBytes`: 0 where the whole log
  /// is smaller. O(segments).
  package func lastSlot(leaving sizeBytes: UInt64) -> Slot {
    shared.withLock { shared in
      var size: UInt64 = 0
      for index in shared.segments.indices.reversed() {
        guard size < sizeBytes else { return shared.segments[index].greatestSlot }
        size += shared.segments[index].fileSizeBytes
      }
      return .zero
    }
  }
}
