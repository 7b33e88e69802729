import COpenSSL
import Wire

/// SCRAM's functions by OpenSSL.
struct TestCrypto: ScramCrypto {
  func sha256(_ message: [UInt8]) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    EVP_Digest(message, message.count, &digest, nil, EVP_sha256(), nil)
    return digest
  }

  func hmac(key: [UInt8], message: [UInt8]) -> [UInt8] {
    var block = key.count > 64 ? sha256(key) : key
    block += [UInt8](repeating: 0, count: 64 - block.count)
    return sha256(block.map { $0 ^ 0x5C } + sha256(block.map { $0 ^ 0x36 } + message))
  }

  func pbkdf2(password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8] {
    var key = [UInt8](repeating: 0, count: 32)
    password.withUnsafeBytes { bytes in
      _ = PKCS5_PBKDF2_HMAC(
        bytes.bindMemory(to: CChar.self).baseAddress, Int32(password.count), salt, Int32(salt.count),
        Int32(iterations), EVP_sha256(), 32, &key)
    }
    return key
  }
}

/// A small generator with a seed (SplitMix64), so that a failure can be run again.
struct Dice: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

  /// A text without zero bytes, now and then long or beyond ASCII.
  mutating func text() -> String {
    let alphabet: [Character] = ["a", "b", "Z", "0", " ", "'", "\"", "\n", "é", "語", "🦉", "$", "_", ";"]
    return String((0..<(chance(5) ? below(500) : below(12))).map { _ in alphabet[below(alphabet.count)] })
  }
}

/// Bytes in random pieces.
func pieces(_ bytes: [UInt8], _ dice: inout Dice) -> [[UInt8]] {
  var rest = bytes[...]
  var pieces: [[UInt8]] = []
  while !rest.isEmpty {
    let size = dice.chance(50) ? 1 + dice.below(4) : 1 + dice.below(200)
    pieces.append(Array(rest.prefix(size)))
    rest = rest.dropFirst(size)
  }
  return pieces
}
