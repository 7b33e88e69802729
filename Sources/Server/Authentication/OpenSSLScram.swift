internal import COpenSSL
internal import Wire

/// SCRAM's functions by OpenSSL.
package struct OpenSSLScram: ScramCrypto {
  package init() {}

  package func sha256(_ message: [UInt8]) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 0
    let done = unsafe EVP_Digest(message, message.count, &digest, &length, EVP_sha256(), nil)
    precondition(done == 1 && length == 32, "OpenSSL has no SHA-256")
    return digest
  }

  /// By its definition: H(k ⊕ opad, H(k ⊕ ipad, text)).
  package func hmac(key: [UInt8], message: [UInt8]) -> [UInt8] {
    let short = key.count > 64 ? sha256(key) : key
    let block = short + [UInt8](repeating: 0, count: 64 - short.count)
    return sha256(block.map { $0 ^ 0x5c } + sha256(block.map { $0 ^ 0x36 } + message))
  }

  package func pbkdf2(password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8] {
    var salted = [UInt8](repeating: 0, count: 32)
    let done = unsafe password.withUnsafeBytes { bytes in
      unsafe PKCS5_PBKDF2_HMAC(
        bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count), salt, Int32(salt.count),
        Int32(iterations), EVP_sha256(), 32, &salted)
    }
    precondition(done == 1, "OpenSSL has no PBKDF2")
    return salted
  }
}
