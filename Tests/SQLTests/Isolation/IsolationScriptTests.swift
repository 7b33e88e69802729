import Foundation
import SQL
import Testing
import Transactions

// Golden scripts of interleaved sessions, named by anomaly, at every level, beside PostgreSQL 15's answers.
//
//   # comment
//   setup: CREATE TABLE …           a session of its own
//   A: BEGIN                        a statement of session A
//      => BEGIN                     the answer at every level: rows, a tag or an error
//      => rc  …                     or one for each level that differs: rc, rr, ser
//      => postgres ser: …           what PostgreSQL answers, where it answers otherwise
//      => waits                     the answer comes later, behind that of the statement which let it go on
//
// SYNOD_REWRITE=1 writes our answers into the scripts. SYNOD_POSTGRES="host=… user=…" (with psql at hand) runs them against
// PostgreSQL, too: as an oracle, or with SYNOD_REWRITE=1 to write its answers down. Without it PostgreSQL's lines stay as
// they are.
@Suite(.serialized) struct IsolationScriptTests {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Scripts/isolation")
  static let names: [String] =
    ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).filter { $0.hasSuffix(".script") }
    .sorted()
  static let levels = [
    ("rc", "read committed"), ("rr", "repeatable read"), ("ser", "serializable"),
  ]
  static let environment = ProcessInfo.processInfo.environment

  @Test func thereAreScripts() { #expect(Self.names.count >= 30) }

  @Test(arguments: names)
  func script(_ name: String) throws {
    let file = Self.folder.appending(path: name)
    let text = try String(contentsOf: file, encoding: .utf8)
    let script = IsolationScript(text)
    var ours: [[StepAnswer]] = []
    for (_, level) in Self.levels {
      let test = try TestSQL()
      ours.append(script.play { LocalSession(test, ["SET default_transaction_isolation = '\(level)'"]) })
      #expect(test.manager.statistics.open == 0)
      #expect(test.manager.statistics.lockedKeys == 0)
      #expect(test.manager.statistics.remembered == 0, "the certifier remembers something")
    }
    var theirs: [[StepAnswer]]?
    if let connection = Self.environment["SYNOD_POSTGRES"] {
      theirs = try Self.levels.map { try PostgresSession.play(script, connection, level: $0.1) }
    }
    let result = script.text(ours, theirs)
    if Self.environment["SYNOD_REWRITE"] == "1" {
      try result.write(to: file, atomically: true, encoding: .utf8)
    } else if result != text {
      let wanted = text.split(separator: "\n", omittingEmptySubsequences: false)
      let got = result.split(separator: "\n", omittingEmptySubsequences: false)
      let line =
        zip(wanted, got).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(wanted.count, got.count)
      Issue.record(
        """
        \(name), line \(line + 1): SYNOD_REWRITE=1 rewrites it
        expected: \(line < wanted.count ? wanted[line] : "(end)")
        answered: \(line < got.count ? got[line] : "(end)")
        """)
    }
  }
}

/// The answers that follow one line of a script: its own, then those of sessions that it let go on.
struct StepAnswer: Equatable {
  var outcomes: [String]
  var words: [[String]]

  func isLike(_ other: StepAnswer) -> Bool { outcomes == other.outcomes }
}

struct IsolationScript {
  /// Comments and empty lines have no statement.
  private struct Line {
    var text: String
    var session: String?
    var sql = ""
    /// PostgreSQL's answers as the file has them, by level.
    var postgres: [String] = []
  }
  private var lines: [Line] = []

  init(_ text: String) {
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
      if line.hasPrefix("   =>") {
        if line.hasPrefix("   => postgres") { lines[lines.count - 1].postgres.append(line) }
        continue
      }
      if line.hasPrefix("      ") { continue }
      guard !line.hasPrefix("#"), let colon = line.firstIndex(of: ":") else {
        lines.append(Line(text: line))
        continue
      }
      let sql = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      lines.append(Line(text: line, session: String(line[..<colon]), sql: sql))
    }
  }

  /// One answer for each line that has a statement.
  func play(_ connect: () -> any ScriptSession) -> [StepAnswer] {
    var sessions: [String: any ScriptSession] = [:]
    var names: [UInt64: String] = [:]
    var conductor = Conductor()
    var answers: [StepAnswer] = []
    for line in lines {
      guard let name = line.session else { continue }
      let session = sessions[name] ?? connect()
      sessions[name] = session
      if let local = session as? LocalSession { names[local.id] = name }
      if conductor.isPending(name) {
        answers.append(StepAnswer(outcomes: ["is waiting"], words: [[]]))
        continue
      }
      let told = conductor.step(name, session, line.sql)
      answers.append(
        StepAnswer(
          outcomes: told.enumerated().map { index, item in
            (index == 0 ? "" : "\(item.name): ") + (item.answer?.outcome ?? "waits")
          },
          words: told.map { item in (item.answer?.words ?? []).map { IsolationScript.readable($0, names) } }))
    }
    for session in sessions.sorted(by: { $0.key < $1.key }) { session.value.close() }
    return answers
  }

  /// Transactions by the name of their session, versions without their number.
  private static func readable(_ text: String, _ names: [UInt64: String]) -> String {
    let named = text.replacing(/[Tt]ransaction \d+ of session (\d+)/) { match in
      names[UInt64(match.1) ?? 0] ?? "another session"
    }
    return named.replacing(/at version \d+/, with: "at version N")
  }

  /// The script with our answers and PostgreSQL's (nil: those that it has).
  func text(_ ours: [[StepAnswer]], _ theirs: [[StepAnswer]]?) -> String {
    var output: [String] = []
    var step = 0
    for line in lines {
      output.append(line.text)
      guard line.session != nil else { continue }
      let answers = ours.map { $0[step] }
      let isSetup = line.session == "setup" && answers.allSatisfy { !$0.outcomes[0].hasPrefix("ERROR") }
      if !isSetup {
        if answers.allSatisfy({ $0 == answers[0] }) {
          output += shown(answers[0], "")
        } else {
          for (level, answer) in zip(IsolationScriptTests.levels, answers) {
            output += shown(answer, level.0.padding(toLength: 4, withPad: " ", startingAt: 0))
          }
        }
      }
      if let theirs {
        for (index, level) in IsolationScriptTests.levels.enumerated() where !theirs[index][step].isLike(answers[index])
        {
          output.append("   => postgres \(level.0): \(theirs[index][step].outcomes.joined(separator: "; "))")
        }
      } else {
        output += line.postgres
      }
      step += 1
    }
    return output.joined(separator: "\n")
  }

  private func shown(_ answer: StepAnswer, _ level: String) -> [String] {
    var result = ["   => " + level + answer.outcomes.joined(separator: "; ")]
    for words in answer.words { result += words.map { "      " + $0 } }
    return result
  }
}
