package import Encoding
package import Log
internal import Platform

/// Gives records their slots, links and times, and builds them: what a leader does, whoever then stores and ships the
/// bytes. One thread at a time.
package struct RecordSequencer: Sendable {
  /// The last record that was built.
  package private(set) var position: LogPosition
  /// Under which ballot records are built.
  package let origin: LogBallot
  private var leaderTime: UInt64
  private var builder = RecordBuilder()

  /// Continues a log in a new leadership.
  package init(after state: LogState, origin: LogBallot) {
    position = state.last
    self.origin = origin
    leaderTime = state.leaderTime
  }

  /// The hybrid logical clock: the wall's time, and never less than what any record before said.
  private mutating func time(_ wallNanoseconds: UInt64) -> UInt64 {
    leaderTime = max(leaderTime &+ 1, wallNanoseconds)
    return leaderTime
  }

  private mutating func header(_ type: RecordType, _ count: Int, _ wall: UInt64, _ chosen: Slot) -> RecordHeader {
    RecordHeader(
      type: type, slot: position.slot.next, origin: origin, firstVersion: position.version.advanced(by: 1),
      transactionCount: UInt32(count), leaderTime: time(wall), safeVersion: position.version, chosenAtBuild: chosen,
      previousChain: position.chain)
  }

  /// Builds the record of a group of transactions at the end of `frame`.
  package mutating func appendGroup(
    _ payload: UnsafeRawBufferPointer, transactionCount: Int, wallNanoseconds: UInt64, chosen: Slot,
    to frame: FrameBuffer
  ) -> RecordHeader {
    var header = header(.transactionGroup, transactionCount, wallNanoseconds, chosen)
    let chain = unsafe frame.append(&header, payload: payload, using: &builder)
    position = LogPosition(slot: header.slot, chain: chain, version: header.lastVersion)
    return header
  }

  /// Builds the first record of the leadership, and around it what a single acceptor does in both phases: it promises
  /// the ballot, and accepts the log so far, with this record at its end, as the ballot's.
  package mutating func appendEpochStart(wallNanoseconds: UInt64, to frame: FrameBuffer) {
    let before = position
    var header = header(.epochStart, 0, wallNanoseconds, before.slot)
    let empty = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    // The chain value comes before the record that it belongs to: build it once aside.
    let scratch = FrameBuffer(capacitySizeBytes: logBlockSizeBytes)
    let chain = unsafe scratch.append(&header, payload: empty, using: &builder)
    frame.append(.promise(origin))
    frame.append(.syncBegin(SyncBegin(ballot: origin, before: before, end: header.slot, endChain: chain)))
    let again = unsafe frame.append(&header, payload: empty, using: &builder)
    precondition(again == chain)
    frame.append(.syncEnd(ballot: origin, end: header.slot, endChain: chain))
    position = LogPosition(slot: header.slot, chain: chain, version: before.version)
  }
}
