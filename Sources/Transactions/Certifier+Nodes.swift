internal import Encoding

// The graph's growth and pruning.

extension Certifier {
  // MARK: Adding

  /// Takes in the transaction that was certified last; `version` is 0 if it wrote nothing. Its footprint is taken over.
  mutating func commit(
    id: UInt64, session: UInt64, snapshot: UInt64, version: UInt64, footprint: inout Footprint
  ) {
    // Nobody points at it, and to a reader nobody ever will; but its snapshot may count.
    let isAwaited = unsafe isStrict && version == 0 && (active.oldest.map { $0 < snapshot } ?? false)
    if unsafe version == 0 && incoming.isEmpty && !isAwaited { return }
    let index = unsafe takeNode()
    let node = Int(index)
    unsafe nodes[node].id = id
    unsafe nodes[node].session = session
    unsafe nodes[node].snapshot = snapshot
    unsafe nodes[node].version = version
    unsafe nodes[node].oldestVersion = version
    unsafe nodes[node].isOld = version == 0 && !isAwaited
    unsafe nodes[node].incoming = unsafe incoming.count
    if unsafe isStrict { unsafe takeReach(node) }
    unsafe swap(&nodes[node].footprint, &footprint)
    if unsafe mutant == .forgetsReadsAtCommit { unsafe nodes[node].footprint.removeReads() }
    for position in unsafe 0..<outgoing.count {
      unsafe nodes[node].edges.append(outgoing[position])
      unsafe nodes[Int(outgoing[position].to)].incoming += 1
    }
    for position in unsafe 0..<incoming.count {
      var edge = unsafe incoming[position]
      let from = unsafe Int(edge.to)
      unsafe edge.to = index
      unsafe nodes[from].edges.append(edge)
      unsafe nodes[from].sizeBytes += MemoryLayout<CertifierEdge>.stride
      unsafe sizeBytes += MemoryLayout<CertifierEdge>.stride
    }
    unsafe link(index)
    if version > 0 { unsafe recent.append(index) }
    if isAwaited { unsafe recentReaders.append(index) }
    unsafe keptCount += 1
    unsafe account(index)
    if unsafe sizeBytes > sizeLimitBytes { unsafe contract() }
  }

  /// The new node's snapshot and those of all that lead to it; what it leads to hears of them.
  private mutating func takeReach(_ node: Int) {
    var reach = unsafe nodes[node].snapshot
    for position in unsafe 0..<incoming.count {
      reach = unsafe max(reach, nodes[Int(incoming[position].to)].reach)
    }
    unsafe nodes[node].reach = reach
    unsafe handDown(reach)
  }

  private mutating func takeNode() -> Int32 {
    if let free = unsafe freeNodes.popLast() {
      unsafe nodes[Int(free)].isKept = true
      return free
    }
    unsafe nodes.append(CertifierNode())
    unsafe nodes[nodes.count - 1].isKept = true
    return unsafe Int32(nodes.count - 1)
  }

  /// Counts the node's memory: its footprint, its links, and its edges as of now.
  private mutating func account(_ index: Int32) {
    let node = Int(index)
    unsafe nodes[node].sizeBytes =
      unsafe MemoryLayout<CertifierNode>.stride + nodes[node].footprint.sizeBytes + nodes[node].links.count * 96
      + nodes[node].edges.count * MemoryLayout<CertifierEdge>.stride
    unsafe sizeBytes += nodes[node].sizeBytes
  }

  private mutating func link(_ index: Int32) {
    let node = Int(index)
    for position in unsafe 0..<nodes[node].footprint.points.count {
      let link = unsafe keys.add(nodes[node].footprint.points[position], node: index, isWriter: false)
      unsafe nodes[node].links.append(link)
    }
    for position in unsafe 0..<nodes[node].footprint.written.count {
      let link = unsafe keys.add(nodes[node].footprint.written[position], node: index, isWriter: true)
      unsafe nodes[node].links.append(link)
    }
    for position in unsafe 0..<nodes[node].footprint.intervals.count {
      unsafe intervalReaders.add(nodes[node].footprint.intervals[position], index)
    }
    if let owner = unsafe Certifier.owner(index, nodes[node].footprint.writtenIntervals) {
      unsafe intervalWriters.append(owner)
    }
  }

  private static func owner(_ node: Int32, _ intervals: borrowing RawList<FootprintInterval>) -> IntervalOwner? {
    guard unsafe !intervals.isEmpty else { return nil }
    let last = unsafe intervals[intervals.count - 1]
    return unsafe IntervalOwner(
      lowest: head(intervals[0].lowerBytes), highest: last.isUnbounded ? .max : head(last.upperBytes), node: node)
  }

