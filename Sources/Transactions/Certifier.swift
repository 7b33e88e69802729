internal import Encoding
internal import Storage

// The certifier: may this serializable transaction commit? A value without latch, clock or thread; the sequencer owns it.
// Not copyable, because a copy would be made where nobody sees it: of a class's property, to ask it a question.
//
// The graph. Nodes are serializable transactions that are committed or sequenced ("committed" below). Edges say who comes
// first in every equivalent serial order:
//
//   write-read   U → T   T read the version that U wrote
//   write-write  U → T   T overwrote U's version
//   read-write   T → W   T read a version (or an absence) that W replaced: W committed after T's snapshot
//
// Transactions below serializable are no nodes, as in PostgreSQL: the promise is among serializable ones.
//
// 1. Everything is decided when a transaction T commits, against what committed before it. Reads are private until then:
//    a reader needs to register nothing that writers would have to find in time, because a writer W that is sequenced
//    before T is found by T (W wrote, after T's snapshot, what T read), and one that is sequenced after T finds T (T's
//    reads lie here by then). Both happen under the sequencer's latch. So "sequenced, not yet visible" needs no case of
//    its own: it is committed after T's snapshot.
// 2. A cycle of committed transactions is closed by the commit of its last member, whose check sees all of it: T may
//    commit exactly if no node in out(T) reaches a node in in(T).
//      out(T): the first writer after T's snapshot of each key read; the later ones follow by write-write edges.
//      in(T):  of each key read the last writer in T's snapshot; of each key written the last writer and all readers.
//    All of out(T) are read-write edges, for T is the newest. Without any there is no cycle and no search.
// 3. Retry is safe: T conflicts only with committed nodes, and a retry's snapshot (once they are visible) contains them.
//    The other choice, aborting somebody else, does not exist: whoever is sequenced cannot be aborted.
// 4. Pruning. Let m be the oldest snapshot that an open serializable transaction has or could get (what is visible now).
//    A new edge into a committed node U comes only from a reader whose snapshot is older than U's version. So if U's
//    version is at most m and no node that is kept points at U, U can be in no future cycle, and goes. A reader (no
//    version) is kept only while a kept node points at it.
// 5. Memory. Beyond the budget the oldest half of the nodes is contracted into one: it has all their edges, and covers
//    what they read and wrote by intervals. Whatever was connected stays connected: contraction can add an abort, never
//    miss a cycle. Its version is the newest of its members.
// 6. Read-only transactions: `Certifier+Snapshots.swift`.
// 7. Real time, if asked for (`isStrict`): whoever has U's version in its snapshot, read or not, comes after U. A cycle
//    of those edges and the others is found without storing them, as long as T's check keeps the rest free of such cycles:
//      (a) out(T) reaches U, and U is in T's snapshot; or
//      (b) out(T) reaches U, and U is in the snapshot of some D that reaches in(T).
//    A node D that is reached only through such an edge from U, and reaches E, cannot lead to an older E than U (E would be
//    in D's snapshot, or lead to something that is: a cycle before T). So one edge of real time is enough to look for, and
//    of all D the newest snapshot is enough to know: `reach`, handed down when an edge is added. A reader whom nobody
//    points at is kept while a transaction with an older snapshot is open, since it may become such a D.
//
// References: Adya, Weak Consistency (1999), for the graph; Cahill, Röhm, Fekete, Serializable isolation for snapshot
// databases (2008), and Ports, Grittner (2012) for the dangerous structure, which is our oracle's; Revilak, O'Neil, O'Neil,
// Precisely serializable snapshot isolation (2011), for testing true cycles.

/// Ways to break the certifier on purpose: a test that cannot find them proves nothing. `none` in production.
package enum CertifierMutant: String, CaseIterable, Sendable {
  case none
  /// Intervals that were read are not compared with what others wrote.
  case ignoresIntervals
  /// A key that was asked for and not found is not remembered.
  case forgetsMisses
  /// What was read before a rollback to a savepoint is forgotten.
  case forgetsReadsOfSavepoints
  /// A committed transaction's reads are forgotten.
  case forgetsReadsAtCommit
  case ignoresWriteRead
  case ignoresWriteWrite
  /// Only what is visible counts as written: the window between sequencing and publishing is open.
  case ignoresInvisible
  /// Only cycles of two are looked for.
  case searchesOneStep
  /// Nodes go although an older snapshot is open.
  case prunesByNewestSnapshot
  /// Nodes go although kept nodes point at them.
  case prunesPointedAt
  /// Read-only transactions are taken for harmless.
  case trustsReaders
  /// Only readers that were concurrent count.
  case ignoresEarlierReaders
  // Moving a snapshot (Transaction+Refresh.swift):
  /// Keys that were asked for are not looked at.
  case movesOverPoints
  /// Intervals that were passed over are not looked at.
  case movesOverIntervals
  /// The statement goes on with what it read in the old snapshot.
  case movesInMidStatement
  /// The old snapshot is given back before it is known what has changed since.
  case releasesOldSnapshotFirst
}

