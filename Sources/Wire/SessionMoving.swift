// What passes between two nodes when a session moves from one to the other (Server/Cluster/Relay.swift), and how a relay
// reads along.
//
// A node that relays a client's session to the leader passes bytes both ways. When leadership moves, the leader sends a
// message of a type that PostgreSQL does not have, which the relay keeps to itself:
//
//   'y' int32 length, then
//     byte 1 (moves)  mark 16 bytes · int32 count of ReadyForQuery that the replay is answered with · replay
//     byte 2 (rest)   what the client sent and nobody acted on
//
// The replay is ordinary messages of a client, which bring a new session to where the old one was. On `moves` the relay sends
// the mark and nothing more; the leader gives back, as `rest`, all that came before the mark and was not acted on. So
// nothing that a client sends is lost or done twice, and neither side keeps what is in flight.
//
// 1. `moves` is sent only between transactions, behind a Sync or a simple query.
// 2. Clients never see the type, for only sessions with a relay's ticket are sent it.

/// A message from a leader to a relay.
package enum SessionMove: Equatable, Sendable {
  case moves(mark: [UInt8], readies: Int, replay: [UInt8])
  case rest([UInt8])

  package static let type = UInt8(ascii: "y")
  package static let markSizeBytes = 16
  /// A session with more to replay does not move.
  package static let largestReplaySizeBytes = 16 << 20

  /// Nil: malformed.
  package init?(decoding body: [UInt8]) {
    switch body.first {
    case 1:
      let head = 1 + Self.markSizeBytes
      guard body.count >= head + 4 else { return nil }
      let readies = body[head..<head + 4].reduce(0) { $0 << 8 | Int($1) }
      guard readies <= 1 << 20 else { return nil }
      self = .moves(mark: Array(body[1..<head]), readies: readies, replay: Array(body[(head + 4)...]))
    case 2: self = .rest(Array(body[1...]))
    default: return nil
    }
  }
}

extension WireBuffer {
  package mutating func sessionMove(_ move: SessionMove) {
    let mark = beginMessage(SessionMove.type)
    switch move {
    case .moves(let end, let readies, let replay):
      precondition(end.count == SessionMove.markSizeBytes)
      append(1 as UInt8)
      append(end)
      append(bigEndian: Int32(readies))
      append(replay)
    case .rest(let bytes):
      append(2 as UInt8)
      append(bytes)
    }
    endMessage(mark)
  }
}

extension WireBuffer {
  /// The last word to a client.
  package mutating func fatal(_ report: WireReport) {
    var report = report
    if !report.severity.endsConnection { report.severity = .fatal }
    error(report)
  }
}

extension ServerSession {
  /// Takes what has come and was not acted on.
  package mutating func takeUnread() -> [UInt8] {
    input.discardFrame()
    let bytes = input.buffer.array
    input.removeAll()
    return bytes
  }

  /// Goes on with a session that was another node's: the client has been let in there.
  package mutating func resume() {
    switch state {
    case .choosing, .ready: break
    default: return ignoreIfClosed()
    }
    input.removeAll()
    startup = nil
    isSkipping = false
    transaction = .idle
    state = .ready
  }
}

/// Cuts what a server says into messages, passing nearly all of it on as it is.
package struct BackendFrames: Sendable {
  /// A message that somebody looks at, whole.
  package struct Frame: Sendable {
    package var type: UInt8
    package var body: [UInt8]
  }

  /// What is looked at: authentication, errors, keys, ReadyForQuery, and the messages of a move.
  private static func isWatched(_ type: UInt8, _ size: Int) -> Bool {
    switch type {
    case UInt8(ascii: "R"), UInt8(ascii: "K"), UInt8(ascii: "Z"), UInt8(ascii: "E"): size <= 64 << 10
    case SessionMove.type: size <= 64 << 20
    default: false
    }
  }

  private var header: [UInt8] = []
  private var left = 0
  private var watched: Frame?
  private var isDropping = false

  package init() {}

  /// Whether the last message is complete.
  package var isBetweenMessages: Bool { header.isEmpty && left == 0 && watched == nil }

  /// Appends to `passed` what is to be passed on; `look` says of each message that is looked at whether it is, `drops` at the
  /// beginning of each of the others whether it is not. Returns false when this cannot be a server's bytes.
  package mutating func receive(
    _ bytes: [UInt8], into passed: inout [UInt8], drops: () -> Bool = { false }, _ look: (Frame) -> Bool
  ) -> Bool {
    var at = 0
    while at < bytes.count {
      if left > 0 {
        let count = min(left, bytes.count - at)
        if watched != nil {
          watched?.body += bytes[at..<at + count]
        } else if !isDropping {
          passed += bytes[at..<at + count]
        }
        left -= count
        at += count
        if left == 0 { endWatched(&passed, look) }
        continue
      }
      let count = min(5 - header.count, bytes.count - at)
      header += bytes[at..<at + count]
      at += count
      guard header.count == 5 else { break }
      let length = header[1..<5].reduce(0) { $0 << 8 | Int($1) }
      guard length >= 4, length < 1 << 30 else { return false }
      left = length - 4
      isDropping = false
      if Self.isWatched(header[0], left) {
        watched = Frame(type: header[0], body: [])
      } else if drops() {
        isDropping = true
      } else {
        passed += header
      }
      header.removeAll(keepingCapacity: true)
      if left == 0 { endWatched(&passed, look) }
    }
    return true
  }

  private mutating func endWatched(_ passed: inout [UInt8], _ look: (Frame) -> Bool) {
    guard let frame = watched else { return }
    watched = nil
    guard look(frame) else { return }
    let length = UInt32(frame.body.count + 4)
    passed.append(frame.type)
    for shift in [24, 16, 8, 0] as [UInt32] { passed.append(UInt8(truncatingIfNeeded: length >> shift)) }
    passed += frame.body
  }
}

extension BackendFrames.Frame {
  /// A field of an error: `C` is its SQLSTATE, `M` its text, `V` its severity.
  package func field(_ code: UnicodeScalar) -> String? {
    var at = 0
    while at < body.count, body[at] != 0 {
      let end = body[(at + 1)...].firstIndex(of: 0) ?? body.endIndex
      if body[at] == UInt8(ascii: code) { return String(decoding: body[(at + 1)..<end], as: UTF8.self) }
      at = end + 1
    }
    return nil
  }

  /// The key of a BackendKeyData.
  package var cancelKey: CancelKey? {
    guard type == UInt8(ascii: "K"), body.count >= 8 else { return nil }
    return CancelKey(process: body[..<4].reduce(0) { $0 << 8 | UInt32($1) }, secret: Array(body[4...]))
  }
}