  // MARK: Pruning

  /// Lets go of what no future cycle can contain. `oldest` is the oldest snapshot that an open transaction has or a new one
  /// could get.
  mutating func prune(oldest: UInt64) {
    unsafe pruneReaders(oldest: oldest)
    while unsafe recentHead < recent.count {
      let index = unsafe recent[recentHead]
      guard unsafe nodes[Int(index)].version <= oldest else { break }
      unsafe recentHead += 1
      unsafe nodes[Int(index)].isOld = true
      if unsafe nodes[Int(index)].incoming == 0 || mutant == .prunesPointedAt { unsafe drop(index) }
    }
    if unsafe recentHead == recent.count {
      unsafe recent.removeAll(keepingCapacity: true)
      unsafe recentHead = 0
    } else if unsafe recentHead > 256 && recentHead > recent.count / 2 {
      unsafe recent.removeFirst(recentHead)
      unsafe recentHead = 0
    }
  }

  private mutating func pruneReaders(oldest: UInt64) {
    var count = 0
    while unsafe count < recentReaders.count, unsafe nodes[Int(recentReaders[count])].snapshot <= oldest {
      let index = unsafe recentReaders[count]
      count += 1
      unsafe nodes[Int(index)].isOld = true
      if unsafe nodes[Int(index)].incoming == 0 { unsafe drop(index) }
    }
    if count > 0 { unsafe recentReaders.removeFirst(count) }
  }

  /// Drops a node, and those that only it kept.
  private mutating func drop(_ first: Int32) {
    var pending = [first]
    while let index = pending.popLast() {
      let node = Int(index)
      if unsafe mutant == .prunesPointedAt { unsafe forgetEdges(to: index) }
      for position in unsafe 0..<nodes[node].edges.count {
        let target = unsafe Int(nodes[node].edges[position].to)
        unsafe nodes[target].incoming -= 1
        if unsafe nodes[target].incoming == 0 && nodes[target].isOld { pending.append(Int32(target)) }
      }
      unsafe remove(index)
    }
  }

  /// The log failed after it took this version, for good: it was never visible, and nobody may be held up by it.
  mutating func discard(version: UInt64) {
    guard let place = unsafe recent[recentHead...].firstIndex(where: { unsafe nodes[Int($0)].version == version })
    else { return }
    let index = unsafe recent.remove(at: place)
    unsafe forgetEdges(to: index)
    unsafe nodes[Int(index)].incoming = 0
    unsafe drop(index)
  }

  private mutating func forgetEdges(to index: Int32) {
    for node in unsafe nodes.indices where unsafe nodes[node].isKept {
      for position in unsafe (0..<nodes[node].edges.count).reversed()
      where unsafe nodes[node].edges[position].to == index {
        unsafe nodes[node].edges.swapRemove(at: position)
      }
    }
  }

  /// Takes a node out of everything but the edges.
  private mutating func remove(_ index: Int32) {
    let node = Int(index)
    unsafe sizeBytes -= nodes[node].sizeBytes
    unsafe unlink(index)
    // What is small goes with the node to the next transaction that commits, which gives the memory back on its own thread
    // and not under the latch.
    unsafe nodes[node].footprint.recycle(keepsSmall: freeNodes.count < 64)
    unsafe nodes[node].edges.removeAll()
    unsafe nodes[node].isKept = false
    unsafe nodes[node].isOld = false
    unsafe nodes[node].isContracted = false
    unsafe nodes[node].incoming = 0
    if unsafe contracted == index { unsafe contracted = -1 }
    unsafe keptCount -= 1
    unsafe freeNodes.append(index)
  }

  private mutating func unlink(_ index: Int32) {
    let node = Int(index)
    for position in unsafe 0..<nodes[node].links.count { unsafe keys.remove(nodes[node].links[position]) }
    unsafe nodes[node].links.removeAll()
    for position in unsafe 0..<nodes[node].footprint.intervals.count {
      unsafe intervalReaders.remove(nodes[node].footprint.intervals[position], index)
    }
    if unsafe !nodes[node].footprint.writtenIntervals.isEmpty { unsafe intervalWriters.removeAll { $0.node == index } }
  }

  // MARK: Contracting

