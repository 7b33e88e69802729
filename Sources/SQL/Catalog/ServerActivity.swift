internal import Storage
internal import Transactions

// Who is connected and who waits for whom: pg_stat_activity, pg_locks, pg_cancel_backend, pg_terminate_backend. What is
// known of connections is asked of the server that runs the database; a database in a process of its own has none.

/// What one session is doing. Times are microseconds since 2000; nil where there is none.
package struct SessionActivity: Sendable {
  package var process: Int64
  package var user: String
  package var userID: UInt32
  package var applicationName: String
  /// Empty on a Unix socket.
  package var clientAddress: String
  package var clientPort: Int
  package var backendStart: Int64
  package var transactionStart: Int64?
  package var queryStart: Int64?
  package var stateChange: Int64?
  /// As pg_stat_activity names it.
  package var state: String
  package var query: String
  package var isTLS: Bool

  package init(
    process: Int64, user: String, userID: UInt32, applicationName: String, clientAddress: String, clientPort: Int,
    backendStart: Int64, transactionStart: Int64?, queryStart: Int64?, stateChange: Int64?, state: String,
    query: String,
    isTLS: Bool
  ) {
    self.process = process
    self.user = user
    self.userID = userID
    self.applicationName = applicationName
    self.clientAddress = clientAddress
    self.clientPort = clientPort
    self.backendStart = backendStart
    self.transactionStart = transactionStart
    self.queryStart = queryStart
    self.stateChange = stateChange
    self.state = state
    self.query = query
    self.isTLS = isTLS
  }
}

/// Whoever knows the sessions: a server.
package protocol ActivityProvider: AnyObject, Sendable {
  func activities() -> [SessionActivity]
  /// Makes the statement of a session fail; false if there is no such session.
  func cancelStatement(_ process: Int64) -> Bool
  /// Ends a session; false if there is none.
  func terminate(_ process: Int64) -> Bool
  /// When the server started, in microseconds since 2000.
  var startTime: Int64 { get }
  /// The members of the cluster; nil where there is none.
  var cluster: (any ClusterProvider)? { get }
}

extension ActivityProvider {
  package var cluster: (any ClusterProvider)? { nil }
}

/// A member of the cluster, as `synod_cluster` shows it.
package struct ClusterMemberInformation: Sendable {
  package var node: Int64
  /// voter, witness or learner.
  package var role: String
  package var isLeader: Bool
  package var isSelf: Bool
  package var peerAddress: String
  package var clientAddress: String
  package var isConnected: Bool
  /// How long ago the leader heard it, in seconds; nil: never.
  package var lastHeardSeconds: Double?
  package var roundTripSeconds: Double?
  /// What the leader has and it has not, as far as the leader knows; nil: it does not know.
  package var lagBytes: Int64?
  package var lagSeconds: Double?
  /// Whether its state was the same as the others' when it was last compared, and how long ago that was, as far as the node
  /// that is asked knows; nil: not compared yet.
  package var stateAgrees: Bool?
  package var stateComparedSeconds: Double?

  package init(
    node: Int64, role: String, isLeader: Bool, isSelf: Bool, peerAddress: String, clientAddress: String,
    isConnected: Bool
  ) {
    self.node = node
    self.role = role
    self.isLeader = isLeader
    self.isSelf = isSelf
    self.peerAddress = peerAddress
    self.clientAddress = clientAddress
    self.isConnected = isConnected
  }
}

/// Whoever knows the cluster.
package protocol ClusterProvider: AnyObject, Sendable {
  func clusterMembers() -> [ClusterMemberInformation]
  /// Removes a member for good; one that leads hands over first. Returns why not, if so.
  func removeMember(_ node: Int64, from session: UInt64) -> String?
  /// Hands leadership over, to any voter or to `node`. Returns why not, if so.
  func handOver(to node: Int64?, from session: UInt64) -> String?
}

