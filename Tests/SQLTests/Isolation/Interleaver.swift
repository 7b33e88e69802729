import Foundation
import SQL
import Synchronization
import Transactions

// Sessions on threads of their own, driven one statement at a time: a statement either comes to its end or waits for a
// lock, and which of the two is known for certain, because a lock is granted by whoever gives it back, before that one's
// statement ends.

/// What a statement answered.
struct Answer: Equatable, Sendable {
  /// Rows, a command tag, or `ERROR 40001`.
  var outcome: String
  /// The error's words, one line each.
  var words: [String] = []
  var isError: Bool { outcome.hasPrefix("ERROR") }
  var isRetryable: Bool { outcome == "ERROR 40001" || outcome == "ERROR 40P01" }
}

/// A session that a script speaks to.
protocol ScriptSession: AnyObject {
  /// Begins a statement.
  func submit(_ sql: String)
  /// The answer, or nil while there is none.
  var answer: Answer? { get }
  /// Whether the statement waits for another session's lock.
  var isWaiting: Bool { get }
  func close()
}

/// One of our sessions.
final class LocalSession: ScriptSession, @unchecked Sendable {
  // `@unchecked`: the session is used by its thread alone; the rest is guarded by the mutex.
  private struct State {
    var command: String?
    var answer: Answer?
    var isClosed = false
  }
  private let state = Mutex(State())
  private let wake = DispatchSemaphore(value: 0)
  private let ended = DispatchSemaphore(value: 0)
  private let session: SQLSession
  private let manager: TransactionManager
  let id: UInt64

  init(_ test: TestSQL, _ settings: [String]) {
    session = test.session()
    manager = test.manager
    id = session.id
    for setting in settings { _ = session.lines(setting) }
    let thread = Thread { [self] in loop() }
    thread.stackSize = 4 << 20
    thread.start()
  }

  private func loop() {
    while true {
      wake.wait()
      guard let command = state.withLock({ $0.isClosed ? nil : $0.command }) else { break }
      let answer = run(command)
      state.withLock {
        $0.command = nil
        $0.answer = answer
      }
    }
    session.close()
    ended.signal()
  }

  private func run(_ sql: String) -> Answer {
    let sink = TextSink(session)
    do {
      try session.execute(sql, sink)
    } catch {
      let lines = TextSink.text("ERROR", error)
      return Answer(
        outcome: "ERROR \(error.state)", words: [error.message] + lines.dropFirst().filter { !$0.hasPrefix("HINT") })
    }
    return Answer(outcome: LocalSession.outcome(sink.lines, sink.rowCount))
  }

  /// Rows without the names of the columns, or the tag.
  private static func outcome(_ lines: [String], _ rows: Int) -> String {
    let lines = lines.filter { !$0.hasPrefix("WARNING") && !$0.hasPrefix("NOTICE") }
    if rows > 0 { return lines.dropFirst().prefix(rows).joined(separator: ", ") }
    let isTag = lines.count == 1 && lines[0].first?.isUppercase == true
    return isTag ? lines[0] : lines.count > 1 ? lines[lines.count - 1] : "no rows"
  }

  func submit(_ sql: String) {
    state.withLock {
      precondition($0.command == nil, "the session has not answered yet")
      $0.command = sql
      $0.answer = nil
    }
    wake.signal()
  }

  var answer: Answer? { state.withLock { $0.answer } }
  var isWaiting: Bool { manager.isWaiting(session: id) }

  func close() {
    session.cancel()
    state.withLock { $0.isClosed = true }
    wake.signal()
    ended.wait()
  }
}

/// Plays statements to sessions.
struct Conductor {
  private(set) var pending: [String: any ScriptSession] = [:]
  private var order: [String] = []

  /// Begins a statement of `name`; returns the answers that come, this one's first, those of others that went on behind
  /// it. Its own is nil if it waits.
  mutating func step(_ name: String, _ session: any ScriptSession, _ sql: String) -> [(name: String, answer: Answer?)] {
    session.submit(sql)
    pending[name] = session
    order.append(name)
    Conductor.settle(session)
    var answers: [(name: String, answer: Answer?)] = [(name, session.answer)]
    if session.answer != nil { forget(name) }
    answers += advance()
    return answers
  }

  /// The answers of those who waited and wait no more.
  mutating func advance() -> [(name: String, answer: Answer?)] {
    var answers: [(name: String, answer: Answer?)] = []
    var isMoving = true
    while isMoving {
      isMoving = false
      for name in order {
        guard let session = pending[name] else { continue }
        Conductor.settle(session)
        if let answer = session.answer {
          answers.append((name, answer))
          forget(name)
          isMoving = true
        }
      }
    }
    return answers
  }

  func isPending(_ name: String) -> Bool { pending[name] != nil }

  private mutating func forget(_ name: String) {
    pending[name] = nil
    order.removeAll { $0 == name }
  }

  private static func settle(_ session: any ScriptSession) {
    while session.answer == nil && !session.isWaiting { sched_yield() }
  }
}
