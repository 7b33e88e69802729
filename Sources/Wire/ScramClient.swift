/// The client's side of one SCRAM exchange.
package struct ScramClient: Sendable {
  private enum State: Sendable {
    case first
    case waitingForSalt
    case waitingForSignature([UInt8])
    case done
  }

  /// What the client does about the channel.
  package enum Binding: Sendable, Equatable {
    /// It cannot bind: there is no TLS, or nobody wants it.
    case none
    /// It could, and the server does not.
    case notOffered
    /// The hash of the server's certificate, tls-server-end-point.
    case certificate([UInt8])
  }

  private let password: String
  private let binding: Binding
  private let nonce: String
  private let crypto: any ScramCrypto
  private var state = State.first

  /// `nonce` is random, 18 bytes or more, and never used again.
  package init(password: String, nonce: [UInt8], binding: Binding = .none, crypto: any ScramCrypto) {
    self.init(password: password, printableNonce: Base64.encode(nonce), binding: binding, crypto: crypto)
  }

  /// With a nonce as it goes over the wire: printable ASCII without commas.
  package init(password: String, printableNonce: String, binding: Binding = .none, crypto: any ScramCrypto) {
    self.password = password
    self.binding = binding
    nonce = printableNonce
    self.crypto = crypto
  }

  /// Whether the server has proved that it knows the password.
  package var isDone: Bool { if case .done = state { true } else { false } }

  private var bare: String { "n=,r=\(nonce)" }

  /// What comes before the first message's own text.
  private var head: String {
    switch binding {
    case .none: "n,,"
    case .notOffered: "y,,"
    case .certificate: scramBindingFlag + ",,"
    }
  }

  /// To be named to the server.
  package var mechanism: String {
    if case .certificate = binding { ScramVerifier.mechanismPlus } else { ScramVerifier.mechanism }
  }

  /// The first message.
  package mutating func first() -> [UInt8] {
    state = .waitingForSalt
    return Array("\(head)\(bare)".utf8)
  }

  /// Takes the server's first message; gives the proof. Takes some milliseconds.
  package mutating func proof(_ message: [UInt8]) throws(WireError) -> [UInt8] {
    guard case .waitingForSalt = state else { throw .scram("It comes out of turn.") }
    var attributes = try ScramAttributes(message)
    let both = try attributes.value("r")
    guard both.hasPrefix(nonce), both.utf8.count > nonce.utf8.count, isScramNonce(both) else {
      throw WireError(.connection, "invalid SCRAM response (nonce mismatch)")
    }
    guard let salt = Base64.decode(Array(try attributes.value("s").utf8)), !salt.isEmpty else {
      throw .scram("Invalid salt.")
    }
    guard let iterations = Int(try attributes.value("i")), (1...ScramVerifier.maximumIterations).contains(iterations)
    else {
      throw .scram("Invalid iteration count.")
    }
    let salted = crypto.pbkdf2(password: crypto.prepared(password), salt: salt, iterations: iterations)
    let clientKey = crypto.hmac(key: salted, message: Array("Client Key".utf8))
    var channel = Array(head.utf8)
    if case .certificate(let hash) = binding { channel += hash }
    let withoutProof = "c=\(Base64.encode(channel)),r=\(both)"
    let signed = Array("\(bare),\(String(decoding: message, as: UTF8.self)),\(withoutProof)".utf8)
    let signature = crypto.hmac(key: crypto.sha256(clientKey), message: signed)
    let serverKey = crypto.hmac(key: salted, message: Array("Server Key".utf8))
    state = .waitingForSignature(crypto.hmac(key: serverKey, message: signed))
    return Array("\(withoutProof),p=\(Base64.encode(zip(clientKey, signature).map { $0 ^ $1 }))".utf8)
  }

  /// Takes the server's last message: the proof that it knows the password.
  package mutating func verify(_ message: [UInt8]) throws(WireError) {
    guard case .waitingForSignature(let expected) = state else { throw .scram("It comes out of turn.") }
    var attributes = try ScramAttributes(message)
    guard let signature = Base64.decode(Array(try attributes.value("v").utf8)),
      equalInConstantTime(signature, expected)
    else { throw WireError(.connection, "incorrect server signature", sqlState: "28000") }
    state = .done
  }
}
