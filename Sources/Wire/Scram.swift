/// SCRAM-SHA-256: a password is proved without being shown (RFC 5802, RFC 7677).
///
/// ```
/// client                                                     server
///   n,,n=,r=C                                          ─▶           C: the client's nonce
///                              ◀─  r=CS,s=salt,i=iterations         S: the server's nonce
///   c=biws,r=CS,p=proof                                ─▶
///                              ◀─  v=signature
///
/// salted    = PBKDF2-HMAC-SHA-256(password, salt, iterations)
/// clientKey = HMAC(salted, "Client Key")     storedKey = SHA-256(clientKey)
/// serverKey = HMAC(salted, "Server Key")
/// message   = client-first-bare , server-first , client-final-without-proof
/// proof     = clientKey XOR HMAC(storedKey, message)        signature = HMAC(serverKey, message)
/// ```
///
/// 1. The server keeps storedKey and serverKey, from which neither the password nor a proof can be made.
/// 2. The client learns from the signature that the server knows the password, too.
/// 3. A role that does not exist is asked in the same way, with a salt that is always the same for its name, and fails
///    at the same place with the same words.
/// 4. Inside TLS the exchange is bound to the server's certificate (`SCRAM-SHA-256-PLUS`, `p=tls-server-end-point`, RFC 5929):
///    whoever stands between the two with another certificate learns nothing that he could use. `n` is taken from clients
///    that cannot; `y` (could, but the server was said not to) is refused where the server can: somebody took its offer
///    away. The client's last message repeats which.
/// 5. The channel of a relayed session is the one that the client sees: that of the node which relays it.
///
/// As PostgreSQL does, the server ignores the name in the first message: the role is the startup packet's.

/// The functions of SHA-256 that SCRAM stands on. Whoever drives a session brings them.
package protocol ScramCrypto: Sendable {
  /// 32 bytes.
  func sha256(_ message: [UInt8]) -> [UInt8]
  /// HMAC-SHA-256: 32 bytes.
  func hmac(key: [UInt8], message: [UInt8]) -> [UInt8]
  /// PBKDF2 with HMAC-SHA-256: 32 bytes. Takes some milliseconds on purpose.
  func pbkdf2(password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8]
  /// The password as SASLprep (RFC 4013) has it, or its own bytes where SASLprep refuses it, as in PostgreSQL.
  func prepared(_ password: String) -> [UInt8]
}

extension ScramCrypto {
  /// ASCII is its own SASLprep. Other passwords are taken as they are written, which is right for those already in
  /// normal form (NFKC), as keyboards give them.
  package func prepared(_ password: String) -> [UInt8] { Array(password.utf8) }
}

/// What a server keeps of a password, in the form of PostgreSQL's `pg_authid.rolpassword`:
/// `SCRAM-SHA-256$iterations:salt$storedKey:serverKey`, the last three in base64.
package struct ScramVerifier: Equatable, Sendable {
  package static let mechanism = "SCRAM-SHA-256"
  /// With channel binding.
  package static let mechanismPlus = "SCRAM-SHA-256-PLUS"
  package static let defaultIterations = 4096
  /// More would let a server (or a verifier someone loaded) stop whoever computes it.
  package static let maximumIterations = 10_000_000

  package var iterations: Int
  package var salt: [UInt8]
  package var storedKey: [UInt8]
  package var serverKey: [UInt8]
  /// Whether every proof fails: nobody has this password.
  package private(set) var isDummy = false

  /// Computes the verifier of a password. `salt` is random, 16 bytes. Takes some milliseconds.
  package init(
    password: String, salt: [UInt8], iterations: Int = defaultIterations, crypto: any ScramCrypto
  ) {
    precondition((1...Self.maximumIterations).contains(iterations) && !salt.isEmpty)
    self.iterations = iterations
    self.salt = salt
    let salted = crypto.pbkdf2(password: crypto.prepared(password), salt: salt, iterations: iterations)
    storedKey = crypto.sha256(crypto.hmac(key: salted, message: Array("Client Key".utf8)))
    serverKey = crypto.hmac(key: salted, message: Array("Server Key".utf8))
  }

  /// Reads a stored verifier; nil if it is not one.
  package init?(_ text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: "$"), omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0].elementsEqual(Self.mechanism.utf8) else { return nil }
    let cost = parts[1].split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    let keys = parts[2].split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    guard cost.count == 2, keys.count == 2, let iterations = Int(Substring(cost[0])),
      (1...Self.maximumIterations).contains(iterations), let salt = Base64.decode(cost[1]), !salt.isEmpty,
      let storedKey = Base64.decode(keys[0]), storedKey.count == 32,
      let serverKey = Base64.decode(keys[1]), serverKey.count == 32
    else { return nil }
    self.iterations = iterations
    self.salt = salt
    self.storedKey = storedKey
    self.serverKey = serverKey
  }

  /// For a role that does not exist or has no password. `secret` is the server's own, random, and stays the same for as
  /// long as it can (PostgreSQL: since initdb), so that the salt of a name does.
  package init(dummyFor role: String, secret: [UInt8], crypto: any ScramCrypto) {
    iterations = Self.defaultIterations
    salt = Array(crypto.hmac(key: secret, message: Array(role.utf8)).prefix(16))
    storedKey = [UInt8](repeating: 0, count: 32)
    serverKey = [UInt8](repeating: 0, count: 32)
    isDummy = true
  }

  /// As it is stored.
  package var text: String {
    "\(Self.mechanism)$\(iterations):\(Base64.encode(salt))$\(Base64.encode(storedKey)):\(Base64.encode(serverKey))"
  }

  /// Whether `password` is the one. Takes some milliseconds.
  package func accepts(_ password: String, crypto: any ScramCrypto) -> Bool {
    let other = ScramVerifier(password: password, salt: salt, iterations: iterations, crypto: crypto)
    return equalInConstantTime(other.storedKey, storedKey) && !isDummy
  }
}

/// `a=value,b=value`: the attributes of a SCRAM message in their order.
struct ScramAttributes {
  private var rest: Substring

  init(_ bytes: [UInt8]) throws(WireError) {
    guard let text = String(validating: bytes, as: UTF8.self), !text.utf8.contains(0) else {
      throw .scram("It is not a text.")
    }
    rest = text[...]
  }

  var isAtEnd: Bool { rest.isEmpty }

  /// The text up to the next comma, which is passed.
  mutating func field() -> Substring {
    let end = rest.firstIndex(of: ",") ?? rest.endIndex
    defer { rest = end == rest.endIndex ? rest[end...] : rest[rest.index(after: end)...] }
    return rest[..<end]
  }

  /// What is left, commas and all.
  var remainder: Substring { rest }

  /// The value of the next attribute, which must have this name.
  mutating func value(_ name: Character) throws(WireError) -> Substring {
    let field = field()
    guard field.first == name, field.dropFirst().first == "=" else {
      throw .scram("Expected attribute \"\(name)\".")
    }
    return field.dropFirst(2)
  }
}

extension WireError {
  static func scram(_ detail: String) -> WireError {
    WireError(.connection, "malformed SCRAM message", detail: detail)
  }
}

/// What names the kind of channel binding, before the client's first message.
let scramBindingFlag = "p=tls-server-end-point"

/// Printable ASCII without a comma, as a nonce must be.
func isScramNonce(_ text: Substring) -> Bool {
  !text.isEmpty && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ",") }
}
