/// The server's side of one SCRAM exchange: two messages in, two out.
package struct ScramServer: Sendable {
  private enum State: Sendable {
    case first
    case last(binding: [UInt8], nonce: String, soFar: String)
    case done
  }

  private let verifier: ScramVerifier
  private let nonce: String
  private let crypto: any ScramCrypto
  /// The hash of the certificate that the client sees; nil without TLS.
  private let binding: [UInt8]?
  private var isBound = false
  private var state = State.first

  /// `nonce` is random, 18 bytes or more, and never used again; `binding` the hash of the certificate that the client sees
  /// (tls-server-end-point), nil without TLS.
  package init(verifier: ScramVerifier, nonce: [UInt8], binding: [UInt8]? = nil, crypto: any ScramCrypto) {
    self.init(verifier: verifier, printableNonce: Base64.encode(nonce), binding: binding, crypto: crypto)
  }

  /// With a nonce as it goes over the wire: printable ASCII without commas.
  package init(
    verifier: ScramVerifier, printableNonce: String, binding: [UInt8]? = nil, crypto: any ScramCrypto
  ) {
    self.verifier = verifier
    nonce = printableNonce
    self.binding = binding.flatMap { $0.isEmpty ? nil : $0 }
    self.crypto = crypto
  }

  /// What the client may choose from, the best first.
  package var mechanisms: [String] {
    binding == nil ? [ScramVerifier.mechanism] : [ScramVerifier.mechanismPlus, ScramVerifier.mechanism]
  }

  /// The client's choice.
  package mutating func choose(_ mechanism: String) throws(WireError) {
    guard mechanisms.contains(mechanism) else {
      throw WireError(.connection, "client selected an invalid SASL authentication mechanism")
    }
    isBound = mechanism == ScramVerifier.mechanismPlus
  }

  /// What the client's last message came to.
  package enum Outcome: Equatable, Sendable {
    /// Send this, and let it in.
    case accepted([UInt8])
    /// A wrong password, or nobody's.
    case rejected
  }

  /// Takes the client's first message; gives the server's.
  package mutating func first(_ message: [UInt8]) throws(WireError) -> [UInt8] {
    guard case .first = state else { throw .scram("It comes too late.") }
    var attributes = try ScramAttributes(message)
    let flag = attributes.field()
    try check(flag)
    guard attributes.field().isEmpty else {
      throw WireError(
        .connection, "client uses authorization identity, but it is not supported", sqlState: "0A000")
    }
    let bare = attributes.remainder
    guard !bare.hasPrefix("m=") else {
      throw WireError(.connection, "client requires an unsupported SCRAM extension", sqlState: "0A000")
    }
    _ = try attributes.value("n")
    let clientNonce = try attributes.value("r")
    guard isScramNonce(clientNonce) else { throw WireError(.connection, "non-printable characters in SCRAM nonce") }
    // Attributes of extensions may follow; they are part of the signed text and mean nothing to us.

    let both = clientNonce + nonce
    let reply = "r=\(both),s=\(Base64.encode(verifier.salt)),i=\(verifier.iterations)"
    let expected = Array("\(flag),,".utf8) + (isBound ? binding ?? [] : [])
    state = .last(binding: expected, nonce: String(both), soFar: "\(bare),\(reply)")
    return Array(reply.utf8)
  }

  /// What the client says of channel binding must be what it chose, and what it was offered.
  private func check(_ flag: Substring) throws(WireError) {
    func malformed(_ detail: String) -> WireError {
      WireError(.connection, "malformed SCRAM message", detail: detail)
    }
    switch flag {
    case "n" where !isBound, "y" where !isBound && binding == nil: return
    case "y" where !isBound:
      throw WireError(
        .connection, "SCRAM channel binding negotiation error", sqlState: "28000",
        detail: "The client supports SCRAM channel binding but thinks the server does not.  However, this server does "
          + "support channel binding.")
    case "n", "y":
      throw malformed(
        "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.")
    case _ where flag.hasPrefix("p=") && !isBound:
      throw malformed(
        "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data."
      )
    case _ where flag == scramBindingFlag: return
    case _ where flag.hasPrefix("p="):
      throw WireError(
        .connection, "unsupported SCRAM channel-binding type \"\(flag.dropFirst(2).prefix(64))\"", sqlState: "0A000")
    default: throw .scram("Unexpected channel-binding flag \"\(flag.prefix(1))\".")
    }
  }

  /// Takes the client's last message: the proof.
  package mutating func last(_ message: [UInt8]) throws(WireError) -> Outcome {
    guard case .last(let binding, let nonce, let soFar) = state else { throw .scram("It comes too early.") }
    state = .done
    var attributes = try ScramAttributes(message)
    guard try attributes.value("c") == Base64.encode(binding) else {
      guard !isBound else {
        throw WireError(.connection, "SCRAM channel binding check failed", sqlState: "28000")
      }
      throw WireError(.connection, "unexpected SCRAM channel-binding attribute in client-final-message")
    }
    guard try attributes.value("r") == nonce else {
      throw .scram("Nonce does not match.")
    }
    var text = String(decoding: message, as: UTF8.self)[...]
    var proof: [UInt8]?
    while !attributes.isAtEnd {
      let field = attributes.field()
      guard field.hasPrefix("p="), attributes.isAtEnd else { continue }
      proof = Base64.decode(Array(field.dropFirst(2).utf8))
      text = text.dropLast(field.count + 1)
    }
    guard let proof, proof.count == 32 else { throw .scram("Malformed proof in client-final-message.") }

    let signed = Array("\(soFar),\(text)".utf8)
    let signature = crypto.hmac(key: verifier.storedKey, message: signed)
    let clientKey = zip(proof, signature).map { $0 ^ $1 }
    let right = equalInConstantTime(crypto.sha256(clientKey), verifier.storedKey)
    guard right, !verifier.isDummy else { return .rejected }
    return .accepted(Array("v=\(Base64.encode(crypto.hmac(key: verifier.serverKey, message: signed)))".utf8))
  }
}
