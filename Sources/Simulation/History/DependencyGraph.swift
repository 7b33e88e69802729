// Adya's graph of transactions, and the search for cycles in it.
//
//   ww   the next writer of a key after this one          wr   who read what this one wrote
//   rw   who wrote over what this one read                rt   who began after this one was known to be over
//
// rt would be n² edges. Instead there is a chain of barriers, one for each end, in the order of time: a transaction leads to
// its end's barrier, a barrier to the next one, and the last barrier before a transaction's beginning to that transaction.
//
// Snapshot isolation with snapshots that are not older than what was acknowledged (strong SI) forbids exactly the cycles
// without two rw edges in a row (Cerone, Gotsman, "Analysing Snapshot Isolation", 2016). They are found as plain cycles of a
// graph in which each transaction is there twice: as it is reached by rw, when no rw may follow, and as it is reached by
// anything else. Strict serializability forbids all cycles.

/// A graph of transactions.
struct DependencyGraph {
  enum Kind: Int, CaseIterable {
    case ww, wr, rw, rt
    var name: String { ["ww", "wr", "rw", "rt"][rawValue] }
  }

  struct Edge {
    var from: Int32
    var to: Int32
    var kind: Kind
    /// The key for which it is there; -1 without one.
    var key: Int
  }

  let count: Int
  private(set) var edges: [Edge] = []
  private var barriers = 0

  init(count: Int) { self.count = count }

  mutating func add(_ from: Int, _ to: Int, _ kind: Kind, key: Int) {
    if from != to { edges.append(Edge(from: Int32(from), to: Int32(to), kind: kind, key: key)) }
  }

  /// Adds the edges of real time among transactions with a beginning and, where it is known, an end.
  mutating func addRealTime(_ spans: [(index: Int, start: UInt64, end: UInt64?)]) {
    let ended = spans.filter { $0.end != nil }.sorted { $0.end! < $1.end! }
    let first = count + barriers
    func put(_ from: Int, _ to: Int) {
      edges.append(Edge(from: Int32(from), to: Int32(to), kind: .rt, key: -1))
    }
    for (place, span) in ended.enumerated() {
      put(span.index, first + place)
      if place > 0 { put(first + place - 1, first + place) }
    }
    for span in spans {
      // How many ended before it began.
      var low = 0
      var high = ended.count
      while low < high {
        let middle = (low + high) / 2
        if ended[middle].end! < span.start { low = middle + 1 } else { high = middle }
      }
      if low > 0 { put(first + low - 1, span.index) }
    }
    barriers += ended.count
  }

  /// A step of a cycle: by which edge the transaction is left.
  struct Step {
    var transaction: Int
    var kind: Kind
    var key: Int
  }

  /// A short cycle over edges of these kinds, or nil.
  /// - Parameter snapshot: only cycles without two rw edges in a row.
  func cycle(_ kinds: Set<Kind>, snapshot: Bool = false) -> [Step]? {
    let adjacency = Adjacency(self, kinds, snapshot: snapshot)
    guard let component = adjacency.componentWithCycle() else { return nil }
    var best: [Int] = []
    for start in component.prefix(64) {
      if let path = adjacency.shortestCycle(through: start, within: component), best.isEmpty || path.count < best.count
      {
        best = path
      }
    }
    return steps(best, adjacency)
  }

  /// Names the transactions of a cycle; barriers vanish into the rt edge that they are made of.
  private func steps(_ path: [Int], _ adjacency: Adjacency) -> [Step] {
    var result: [Step] = []
    for (place, node) in path.enumerated() {
      let next = path[(place + 1) % path.count]
      let own = adjacency.transaction(node)
      guard own < count, let edge = adjacency.edge(node, next) else { continue }
      result.append(Step(transaction: own, kind: edge.kind, key: edge.key))
    }
    return result
  }

  /// The edges by their origin, doubled where the state counts.
  struct Adjacency {
    private let offsets: [Int32]
    private let targets: [Int32]
    private let sources: [Int32]
    private let graph: DependencyGraph
    private let total: Int
    private let nodes: Int

