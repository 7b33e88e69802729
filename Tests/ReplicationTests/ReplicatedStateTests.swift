import Encoding
import Foundation
import Log
import Paxos
import Platform
import Replication
import Synchronization
import Testing

/// A state that is a number: the hash of everything delivered. It can be made wrong.
final class NumberState: ReplicatedState {
  struct Contents {
    var slot = Slot.zero
    var version = Version.zero
    var number: UInt64 = 0
  }

  final class Pinned: PinnedState {
    let position: (slot: Slot, version: Version)
    let details: [UInt8]
    let files: [CheckpointFile]
    private let directory: String

    init(_ contents: Contents, _ directory: String) {
      position = (contents.slot, contents.version)
      details = [UInt8]("\(contents.number)".utf8)
      files = [CheckpointFile(name: "number-\(contents.number)", sizeBytes: UInt64(details.count))]
      self.directory = directory
    }

    func path(_ index: Int) -> String { "\(directory)/\(files[index].name)" }
  }

  final class Held: HeldState {
    private let contents: Contents
    init(_ contents: Contents) { self.contents = contents }
    func digest(while isLeft: () -> Bool) -> (digest: PartDigest, next: [UInt8])? {
      (PartDigest(version: contents.version.rawValue, keys: 1, low: contents.number, high: 0), [])
    }
  }

  let contents = Mutex(Contents())
  let isLeading = Atomic(false)
  private let directory: String

  init(_ directory: String) { self.directory = directory }

  var number: UInt64 { contents.withLock { $0.number } }
  func spoil() { contents.withLock { $0.number ^= 1 } }

  func deliver(_ group: ChosenGroup) throws(DeliveryError) {
    let hash = Hash128(of: group.payload).low
    contents.withLock { contents in
      contents.number = contents.number &* 31 &+ hash
      contents.slot = group.slot
      contents.version = group.firstVersion.advanced(by: UInt64(group.transactionCount - 1))
    }
  }

  func discard(from version: Version) {}
  func nextSafeVersion() -> Version { contents.withLock { $0.version } }
  func learnSafeVersion(_ version: Version) {}
  func lead(term: UInt64) { isLeading.store(true, ordering: .releasing) }
  func resign(discardingFrom version: Version?) { isLeading.store(false, ordering: .releasing) }

  func pinCheckpoint() throws(DeliveryError) -> any PinnedState {
    let pinned = Pinned(contents.withLock { $0 }, directory)
    do { try Data(pinned.details).write(to: URL(fileURLWithPath: pinned.path(0))) } catch { throw .failed("\(error)") }
    return pinned
  }

  func checkpointFiles(_ details: [UInt8]) throws(DeliveryError) -> [CheckpointFile] {
    [CheckpointFile(name: "number-" + String(decoding: details, as: UTF8.self), sizeBytes: UInt64(details.count))]
  }

  func isSound(_ index: Int, of details: [UInt8], at path: String) -> Bool {
    (try? Data(contentsOf: URL(fileURLWithPath: path))) == Data(details)
  }

  func localPath(of file: CheckpointFile) -> String? { nil }

  func install(
    _ details: [UInt8], slot: Slot, version: Version, chain: Hash128, directory: String
  ) throws(DeliveryError) {
    guard let number = UInt64(String(decoding: details, as: UTF8.self)) else { throw .failed("no number") }
    contents.withLock { $0 = Contents(slot: slot, version: version, number: number) }
  }

  func hold(_ part: DigestPart) -> (any HeldState)? { Held(contents.withLock { $0 }) }
}

/// Replicated logs of one process over a state that can be told wrong.
@Suite(.serialized) struct ReplicatedStateTests {
  /// `@unchecked Sendable`: notes are behind a lock; all else is used by the test's thread.
  final class Group: @unchecked Sendable {
    let directory = NSTemporaryDirectory() + "synod-state-\(UInt64.random(in: 0 ... .max))"
    let network = InProcessNetwork(seed: 5)
    var states: [NumberState] = []
    var logs: [ReplicatedLog] = []
    let notes = Mutex<[String]>([])

    init(_ count: Int) throws {
      let ids = (1...UInt64(count)).map { NodeID($0) }
      let configuration = try Configuration(epoch: 1, voters: ids)
      for id in ids {
        let path = "\(directory)/\(id.rawValue)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let members = Members(node: id, cluster: ClusterID(high: 1, low: 2), founding: configuration)
        var logOptions = smallLog()
        logOptions.seed = id.rawValue
        logOptions.newNode = id.rawValue
        var options = ReplicatedLogOptions()
        options.seed = id.rawValue
        options.digestNanoseconds = 20_000_000
        options.transferReserveSizeBytes = 0
        options.note = { [weak self] text in self?.notes.withLock { $0.append("node \(id.rawValue): \(text)") } }
        let state = NumberState(path)
        let log = try ReplicatedLog(
          log: Log.open(path + "/db", disk: LinuxDisk(), options: logOptions), members: members,
          applied: (Slot.zero, Version.zero), disk: LinuxDisk(), clock: LinuxClock(),
          transport: network.transport(for: id), state: state, options: options)
        states.append(state)
        logs.append(log)
        network.attach(log, as: id)
        log.start()
      }
    }

    func close() {
      for log in logs { log.close() }
      for log in logs { try? log.log.close() }
      network.close()
      try? FileManager.default.removeItem(atPath: directory)
    }

    func wait(_ what: String, _ condition: () -> Bool) -> Bool {
      for _ in 0..<4000 {
        if condition() { return true }
        usleep(2500)
      }
      Issue.record("\(what) did not come about: \(notes.withLock { $0 })")
      return false
    }

    /// The place of the leader that takes commits.
    func leader() -> Int? { logs.indices.first { logs[$0].status.takesCommits } }