@unsafe
struct CertifierEdge: BitwiseCopyable {
  var to: Int32
  var kind: UInt8
  var keyCount: UInt32
  /// In the footprint of one of its ends, which are kept together.
  var key: UnsafeRawPointer?

  static let writeRead: UInt8 = 0
  static let writeWrite: UInt8 = 1
  static let readWrite: UInt8 = 2
  /// Only told, never stored.
  static let realTime: UInt8 = 3
}

/// A committed serializable transaction.
@unsafe
struct CertifierNode {
  var id: UInt64 = 0
  var session: UInt64 = 0
  /// 0 for a reader.
  var version: UInt64 = 0
  var snapshot: UInt64 = 0
  /// The newest snapshot of all that lead here, its own included.
  var reach: UInt64 = 0
  /// The oldest version that it stands for; 0 for a reader.
  var oldestVersion: UInt64 = 0
  var footprint = unsafe Footprint()
  var edges = unsafe RawList<CertifierEdge>()
  /// Where the footprint's keys are linked: read points, then written keys.
  var links = unsafe RawList<Int32>()
  /// How many kept nodes point at it.
  var incoming = 0
  /// The newest version is no longer needed for itself: kept only while it is pointed at.
  var isOld = false
  var isKept = false
  var isContracted = false
  /// What it counts for in the budget.
  var sizeBytes = 0
  // Marks of the current certification, by its generation.
  var inMark: UInt64 = 0
  var outMark: UInt64 = 0
  var visitMark: UInt64 = 0
}

@unsafe
struct Certifier: ~Copyable {
  /// What came of a certification.
  @unsafe
  enum Verdict {
    case pass
    case cycle(edges: [(from: Int, to: Int, edge: CertifierEdge)])
    case undecided
  }

  let mutant: CertifierMutant
  /// Whether the serial order is to respect the order of time.
  let isStrict: Bool
  let searchBudget: Int
  let sizeLimitBytes: Int

  var nodes: [CertifierNode] = unsafe []
  var freeNodes: [Int32] = []
  var keys = unsafe CertifierKeys()
  /// Kept nodes in the order of versions, those that are old at the front and no longer in it.
  var recent: [Int32] = []
  var recentHead = 0
  /// Strict: readers that are kept for their snapshots, about in the order of these.
  var recentReaders: [Int32] = []
  /// Who read which intervals, and the nodes that wrote intervals.
  var intervalReaders = unsafe IntervalIndex()
  private var readers = unsafe RawList<Int32>()
  var intervalWriters: [IntervalOwner] = []
  var keptCount = 0
  var sizeBytes = 0
  var active = ActiveList()
  var generation: UInt64 = 0
  /// The edges of the transaction that is being certified; `to` of an incoming one is where it comes from.
  var incoming = unsafe RawList<CertifierEdge>()
  var outgoing = unsafe RawList<CertifierEdge>()
  private var queue = unsafe RawList<SearchStep>()
  /// The node that stands for contracted ones, if any.
  var contracted: Int32 = -1
  var contractions = 0

  struct IntervalOwner {
    var lowest: UInt64
    var highest: UInt64
    var node: Int32
  }

  @unsafe
  private struct SearchStep: BitwiseCopyable {
    var node: Int32
    var parent: Int32
    var edge: CertifierEdge
  }

  init(
    mutant: CertifierMutant = .none, isStrict: Bool = false, searchBudget: Int = 4096, sizeLimitBytes: Int = 64 << 20
  ) {
    unsafe self.mutant = mutant
    unsafe self.isStrict = isStrict
    unsafe self.searchBudget = searchBudget
    unsafe self.sizeLimitBytes = sizeLimitBytes
  }