extension SystemCatalog {
  static let activity: [SystemRelation] = [
    make(
      12034, "pg_stat_activity",
      """
      datid oid, datname name, pid int4, leader_pid int4, usesysid oid, usename name, application_name text,
      client_addr text, client_hostname text, client_port int4, backend_start timestamptz, xact_start timestamptz,
      query_start timestamptz, state_change timestamptz, wait_event_type text, wait_event text, state text,
      backend_xid xid, backend_xmin xid, query_id int8, query text, backend_type text
      """
    ) { context throws(SQLError) in
      let waiting = Set(context.locks().filter { !$0.isGranted }.map { Int64(bitPattern: $0.transaction.session) })
      let deferred = Set((context.manager?.deferredSessions ?? []).map { Int64(bitPattern: $0) })
      return (context.server?.activities() ?? []).map { session in
        let waits: (String, String)? =
          deferred.contains(session.process)
          ? ("IPC", "SafeSnapshot")
          : waiting.contains(session.process)
            ? ("Lock", "tuple") : session.state == "active" ? nil : ("Client", "ClientRead")
        func time(_ value: Int64?) -> Datum { value.map { .int($0) } ?? .null }
        return [
          int(5), text(context.database), .int(session.process), .null, .int(Int64(session.userID)), text(session.user),
          text(session.applicationName), session.clientAddress.isEmpty ? .null : text(session.clientAddress), .null,
          int(session.clientAddress.isEmpty ? -1 : session.clientPort), time(session.backendStart),
          time(session.transactionStart), time(session.queryStart), time(session.stateChange), text(waits?.0),
          text(waits?.1), text(session.state), .null, .null, .null, text(session.query), text("client backend"),
        ]
      }
    },
    make(
      15001, "synod_cluster",
      "node int8, role text, is_leader bool, is_self bool, peer_address text, client_address text, connected bool, last_heard_seconds float8, round_trip_seconds float8, lag_bytes int8, lag_seconds float8, state_agrees bool, state_compared_seconds float8"
    ) { context throws(SQLError) in
      (context.server?.cluster?.clusterMembers() ?? []).map { member in
        [
          .int(member.node), text(member.role), flag(member.isLeader), flag(member.isSelf), text(member.peerAddress),
          text(member.clientAddress), flag(member.isConnected), real(member.lastHeardSeconds),
          real(member.roundTripSeconds), member.lagBytes.map { .int($0) } ?? .null, real(member.lagSeconds),
          member.stateAgrees.map { flag($0) } ?? .null, real(member.stateComparedSeconds),
        ]
      }
    },
    make(
      12290, "pg_stat_ssl",
      """
      pid int4, ssl bool, version text, cipher text, bits int4, client_dn text, client_serial numeric, issuer_dn text
      """
    ) { context throws(SQLError) in
      (context.server?.activities() ?? []).map { session in
        [
          .int(session.process), flag(session.isTLS), text(session.isTLS ? "TLSv1.3" : nil), .null, .null, .null, .null,
          .null,
        ]
      }
    },
    make(
      12073, "pg_locks",
      """
      locktype text, database oid, relation oid, page int4, tuple int2, virtualxid text, transactionid xid, classid oid,
      objid oid, objsubid int2, virtualtransaction text, pid int4, mode text, granted bool, fastpath bool,
      waitstart timestamptz
      """
    ) { context throws(SQLError) in
      context.locks().map { lock in
        let (kind, relation) = context.lockedRelation(lock.keys.lower)
        return [
          text(kind), int(5), relation.map { oid($0) } ?? .null, .null, .null, .null, .null, .null, .null, .null,
          text("\(lock.transaction.session)/\(lock.transaction.id)"), .int(Int64(bitPattern: lock.transaction.session)),
          text(mode(lock.strength)), flag(lock.isGranted), flag(false), .null,
        ]
      }
    },
  ]

  /// PostgreSQL's names for the strengths of row locks.
  private static func mode(_ strength: LockStrength) -> String {
    switch strength {
    case .keyShare: "AccessShareLock"
    case .share: "RowShareLock"
    case .noKeyUpdate: "ExclusiveLock"
    case .update: "AccessExclusiveLock"
    }
  }
}

private func real(_ value: Double?) -> Datum { value.map { .double($0) } ?? .null }

extension SystemContext {
  func locks() -> [LockInformation] { manager?.locks() ?? [] }

