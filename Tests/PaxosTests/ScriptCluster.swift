// A few replicas on one table, driven by the words of a script. Messages are delivered in order and at once, writes
// complete at once, unless the script holds them back. Heartbeats are exchanged but not shown.

import Paxos
import Simulation

/// What a script says is wrong.
struct ScriptError: Error, CustomStringConvertible {
  var description: String
}

final class ScriptCluster {
  final class Node {
    let id: NodeID
    let settings: Settings
    let store: ModelStore
    var replica: Replica?
    var held = false
    var waiting: [(token: Token, vows: [VowEnvelope])] = []
    var life: UInt64 = 1
    init(id: NodeID, settings: Settings, store: ModelStore) {
      self.id = id
      self.settings = settings
      self.store = store
    }
  }

  private let cluster = ClusterID(high: 1, low: 1)
  private var genesis: Configuration?
  private(set) var nodes: [Node] = []
  private var queue: [(message: Message, records: [Entry], stop: Configuration?)] = []
  private var cut: Set<[UInt64]> = []
  private var now: Ticks = 10_000_000
  private var announced: [Chain: Configuration] = [:]
  private var text: [Chain: String] = [:]
  private var out: [String] = []
  private var nonce: UInt64 = 0

  // MARK: Words

  /// Carries one line out and returns what happened.
  func run(_ line: String) throws -> [String] {
    out = []
    let words = line.split(separator: " ").map(String.init)
    guard let verb = words.first else { return [] }
    var options: [String: String] = [:]
    var plain: [String] = []
    for word in words.dropFirst() {
      let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
      if parts.count == 2 { options[parts[0]] = parts[1] } else { plain.append(word) }
    }
    switch verb {
    case "cluster": try found(options)
    case "join": try join(plain)
    case "wait": try wait(plain)
    case "propose": try propose(plain)
    case "campaign": try input(plain) { $0.campaignNow(now: self.now, into: &$1) }
    case "cut": try link(plain, true)
    case "heal":
      cut.removeAll()
      settle()
    case "hold": try node(plain).held = true
    case "release": try release(node(plain), plain.count > 1 ? Int(plain[1]) : nil)
    case "crash": try crash(node(plain))
    case "restart": try restart(node(plain))
    case "damage": try damage(plain)
    case "forget": try node(plain).store.forgetBallots()
    case "checkpoint": try checkpoint(plain)
    case "transfer": try transfer(plain)
    case "reconfigure": try reconfigure(plain, options)
    case "read": try read(plain)
    case "lease": try lease(plain)
    case "log": for node in try some(plain) { show(node) }
    case "state": for node in try some(plain) { out.append("\(node.id): \(node.replica.map(describe) ?? "down")") }
    default: throw ScriptError(description: "unknown word '\(verb)'")
    }
    return out
  }

  private func node(_ plain: [String]) throws -> Node {
    guard let name = plain.first, name.hasPrefix("n"), let number = UInt64(name.dropFirst()),
      let node = nodes.first(where: { $0.id == NodeID(number) })
    else { throw ScriptError(description: "which node? \(plain)") }
    return node
  }

  private func some(_ plain: [String]) throws -> [Node] { plain.isEmpty ? nodes : [try node(plain)] }

  private func ids(_ list: String?) -> [NodeID] {
    (list ?? "").split(separator: ",").compactMap { UInt64($0) }.map { NodeID($0) }
  }

  private func found(_ options: [String: String]) throws {
    let configuration = try Configuration(
      epoch: 1, voters: ids(options["voters"] ?? "1,2,3"), witnesses: ids(options["witnesses"]),
      learners: ids(options["learners"]), electionQuorum: options["q1"].flatMap { Int($0) },
      replicationQuorum: options["q2"].flatMap { Int($0) })
    genesis = configuration
    for id in configuration.members { add(id, retained: UInt64(options["retain"] ?? "") ?? 1000) }
  }

  private func add(_ id: NodeID, retained: UInt64) {
    guard let genesis else { return }
    var settings = Settings()
    settings.electionJitter = 1
    settings.heartbeat = 50_000
    settings.caughtUpRounds = 2
    settings.retainedEntries = retained
    // The lowest number campaigns first.
    settings.priority = id.rawValue == 1 ? 3 : id.rawValue == 2 ? 2 : id.rawValue == 3 ? 1 : 0
    let store = ModelStore(founding: Recovered(founding: genesis, chain: .zero)) { [unowned self] in
      self.announced[$0]
    }
    let node = Node(id: id, settings: settings, store: store)
    nodes.append(node)
    start(node)
  }

  private func join(_ plain: [String]) throws {
    guard let name = plain.first, let number = UInt64(name.dropFirst()) else {
      throw ScriptError(description: "join nX")
    }
    add(NodeID(number), retained: 1000)
  }

  private func start(_ node: Node) {
    node.replica = Replica(
      id: node.id, cluster: cluster, settings: node.settings, recovered: node.store.recover(), seed: node.life,
      now: now)
    node.life += 1
  }