    init(_ graph: DependencyGraph, _ kinds: Set<Kind>, snapshot: Bool) {
      self.graph = graph
      total = graph.count + graph.barriers
      nodes = snapshot ? total + graph.count : total
      let shift = Int32(total)
      let transactions = Int32(graph.count)
      // (from, to, edge): the second half of the nodes are the transactions as reached by rw.
      var pairs: [(from: Int32, to: Int32, edge: Int32)] = []
      for (index, edge) in graph.edges.enumerated() where kinds.contains(edge.kind) {
        let place = Int32(index)
        guard snapshot else {
          pairs.append((edge.from, edge.to, place))
          continue
        }
        if edge.kind == .rw {
          pairs.append((edge.from, edge.to + shift, place))
        } else {
          pairs.append((edge.from, edge.to, place))
          if edge.from < transactions { pairs.append((edge.from + shift, edge.to, place)) }
        }
      }
      var offsets = [Int32](repeating: 0, count: nodes + 1)
      for pair in pairs { offsets[Int(pair.from) + 1] += 1 }
      for node in 0..<nodes { offsets[node + 1] += offsets[node] }
      var next = offsets
      var targets = [Int32](repeating: 0, count: pairs.count)
      var sources = targets
      for pair in pairs {
        let place = Int(next[Int(pair.from)])
        targets[place] = pair.to
        sources[place] = pair.edge
        next[Int(pair.from)] += 1
      }
      self.offsets = offsets
      self.targets = targets
      self.sources = sources
    }

    /// The transaction (or barrier) that a node stands for.
    func transaction(_ node: Int) -> Int { node < total ? node : node - total }

    func edge(_ from: Int, _ to: Int) -> Edge? {
      var found: Edge?
      for place in Int(offsets[from])..<Int(offsets[from + 1]) where Int(targets[place]) == to {
        let edge = graph.edges[Int(sources[place])]
        // The strongest reason names the anomaly: rt and rw only where there is no other.
        if found.map({ edge.kind.rawValue < $0.kind.rawValue }) ?? true { found = edge }
      }
      return found
    }

    /// Tarjan's algorithm without recursion: the first strongly connected component of more than one node.
    func componentWithCycle() -> [Int]? {
      var number = [Int32](repeating: 0, count: nodes)
      var low = number
      var isOpen = [Bool](repeating: false, count: nodes)
      var stack: [Int] = []
      var counter: Int32 = 0
      for root in 0..<nodes where number[root] == 0 {
        var calls: [(node: Int, next: Int)] = []
        func enter(_ node: Int) {
          counter += 1
          number[node] = counter
          low[node] = counter
          isOpen[node] = true
          stack.append(node)
          calls.append((node, Int(offsets[node])))
        }
        enter(root)
        while let top = calls.last {
          if top.next < Int(offsets[top.node + 1]) {
            calls[calls.count - 1].next += 1
            let target = Int(targets[top.next])
            if number[target] == 0 {
              enter(target)
            } else if isOpen[target] {
              low[top.node] = min(low[top.node], number[target])
            }
            continue
          }
          calls.removeLast()
          if let parent = calls.last { low[parent.node] = min(low[parent.node], low[top.node]) }
          guard low[top.node] == number[top.node] else { continue }
          var component: [Int] = []
          while let node = stack.popLast() {
            isOpen[node] = false
            component.append(node)
            if node == top.node { break }
          }
          if component.count > 1 { return component }
        }
      }
      return nil
    }

    /// Breadth first from `start` back to it.
    func shortestCycle(through start: Int, within component: [Int]) -> [Int]? {
      let members = Set(component)
      var parent: [Int: Int] = [:]
      var queue = [start]
      var head = 0
      while head < queue.count {
        let node = queue[head]
        head += 1
        for place in Int(offsets[node])..<Int(offsets[node + 1]) {
          let target = Int(targets[place])
          if target == start {
            var path = [node]
            while let before = parent[path[path.count - 1]] { path.append(before) }
            return path.reversed()
          }
          guard members.contains(target), parent[target] == nil else { continue }
          parent[target] = node
          queue.append(target)
        }
      }
      return nil
    }
  }
}
