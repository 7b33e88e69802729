import Encoding
import Foundation
import Storage
import Testing
import Transactions

// Golden scripts: sessions interleaved by hand, named by the anomaly they would show. Each is run at every level; where the
// levels answer differently, all three answers are in the script.
//
//   # comment
//   setup x=1 y=1            committed before
//   A begin [read-only]      begins (and takes the snapshot at the first read or write)
//   A get x | latest x | scan a z | put x 1 | insert x 1 | delete x | erase a z
//   A lock x update [nowait|skip]
//   A savepoint s | back s | release s | commit | rollback
//     => answer              written by the runner
//
// A command that waits answers `waits`; when its lock is granted its answer follows that of the command that did it.
// SYNOD_REWRITE=1 writes the answers into the files.
@Suite(.serialized) struct ScriptTests {
  static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Scripts")
  static let names: [String] =
    ((try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? [])
    .filter { $0.hasSuffix(".script") }.sorted()

  @Test func thereAreScripts() { #expect(Self.names.count >= 20) }

  @Test(arguments: names)
  func script(_ name: String) throws {
    let url = Self.directory.appendingPathComponent(name)
    let text = try String(contentsOf: url, encoding: .utf8)
    let commands = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      .filter { !$0.hasPrefix("  =>") }
    let answers = try [IsolationLevel.readCommitted, .repeatableRead, .serializable].map {
      try ScriptRunner($0).run(commands)
    }
    var lines: [String] = []
    for (index, command) in commands.enumerated() {
      lines.append(command)
      guard let first = answers[0][index] else { continue }
      if answers.allSatisfy({ $0[index] == first }) {
        lines.append("  => \(first)")
      } else {
        for (level, answer) in zip(["rc ", "rr ", "ser"], answers) { lines.append("  => \(level) \(answer[index]!)") }
      }
    }
    let result = lines.joined(separator: "\n")
    if ProcessInfo.processInfo.environment["SYNOD_REWRITE"] == "1" {
      try result.write(to: url, atomically: true, encoding: .utf8)
    } else {
      #expect(result == text, "\(name): SYNOD_REWRITE=1 rewrites it")
    }
  }
}

final class ScriptRunner {
  private let level: IsolationLevel
  private let database: TestDatabase
  private var sessions: [String: Session] = [:]

  final class Session: @unchecked Sendable {
    let name: String
    var transaction: Transaction?
    var savepoints: [String: Savepoint] = [:]
    var waiting: [String]?
    var isGranted = false
    init(_ name: String) { self.name = name }
  }

  init(_ level: IsolationLevel) throws {
    self.level = level
    database = try TestDatabase()
  }

  /// The answer to each line, nil for comments.
  func run(_ lines: [String]) throws -> [String?] {
    let answers = try lines.map(answer)
    for session in sessions.values { session.transaction?.rollback() }
    database.expectEmpty()
    return answers
  }

  private func answer(_ line: String) throws -> String? {
    let words = line.split(separator: " ").map(String.init)
    guard let name = words.first, !name.hasPrefix("#") else { return nil }
    if name == "setup" {
      for pair in words.dropFirst() {
        let parts = pair.split(separator: "=").map(String.init)
        try database.write([parts[0]: parts[1]])
      }
      return nil
    }
    let session = sessions[name] ?? Session(name)
    sessions[name] = session
    var answers = [perform(session, Array(words.dropFirst()))]
    // Who was waiting for it goes on.
    while let next = sessions.values.filter({ $0.isGranted }).min(by: { $0.name < $1.name }) {
      next.isGranted = false
      let command = next.waiting!
      next.waiting = nil
      answers.append("\(next.name): \(perform(next, command, isContinued: true))")
    }
    return answers.joined(separator: "; ")
  }

  private func perform(_ session: Session, _ words: [String], isContinued: Bool = false) -> String {
    if session.waiting != nil && words[0] != "rollback" { return "is waiting" }
    do {
      return try answer(session, words, isContinued)
    } catch let error as TransactionError {
      return describe(error)
    } catch {
      return "\(error)"
    }
  }

  private func answer(_ session: Session, _ words: [String], _ isContinued: Bool) throws -> String {
    if words[0] == "begin" {
      let options = TransactionOptions(isolation: level, isReadOnly: words.contains("read-only"))
      session.transaction = try database.manager.begin(options)
      return "ok"
    }
    guard let transaction = session.transaction else { return "no transaction" }
    if !isContinued && !["commit", "rollback", "back"].contains(words[0]) { try transaction.beginStatement() }
    switch words[0] {
    case "get": return try transaction.get(words[1]) ?? "nothing"
    case "latest": return try transaction.getLatest(words[1]) ?? "nothing"
    case "scan":
      let rows = try transaction.scan(words[1], words[2])
      return rows.isEmpty ? "nothing" : rows
    case "put":
      guard try lock(session, words, .update) != nil else { return "waits" }
      try transaction.put(words[1], words[2])
      return "ok"
    case "insert":
      guard try lock(session, words, .update) != nil else { return "waits" }
      if let there = try transaction.getLatest(words[1]) { return "duplicate (\(there))" }
      try transaction.put(words[1], words[2])
      return "ok"
    case "delete":
      guard try lock(session, words, .update) != nil else { return "waits" }
      try transaction.delete(words[1])
      return "ok"
    case "erase":
      try transaction.deleteRange(words[1], words[2])
      return "ok"
    case "lock":
      let strengths: [String: LockStrength] = [
        "key-share": .keyShare, "share": .share, "no-key-update": .noKeyUpdate, "update": .update,
      ]
      let strength = strengths[words[2]]!
      if words.count > 3 {
        return "\(try transaction.lock(words[1], strength, words[3] == "skip" ? .skipLocked : .noWait))"
      }
      guard let outcome = try lock(session, words, strength) else { return "waits" }
      return "\(outcome)"
    case "savepoint":
      session.savepoints[words[1]] = transaction.savepoint()
      return "ok"
    case "back":
      transaction.rollback(to: session.savepoints[words[1]]!)
      return "ok"
    case "release":
      transaction.release(session.savepoints[words[1]]!)
      return "ok"
    case "commit":
      try transaction.commit()
      return "ok"
    case "rollback":
      transaction.rollback()
      return "ok"
    default: return "unknown command"
    }
  }

  private func lock(_ session: Session, _ words: [String], _ strength: LockStrength) throws -> LockOutcome? {
    let outcome = try session.transaction!.lockLater(words[1], strength) { _ in session.isGranted = true }
    if outcome == nil { session.waiting = words }
    return outcome
  }

  private func describe(_ error: TransactionError) -> String {
    func name(_ reference: TransactionReference) -> String {
      sessions.values.first { $0.transaction?.id == reference.id }?.name ?? "setup"
    }
    func keys(_ range: KeyRange) -> String { String(decoding: range.lower, as: UTF8.self) }
    switch error {
    case .serializationFailure(let failure):
      switch failure.reason {
      case .concurrentUpdate: return "40001: \(keys(failure.keys)) was updated by \(failure.others.map(name).joined())"
      case .cycle:
        let steps = failure.cycle.map { "\(name($0.from)) -\($0.kind) \(keys($0.keys))→ \(name($0.to))" }
        return "40001: \(steps.joined(separator: ", "))"
      default: return "40001: \(failure.reason)"
      }
    case .deadlock(let deadlock):
      return "40P01: "
        + deadlock.waits.map { "\(name($0.transaction)) waits for \(keys($0.keys))" }.joined(separator: ", ")
    case .lockNotAvailable(let refusal): return "55P03: held by \(refusal.holders.map(name).joined(separator: ", "))"
    case .notActive(let state): return "not active: \(state)"
    default: return "\(error)"
    }
  }
}
