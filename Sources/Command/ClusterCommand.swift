import ArgumentParser
import Foundation
internal import Synod

/// `synod cluster`: looks at a running cluster and changes it, as a client of any of its nodes.
struct ClusterCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cluster",
    abstract:
      "Look at a running cluster, hand leadership over, add and remove nodes; found one; recover from a lost quorum.",
    subcommands: [Status.self, Add.self, Remove.self, Transfer.self, Found.self, Recover.self],
    defaultSubcommand: Status.self)

  /// Where a node is.
  struct Target: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        "Any node: postgres://[user[:password]@]host[:port],…/synod. (default: SYNOD_URL, or 127.0.0.1:7432)",
        valueName: "url"))
    var url: String?

    /// Runs statements, as the shell does.
    func run(_ statements: [String], mode: String? = nil) throws {
      let place = url ?? ProcessInfo.processInfo.environment["SYNOD_URL"] ?? "postgres://synod@127.0.0.1:7432/synod"
      // The shell would take anything else for a path, and make a database there.
      guard place.hasPrefix("postgres://") || place.hasPrefix("postgresql://") else {
        throw ValidationError("--url is postgres://host:port/synod, and not \"\(place)\"")
      }
      var arguments = [place]
      if let mode { arguments += ["--mode", mode] }
      var shell = try ShellCommand.parse(arguments + ["--"] + statements)
      shell.bail = true
      shell.initFile = "/dev/null"
      try shell.run()
    }
  }

  static let overview = """
    SELECT node, CASE WHEN is_leader THEN 'leader' ELSE role END AS role, client_address, peer_address, connected,
    round(last_heard_seconds::numeric, 3) AS heard, round((round_trip_seconds * 1000)::numeric, 2) AS round_trip_ms,
    lag_bytes, round(lag_seconds::numeric, 3) AS lag_seconds,
    CASE WHEN state_agrees THEN 'same' WHEN NOT state_agrees THEN 'DIFFERS' ELSE '' END AS state,
    round(state_compared_seconds::numeric) AS compared FROM synod_cluster ORDER BY is_leader DESC, node
    """

  struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Every member: its role, addresses, when the leader heard it last, and how far it is behind.",
      discussion: """
        state says whether the member's data was the same as the others' when it was last compared, so many seconds ago \
        (compared): the nodes do that by themselves, a part of the data once a minute while something is written. A member \
        that DIFFERS gives its data up and takes another node's, without being told; if it does so again, its disk or \
        memory is not to be trusted.
        """)
    @OptionGroup var target: Target
    @Flag(help: "As JSON.") var json = false
    func run() throws { try target.run([ClusterCommand.overview], mode: json ? "json" : nil) }
  }

  struct Transfer: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Hand leadership over to another voter. Transactions wait for a moment; none fails that ends in time.")
    @OptionGroup var target: Target
    @Option(help: ArgumentHelp("The node that is to lead. (default: the voter that is furthest)", valueName: "node"))
    var to: Int64?
    func run() throws {
      try target.run([
        "SELECT CASE WHEN synod_transfer_leadership(\(to.map(String.init) ?? "")) THEN 'handed over' END AS leadership",
        ClusterCommand.overview,
      ])
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove a node for good: it votes no more, and its id is never used again.")
    @OptionGroup var target: Target
    @Argument(help: "The node's id, as status shows it.") var node: Int64
    func run() throws {
      try target.run([
        "SELECT CASE WHEN synod_remove_node(\(node)) THEN 'removed' END AS node_\(node)", ClusterCommand.overview,
      ])
    }
  }

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract:
        "Say how to start a node that joins. Nodes add themselves; the leader makes them voters when they are up to date."
    )
    @OptionGroup var target: Target
    func run() throws {
      try target.run(
        [
          """
          SELECT 'synod serve --data DIR --listen HOST:7432 --peer-listen HOST:7433 --join '
          || string_agg(peer_address, ',' ORDER BY node) AS command FROM synod_cluster WHERE role <> 'learner'
          """
        ], mode: "list")
      print("Run it on the new node, with the certificates of the others (--peer-ca, --peer-cert, --peer-key).")
      print("It joins as a learner and votes when it has caught up: synod cluster status.")
    }
  }

  struct Found: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a single node's database, or a restored backup, the first node of a cluster.",
      discussion: """
        The database must not be open. Its files stay as they are, and it keeps its id: do so with one copy of it only. \
        Other nodes join it with --join and empty directories, and are sent what it holds. A new cluster without data \
        needs none of this: synod serve --join … --bootstrap-expect 3.
        """)
    @Argument(help: "The database's directory.") var path: String

    func run() throws {
      try reportingDatabaseErrors {
        let (cluster, node) = try Database.foundCluster(at: path)
        print(
          """
          \(path): node \(node), the only one of cluster \(cluster) so far.
          Start it:  synod serve --data \(path) --listen HOST:7432 --peer-listen HOST:7433
          Others join with empty directories:  synod serve --data NEW --join HOST:7433 …
          """)
      }
    }
  }

  struct Recover: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a new cluster from one node's directory, after a quorum was lost for good.",
      discussion: """
        Only when the other nodes will never come back: what they had acknowledged and this one had not received is lost. \
        The node must be stopped; its directory stays as it is. The new cluster has another id and one node; others join \
        it with --join and empty directories.
        """)
    @Argument(help: "The survivor's directory.") var survivor: String
    @Option(help: ArgumentHelp("The directory to make; it must not be there.", valueName: "dir")) var into: String
    @Flag(name: .customLong("others-are-lost"), help: "Say that you know that the other nodes will never come back.")
    var othersAreLost = false

    func run() throws {
      guard othersAreLost else {
        throw ValidationError(
          "if any two of the other nodes come back, there will be two clusters; say --others-are-lost if they cannot")
      }
      let done: ClusterRecovery
      do { done = try Database.recoverCluster(from: survivor, to: into) } catch let error as DatabaseError {
        throw CommandFailure([error.message, error.detail, error.hint].compactMap { $0 }.joined(separator: "\n  "))
      } catch { throw CommandFailure("\(error)") }
      let time = Date(timeIntervalSince1970: Double(done.lastTime) / 1e9)
      print(
        """
        \(into): a new cluster of one node.
          cluster   \(done.newCluster) (was \(done.oldCluster)); node \(done.newNode) (was \(done.oldNode))
          kept      everything through version \(done.lastVersion), slot \(done.lastSlot), of \(time.formatted(.iso8601))
          certain   through slot \(done.knownChosenSlot): a quorum had agreed, as far as this node knew; what follows was
                    received and is kept, whether it was acknowledged or not
          may be lost  what the \(done.otherMembers) other members acknowledged after that version and this node never received

        Start it:  synod serve --data \(into) --listen HOST:7432 --peer-listen HOST:7433
        Others join with empty directories:  synod serve --data NEW --join HOST:7433 …
        """)
    }
  }
}