    /// Commits a batch on whoever leads.
    func commit(_ text: String) throws {
      guard wait("a leader", { leader() != nil }), let place = leader() else { return }
      let version = logs[place].deliveredVersion.advanced(by: 1)
      try [UInt8](text.utf8).withUnsafeBytes { try logs[place].append($0, version: version) }
      try logs[place].commit(through: version)
    }

    var areEqual: Bool {
      Set(states.map(\.number)).count == 1 && Set(logs.map(\.status.applied)).count == 1
    }
  }

  /// The old leader's log ends with a record without commits and a group behind it. The new leader's log, which has neither,
  /// is taken before that leader's first record: now it is shorter by two, and the next leadership begins in the place of the
  /// first. Nothing is ever applied in the group's place before commits are taken again.
  @Test func aLeaderWhoseLogWasCutTakesCommitsAgain() throws {
    let group = try Group(3)
    defer { group.close() }
    guard group.wait("a leader", { group.leader() != nil }), let a = group.leader() else { return }
    let (b, c) = ((a + 1) % 3, (a + 2) % 3)
    let (nodeA, nodeB, nodeC) = (NodeID(UInt64(a) + 1), NodeID(UInt64(b) + 1), NodeID(UInt64(c) + 1))
    @Sendable func isAccept(_ message: Message) -> Bool {
      if case .notice(.accept) = message.content { true } else { false }
    }
    @Sendable func asks(_ message: Message) -> Bool {
      if case .notice(.preVote) = message.content { true } else { false }
    }
    // From right after a commit on the leader's records reach nobody: first that of a comparison, which is due within 20 ms
    // (unless it came before the line was cut: then there is another attempt), then a group.
    var end = SlotNumber.max
    for attempt in 0..<50 where group.logs[a].status.last <= end {
      group.network.filter(nil)
      try group.commit("before \(attempt)")
      group.network.filter { !($0.from == nodeA && isAccept($0)) }
      end = group.logs[a].status.last
      for _ in 0..<40 where group.logs[a].status.last <= end { usleep(2500) }
    }
    try #require(group.logs[a].status.last > end, "no record without commits")
    let version = group.logs[a].deliveredVersion.advanced(by: 1)
    let outcome = Mutex<Result<Void, ReplicationFailure>?>(nil)
    try [UInt8]("lost".utf8).withUnsafeBytes { try group.logs[a].append($0, version: version) }
    group.logs[a].whenDelivered(version) { result in outcome.withLock { $0 = result } }
    guard group.wait("a group", { group.logs[a].status.last > end + 1 }) else { return }
    // Another one leads; what it has is taken by all, and its own first record by nobody.
    group.network.filter { !($0.from == nodeA || isAccept($0) || ($0.from == nodeC && asks($0))) }
    guard group.wait("another leader", { group.logs[b].status.role == .leader }) else { return }
    group.network.filter { !(isAccept($0) || ($0.from != nodeB && asks($0))) }
    guard group.wait("a shorter log", { group.logs[a].status.last == end }) else { return }
    #expect(group.logs[a].status.chosen == end && outcome.withLock { $0 } == nil)
    // The first one leads again.
    group.network.filter { !($0.from == nodeB || $0.to == nodeB || ($0.from == nodeC && asks($0))) }
    guard group.wait("the first leader again", { group.logs[a].status.takesCommits }) else { return }
    guard group.wait("the group's end", { outcome.withLock { $0 } != nil }) else { return }
    if case .failure(.restarted)? = outcome.withLock({ $0 }) {
    } else {
      Issue.record("\(outcome.withLock { $0 } as Any)")
    }
    group.network.filter(nil)
    try group.commit("after")
    #expect(group.wait("equal states", { group.areEqual }))
  }

  @Test func aStateThatDiffersFromTheOthersIsReplaced() throws {
    let group = try Group(3)
    defer { group.close() }
    for index in 0..<5 { try group.commit("before \(index)") }
    guard group.wait("equal states", { group.areEqual }) else { return }
    #expect(group.wait("a comparison", { group.logs.allSatisfy { $0.transferCounts.digestsCompared > 0 } }))
    let all = (1...3).map { NodeID($0) }
    #expect(group.logs.allSatisfy { log in all.allSatisfy { log.stateChecks[$0]?.agrees == true } })
    let leader = try #require(group.leader())
    let victim = (leader + 1) % 3
    group.states[victim].spoil()
    try group.commit("after")
    #expect(group.wait("a new state", { group.logs[victim].transferCounts.installed == 1 }))
    #expect(group.wait("equal states", { group.areEqual }))
    #expect(group.notes.withLock { $0.contains { $0.contains("differs") } })
    #expect(group.logs.allSatisfy { $0.transferCounts.digestsDiffered > 0 })
    // Whoever is asked says who differed, until it is compared again.
    try group.commit("and again")
    #expect(
      group.wait(
        "all agree again", { group.logs.allSatisfy { log in all.allSatisfy { log.stateChecks[$0]?.agrees == true } } }))
    #expect(group.logs.indices.allSatisfy { $0 == victim || group.logs[$0].transferCounts.installed == 0 })
  }

  @Test func aLeaderThatDiffersHandsOverAndTakesTheOthersState() throws {
    let group = try Group(3)
    defer { group.close() }
    for index in 0..<5 { try group.commit("before \(index)") }
    guard group.wait("equal states", { group.areEqual }) else { return }
    let leader = try #require(group.leader())
    group.states[leader].spoil()
    try group.commit("after")
    #expect(group.wait("a new state", { group.logs[leader].transferCounts.installed == 1 }))
    #expect(group.wait("equal states", { group.areEqual }))
    try group.commit("and on")
    #expect(group.wait("equal states", { group.areEqual }))
  }
}
