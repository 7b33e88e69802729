package import Encoding
internal import Platform
internal import Synchronization

// Frames of a running log, looked at as recovery will look at them.
//
// A record has a checksum of its own, and is read by it. Recovery judges whole frames: one wrong bit takes all records of its
// frame away, and so does one that is in none of them. What readers find damaged is therefore less than what a restart would
// find, and what can be had from peers should be had while they have it.

extension Log {
  /// The segments that are there, in order.
  package var segmentSequences: [UInt64] { shared.withLock { $0.segments.map(\.sequence) } }

  /// Reads a segment frame by frame.
  ///
  /// - Parameters:
  ///   - windowSizeBytes: what is read at once, unless a frame is larger.
  ///   - goOn: told how much was read, now and then; false ends the reading.
  /// - Returns: the slots, ascending, whose records lie where no frame can be read; without those that are known to be
  ///   damaged. Empty where the segment has left the log.
  /// - Complexity: one pass over the segment; 1 MiB of memory, or the largest frame.
  package func slotsInBrokenFrames(
    ofSegment sequence: UInt64, windowSizeBytes: Int = 1 << 20, goOn: (_ sizeBytes: UInt64) -> Bool = { _ in true }
  ) throws(LogError) -> [Slot] {
    guard let segment = shared.withLock({ $0.segments.first { $0.sequence == sequence } }),
      // While there is a reader, the segment is not recycled. It may hold less than what was before it: a new leader cuts.
      let hold = try? reader(after: base.slot, decompresses: false)
    else { return [] }
    defer { withExtendedLifetime(hold) {} }
    let greatest = shared.withLock { shared in
      shared.index.place(of: shared.segments.first { $0.sequence == sequence }?.greatestSlot ?? .zero)
    }
    // Behind the last record there is what the file held before, or a frame that is being written.
    let end = greatest.flatMap { $0.segment == sequence ? $0.offset + UInt64($0.sizeBytes) : nil } ?? .max
    let whole = UInt64(SegmentHeader.sizeBytes)..<end
    let stretches = try brokenStretches(of: segment, whole, windowSizeBytes, goOn)
    let suspects = slots(in: stretches, ofSegment: sequence)
    guard !suspects.isEmpty else { return [] }
    // Once more: a device may err once, and a frame may have been half written when it was looked at. Those whose records
    // were known before this look are written.
    var confirmed: [Range<UInt64>] = []
    for stretch in stretches { confirmed += try brokenStretches(of: segment, stretch, windowSizeBytes, goOn) }
    return suspects.filter { suspect in confirmed.contains { $0.contains(suspect.offset) } }.map(\.slot).sorted()
  }

  /// Where in `range` there are no frames.
  private func brokenStretches(
    of segment: SegmentInfo, _ range: Range<UInt64>, _ window: Int, _ goOn: (_ sizeBytes: UInt64) -> Bool
  ) throws(LogError) -> [Range<UInt64>] {
    let scanner = try SegmentScanner(try onDisk { () throws(DiskError) in try disk.open(segment.path, .direct) })
    defer { scanner.file.close() }
    var result: [Range<UInt64>] = []
    var offset = range.lowerBound
    var told: UInt64 = 0
    while offset < min(range.upperBound, scanner.fileSizeBytes) {
      switch try scanner.find(at: offset, sequence: segment.sequence, salt: nil, ahead: window) {
      case .endOfFile: return result
      case .frame(_, _, let bytes): offset += UInt64(bytes.count)
      case .noFrame:
        let start = offset
        offset += UInt64(logBlockSizeBytes)
        if let last = result.last, last.upperBound == start {
          result[result.count - 1] = last.lowerBound..<offset
        } else {
          result.append(start..<offset)
        }
      }
      if scanner.readSizeBytes > told {
        guard goOn(scanner.readSizeBytes - told) else { return [] }
        told = scanner.readSizeBytes
      }
    }
    return result
  }

  /// The records that lie in the stretches, in the order of places.
  private func slots(in stretches: [Range<UInt64>], ofSegment sequence: UInt64) -> [(slot: Slot, offset: UInt64)] {
    guard !stretches.isEmpty else { return [] }
    return shared.withLock { shared in
      let index = shared.index
      return index.places.indices.dropFirst(index.dropped).compactMap { position -> (slot: Slot, offset: UInt64)? in
        let place = index.places[position]
        guard place.segment == sequence, !place.isDamaged, stretches.contains(where: { $0.contains(place.offset) })
        else { return nil }
        return (Slot(index.head.base.slot.rawValue + UInt64(position - index.dropped) + 1), place.offset)
      }.sorted { $0.offset < $1.offset }
    }
  }
}
