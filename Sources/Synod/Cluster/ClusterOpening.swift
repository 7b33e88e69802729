internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Replication
internal import Storage

// Opening a node's directory: log, list of members and tables must say the same, or be brought to it.
//
//   log damaged       its readable part is opened; peers have the rest                     (`DamagePolicy.report`)
//   tables damaged    moved aside, an empty store made: a peer's checkpoint takes its place
//   installed, and then crashed: see ReplicatedLog+Installing.swift
//
// Only where there are peers: a cluster's only member refuses what it cannot read, as a database alone does.

/// A node's directory, half open.
struct ClusterOpening {
  let path: String
  let disk: any Disk
  let log: Log
  var members: Members
  let hasPeers: Bool
  private let note: @Sendable (String) -> Void
  private let keepsState: Bool

  init(
    _ path: String, _ disk: any Disk, _ node: ClusterNodeSetup, _ options: DatabaseOptions, _ tuning: CoreTuning
  ) throws(LogError) {
    self.path = path
    self.disk = disk
    note = node.options.note
    keepsState = node.options.keepsState
    let known = try Members.read(path, disk: disk)
    members = known ?? node.members
    hasPeers = !members.peers.isEmpty || members.checkpoint?.configuration.members.count ?? 1 > 1
    let cluster = Hash128(low: members.cluster.low, high: members.cluster.high)
    var logOptions = tuning.log
    logOptions.creates = options.createsIfMissing
    logOptions.newCluster = cluster
    logOptions.newNode = members.node.rawValue
    logOptions.notesRecords = true
    if hasPeers { logOptions.onDamage = .report }
    log = try Log.open(path, disk: disk, options: logOptions)
    do throws(LogError) {
      guard log.superblock.node == members.node.rawValue, log.superblock.cluster == cluster else {
        throw .notADatabase(
          path: path, reason: "its superblock and its list of members name different nodes or clusters")
      }
      if known == nil { try members.write(path, disk: disk) }
    } catch {
      try? log.close()
      throw error
    }
    for damage in log.damage {
      note("the log is damaged and is repaired from other nodes: \(damage.place): \(damage.reason)")
    }
  }

  /// Opens the tables, or an empty store in place of damaged ones.
  mutating func openEngine(_ options: EngineOptions) throws -> Engine {
    let engine: Engine
    guard keepsState else {
      // Nothing is ever applied; whoever asks finds an empty store.
      return try Engine.open("/", disk: MemoryDisk(), options: options)
    }
    do throws(StorageError) { engine = try Engine.open(path, disk: disk, options: options) } catch {
      guard case .corruption = error, hasPeers else { throw error }
      note("the tables are damaged, and another node's take their place: \(error)")
      try moveAside()
      engine = try Engine.open(path, disk: disk, options: options)
    }
    let installed = engine.installedPosition
    try ReplicatedLog.adoptIncoming(
      &members, log,
      installed: LogPosition(slot: installed.slot, chain: installed.chain, version: installed.version), disk: disk)
    return engine
  }

  /// Where the state stands; a node without state stands where its log begins.
  func position(of engine: Engine) -> (slot: Slot, version: Version) {
    guard keepsState else { return (log.base.slot, log.base.version) }
    return engine.flushedPosition
  }

  /// Gives the tables names under which nobody looks for them. A crash in between leaves a store without CURRENT, which is
  /// found damaged again, or an empty one.
  private func moveAside() throws(DiskError) {
    let aside = "\(path)/damaged"
    try removeTree(aside)
    try disk.createDirectory(aside)
    for name in try disk.list(path) where name == "CURRENT" || name == "tables" || name.hasPrefix("MANIFEST-") {
      try disk.rename("\(path)/\(name)", to: "\(aside)/\(name)")
    }
    try disk.syncDirectory(path)
  }

  private func removeTree(_ path: String) throws(DiskError) {
    guard let status = try disk.status(path) else { return }
    if status.isDirectory { for name in try disk.list(path) { try removeTree("\(path)/\(name)") } }
    try disk.remove(path)
  }
}