  /// Makes one node of the oldest half.
  private mutating func contract() {
    unsafe contractions += 1
    let kept = unsafe nodes.indices.filter { unsafe nodes[$0].isKept }.sorted {
      unsafe nodes[$0].version < nodes[$1].version
    }
    var members = Set(kept.prefix(max(1, kept.count / 2)))
    if unsafe contracted >= 0 { unsafe members.insert(Int(contracted)) }
    let target =
      unsafe contracted >= 0 ? Int(contracted) : members.min { unsafe nodes[$0].version < nodes[$1].version } ?? kept[0]
    var footprint = unsafe Footprint()
    var version: UInt64 = 0
    var reach: UInt64 = 0
    var oldestVersion = UInt64.max
    var targets = Set<Int32>()
    for member in members {
      version = unsafe max(version, nodes[member].version)
      reach = unsafe max(reach, nodes[member].reach)
      if unsafe nodes[member].version > 0 { oldestVersion = unsafe min(oldestVersion, nodes[member].oldestVersion) }
      unsafe footprint.absorb(nodes[member].footprint)
      for position in unsafe 0..<nodes[member].edges.count {
        let to = unsafe nodes[member].edges[position].to
        unsafe nodes[Int(to)].incoming -= 1
        if !members.contains(Int(to)) { targets.insert(to) }
      }
      unsafe sizeBytes -= nodes[member].sizeBytes
      unsafe unlink(Int32(member))
      unsafe nodes[member].edges.removeAll()
      unsafe nodes[member].footprint.recycle()
    }
    // What still points at members points at the one node from now on.
    var pointing = 0
    for node in kept where !members.contains(node) {
      var points = false
      for position in unsafe (0..<nodes[node].edges.count).reversed()
      where unsafe members.contains(Int(nodes[node].edges[position].to)) {
        unsafe nodes[node].edges.swapRemove(at: position)
        points = true
      }
      guard points else { continue }
      pointing += 1
      unsafe nodes[node].edges.append(
        CertifierEdge(to: Int32(target), kind: CertifierEdge.readWrite, keyCount: 0, key: nil))
    }
    unsafe recentReaders.removeAll { members.contains(Int($0)) }
    unsafe recent = unsafe recent[recentHead...].filter { !members.contains(Int($0)) }
    unsafe recentHead = 0
    for member in members where member != target {
      unsafe nodes[member].isKept = false
      unsafe nodes[member].isOld = false
      unsafe nodes[member].incoming = 0
      unsafe keptCount -= 1
      unsafe freeNodes.append(Int32(member))
    }
    unsafe footprint.coarsenAll(to: max(16, min(1024, sizeLimitBytes / 1024)))
    unsafe nodes[target].footprint.free()
    unsafe nodes[target].footprint = unsafe footprint
    unsafe nodes[target].version = version
    unsafe nodes[target].reach = reach
    unsafe nodes[target].oldestVersion = version == 0 ? 0 : oldestVersion
    unsafe nodes[target].isContracted = true
    unsafe nodes[target].isOld = version == 0
    unsafe nodes[target].incoming = pointing
    for to in targets.sorted() {
      unsafe nodes[target].edges.append(CertifierEdge(to: to, kind: CertifierEdge.readWrite, keyCount: 0, key: nil))
      unsafe nodes[Int(to)].incoming += 1
    }
    unsafe contracted = Int32(target)
    unsafe link(contracted)
    if version > 0 { unsafe recent.insert(contracted, at: 0) }
    unsafe account(contracted)
  }

  // MARK: Checking

  /// The invariants that every change must keep; for tests. O(everything).
  func checkInvariants() {
    var incomingCounts = unsafe [Int](repeating: 0, count: nodes.count)
    var kept = 0
    for node in unsafe nodes.indices where unsafe nodes[node].isKept {
      kept += 1
      for position in unsafe 0..<nodes[node].edges.count {
        let to = unsafe Int(nodes[node].edges[position].to)
        unsafe precondition(nodes[to].isKept, "an edge leads to a node that is gone")
        incomingCounts[to] += 1
      }
    }
    unsafe precondition(kept == keptCount, "nodes are miscounted")
    for node in unsafe nodes.indices where unsafe nodes[node].isKept {
      unsafe precondition(nodes[node].incoming == incomingCounts[node], "edges are miscounted")
      unsafe precondition(
        !nodes[node].isOld || nodes[node].incoming > 0 || nodes[node].isContracted, "a node is kept for nothing")
    }
    if kept == 0 {
      unsafe precondition(keys.isEmpty && intervalReaders.isEmpty && intervalWriters.isEmpty && sizeBytes == 0)
    }
  }
}
