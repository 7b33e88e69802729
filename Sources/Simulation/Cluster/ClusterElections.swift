// Elections by themselves: how many rounds, and how long.

import Paxos

/// How a leader came about.
package struct ElectionSample: Sendable {
  /// Ballots campaigned with, the winning one included.
  package var rounds: UInt64
  /// Simulated, from the moment the old leader was lost.
  package var ticks: UInt64
}

/// The partial partitions that are known to keep protocols without a leader (Omni-Paxos, §2).
package enum PartialPartition: CaseIterable, Sendable {
  /// Every link is down but those of one node, which does not lead.
  case quorumLoss
  /// As before, and that node's log is behind.
  case constrained
  /// Each node hears its neighbours only; the leader is at an end.
  case chained
}

extension ClusterSimulation {
  /// Loses the leader `count` times.
  package func measureElections(_ count: Int) throws(Violation) -> [ElectionSample] {
    var samples: [ElectionSample] = []
    healed = true
    while samples.count < count {
      // A slow link may have cost the last one its leadership.
      let old = try awaitLeader(within: 20_000_000)
      let round = old.replica?.ballot.round ?? 0
      stop(old)
      let begun = time
      let leader = try awaitLeader(within: 20_000_000)
      let won = leader.replica?.ballot.round ?? 0
      samples.append(ElectionSample(rounds: won - round, ticks: time - begun))
      start(old)
      try runOn(for: 600_000)
    }
    return samples
  }

  /// Partitions the cluster around a leader, and waits until a node that reaches a quorum leads.
  /// - Returns: how long that took, in microseconds.
  package func measurePartition(_ shape: PartialPartition) throws(Violation) -> UInt64 {
    healed = true
    let leader = try awaitLeader(within: 20_000_000)
    try runOn(for: 500_000)
    let others = nodes.indices.filter { $0 != leader.index }
    let hub = others[scheduleDice.below(others.count)]
    let begun: UInt64
    switch shape {
    case .constrained:
      // The hub misses what is chosen for a while; then only the hub connects.
      network.block(leader.index, hub, true)
      try runOn(for: 200_000)
      network.block(leader.index, hub, false)
      fallthrough
    case .quorumLoss:
      for i in nodes.indices {
        for j in nodes.indices where i != j && i != hub && j != hub { network.block(i, j, true) }
      }
      begun = time
      while true {
        try step()
        if nodes[hub].replica?.isLeader ?? false { return time - begun }
        if time > begun + 20_000_000 { throw violation("liveness: \(shape): \(state())") }
      }
    case .chained:
      let order = [leader.index] + others
      for (i, a) in order.enumerated() {
        for (j, b) in order.enumerated() where abs(i - j) > 1 { network.block(a, b, true) }
      }
      // There may be a leader all the time: what counts is the longest while without one that has a quorum.
      begun = time
      var good = time
      var longest: UInt64 = 0
      while time < begun + 5_000_000 {
        try step()
        let connected = order.enumerated().contains { position, index in
          guard let replica = nodes[index].replica, replica.isLeader else { return false }
          let neighbours = (position == 0 || position == order.count - 1 ? 1 : 2) + 1
          return neighbours >= replica.configuration.replicationQuorum
        }
        if connected { good = time }
        longest = max(longest, time - good)
      }
      return longest
    }
  }

  private func currentLeader() -> ClusterNode? { nodes.first { $0.replica?.isLeader ?? false } }

  private func awaitLeader(within ticks: UInt64) throws(Violation) -> ClusterNode {
    let end = time + ticks
    while true {
      if let leader = currentLeader() { return leader }
      if time > end { throw violation("liveness: nobody leads; \(state())") }
      try step()
    }
  }

  private func runOn(for ticks: UInt64) throws(Violation) {
    let end = time + ticks
    while time < end { try step() }
  }
}
