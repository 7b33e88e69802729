internal import COpenSSL
internal import Wire

/// SCRAM's functions by OpenSSL.
struct OpenSSLCrypto: ScramCrypto {
  func sha256(_ message: [UInt8]) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    _ = unsafe EVP_Digest(message, message.count, &digest, nil, EVP_sha256(), nil)
    return digest
  }

  /// RFC 2104, over blocks of 64 bytes.
  func hmac(key: [UInt8], message: [UInt8]) -> [UInt8] {
    var block = key.count > 64 ? sha256(key) : key
    block += [UInt8](repeating: 0, count: 64 - block.count)
    return sha256(block.map { $0 ^ 0x5C } + sha256(block.map { $0 ^ 0x36 } + message))
  }

  func pbkdf2(password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8] {
    var key = [UInt8](repeating: 0, count: 32)
    unsafe password.withUnsafeBytes { bytes in
      _ = unsafe PKCS5_PBKDF2_HMAC(
        bytes.bindMemory(to: CChar.self).baseAddress, Int32(password.count), salt, Int32(salt.count),
        Int32(clamping: iterations), EVP_sha256(), 32, &key)
    }
    return key
  }

  /// Random bytes that nobody can guess.
  static func random(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    precondition(unsafe RAND_bytes(&bytes, Int32(count)) == 1, "the system has no randomness")
    return bytes
  }
}
