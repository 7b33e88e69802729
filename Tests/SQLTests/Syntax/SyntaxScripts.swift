import Foundation
import SQL

/// The golden scripts of the parser: `Scripts/syntax/*.sql`.
///
/// A script is a comment (`#`), then entries with blank lines between: the statement, a line `----`, and what is expected:
///
/// * the tree, written back as SQL with parentheses around every operator, one line a statement;
/// * or the error: `error STATE at POSITION: message`, then `hint:` and `detail:` if there are any.
///
/// With `SYNOD_REWRITE=1` in the environment the tests write what they found into the scripts, to be read as a diff.
struct SyntaxScript {
  struct Entry {
    var text: String
    var expected: String
  }

  var name: String
  var path: String
  var head: String
  var entries: [Entry]

  static let all: [SyntaxScript] = {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Scripts/syntax")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return names.filter { $0.hasSuffix(".sql") }.sorted().compactMap { name in
      let path = folder.appendingPathComponent(name).path
      guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
      return SyntaxScript(name: name, path: path, text: text)
    }
  }()

  /// Every statement of every script that the parser takes.
  static let accepted: [String] = all.flatMap { $0.entries.map(\.text) }.filter { (try? SQLParser.parse($0)) != nil }

  init(name: String, path: String, text: String) {
    (self.name, self.path) = (name, path)
    var blocks = text.components(separatedBy: "\n\n")
    head = blocks.removeFirst()
    entries = blocks.compactMap { block in
      let block = block.hasSuffix("\n") ? String(block.dropLast()) : block
      if block.isEmpty { return nil }
      let parts = block.components(separatedBy: "\n----")
      let expected = parts.count > 1 ? parts[1].drop { $0 == "\n" } : ""
      return Entry(text: parts[0], expected: String(expected))
    }
  }

  /// What the parser says of a text, in the form of the scripts.
  static func outcome(of text: String) -> String {
    do throws(SQLError) {
      let statements = try SQLParser.parse(text)
      return statements.map { parsed in
        var writer = SQLWriter(parentheses: .always)
        writer.statement(parsed.statement)
        return writer.text
      }.joined(separator: "\n")
    } catch {
      var lines = ["error \(error.state) at \(error.position.map(String.init) ?? "-"): \(error.message)"]
      if let detail = error.detail { lines.append("detail: \(detail)") }
      if let hint = error.hint { lines.append("hint: \(hint)") }
      return lines.joined(separator: "\n")
    }
  }

  func rewrite() throws {
    let blocks = entries.map { entry in
      let found = Self.outcome(of: entry.text)
      return entry.text + "\n----" + (found.isEmpty ? "" : "\n" + found) + "\n"
    }
    try ([head + "\n"] + blocks).joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
  }
}

/// A small generator with a seed (SplitMix64), so that a failure can be run again.
struct Dice {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A number from 0 to `bound`, without it.
  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  mutating func pick<Element>(_ items: [Element]) -> Element { items[below(items.count)] }

  /// The seed of this run: `SYNOD_SEED`, or `fallback`.
  static func seed(_ fallback: UInt64) -> UInt64 {
    ProcessInfo.processInfo.environment["SYNOD_SEED"].flatMap(UInt64.init) ?? fallback
  }
}
