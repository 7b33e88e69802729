import Paxos
import Testing

/// Three replicas whose clocks tick only when `nextTick` says so, as in production, on a network of one millisecond.
private final class SleepyCluster {
  static let names = (1...3).map { NodeID(UInt64($0)) }
  var replicas: [Replica] = []
  var now: Ticks = 10_000_000
  var wake: [Ticks]
  var down: Set<Int> = []
  /// Ticks, and batches of messages that came in at one moment from one node: what wakes a thread.
  var wakes = [0, 0, 0]
  private var mail: [(at: Ticks, messages: [(Message, [Entry])])] = []

  init() throws {
    let configuration = try Configuration(epoch: 1, voters: Self.names)
    wake = Array(repeating: now, count: 3)
    for node in Self.names {
      replicas.append(
        Replica(
          id: node, cluster: RareMomentTests.cluster, settings: Settings(),
          recovered: Recovered(founding: configuration, chain: RareMomentTests.root), seed: node.rawValue, now: now))
    }
  }

  var leader: Int? { replicas.indices.first { !down.contains($0) && replicas[$0].isLeader } }

  func run(for ticks: Ticks, _ each: () -> Void = {}) {
    let end = now + ticks
    while true {
      let next = min(
        mail.first?.at ?? .max, replicas.indices.filter { !down.contains($0) }.map { wake[$0] }.min() ?? .max)
      guard next <= end else { break }
      now = max(now, next)
      if let first = mail.first, first.at <= now {
        mail.removeFirst()
        let to = Int(first.messages[0].0.to.rawValue) - 1
        guard !down.contains(to) else { continue }
        wakes[to] += 1
        act(to) { replica, actions in
          for (message, records) in first.messages {
            _ = replica.receive(message, records: records, now: self.now, into: &actions)
          }
        }
      } else {
        for node in replicas.indices where wake[node] <= now && !down.contains(node) {
          wakes[node] += 1
          act(node) { $0.tick(now: self.now, into: &$1) }
          wake[node] = max(now + 10_000, replicas[node].nextTick(now: now))
        }
      }
      each()
    }
    now = end
  }

  private func act(_ node: Int, _ body: (inout Replica, inout Actions) -> Void) {
    var actions = Actions()
    let role = replicas[node].role
    body(&replicas[node], &actions)
    var sent: [[(Message, [Entry])]] = [[], [], []]
    func post(_ to: NodeID, _ content: Message.Content, _ records: [Entry]) {
      sent[Int(to.rawValue) - 1].append(
        (Message(cluster: RareMomentTests.cluster, from: Self.names[node], to: to, epoch: 1, content: content), records)
      )
    }
    while !actions.isEmpty {
      let round = actions
      actions = Actions()
      for notice in round.notices {
        let records = (0..<UInt64(notice.recordCount)).compactMap {
          replicas[node].entry(at: notice.firstRecord + $0)
        }
        post(notice.to, .notice(notice.notice), records)
      }
      for persist in round.persists {
        for vow in round.vows[persist.vows] { post(vow.to, .vow(vow.vow), []) }
        replicas[node].persisted(persist.token, now: now, into: &actions)
      }
      for build in round.builds {
        let chain = Chain(high: build.origin.round, low: build.slot)
        replicas[node].built(
          Entry(slot: build.slot, chain: chain, origin: build.origin, sizeBytes: 1, kind: build.kind), now: now,
          into: &actions)
      }
    }
    // As the driver does: a change of role, leader or members wakes the clock.
    if replicas[node].role != role { wake[node] = now }
    for messages in sent where !messages.isEmpty { mail.append((now + 1000, messages)) }
  }
}

@Suite struct IdleTests {
  /// Heartbeats keep the lease and the acquaintance of all with all, and wake few threads.
  @Test func anIdleClusterSleeps() throws {
    let cluster = try SleepyCluster()
    cluster.run(for: 3_000_000)
    let leader = try #require(cluster.leader)
    cluster.wakes = [0, 0, 0]
    cluster.run(for: 10_000_000) {
      #expect(cluster.replicas[leader].leaseHolds(applied: .max, now: cluster.now))
      for node in 0..<3 {
        for peer in cluster.replicas[node].peerStatus(now: cluster.now) {
          #expect(peer.heardAgo.map { $0 <= 405_000 } == true)
        }
      }
    }
    // A second of the leader: 10 ticks and 20 answers; of a follower: 10 heartbeats, 5 of the other follower, 5 ticks.
    #expect(cluster.wakes[leader] <= 330)
    for node in 0..<3 where node != leader { #expect(cluster.wakes[node] <= 220) }
    #expect(cluster.leader == leader && cluster.replicas[leader].ballot.round == 1)
  }

  /// When the leader falls silent, whoever is left knows of the other in time to campaign.
  @Test(arguments: 0..<20) func aSilentLeaderIsReplaced(moment: UInt64) throws {
    let cluster = try SleepyCluster()
    cluster.run(for: 3_000_000 + moment * 10_000)
    let first = try #require(cluster.leader)
    cluster.down = [first]
    var took: Ticks?
    let since = cluster.now
    cluster.run(for: 1_000_000) {
      if took == nil, let leader = cluster.leader, cluster.replicas[leader].chosen > cluster.replicas[first].chosen {
        took = cluster.now - since
      }
    }
    #expect(try #require(took) <= 560_000)
  }
}
