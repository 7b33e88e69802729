import Foundation
internal import Simulation

// Clients that do what applications do about lost answers and about reading their own writes elsewhere.
//
//   key     the same transaction is tried again, through any node, under the same idempotency key, until its outcome is known:
//           it must have happened once. Its elements twice in a list, or not there, are anomalies.
//   token   a session that writes through one node and reads another node's own state, and shows there what it has seen
//           (`synod.session_token`): it must see what it wrote, and never less than before.

extension NemesisClient {
  private static let patienceSeconds = 60.0

  // MARK: Keys

  /// Appends to one list or two under a key, until it is known to have happened.
  func writeUnderKey() {
    let group = dice.below(NemesisKeys.groups)
    let first = keys.firstList(group)
    keyCount += 1
    let key = "client \(session) \(keyCount) \(MonotonicTime.nanoseconds)"
    var transaction = ClientTransaction(session: session, level: .serializable, start: MonotonicTime.nanoseconds)
    var statements: [String] = []
    for _ in 0..<1 + dice.below(2) {
      let list = first + dice.below(NemesisKeys.width)
      let element = record.newElement()
      transaction.operations.append(
        ClientTransaction.Operation(.append(key: list, element: element), start: transaction.start))
      keys.noteAppend(group)
      statements.append(
        "INSERT INTO lists\(group) VALUES (\(list), '\(element)') "
          + "ON CONFLICT (k) DO UPDATE SET v = lists\(group).v || ',' || excluded.v")
    }
    transaction.outcome = .unknown
    let end = Date().addingTimeInterval(Self.patienceSeconds)
    var tries = 0
    while Date() < end, !record.isStopped {
      if connection == nil, !connect() {
        usleep(20_000)
        continue
      }
      tries += 1
      if attempt(statements, key) {
        transaction.outcome = .committed
        break
      }
      usleep(5_000)
    }
    if tries > 1 { record.count("tried again under a key") }
    transaction.end = MonotonicTime.nanoseconds
    record.note(transaction, group: group)
    // A key ends with its connection: the next one is not to find it there.
    if transaction.outcome != .committed { connection = nil }
  }

  /// One attempt; true when the transaction is known to have committed, now or before.
  private func attempt(_ statements: [String], _ key: String) -> Bool {
    guard let client = connection else { return false }
    do {
      // One by one: in a block the key would be looked up by SET.
      _ = try client.query("SET default_transaction_isolation = 'serializable'")
      _ = try client.query("SET synod.idempotency_key = '\(key)'")
      if statements.count == 1 {
        _ = try client.query(statements[0])
        return true
      }
      _ = try client.query("BEGIN")
      for statement in statements { _ = try client.query(statement) }
      _ = try client.query("COMMIT")
      return client.lastTag == "COMMIT"
    } catch let refusal as PlainClient.Refused {
      if refusal.state == "SY001" { return true }
      record.count(refusal.state)
      if refusal.isFatal {
        connection = nil
      } else {
        do { _ = try client.query("ROLLBACK") } catch { connection = nil }
      }
    } catch {
      record.count("lost")
      connection = nil
    }
    return false
  }

  // MARK: Tokens

  /// A write through any node or a read of any node's own state; the token goes along.
  func wander() {
    // Another node each time; the session is the token's.
    let own = session
    guard connect() else {
      connection = nil
      return
    }
    session = token == nil ? session : own
    if token == nil || dice.below(3) == 0 {
      guard write() else { return }
      if !takeToken() {
        // What was written is not known to the next node: that is another session.
        token = nil
      }
    } else if let token {
      do {
        _ = try connection?.query("SET synod.read_consistency = 'session'; SET synod.session_token = '\(token)'")
      } catch {
        connection = nil
        return
      }
      look(.session)
      if connection != nil, !takeToken() { self.token = nil }
    }
  }

  private func takeToken() -> Bool {
    guard let client = connection, let row = try? client.query("SHOW synod.session_token").first, let text = row.first
    else { return false }
    token = text
    return token != nil
  }
}