  /// What a locked key belongs to.
  fileprivate func lockedRelation(_ key: [UInt8]) -> (kind: String, relation: ObjectID?) {
    func number(_ place: Int) -> UInt32 {
      guard key.count >= place + 4 else { return 0 }
      return key[place..<place + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
    switch key.first {
    case KeySpace.relation:
      let storage = ObjectID(number(1))
      let table = catalog.tables.values.first { $0.storage == storage }
      return ("tuple", table?.id ?? storage)
    case KeySpace.catalog where key.count >= 7 && key[1] == 1: return ("relation", ObjectID(number(3)))
    default: return ("object", nil)
    }
  }
}

extension FunctionRegistry {
  /// pg_cancel_backend, pg_terminate_backend and what else asks the server.
  mutating func addServerFunctions() {
    define("pg_cancel_backend", [.int4], .bool) { a, c throws(SQLError) in
      try ServerCall.signal(a[0].int, c) { server, process in server.cancelStatement(process) }
    }
    define("pg_terminate_backend", [.int4], .bool) { a, c throws(SQLError) in
      try ServerCall.signal(a[0].int, c) { server, process in server.terminate(process) }
    }
    define("pg_terminate_backend", [.int4, .int8], .bool, again: true) { a, c throws(SQLError) in
      try ServerCall.signal(a[0].int, c) { server, process in server.terminate(process) }
    }
    define("synod_remove_node", [.int8], .bool) { a, c throws(SQLError) in
      let node = a[0].int
      let session = try ExecutionState.of(c).services.sessionID
      return try ServerCall.onCluster(c) { cluster in cluster.removeMember(node, from: UInt64(session)) }
    }
    define("synod_transfer_leadership", [], .bool) { _, c throws(SQLError) in
      let session = try ExecutionState.of(c).services.sessionID
      return try ServerCall.onCluster(c) { cluster in cluster.handOver(to: nil, from: UInt64(session)) }
    }
    define("synod_transfer_leadership", [.int8], .bool, again: true) { a, c throws(SQLError) in
      let node = a[0].int
      let session = try ExecutionState.of(c).services.sessionID
      return try ServerCall.onCluster(c) { cluster in cluster.handOver(to: node, from: UInt64(session)) }
    }
    define("pg_blocking_pids", [.int4], TypeID.int4.info.array ?? .text) { a, c throws(SQLError) in
      let locks = try CatalogCall.context(c).locks()
      let process = UInt64(bitPattern: a[0].int)
      let wanted = locks.filter { !$0.isGranted && $0.transaction.session == process }.map(\.keys)
      let holders = locks.filter { $0.isGranted && $0.transaction.session != process && wanted.contains($0.keys) }
      let values = Set(holders.map(\.transaction.session)).sorted().map { Value(Int64(bitPattern: $0)) }
      let dimensions = values.isEmpty ? [] : [(length: values.count, lowerBound: 1)]
      return try ArrayBuilder.make(values, element: .int4, dimensions: dimensions, c.arena)
    }
    define("pg_postmaster_start_time", [], .timestamptz, .stable) { _, c throws(SQLError) in
      Value(try CatalogCall.context(c).server?.startTime ?? c.statementTime)
    }
  }
}

private enum ServerCall {
  /// Asks the cluster for a change, which takes a superuser.
  static func onCluster(
    _ context: EvaluationContext, _ act: (any ClusterProvider) -> String?
  ) throws(SQLError) -> Value {
    let system = try ExecutionState.of(context).services.systemContext()
    guard system.catalog.role(named: system.user)?.isSuperuser ?? false else {
      throw SQLError(.insufficientPrivilege, "must be superuser to change the cluster")
    }
    guard let cluster = system.server?.cluster else {
      throw SQLError(SQLState(rawValue: "55000"), "this server is not a node of a cluster")
    }
    if let refusal = act(cluster) { throw SQLError(SQLState(rawValue: "55000"), refusal) }
    return Value(true)
  }

  /// Asks the server to act on a session, which the caller must own or be a superuser for.
  static func signal(
    _ process: Int64, _ context: EvaluationContext, _ act: (any ActivityProvider, Int64) -> Bool
  ) throws(SQLError) -> Value {
    let state = try ExecutionState.of(context)
    let system = state.services.systemContext()
    guard let server = system.server, let target = server.activities().first(where: { $0.process == process }) else {
      state.services.notice(
        SQLNotice(.warning, SQLError(SQLState(rawValue: "01000"), "PID \(process) is not a PostgreSQL server process")))
      return Value(false)
    }
    let isSuperuser = system.catalog.role(named: system.user)?.isSuperuser ?? false
    guard isSuperuser || target.user == system.user else {
      throw SQLError(
        .insufficientPrivilege, "must be a member of the role whose process is being signaled")
    }
    return Value(act(server, process))
  }
}
