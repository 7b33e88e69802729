internal import COpenSSL

// What is kept of a password: PostgreSQL's form of a SCRAM-SHA-256 verifier (RFC 5803, RFC 7677).
//
//   SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>      salt and keys in base64
//   SaltedPassword = PBKDF2(password, salt, iterations)   ClientKey = HMAC(SaltedPassword, "Client Key")
//   StoredKey = SHA256(ClientKey)                         ServerKey = HMAC(SaltedPassword, "Server Key")

/// Makes password verifiers.
package enum ScramVerifier {
  static let iterations = 4096

  /// The verifier of a password; a text that is a verifier already stays as it is.
  static func make(_ password: String) throws(SQLError) -> String {
    if password.hasPrefix("SCRAM-SHA-256$") { return password }
    var salt = [UInt8](repeating: 0, count: 16)
    guard unsafe RAND_bytes(&salt, 16) == 1 else {
      throw SQLError(.internalError, "the random number generator failed")
    }
    let text = [UInt8](password.utf8)
    var salted = [UInt8](repeating: 0, count: 32)
    let done = unsafe text.withUnsafeBytes { bytes in
      unsafe PKCS5_PBKDF2_HMAC(
        bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count), salt, 16, Int32(iterations),
        EVP_sha256(), 32, &salted)
    }
    guard done == 1 else { throw SQLError(.internalError, "the password could not be hashed") }
    let stored = try sha256(try hmac(salted, "Client Key"))
    let server = try hmac(salted, "Server Key")
    return "SCRAM-SHA-256$\(iterations):\(base64(salt))$\(base64(stored)):\(base64(server))"
  }

  private static func sha256(_ bytes: [UInt8]) throws(SQLError) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 0
    guard unsafe EVP_Digest(bytes, bytes.count, &digest, &length, EVP_sha256(), nil) == 1 else {
      throw SQLError(.internalError, "SHA-256 failed")
    }
    return digest
  }

  /// HMAC-SHA-256 by its definition: H(k ⊕ opad, H(k ⊕ ipad, text)); the key is shorter than a block.
  private static func hmac(_ key: [UInt8], _ text: String) throws(SQLError) -> [UInt8] {
    let block = key + [UInt8](repeating: 0, count: 64 - key.count)
    let inner = try sha256(block.map { $0 ^ 0x36 } + Array(text.utf8))
    return try sha256(block.map { $0 ^ 0x5c } + inner)
  }

  private static func base64(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var out: [UInt8] = []
    var index = 0
    while index < bytes.count {
      let chunk = Array(bytes[index..<min(index + 3, bytes.count)])
      let word = chunk.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - chunk.count))
      for position in 0..<4 {
        out.append(position <= chunk.count ? alphabet[word >> (18 - 6 * position) & 63] : UInt8(ascii: "="))
      }
      index += 3
    }
    return String(decoding: out, as: UTF8.self)
  }
}
