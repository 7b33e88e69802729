import Testing
import Wire

struct SessionMovingTests {
  private func bytes(_ body: (inout WireBuffer) -> Void) -> [UInt8] {
    var buffer = WireBuffer()
    body(&buffer)
    return buffer.array
  }

  @Test func movesAreReadBack() throws {
    let moves = SessionMove.moves(mark: Array(1...16), readies: 3, replay: [9, 8, 7])
    for move in [moves, .rest([]), .rest([1, 2])] {
      let message = bytes { $0.sessionMove(move) }
      #expect(message[0] == SessionMove.type)
      #expect(SessionMove(decoding: Array(message[5...])) == move)
    }
    #expect(SessionMove(decoding: []) == nil)
    #expect(SessionMove(decoding: [3]) == nil)
    #expect(SessionMove(decoding: [1] + [UInt8](repeating: 0, count: 19)) == nil)
    // More answers than anybody's replay has.
    #expect(SessionMove(decoding: [1] + [UInt8](repeating: 0, count: 16) + [127, 0, 0, 0]) == nil)
  }

  /// Cut anywhere, the same is passed on, and the same is looked at.
  @Test func framesAreCutAnywhere() {
    let stream = bytes { buffer in
      buffer.parameterStatus(name: "a", value: "b")
      let row = buffer.beginRow(columns: 1)
      buffer.value(text: "hello")
      try? buffer.endRow(row)
      buffer.sessionMove(.rest([1, 2, 3]))
      buffer.commandComplete("SELECT 1")
      buffer.fatal(WireReport(severity: .error, sqlState: "57P03", message: "no leader"))
    }
    let expected = bytes { buffer in
      buffer.parameterStatus(name: "a", value: "b")
      let row = buffer.beginRow(columns: 1)
      buffer.value(text: "hello")
      try? buffer.endRow(row)
      buffer.commandComplete("SELECT 1")
    }
    for size in 1...stream.count {
      var frames = BackendFrames()
      var passed: [UInt8] = []
      var seen: [BackendFrames.Frame] = []
      for start in stride(from: 0, to: stream.count, by: size) {
        let piece = Array(stream[start..<min(stream.count, start + size)])
        #expect(
          frames.receive(piece, into: &passed) { frame in
            seen.append(frame)
            return false
          })
      }
      #expect(passed == expected, "pieces of \(size)")
      #expect(seen.map(\.type) == [SessionMove.type, UInt8(ascii: "E")])
      #expect(seen.last?.field("C") == "57P03")
      #expect(seen.last?.field("V") == "FATAL")
      #expect(frames.isBetweenMessages)
    }
  }

  @Test func droppedMessagesLeaveNothingBehind() {
    let row = bytes { buffer in
      let row = buffer.beginRow(columns: 1)
      buffer.value(text: "of the replay")
      try? buffer.endRow(row)
    }
    let tag = bytes { $0.commandComplete("SET") }
    var frames = BackendFrames()
    var passed: [UInt8] = []
    var drops = true
    _ = frames.receive(row + tag, into: &passed, drops: { drops }) { _ in true }
    #expect(passed.isEmpty)
    drops = false
    _ = frames.receive(row + tag, into: &passed, drops: { drops }) { _ in true }
    #expect(passed == row + tag)
  }

  @Test func whatCannotBeAServersIsRefused() {
    var frames = BackendFrames()
    var passed: [UInt8] = []
    #expect(!frames.receive([UInt8(ascii: "D"), 0, 0, 0, 3], into: &passed) { _ in true })
    #expect(!frames.receive([UInt8(ascii: "D"), 255, 0, 0, 3], into: &passed) { _ in true })
  }
}
