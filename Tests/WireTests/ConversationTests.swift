import Foundation
import Testing

/// The golden conversations, and that they do not depend on how the bytes are cut.
@Suite struct ConversationTests {
  @Test(arguments: Conversation.names)
  func conversation(_ name: String) throws {
    let path = Conversation.folder.appendingPathComponent(name)
    let script = try String(contentsOf: path, encoding: .utf8)
    let found = try Conversation.replay(script)
    if ProcessInfo.processInfo.environment["SYNOD_REWRITE"] == "1" {
      return try found.write(to: path, atomically: true, encoding: .utf8)
    }
    let (expected, got) = (script.split(separator: "\n"), found.split(separator: "\n"))
    for (number, pair) in zip(expected, got).enumerated() where pair.0 != pair.1 {
      Issue.record("\(name), line \(number + 1) of those not empty:\nexpected \(pair.0)\nfound    \(pair.1)")
      return
    }
    #expect(expected.count == got.count)
  }

  @Test(arguments: Conversation.names, [1, 3, 7])
  func piecesDoNotMatter(_ name: String, _ size: Int) throws {
    let script = try String(contentsOf: Conversation.folder.appendingPathComponent(name), encoding: .utf8)
    // Bytes that come with a wish for TLS are an attack only if they come before the answer.
    if script.contains("# whole pieces only") { return }
    #expect(try Conversation.replay(script, pieceSize: size) == Conversation.replay(script))
  }

  @Test func thereAreScripts() { #expect(Conversation.names.count >= 8) }
}
