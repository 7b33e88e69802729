import Foundation
import Testing

/// Golden scripts: prose, commands, and under `---` everything that was said. `SYNOD_REWRITE=1 swift test --filter
/// ScriptTests` writes what happens now; review the difference.
@Suite struct ScriptTests {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Scripts")
  static let names: [String] =
    ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).filter { $0.hasSuffix(".script") }
    .sorted()

  @Test(arguments: names)
  func script(name: String) throws {
    let url = Self.folder.appendingPathComponent(name)
    let expected = try String(contentsOf: url, encoding: .utf8)
    let actual = try Self.play(expected)
    if ProcessInfo.processInfo.environment["SYNOD_REWRITE"] == "1" {
      try actual.write(to: url, atomically: true, encoding: .utf8)
    } else if actual != expected {
      let pairs = zip(
        expected.split(separator: "\n", omittingEmptySubsequences: false),
        actual.split(separator: "\n", omittingEmptySubsequences: false))
      let first = pairs.enumerated().first { $1.0 != $1.1 }
      Issue.record(
        """
        \(name), line \(first.map { $0.offset + 1 } ?? 0):
          expected: \(first?.element.0 ?? "")
          actual:   \(first?.element.1 ?? "")
        """)
    }
    #expect(!actual.contains("BROKEN"))
    #expect(!actual.contains("it never ends"))
  }

  @Test func thereAreScripts() { #expect(Self.names.count >= 8) }

  /// The script with what happens now under each block of commands.
  static func play(_ script: String) throws -> String {
    let cluster = ScriptCluster()
    var out: [String] = []
    var block: [String] = []
    var skipping = false
    func finish() throws {
      guard !block.isEmpty else { return }
      out.append("---")
      for line in block { out += try cluster.run(line) }
      block = []
    }
    for line in script.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
      if line == "---" {
        skipping = true
      } else if line.isEmpty {
        try finish()
        skipping = false
        out.append("")
      } else if !skipping {
        out.append(line)
        if !line.hasPrefix("#") { block.append(line) }
      }
    }
    try finish()
    while out.last == "" { out.removeLast() }
    return out.joined(separator: "\n") + "\n"
  }
}
