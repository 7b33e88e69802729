import Foundation
import SQL
import Testing

/// Whole scripts: statements and what they answer (`Scripts/execution/*.golden`). PostgreSQL 15 gave the answers; where
/// ours differ on purpose, a comment in the script says why. `SYNOD_REWRITE=1` writes our answers into the scripts.
@Suite struct GoldenScriptTests {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Scripts/execution")
  static let scripts: [String] =
    ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).filter { $0.hasSuffix(".golden") }
    .sorted()

  @Test(arguments: scripts)
  func script(_ name: String) throws {
    let file = Self.folder.appending(path: name)
    let text = try String(contentsOf: file, encoding: .utf8)
    let actual = try Self.run(text)
    if ProcessInfo.processInfo.environment["SYNOD_REWRITE"] == "1" {
      try actual.write(to: file, atomically: true, encoding: .utf8)
      return
    }
    let wanted = text.split(separator: "\n", omittingEmptySubsequences: false)
    let got = actual.split(separator: "\n", omittingEmptySubsequences: false)
    guard wanted != got else { return }
    let first =
      zip(wanted, got).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(wanted.count, got.count)
    let context = wanted[max(0, first - 6)..<min(wanted.count, first)].joined(separator: "\n")
    let expected = first < wanted.count ? wanted[first] : "(end)"
    let answered = first < got.count ? got[first] : "(end)"
    Issue.record("\(name), line \(first + 1):\n\(context)\nexpected: \(expected)\nanswered: \(answered)")
  }

  /// The script with our answers. Lines that begin with `# ` are comments, `> ` statements, `< ` data of COPY; the session
  /// is changed by `@name`.
  /// A statement ends at a line that ends with a semicolon.
  static func run(_ text: String) throws -> String {
    let test = try TestSQL()
    var sessions: [String: SQLSession] = ["": test.session()]
    var output: [String] = []
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)[...]
    while let line = lines.first {
      if line.hasPrefix("> ") {
        var statement: [String] = []
        var data: [String] = []
        while let next = lines.first, next.hasPrefix("> ") {
          statement.append(String(next.dropFirst(2)))
          output.append(next)
          lines.removeFirst()
          if next.hasSuffix(";") { break }
        }
        while let next = lines.first, next.hasPrefix("< ") {
          data.append(String(next.dropFirst(2)) + "\n")
          output.append(next)
          lines.removeFirst()
        }
        var sql = statement.joined(separator: "\n")
        var name = ""
        if sql.hasPrefix("@"), let space = sql.firstIndex(of: " ") {
          name = String(sql[sql.index(after: sql.startIndex)..<space])
          sql = String(sql[sql.index(after: space)...])
        }
        let session = sessions[name] ?? test.session()
        sessions[name] = session
        output += session.lines(sql, copy: data)
        output.append("")
        while let next = lines.first, !next.isEmpty, !next.hasPrefix("> "), !next.hasPrefix("# ") {
          lines.removeFirst()
        }
      } else if line.hasPrefix("# ") {
        output.append(line)
        lines.removeFirst()
        if lines.first == "" { output.append("") }
      } else {
        lines.removeFirst()
      }
    }
    while output.last == "" { output.removeLast() }
    return output.joined(separator: "\n") + "\n"
  }
}