  mutating func free() {
    for index in unsafe nodes.indices {
      unsafe nodes[index].footprint.free()
      unsafe nodes[index].edges.free()
      unsafe nodes[index].links.free()
    }
    unsafe keys.free()
    unsafe intervalReaders.free()
    unsafe readers.free()
    unsafe incoming.free()
    unsafe outgoing.free()
    unsafe queue.free()
  }

  // MARK: Certifying

  /// Whether a transaction that read and wrote `footprint` at `snapshot` may commit now. Its edges lie in `incoming` and
  /// `outgoing` until the next call; nothing else changes.
  mutating func certify(_ footprint: borrowing Footprint, snapshot: UInt64, visible: UInt64) -> Verdict {
    unsafe generation &+= 1
    unsafe incoming.removeAll()
    unsafe outgoing.removeAll()
    unsafe queue.removeAll()
    guard unsafe keptCount > 0 else { return unsafe .pass }
    unsafe findReads(footprint, snapshot: snapshot, visible: visible)
    unsafe findWrites(footprint, snapshot: snapshot)
    return unsafe outgoing.isEmpty || (incoming.isEmpty && !isStrict) ? .pass : search(snapshot)
  }

  @inline(__always)
  private mutating func addIncoming(_ node: Int32, _ kind: UInt8, _ key: UnsafeRawBufferPointer) {
    if unsafe mutant == .ignoresWriteRead && kind == CertifierEdge.writeRead { return }
    if unsafe mutant == .ignoresWriteWrite && kind == CertifierEdge.writeWrite { return }
    guard unsafe nodes[Int(node)].inMark != generation else { return }
    unsafe nodes[Int(node)].inMark = unsafe generation
    unsafe incoming.append(
      CertifierEdge(to: node, kind: kind, keyCount: UInt32(truncatingIfNeeded: key.count), key: key.baseAddress))
  }

  @inline(__always)
  private mutating func addOutgoing(_ node: Int32, _ key: UnsafeRawBufferPointer) {
    guard unsafe nodes[Int(node)].outMark != generation else { return }
    unsafe nodes[Int(node)].outMark = unsafe generation
    unsafe outgoing.append(
      CertifierEdge(
        to: node, kind: CertifierEdge.readWrite, keyCount: UInt32(truncatingIfNeeded: key.count), key: key.baseAddress))
  }

  /// A key was read at `snapshot`: the writers on both sides of it. Edges name the key as the writer has it, whose
  /// footprint is kept as long as the edge.
  private mutating func meetWriters(_ record: Int32, _ snapshot: UInt64, _ visible: UInt64) {
    var link = unsafe keys.firstWriter(record)
    var before: Int32 = -1
    while link >= 0 {
      let node = unsafe keys.node(link)
      if unsafe nodes[Int(node)].version > snapshot {
        if unsafe mutant != .ignoresInvisible || nodes[Int(node)].version <= visible {
          unsafe addOutgoing(node, keys.key(link))
        }
        break
      }
      before = link
      link = unsafe keys.next(link)
    }
    if before >= 0 { unsafe addIncoming(keys.node(before), CertifierEdge.writeRead, keys.key(before)) }
  }

  private mutating func findReads(_ footprint: borrowing Footprint, snapshot: UInt64, visible: UInt64) {
    for index in unsafe 0..<footprint.points.count {
      let point = unsafe footprint.points[index]
      let record = unsafe keys.find(point.hash)
      if record >= 0 { unsafe meetWriters(record, snapshot, visible) }
      if unsafe !intervalWriters.isEmpty {
        for owner in unsafe intervalWriters { unsafe meetIntervalWriter(owner, point.keyBytes, snapshot) }
      }
    }
    guard unsafe mutant != .ignoresIntervals else { return }
    for index in unsafe 0..<footprint.intervals.count {
      let interval = unsafe footprint.intervals[index]
      unsafe keys.orderWriters()
      var position = unsafe keys.ordered.lowerBound(interval.lowerBytes, in: keys.records)
      while unsafe !keys.ordered.isEnd(position) {
        let record = unsafe keys.ordered.identifier(at: position)
        guard unsafe interval.reaches(keys.records.key(record)) else { break }
        unsafe meetWriters(Int32(bitPattern: record), snapshot, visible)
        position = unsafe keys.ordered.after(position)
      }
      for owner in unsafe intervalWriters {
        if unsafe Certifier.overlaps(interval, nodes[Int(owner.node)].footprint.writtenIntervals) {
          unsafe meet(writer: owner.node, interval.lowerBytes, snapshot)
        }
      }
    }
  }

