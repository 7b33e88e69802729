package import Encoding
internal import Synchronization

/// What the header of a record said when the log was opened.
struct RecordNote: Sendable {
  var slot: Slot
  var chain: Hash128
  var origin: LogBallot
  var type: RecordType
}

/// What there is at a slot, without its bytes.
package struct RecordSummary: Sendable {
  package var slot: Slot
  /// Nil where the record is damaged and nothing proves what it was.
  package var chain: Hash128?
  package var sizeBytes: Int
  /// Of a damaged record neither is known.
  package var header: (origin: LogBallot, type: RecordType)?
  package var isDamaged: Bool { sizeBytes == 0 }
}

extension Log {
  /// All records behind `slot` as they were found when the log was opened, and forgets what was noted of them.
  ///
  /// - Returns: nil where something was not noted: then the log itself must be read. O(records).
  package func takeRecordNotes(after slot: Slot) -> [RecordSummary]? {
    shared.withLock { shared in
      let notes = shared.notes
      shared.notes = []
      let index = shared.index
      let last = index.head.state.last.slot
      guard slot >= index.head.base.slot, slot <= last else { return nil }
      guard slot < last else { return [] }
      var summaries: [RecordSummary] = []
      summaries.reserveCapacity(Int(last.rawValue - slot.rawValue))
      for number in (slot.rawValue + 1)...last.rawValue {
        guard let place = index.place(of: Slot(number)) else { return nil }
        summaries.append(
          RecordSummary(
            slot: Slot(number), chain: place.isDamaged && place.chain == .zero ? nil : place.chain,
            sizeBytes: place.sizeBytes))
      }
      // Of several records of one slot the one with the log's chain is in it.
      for note in notes where note.slot > slot && note.slot <= last {
        let at = Int(note.slot.rawValue - slot.rawValue) - 1
        if summaries[at].chain == note.chain { summaries[at].header = (note.origin, note.type) }
      }
      return summaries.allSatisfy { $0.isDamaged || $0.header != nil } ? summaries : nil
    }
  }
}
