/// What a hash join has set aside, and where it is in it.
final class JoinSpill {
  /// One partition of both sides.
  struct Part {
    let build: PartitionedRows
    let probe: PartitionedRows
    let place: Int
    var buildCount: Int { build.counts[place] }
    var probeCount: Int { probe.counts[place] }
  }

  let build: PartitionedRows
  let probe: PartitionedRows
  private var parts: [Part] = []
  private var part: Part?
  private var reader: RunReader?
  /// The kept rows of the partition at hand that are not in memory yet.
  var rest: RunReader?
  private(set) var batches = 0
  private(set) var sizeBytes: UInt64 = 0
  // Which rows of the other side, by their number in the partition, have met a kept row; empty where one pass is enough.
  private var met: [UInt64] = []
  private var remembers = false
  private var number = -1

  init(_ join: HashJoinSource, buildWidth: Int, probeWidth: Int, level: Int) throws(SQLError) {
    let services = join.state.services
    build = PartitionedRows(
      width: buildWidth, level: level, limitBytes: services.workMemoryBytes, try services.temporaryFile())
    probe = PartitionedRows(
      width: max(probeWidth, 1), level: level, limitBytes: services.workMemoryBytes, try services.temporaryFile())
  }

  /// Both sides are complete.
  func begin() { add(self) }

  /// Takes the partitions of another, to be joined next.
  func add(_ other: JoinSpill) {
    for place in (0..<PartitionedRows.partitionCount).reversed() {
      parts.append(Part(build: other.build, probe: other.probe, place: place))
    }
    batches += PartitionedRows.partitionCount
    sizeBytes += other.build.sizeBytes + other.probe.sizeBytes
  }

  func nextPart() -> Part? {
    part = parts.popLast()
    return part
  }

  /// Begins a pass over the other side's rows of the partition at hand.
  func beginPass(isFirst: Bool, remembers: Bool) {
    guard let part else { return }
    reader = part.probe.reader(part.place)
    number = -1
    self.remembers = remembers
    if isFirst { met = remembers ? Array(repeating: 0, count: part.probeCount / 64 + 1) : [] }
  }

  var isLastPiece: Bool { rest == nil }

  func nextProbe() throws(SQLError) -> ValueBuffer? {
    guard let reader, try reader.advance() else { return nil }
    number += 1
    return reader.values
  }

  /// Whether the row at hand has met a kept row in an earlier pass (or in this one).
  var hasMatched: Bool { remembers && met[number >> 6] & 1 << UInt64(number & 63) != 0 }
  func setMatched() {
    if remembers { met[number >> 6] |= 1 << UInt64(number & 63) }
  }
}
