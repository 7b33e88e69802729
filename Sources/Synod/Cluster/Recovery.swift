internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Replication
internal import Storage

// What is left when a quorum is lost for good: one survivor becomes the first node of a new cluster.
//
//   survivor's directory ─ opened alone ─▶ backup beside the target ─▶ restored as TARGET ─▶ TARGET gets a list of members
//
// Everything that the survivor's log holds is kept, chosen or not, as a new leader of the old cluster would keep it. What is
// lost is what the others had acknowledged and the survivor had not received: nobody can say how much, for the survivor
// does not know it. The new cluster has a name of its own, so that nodes, backups and tokens of the old one are refused.
//
// 1. The survivor's directory is not changed, beyond what opening it does.
// 2. Never automatic: an operator says that the others are gone. If they are not, there are two clusters.

/// What was recovered, for the operator to weigh.
package struct ClusterRecovery: Sendable {
  package var oldCluster: String
  package var newCluster: String
  package var oldNode: UInt64
  package var newNode: UInt64
  package var lastVersion: UInt64
  package var lastSlot: UInt64
  /// Through here the survivor knew that a quorum had agreed.
  package var knownChosenSlot: UInt64
  /// When the last record was made, by its leader's clock, in nanoseconds since 1970.
  package var lastTime: UInt64
  /// How many others the survivor's configuration had.
  package var otherMembers: Int
}

extension Database {
  /// Makes the directory `target` the only node of a new cluster, with all that the node at `survivor` holds.
  ///
  /// - Throws: 55000 where `survivor` is no node of a cluster; 58P02 where `target` is not empty; what opening, copying and
  ///   verifying raise.
  package static func recoverCluster(from survivor: String, to target: String) throws -> ClusterRecovery {
    let disk = LinuxDisk()
    guard let members = try Members.read(survivor, disk: disk), let configuration = members.checkpoint?.configuration
    else {
      throw DatabaseError(
        sqlState: "55000", message: "\(survivor) is not the directory of a cluster's node",
        hint: "A database of a single node needs no recovery: serve it, or dump it.")
    }
    let backup = target + ".recovery"
    var options = DatabaseOptions()
    options.createsIfMissing = false
    let database = try Database.open(at: survivor, options)
    let state = database.core.log.state
    do {
      _ = try database.backup(to: backup, linksTables: true)
      try database.close()
    } catch {
      try? database.close()
      throw error
    }
    defer { try? FileTree.remove(backup, disk: disk) }
    let version = try restore(from: backup, to: target)
    let founded = try foundAlone(target)
    return ClusterRecovery(
      oldCluster: Self.name(members.cluster), newCluster: Self.name(founded.cluster),
      oldNode: members.node.rawValue, newNode: founded.node.rawValue, lastVersion: version,
      lastSlot: state.last.slot.rawValue, knownChosenSlot: state.chosenHint.rawValue, lastTime: state.leaderTime,
      otherMembers: configuration.members.count - 1)
  }

  /// Makes the database at `directory`, of a single node and closed, the first node of a cluster, with all that it holds.
  /// Its files stay as they are; a list of members comes to them.
  ///
  /// - Returns: the cluster's id and the node's.
  /// - Throws: 58P01 where there is no database; 55000 where it is a cluster's node already; 55006 where it is open.
  package static func foundCluster(at directory: String) throws(DatabaseError) -> (cluster: String, node: UInt64) {
    let disk = LinuxDisk()
    do {
      guard try disk.status("\(directory)/\(Superblock.fileName)") != nil else {
        throw DatabaseError(sqlState: "58P01", message: "\(directory) is not a database: it has no superblock")
      }
      guard try Members.read(directory, disk: disk) == nil else {
        throw DatabaseError(
          sqlState: "55000", message: "\(directory) is the directory of a cluster's node already",
          hint: "Serve it; other nodes join with empty directories.")
      }
      let members = try foundAlone(directory)
      return (name(members.cluster), members.node.rawValue)
    } catch { throw DatabaseError(opening: directory, error) }
  }

  /// Makes the database of a single node, which is closed, a cluster of one node.
  private static func foundAlone(_ directory: String) throws -> Members {
    let disk = LinuxDisk()
    let log = try Log.open(directory, disk: disk, options: LogOptions())
    defer { try? log.close() }
    let block = log.superblock
    let node = NodeID(block.node)
    var members = Members(
      node: node, cluster: ClusterID(high: block.cluster.high, low: block.cluster.low),
      founding: try Configuration(epoch: 1, voters: [node]))
    let start = ChainPoint(slot: log.base.slot.rawValue, chain: Chain(log.base.chain))
    members.checkpoint = Checkpoint(
      point: start, configuration: try Configuration(epoch: 1, voters: [node]),
      epochStart: ChainPoint(slot: 0, chain: .zero))
    members.founders = [Members.Founder(node: node, isWitness: false)]
    try members.write(directory, disk: disk)
    return members
  }

  private static func name(_ cluster: ClusterID) -> String { String(cluster.high, radix: 16) }
}

/// Removal of what lies beside a target.
private enum FileTree {
  static func remove(_ path: String, disk: any Disk) throws {
    guard let status = try disk.status(path) else { return }
    if status.isDirectory { for name in try disk.list(path) { try remove("\(path)/\(name)", disk: disk) } }
    try disk.remove(path)
  }
}
