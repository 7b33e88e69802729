// Adya's graph of a history (Weak Consistency, 1999), and the cycles that a level forbids.
//
// Nodes are committed transactions by numbers of the caller's. All searches are linear but for read skew, which asks for
// every read-write edge whether its end leads back to its beginning. For that, transactions have a rank in which all
// write-write and write-read edges ascend (who writes: the version; who reads: the newest version read), so that the search
// from an edge's end stops at the rank of its beginning. Most read-write edges ascend, too, and need none.

struct DependencyGraph {
  enum Kind: Hashable { case writeWrite, writeRead, readWrite }
  struct Edge {
    var to: Int
    var kind: Kind
  }

  private var places: [Int: Int] = [:]
  private var ids: [Int] = []
  private var out: [[Edge]] = []
  private var ranks: [UInt64] = []

  /// A transaction. One that writes has its commit's version as its rank, one that only reads the newest version that it has
  /// read.
  mutating func add(_ id: Int, version: UInt64, isReader: Bool) {
    places[id] = ids.count
    ids.append(id)
    out.append([])
    ranks.append(version << 1 | (isReader ? 1 : 0))
  }

  mutating func connect(_ from: Int, _ to: Int, _ kind: Kind) {
    guard from != to, let from = places[from], let to = places[to] else { return }
    out[from].append(Edge(to: to, kind: kind))
  }

  /// The transactions of a cycle over edges of these kinds, or nil.
  func cycle(_ kinds: Set<Kind>) -> [Int]? {
    var state = [UInt8](repeating: 0, count: ids.count)
    for start in out.indices where state[start] == 0 {
      var stack = [(node: start, next: 0)]
      state[start] = 1
      while let top = stack.last {
        guard top.next < out[top.node].count else {
          state[top.node] = 2
          stack.removeLast()
          continue
        }
        stack[stack.count - 1].next += 1
        let edge = out[top.node][top.next]
        guard kinds.contains(edge.kind) else { continue }
        if state[edge.to] == 1 {
          return stack[stack.firstIndex { $0.node == edge.to }!...].map { ids[$0.node] }
        }
        if state[edge.to] == 0 {
          state[edge.to] = 1
          stack.append((edge.to, 0))
        }
      }
    }
    return nil
  }

  /// Read skew: a cycle with exactly one read-write edge. Also told is an edge that descends in rank: somebody read what
  /// was committed after himself.
  func readSkew() -> [Int]? {
    for (from, edges) in out.enumerated() {
      for edge in edges where edge.kind != .readWrite && ranks[edge.to] <= ranks[from] {
        return [ids[from], ids[edge.to]]
      }
    }
    var marks = [Int](repeating: -1, count: ids.count)
    var search = 0
    for (from, edges) in out.enumerated() {
      for edge in edges where edge.kind == .readWrite && ranks[edge.to] < ranks[from] {
        search += 1
        var open = [edge.to]
        while let node = open.popLast() {
          for next in out[node] where next.kind != .readWrite && marks[next.to] != search {
            if next.to == from { return [ids[from], ids[edge.to]] }
            guard ranks[next.to] < ranks[from] else { continue }
            marks[next.to] = search
            open.append(next.to)
          }
        }
      }
    }
    return nil
  }
}
