import ArgumentParser
import Foundation
internal import Log
internal import Logging
internal import Paxos
internal import Platform
internal import Replication
internal import SQL
internal import Server
internal import Synchronization
internal import Synod

/// The options of `synod serve` by which a node takes its place in a cluster.
struct ClusterArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where other nodes may be found: host:port,host:port. The same list may be given to every node.",
      valueName: "addresses"))
  var join: String?

  @Option(help: ArgumentHelp("Found the cluster when so many nodes, this one included, have met.", valueName: "nodes"))
  var bootstrapExpect: Int?

  @Option(
    help: ArgumentHelp(
      "What this node does: voter, learner (receives everything, does not vote), or witness (votes and keeps the log, but no tables).",
      valueName: "role"))
  var role = "voter"

  @Option(help: ArgumentHelp("Where peers connect.", valueName: "address"))
  var peerListen = "127.0.0.1:7433"

  @Option(
    help: ArgumentHelp("Where peers are told to connect. (default: where this node listens)", valueName: "address"))
  var advertise: String?

  @Option(
    help: ArgumentHelp(
      "Where clients of other nodes are relayed to. (default: the first --listen)", valueName: "address"))
  var advertiseClients: String?

  @Option(
    help: ArgumentHelp(
      "The log that is kept for nodes that lag; those that need more are sent a checkpoint.", valueName: "MiB"))
  var retainLog = 1024

  @Option(
    help: ArgumentHelp(
      "What a node that is behind or new takes in a second while others commit; more where that would not be enough, and all that comes while nobody does.",
      valueName: "MiB"))
  var catchUpRate = 2

  @Option(help: ArgumentHelp("The records that are kept in any case, for tests.", visibility: .hidden))
  var retainRecords: UInt64 = 65_536

  @Option(help: ArgumentHelp("Whose certificates peers must have, PEM.", valueName: "file"))
  var peerCa: String?
  @Option(help: ArgumentHelp("This node's certificate toward peers, PEM.", valueName: "file"))
  var peerCert: String?
  @Option(help: ArgumentHelp("Its private key, PEM.", valueName: "file"))
  var peerKey: String?

  @Option(
    help: ArgumentHelp(
      "Whose certificate the other nodes' --tls-cert has, PEM: sessions are relayed over TLS. (default: --peer-ca)",
      valueName: "file"))
  var relayCa: String?

  @Option(
    help: ArgumentHelp(
      "How long open transactions may take to end before leadership is handed over; after that they fail with 40001.",
      valueName: "seconds"))
  var transferTimeout = 1.0

  @Flag(help: ArgumentHelp("Take orders to break the network, for tests and demonstrations.", visibility: .hidden))
  var faults = false

  var isAsked: Bool { join != nil || bootstrapExpect != nil }

  /// What `--join` names.
  private var addresses: [String] {
    (join ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
  }

  func validate() throws {
    guard (1...1 << 20).contains(retainLog) else { throw ValidationError("--retain-log is between 1 and 1048576 MiB") }
    guard (1...1 << 20).contains(catchUpRate) else {
      throw ValidationError("--catch-up-rate is between 1 and 1048576 MiB")
    }
    if let bootstrapExpect, bootstrapExpect < 1 || bootstrapExpect > 15 {
      throw ValidationError("--bootstrap-expect is between 1 and 15")
    }
    for address in addresses {
      // A node with an address that nobody can be at would look for the cluster for ever.
      guard let colon = address.lastIndex(of: ":"), colon != address.startIndex,
        let port = UInt16(address[address.index(after: colon)...]), port > 0
      else { throw ValidationError("--join takes host:port, host:port, …; \"\(address)\" is not one") }
    }
    guard ClusterMember.Role(rawValue: role) != nil else {
      throw ValidationError("unknown --role \"\(role)\"; there are voter, learner and witness")
    }
  }

  /// Whether the directory is a node's, so that it must not be opened alone.
  static func isNode(_ directory: String) throws -> Bool {
    do throws(LogError) { return try Members.read(directory, disk: LinuxDisk())?.isFounded ?? false } catch {
      throw CommandFailure("\(error)")
    }
  }

  /// What sessions are relayed over to other nodes, which serve clients as this one does: TLS, if it has a certificate.
  func relayTLS(isServingTLS: Bool) throws -> TLSContext? {
    guard isServingTLS, let authority = relayCa ?? peerCa else {
      if relayCa != nil { throw ValidationError("--relay-ca goes with --tls-cert and --tls-key") }
      return nil
    }
    do throws(TLSError) {
      // Without a certificate of its own: a ticket tells who relays, and --tls-client-ca may be another authority's.
      return try TLSContext(client: .verifyCA, authorities: .file(authority))
    } catch { throw CommandFailure("\(error)") }
  }

  /// Where other nodes relay clients to: where this one listens, or, if that is everywhere, the machine that peers know.
  func clientAddress(_ bound: SocketAddress, peerAddress: String, _ logger: Logger) -> String {
    let host = peerAddress.lastIndex(of: ":").map { String(peerAddress[..<$0]) } ?? peerAddress
    if bound.isUnspecified { return "\(host):\(bound.port)" }
    let isLocalPeer =
      (try? SocketAddress(literal: host.trimmingCharacters(in: ["[", "]"]), port: 0))?.isLoopback ?? false
    if bound.isLoopback, !isLocalPeer, host != "localhost" {
      logger.warning(
        "other machines' nodes cannot relay clients to this one while it leads: it listens to clients on loopback",
        metadata: ["listen": "\(bound)", "change": "--listen or --advertise-clients"])
    }
    return "\(bound)"
  }

  /// Opens the node's database; waits for the other nodes as long as it takes.
  func open(
    _ directory: String, clientAddress: String, insecure: Bool, logger: Logger
  ) throws -> ClusterMember {
    let place = try ServeCommand.address(peerListen, defaultPort: 7433)
    guard !place.isUnspecified || advertise != nil else {
      throw CommandFailure(
        "peers cannot be told to connect to \(place), which is every address\n"
          + "  Give --advertise HOST:PORT, or --peer-listen with the address at which they reach this node.")
    }
    var options = ClusterMember.Options(directory: directory, listen: place)
    options.join = addresses
    options.founders = bootstrapExpect
    options.advertise = advertise ?? ""
    options.role = ClusterMember.Role(rawValue: role) ?? .voter
    switch (peerCa, peerCert, peerKey) {
    case (let authority?, let certificate?, let key?):
      let identity = TLSContext.Identity(certificate: .file(certificate), key: .file(key))
      do throws(TLSError) {
        options.server = try TLSContext(server: identity, authorities: .file(authority), clients: .required)
        options.client = try TLSContext(client: .verifyFull, authorities: .file(authority), identity: identity)
      } catch { throw CommandFailure("\(error)") }
    case (nil, nil, nil):
      guard place.isLoopback || insecure else {
        throw CommandFailure(
          "will not speak with peers on \(place) in clear: others could read and forge everything\n"
            + "  Give --peer-ca, --peer-cert and --peer-key (synod cert makes them), or --insecure if the network is yours alone."
        )
      }
    default: throw ValidationError("--peer-ca, --peer-cert and --peer-key go together")
    }
    options.replication.retainedLogSizeBytes = UInt64(retainLog) << 20
    options.replication.settings.retainedEntries = retainRecords
    options.replication.settings.catchUpBytesPerSecond = UInt64(catchUpRate) << 20
    options.replication.pacedCheckpointSizeBytesPerSecond = UInt64(catchUpRate) << 20
    options.log = { text in logger.notice("\(text)") }
    options.isCancelled = { TerminationSignals.arePending }
    logger.notice("looking for the cluster", metadata: ["peers": "\(options.join.joined(separator: ","))"])
    do {
      return try ClusterMember(options, clientAddress: clientAddress)
    } catch let error as DatabaseError {
      throw CommandFailure([error.message, error.detail, error.hint].compactMap { $0 }.joined(separator: "\n  "))
    } catch { throw CommandFailure("\(error)") }
  }
}