  private mutating func meetIntervalWriter(_ owner: IntervalOwner, _ key: UnsafeRawBufferPointer, _ snapshot: UInt64) {
    let head = unsafe head(key)
    guard owner.lowest <= head && head <= owner.highest else { return }
    if unsafe Certifier.contains(nodes[Int(owner.node)].footprint.writtenIntervals, key) {
      unsafe meet(writer: owner.node, key, snapshot)
    }
  }

  private mutating func meet(writer node: Int32, _ key: UnsafeRawBufferPointer, _ snapshot: UInt64) {
    if unsafe nodes[Int(node)].version > snapshot { unsafe addOutgoing(node, key) }
    // A contracted node has members on both sides of its newest version.
    if unsafe nodes[Int(node)].version <= snapshot || nodes[Int(node)].isContracted {
      unsafe addIncoming(node, CertifierEdge.writeRead, key)
    }
  }

  private mutating func findWrites(_ footprint: borrowing Footprint, snapshot: UInt64) {
    for index in unsafe 0..<footprint.written.count {
      let key = unsafe footprint.written[index]
      let record = unsafe keys.find(key.hash)
      if record >= 0 {
        let last = unsafe keys.lastWriter(record)
        if last >= 0 { unsafe addIncoming(keys.node(last), CertifierEdge.writeWrite, key.keyBytes) }
        var link = unsafe keys.firstReader(record)
        while link >= 0 {
          unsafe addReader(keys.node(link), key.keyBytes, snapshot)
          link = unsafe keys.next(link)
        }
      }
      let head = unsafe head(key.keyBytes)
      if unsafe !intervalReaders.isEmpty {
        unsafe readers.removeAll()
        unsafe intervalReaders.forEachOwner(of: key.keyBytes) { unsafe readers.append($0) }
        for position in unsafe 0..<readers.count { unsafe addReader(readers[position], key.keyBytes, snapshot) }
      }
      for owner in unsafe intervalWriters where owner.lowest <= head && head <= owner.highest {
        if unsafe Certifier.contains(nodes[Int(owner.node)].footprint.writtenIntervals, key.keyBytes) {
          unsafe addIncoming(owner.node, CertifierEdge.writeWrite, key.keyBytes)
        }
      }
    }
    for index in unsafe 0..<footprint.writtenIntervals.count {
      unsafe findWrites(of: footprint.writtenIntervals[index], snapshot: snapshot)
    }
  }

  private mutating func addReader(_ node: Int32, _ key: UnsafeRawBufferPointer, _ snapshot: UInt64) {
    if unsafe mutant == .ignoresEarlierReaders {
      let version = unsafe nodes[Int(node)].version
      if version > 0 && version <= snapshot { return }
    }
    unsafe addIncoming(node, CertifierEdge.readWrite, key)
  }

  /// An interval was deleted: rare, and looks at every node.
  private mutating func findWrites(of interval: FootprintInterval, snapshot: UInt64) {
    for index in unsafe nodes.indices where unsafe nodes[index].isKept {
      let hasRead =
        unsafe Certifier.touches(interval, nodes[index].footprint.points)
        || Certifier.overlaps(interval, nodes[index].footprint.intervals)
      if hasRead { unsafe addReader(Int32(index), interval.lowerBytes, snapshot) }
      let hasWritten =
        unsafe Certifier.touches(interval, nodes[index].footprint.written)
        || Certifier.overlaps(interval, nodes[index].footprint.writtenIntervals)
      if hasWritten { unsafe addIncoming(Int32(index), CertifierEdge.writeWrite, interval.lowerBytes) }
    }
  }

  /// Whether sorted, disjoint intervals contain `key`.
  @inline(__always)
  private static func contains(_ intervals: RawList<FootprintInterval>, _ key: UnsafeRawBufferPointer) -> Bool {
    let index = unsafe Footprint.firstReaching(key, intervals)
    return unsafe index < intervals.count && order(intervals.pointer(index).pointee.lowerBytes, key) <= 0
  }

