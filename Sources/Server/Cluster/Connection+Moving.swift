internal import Logging
internal import Platform
internal import SQL
internal import Synchronization
internal import Wire

// A session goes where leadership goes, between two of its transactions.
//
//   between transactions, and this node admits no work (it hands over, or does not lead)
//        │ leadership is being handed over, or nobody leads: what the client sends waits here
//        ├─ the session came by a relay ─▶ the relay takes it back (Wire/SessionMoving.swift), and to the new leader
//        └─ the client is here ─▶ this connection becomes a relay, with what the session is (SQLSession+Moving.swift)
//
// A planned transfer first closes the gate, so that transactions do not begin, then waits for those that run. The gate is
// passed as in Dekker's algorithm: a connection says that it works and then looks whether it may; whoever closes the gate
// does so and then looks who works. One of them sees the other.
//
// 1. A statement that begins a transaction runs only behind the gate; what runs is waited for, up to the transfer's limit.
// 2. A transaction of a leadership that has ended fails with 40001 at its next statement, and the session goes on.

extension Connection {
  /// Whether what the client sends may be acted on here and now.
  func passesGate() -> Bool {
    guard let cluster = services.cluster, readsLocally == nil, !isReplaying, let sql, wire.phase == .idle,
      !isMidSequence, !awaitsCommit, sql.status == .idle
    else { return true }
    isWorking.store(true, ordering: .sequentiallyConsistent)
    if cluster.admitsWork {
      heldSince = 0
      return true
    }
    rest()
    leave(cluster)
    return false
  }

  /// Nothing is under way any more.
  func rest() {
    isWorking.store(false, ordering: .sequentiallyConsistent)
    services.noteRest()
  }

  /// The turn found nothing more to do.
  func restIfIdle() {
    guard services.cluster != nil, isWorking.load(ordering: .relaxed), wire.phase == .idle, !isMidSequence,
      !awaitsCommit, sql?.status == .idle
    else { return }
    rest()
  }

  private func leave(_ cluster: any ClusterRouting) {
    switch cluster.route() {
    case .relay: move()
    case .here, .nowhere:
      let now = LinuxClock().bootNanoseconds
      if heldSince == 0 {
        heldSince = now
        stream.schedule(afterNanoseconds: Self.patienceNanosecondsForLeader) { [weak self] in
          guard let self else { return }
          stream.execute { self.turn() }
        }
      }
      if now &- heldSince >= Self.patienceNanosecondsForLeader {
        wire.terminate(
          WireReport(severity: .fatal, sqlState: "57P01", message: "terminating connection: the cluster has no leader"))
        return end()
      }
      whenStandingChanges { $0.turn() }
    }
  }

  /// This node does not lead any more, or is about to hand over: an idle session moves, and what a block did is lost.
  func leadershipMoved() {
    guard !isEnded, !isTurning else { return }
    if !awaitsCommit { sql?.leadershipMoved() }
    turn()
  }

  /// Gives the session up to the node that leads.
  private func move() {
    guard let sql, let startupMessage else { return }
    let luggage: SessionLuggage
    do throws(SessionStays) { luggage = try Self.pack(sql) } catch {
      var report = WireReport(
        severity: .fatal, sqlState: "57P01", message: "terminating connection: this node does not lead any more")
      report.detail = "The session could not move to the new leader: \(error.reason)."
      wire.terminate(report)
      return end()
    }
    services.logger.debug("session moves", metadata: ["pid": "\(processID)", "user": "\(roleName)"])
    let key = clientKey
    closeSession()
    if ticket != nil {
      var random = SystemRandomness()
      var mark: [UInt8] = []
      for _ in 0..<2 { unsafe withUnsafeBytes(of: random.next()) { unsafe mark.append(contentsOf: $0) } }
      services.departing.add(1, ordering: .acquiringAndReleasing)
      departure = Departure(mark: mark, rest: wire.takeUnread())
      wire.output.sessionMove(.moves(mark: mark, readies: luggage.readies, replay: luggage.replay))
      flush()
    } else {
      stream.relay(self, startupMessage, luggage: luggage, held: wire.takeUnread(), key: key)
    }
  }

  /// What came from a relay that has been told to take the session back.
  func receivedAtDeparture(_ bytes: RawSpan) {
    unsafe bytes.withUnsafeBytes { unsafe departure?.rest.append(contentsOf: $0) }
    guard let left = departure, left.rest.count >= left.mark.count, left.rest.suffix(left.mark.count) == left.mark[...]
    else { return }
    wire.output.sessionMove(.rest(Array(left.rest.dropLast(left.mark.count))))
    end()
  }

  /// The relay has the session back, or is gone.
  func endDeparture() {
    guard departure != nil else { return }
    departure = nil
    services.departing.subtract(1, ordering: .acquiringAndReleasing)
    services.noteRest()
  }

  private static func pack(_ sql: SQLSession) throws(SessionStays) -> SessionLuggage {
    var buffer = WireBuffer()
    var readies = 0
    let steps = try sql.replay()
    do throws(WireError) {
      for step in steps {
        switch step {
        case .query(let text):
          try buffer.query(text)
          readies += 1
        case .prepare(let name, let text, let types):
          try buffer.parse(ParseMessage(name: name, query: text, parameterTypes: types))
        }
        guard buffer.count < SessionMove.largestReplaySizeBytes else { throw WireError(.message, "too long") }
      }
      buffer.sync()
      readies += 1
    } catch { throw SessionStays(reason: "its prepared statements are too long") }
    return SessionLuggage(replay: buffer.takeBytes(), readies: readies)
  }

  // MARK: Coming home

  /// The session of this client is here from now on: it was another node's, which gave `luggage`.
  func comeHome(_ startup: StartupMessage, _ luggage: SessionLuggage?, _ held: [UInt8], key: CancelKey?) {
    guard !isEnded else { return }
    wire.resume()
    startupMessage = startup
    ticket = nil
    isReading = true
    stream.setReading(true)
    let name = startup["user"] ?? ""
    roleName = name
    guard makeSession(startup) else { return turn() }
    if let key {
      clientKey = key
      services.relays.add(self, key)
    }
    if let luggage {
      isReplaying = true
      wire.receive(luggage.replay)
      isTurning = true
      perform()
      isTurning = false
      isReplaying = false
      isMidSequence = false
      var failure: String?
      var frames = BackendFrames()
      var rest: [UInt8] = []
      _ = frames.receive(wire.output.takeBytes(), into: &rest) { frame in
        if frame.type == UInt8(ascii: "E"), failure == nil { failure = frame.field("M") ?? "" }
        return false
      }
      if let failure {
        wire.terminate(
          WireReport(
            severity: .fatal, sqlState: "57P01", message: "the session could not move to the new leader: \(failure)"))
      }
    }
    wire.receive(held)
    turn()
  }
}

/// A session that a relay is taking back.
struct Departure {
  let mark: [UInt8]
  var rest: [UInt8]
}
