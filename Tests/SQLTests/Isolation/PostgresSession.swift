import Foundation
import Synchronization

/// A session of PostgreSQL, through psql: what the scripts are compared with.
final class PostgresSession: ScriptSession, @unchecked Sendable {
  // `@unchecked`: what the reading thread shares is guarded by the mutex.
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private let received = Mutex<[UInt8]>([])
  private var number = 0
  private var wasAnswered = true
  private var last: Answer?
  private(set) var pid = 0
  private let watcher: PostgresSession?

  init(_ connection: String, watcher: PostgresSession?, settings: [String] = []) throws {
    self.watcher = watcher
    process.executableURL = URL(filePath: "/usr/bin/psql")
    process.arguments = ["-X", "-q", "-A", "-t", "-F", " | ", connection]
    process.standardInput = input
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let handle = output.fileHandleForReading
    Thread.detachNewThread { [self] in
      while true {
        let data = handle.availableData
        if data.isEmpty { return }
        received.withLock { $0 += Array(data) }
      }
    }
    send("\\set VERBOSITY sqlstate\n\\pset null NULL\n\\unset QUIET\n")
    for setting in settings { _ = ask(setting) }
    pid = Int(ask("SELECT pg_backend_pid()").outcome) ?? 0
  }

  private func send(_ text: String) { try? input.fileHandleForWriting.write(contentsOf: Data(text.utf8)) }

  func submit(_ sql: String) {
    number += 1
    wasAnswered = false
    received.withLock { $0 = [] }
    send("\(sql);\n\\echo end-of-answer-\(number)\n")
  }

  func ask(_ sql: String) -> Answer {
    submit(sql)
    while true {
      if let answer { return answer }
      usleep(200)
    }
  }

  var answer: Answer? {
    if wasAnswered { return last }
    let text = received.withLock { String(decoding: $0, as: UTF8.self) }
    let marker = "end-of-answer-\(number)\n"
    guard text.hasSuffix(marker) else {
      usleep(200)
      return nil
    }
    wasAnswered = true
    let lines = text.dropLast(marker.count).split(separator: "\n").map(String.init).filter {
      !$0.hasPrefix("WARNING") && !$0.hasPrefix("NOTICE")
    }
    if let error = lines.first(where: { $0.hasPrefix("ERROR:") }) {
      last = Answer(outcome: "ERROR " + error.dropFirst(6).trimmingCharacters(in: .whitespaces))
    } else {
      last = Answer(outcome: lines.isEmpty ? "no rows" : lines.joined(separator: ", "))
    }
    return last
  }

  var isWaiting: Bool {
    guard let watcher else { return false }
    // Twice: whoever was let go on is not awake at once.
    guard waits(watcher) else { return false }
    usleep(50_000)
    return waits(watcher)
  }

  private func waits(_ watcher: PostgresSession) -> Bool {
    let waits = watcher.ask(
      "SELECT count(*) FROM pg_stat_activity WHERE pid = \(pid) AND (wait_event_type = 'Lock' OR wait_event = 'SafeSnapshot') AND query_start < clock_timestamp() - interval '100 ms'"
    ).outcome
    return waits == "1"
  }

  func close() {
    send("\\q\n")
    try? input.fileHandleForWriting.close()
    process.terminate()
    process.waitUntilExit()
  }

  /// Plays a script in a schema of its own.
  static func play(_ script: IsolationScript, _ connection: String, level: String) throws -> [StepAnswer] {
    let watcher = try PostgresSession(connection, watcher: nil)
    let schema = "synod_scripts"
    _ = watcher.ask("SET client_min_messages = error")
    _ = watcher.ask("DROP SCHEMA IF EXISTS \(schema) CASCADE")
    _ = watcher.ask("CREATE SCHEMA \(schema)")
    let answers = script.play {
      try! PostgresSession(
        connection, watcher: watcher,
        settings: [
          "SET search_path = \(schema)", "SET default_transaction_isolation = '\(level)'",
          "SET deadlock_timeout = '20ms'",
        ])
    }
    _ = watcher.ask("DROP SCHEMA IF EXISTS \(schema) CASCADE")
    watcher.close()
    return answers
  }
}