  /// Whether one of sorted, disjoint intervals shares a key with `interval`.
  private static func overlaps(_ interval: FootprintInterval, _ others: RawList<FootprintInterval>) -> Bool {
    let index = unsafe Footprint.firstReaching(interval.lowerBytes, others)
    return unsafe index < others.count && interval.reaches(others.pointer(index).pointee.lowerBytes)
  }

  private static func touches(_ interval: FootprintInterval, _ keys: borrowing RawList<FootprintKey>) -> Bool {
    for index in unsafe 0..<keys.count where unsafe interval.contains(keys.pointer(index).pointee.keyBytes) {
      return true
    }
    return false
  }

  // MARK: Searching

  /// Whether a node of `outgoing` reaches one of `incoming`: breadth first, so that the cycle told is a shortest one.
  /// Strict: or one that comes before it in time.
  private mutating func search(_ snapshot: UInt64) -> Verdict {
    var oldest = 0
    var oldestVersion = UInt64.max
    for index in unsafe 0..<outgoing.count {
      let edge = unsafe outgoing[index]
      unsafe nodes[Int(edge.to)].visitMark = unsafe generation
      unsafe queue.append(SearchStep(node: edge.to, parent: -1, edge: edge))
    }
    var next = 0
    while unsafe next < queue.count {
      let node = unsafe Int(queue[next].node)
      if unsafe nodes[node].inMark == generation { return unsafe .cycle(edges: path(to: next)) }
      if unsafe next >= searchBudget { return unsafe .undecided }
      if unsafe nodes[node].version > 0, unsafe nodes[node].oldestVersion < oldestVersion {
        oldestVersion = unsafe nodes[node].oldestVersion
        oldest = next
      }
      if unsafe mutant != .searchesOneStep {
        for index in unsafe 0..<nodes[node].edges.count {
          let edge = unsafe nodes[node].edges[index]
          guard unsafe nodes[Int(edge.to)].visitMark != generation else { continue }
          unsafe nodes[Int(edge.to)].visitMark = unsafe generation
          unsafe queue.append(SearchStep(node: edge.to, parent: Int32(next), edge: edge))
        }
      }
      next += 1
    }
    return unsafe isStrict ? compareTimes(snapshot, oldest, oldestVersion) : .pass
  }

  /// Whether what was found by the search at `oldest` lies in the snapshot of the certified transaction, or of one that must
  /// come before it.
  private func compareTimes(_ snapshot: UInt64, _ oldest: Int, _ oldestVersion: UInt64) -> Verdict {
    let node = unsafe Int(queue[oldest].node)
    let time = unsafe CertifierEdge(to: -1, kind: CertifierEdge.realTime, keyCount: 0, key: nil)
    if oldestVersion <= snapshot {
      return unsafe .cycle(edges: path(to: oldest, closing: [(node, -1, time)]))
    }
    for index in unsafe 0..<incoming.count {
      let before = unsafe Int(incoming[index].to)
      guard unsafe nodes[before].reach >= oldestVersion else { continue }
      return unsafe .cycle(edges: path(to: oldest, closing: [(before, -1, incoming[index]), (node, before, time)]))
    }
    return unsafe .pass
  }

  /// Strict: what the new node leads to is led to by all that lead to it. `queue` is what the search has found.
  mutating func handDown(_ reach: UInt64) {
    for index in unsafe 0..<queue.count {
      let node = unsafe Int(queue[index].node)
      unsafe nodes[node].reach = unsafe max(nodes[node].reach, reach)
    }
  }

  /// The cycle from the certified transaction (-1) and back; `closing` is its end, the last edge first.
  private func path(
    to last: Int, closing: [(from: Int, to: Int, edge: CertifierEdge)]? = nil
  ) -> [(from: Int, to: Int, edge: CertifierEdge)] {
    var result: [(from: Int, to: Int, edge: CertifierEdge)] = unsafe closing ?? []
    let end = unsafe Int(queue[last].node)
    if unsafe closing == nil {
      for index in unsafe 0..<incoming.count where unsafe Int(incoming[index].to) == end {
        unsafe result.append((end, -1, incoming[index]))
      }
    }
    var step = Int32(last)
    while step >= 0 {
      let current = unsafe queue[Int(step)]
      let from = unsafe current.parent >= 0 ? Int(queue[Int(current.parent)].node) : -1
      unsafe result.append((from, Int(current.node), current.edge))
      step = unsafe current.parent
    }
    return unsafe result.reversed()
  }
}