  private func wait(_ plain: [String]) throws {
    guard let ms = plain.first.flatMap({ UInt64($0) }), ms <= 100_000 else {
      throw ScriptError(description: "wait MS")
    }
    let end = now + ms * 1000
    while now < end {
      now += 10_000
      for node in nodes { act(node) { $0.tick(now: self.now, into: &$1) } }
      settle()
    }
  }

  private func input(_ plain: [String], _ body: @escaping (inout Replica, inout Actions) -> Void) throws {
    act(try node(plain), body)
    settle()
  }

  private func propose(_ plain: [String]) throws {
    let node = try node(plain)
    for word in plain.dropFirst() {
      guard let replica = node.replica else { throw ScriptError(description: "\(node.id) is down") }
      if let refusal = replica.proposalRefusal {
        out.append("\(node.id): refused, \(refusal)")
        continue
      }
      let entry = makeEntry(replica.last + 1, replica.lastChain, replica.ballot, .command, word)
      act(node) { _ = $0.propose(entry, now: self.now, into: &$1) }
      settle()
    }
  }

  private func makeEntry(
    _ slot: UInt64, _ previous: Chain, _ origin: Ballot, _ kind: EntryKind, _ word: String
  ) -> Entry {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in Array("\(previous) \(slot) \(origin) \(word)".utf8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    let chain = Chain(high: 1, low: hash)
    text[chain] = word
    return Entry(slot: slot, chain: chain, origin: origin, sizeBytes: 1, kind: kind)
  }

  private func link(_ plain: [String], _ value: Bool) throws {
    guard plain.count == 2 || plain.count == 3 else { throw ScriptError(description: "cut nA nB, or cut nA > nB") }
    let a = try node([plain[0]]).id.rawValue
    let b = try node([plain[plain.count - 1]]).id.rawValue
    cut.insert([a, b])
    if plain.count == 2 { cut.insert([b, a]) }
  }

  private func crash(_ node: Node) {
    node.waiting.removeAll()
    node.store.dropWaiting()
    node.replica = nil
    node.held = false
  }

  private func restart(_ node: Node) {
    start(node)
    out.append("\(node.id): \(node.replica.map(describe) ?? "down")")
  }

  private func damage(_ plain: [String]) throws {
    guard plain.count >= 2, let slot = UInt64(plain[1]) else { throw ScriptError(description: "damage nX SLOT [tail]") }
    try node(plain).store.damage(slot: slot, tail: plain.contains("tail"))
  }

  private func checkpoint(_ plain: [String]) throws {
    let node = try node(plain)
    guard let replica = node.replica, let checkpoint = replica.checkpoint(at: replica.chosen) else { return }
    node.store.saveCheckpoint(checkpoint)
    act(node) { $0.checkpointed(checkpoint.point, now: self.now, into: &$1) }
    out.append("\(node.id): checkpoint at \(checkpoint.point.slot)")
    settle()
  }

  private func transfer(_ plain: [String]) throws {
    guard plain.count == 2 else { throw ScriptError(description: "transfer nFROM nTO") }
    let target = try node([plain[1]]).id
    let node = try node(plain)
    act(node) { replica, actions in
      if let refusal = replica.transferLeadership(to: target, now: self.now, into: &actions) {
        self.out.append("\(node.id): refused, \(refusal)")
      }
    }
    settle()
  }

  private func reconfigure(_ plain: [String], _ options: [String: String]) throws {
    let node = try node(plain)
    guard let epoch = node.replica?.configuration.epoch else { return }
    let next = try Configuration(
      epoch: epoch + 1, voters: ids(options["voters"]), witnesses: ids(options["witnesses"]),
      learners: ids(options["learners"]))
    act(node) { replica, actions in
      if let refusal = replica.reconfigure(to: next, now: self.now, into: &actions) {
        self.out.append("\(node.id): refused, \(refusal)")
      }
    }
    settle()
  }

  private func read(_ plain: [String]) throws {
    nonce += 1
    let nonce = nonce
    let node = try node(plain)
    act(node) { replica, actions in
      if let refusal = replica.read(nonce: nonce, now: self.now, into: &actions) {
        self.out.append("\(node.id): refused, \(refusal)")
      }
    }
    settle()
  }

  private func lease(_ plain: [String]) throws {
    for node in try some(plain) {
      let holds = node.replica.map { $0.leaseHolds(applied: $0.chosen, now: now) } ?? false
      out.append("\(node.id): \(holds ? "holds the lease" : "no lease")")
    }
  }

  private func show(_ node: Node) {
    guard let replica = node.replica else {
      out.append("\(node.id): down")
      return
    }
    var line = ""
    var slot = replica.indexBase.slot + 1
    while slot <= replica.last {
      let word = replica.chain(at: slot).flatMap { text[$0] } ?? "?"
      line += " \(slot):\(word)\(replica.damaged.contains(slot) ? "!" : "")"
      if slot == replica.chosen { line += " |" }
      slot += 1
    }
    out.append("\(node.id): accepted \(replica.accepted);\(line)")
  }

  // MARK: Driving

  private func act(_ node: Node, _ body: (inout Replica, inout Actions) -> Void) {
    guard var replica = node.replica else { return }
    let before = (replica.role, replica.configuration.epoch)
    var actions = Actions()
    body(&replica, &actions)
    while true {
      node.replica = replica
      let round = actions
      actions = Actions()
      carryOut(round, node, &replica, &actions)
      if actions.isEmpty { break }
    }
    node.replica = replica
    if let broken = replica.checkInvariants() { out.append("\(node.id): BROKEN \(broken)") }
    if replica.role != before.0 {
      out.append("\(node.id) is \(replica.role)\(replica.role == .leader ? " of \(replica.ballot)" : "")")
    }
    if replica.configuration.epoch != before.1 {
      out.append("\(node.id) enters epoch \(replica.configuration.epoch)")
    }
  }

  private func carryOut(_ round: Actions, _ node: Node, _ replica: inout Replica, _ actions: inout Actions) {
    for persist in round.persists {
      node.store.submit(persist, entries: round.entries[persist.entries])
      node.waiting.append((persist.token, Array(round.vows[persist.vows])))
    }
    for notice in round.notices { post(node, replica, notice) }
    for build in round.builds {
      let word = build.configuration.map { "stop(\($0.epoch))" } ?? "leadership"
      let entry = makeEntry(build.slot, build.previous, build.origin, build.kind, word)
      if let configuration = build.configuration { announced[entry.chain] = configuration }
      replica.built(entry, stop: build.configuration, now: now, into: &actions)
    }
    if let apply = round.apply { out.append("\(node.id) applies through \(apply)") }
    for read in round.reads { out.append("\(node.id) reads at \(read.slot.map { "\($0)" } ?? "nothing: ask again")") }
    if let truncate = round.truncate {
      node.store.truncate(truncate)
      out.append("\(node.id) truncates through \(truncate.point.slot)")
    }
    if let wanted = round.wanted, let source = nodes.first(where: { $0.id == wanted.from }) {
      if replica.install(source.store.checkpoint, now: now, into: &actions) {
        out.append("\(node.id) installs the checkpoint at \(source.store.checkpoint.point.slot) of \(source.id)")
      }
    }
  }

  private func post(_ node: Node, _ replica: Replica, _ envelope: NoticeEnvelope) {
    var records: [Entry] = []
    var stop: Configuration?
    for k in 0..<UInt64(envelope.recordCount) {
      let slot = envelope.firstRecord + k
      guard let entry = replica.entry(at: slot) ?? node.store.durableEntry(at: slot) else { break }
      records.append(entry)
      if entry.kind == .stop {
        stop = announced[entry.chain]
        break
      }
    }
    if envelope.recordCount > 0, records.isEmpty { return }
    let message = Message(
      cluster: cluster, from: node.id, to: envelope.to, epoch: envelope.epoch, content: .notice(envelope.notice))
    queue.append((message, records, stop))
  }

  private func release(_ node: Node, _ count: Int?) {
    if count == nil { node.held = false }
    complete(node, count ?? node.waiting.count)
    settle()
  }

  private func complete(_ node: Node, _ count: Int) {
    for _ in 0..<min(count, node.waiting.count) {
      let write = node.waiting.removeFirst()
      node.store.complete(through: write.token.sequence)
      for vow in write.vows {
        let message = Message(
          cluster: cluster, from: node.id, to: vow.to, epoch: vow.epoch, content: .vow(vow.vow))
        queue.append((message, [], nil))
      }
      act(node) { $0.persisted(write.token, now: self.now, into: &$1) }
    }
  }

  /// Writes complete and messages arrive until nothing is left.
  private func settle() {
    var steps = 0
    while steps < 100_000 {
      steps += 1
      if let node = nodes.first(where: { !$0.held && !$0.waiting.isEmpty }) {
        complete(node, 1)
        continue
      }
      guard !queue.isEmpty else { return }
      let (message, records, stop) = queue.removeFirst()
      let lost = cut.contains([message.from.rawValue, message.to.rawValue])
      let target = nodes.first { $0.id == message.to }
      show(message, records, lost || target?.replica == nil)
      guard !lost, let target else { continue }
      act(target) { $0.receive(message, records: records, stop: stop, now: self.now, into: &$1) }
    }
    out.append("it never ends")
  }

  private func show(_ message: Message, _ records: [Entry], _ lost: Bool) {
    if case .notice(let notice) = message.content {
      switch notice {
      case .heartbeat, .heartbeatAck: return
      default: break
      }
    }
    let words = records.compactMap { text[$0.chain] }.joined(separator: " ")
    out.append(
      "\(message.from) → \(message.to) \(describe(message, records))\(words.isEmpty ? "" : ": \(words)")\(lost ? " (lost)" : "")"
    )
  }
}
