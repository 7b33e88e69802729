internal import Platform
internal import Synchronization
internal import Wire

// How a node that relays a session shows the node that runs it that it is one of the cluster's, and who the client is.
//
//   synod.relay = hmac ':' body          both in the start-up message, as text
//   body        = kind ':' target node ':' nonce ':' port ':' certificate ':' host-in-hex ':' user-in-hex
//                 kind: f a client that has not shown yet who it is · c one whose certificate names the role ·
//                 r a session that moves: it has, at its first node
//                 certificate: the hash, in hex, of the one that the client sees; empty where it speaks in clear
//   hmac        = HMAC-SHA-256 by the target's secret, which it tells its peers, over their own (mutual) TLS, and draws
//                 anew at each start
//
// 1. A ticket serves once, at one node, until that node stops.
// 2. A client that was relayed is judged by where it is, not by where the relay is: `trust` on loopback is not lent.

/// What a ticket says.
struct RelayTicket: Equatable {
  enum Kind: String { case fresh = "f", certified = "c", resumed = "r" }
  var kind: Kind
  var target: UInt64
  var nonce: [UInt8]
  var client: PeerAddress
  /// tls-server-end-point of the certificate that the client sees; empty where it speaks in clear.
  var certificateHash: [UInt8]
  var user: String

  /// The parameter of the start-up message.
  static let name = "synod.relay"

  static func == (one: RelayTicket, other: RelayTicket) -> Bool { one.body == other.body }

  private var body: String {
    [
      kind.rawValue, "\(target)", Self.hex(nonce), "\(client.port)", Self.hex(certificateHash),
      Self.hex(Array(client.host.utf8)),
      Self.hex(Array(user.utf8)),
    ].joined(separator: ":")
  }

  func text(secret: String) -> String {
    let code = OpenSSLScram().hmac(key: Array(secret.utf8), message: Array(body.utf8))
    return Self.hex(code) + ":" + body
  }

  init(_ kind: Kind, target: UInt64, client: PeerAddress, certificateHash: [UInt8], user: String) {
    var random = SystemRandomness()
    var nonce: [UInt8] = []
    for _ in 0..<2 { unsafe withUnsafeBytes(of: random.next()) { unsafe nonce.append(contentsOf: $0) } }
    self.kind = kind
    self.target = target
    self.nonce = nonce
    self.client = client
    self.certificateHash = certificateHash
    self.user = user
  }

  /// Nil: malformed, or not signed with `secret` for `target`.
  init?(_ text: String, secret: String, target: UInt64) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 8, !secret.isEmpty, let code = Self.bytes(parts[0]),
      let kind = Kind(rawValue: String(parts[1])), UInt64(parts[2]) == target, let nonce = Self.bytes(parts[3]),
      nonce.count == 16, let port = Int(parts[4]), let certificateHash = Self.bytes(parts[5]),
      let host = Self.bytes(parts[6]), let user = Self.bytes(parts[7])
    else { return nil }
    self.kind = kind
    self.target = target
    self.nonce = nonce
    client = PeerAddress(host: String(decoding: host, as: UTF8.self), port: port)
    self.certificateHash = certificateHash
    self.user = String(decoding: user, as: UTF8.self)
    let expected = OpenSSLScram().hmac(key: Array(secret.utf8), message: Array(body.utf8))
    guard CancelKey(process: 0, secret: expected).matches(CancelKey(process: 0, secret: code)) else { return nil }
  }

  static func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  private static func bytes(_ text: Substring) -> [UInt8]? {
    let digits = text.utf8.map { $0.hexValue }
    guard digits.count % 2 == 0, !digits.contains(nil) else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { (digits[$0] ?? 0) << 4 | (digits[$0 + 1] ?? 0) }
  }
}

extension UInt8 {
  fileprivate var hexValue: UInt8? {
    switch self {
    case 48...57: self - 48
    case 97...102: self - 87
    default: nil
    }
  }
}

/// The tickets that were used here: each serves once.
final class UsedTickets: Sendable {
  private struct State {
    var known: Set<[UInt8]> = []
    var order: [[UInt8]] = []
    var next = 0
  }
  private static let limit = 1 << 16
  private let state = Mutex(State())

  /// False: it was used before.
  func use(_ ticket: RelayTicket) -> Bool {
    state.withLock { state in
      guard state.known.insert(ticket.nonce).inserted else { return false }
      if state.order.count < Self.limit {
        state.order.append(ticket.nonce)
      } else {
        state.known.remove(state.order[state.next])
        state.order[state.next] = ticket.nonce
        state.next = (state.next + 1) % Self.limit
      }
      return true
    }
  }
}
