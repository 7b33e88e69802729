internal import CSynod

/// Where randomness comes from: the system, or a seed.
package protocol Randomness: RandomNumberGenerator, Sendable {}

/// The kernel's generator: for identifiers and keys.
package struct SystemRandomness: Randomness {
  package init() {}

  package mutating func next() -> UInt64 {
    var word: UInt64 = 0
    let code = unsafe withUnsafeMutableBytes(of: &word) { unsafe synod_random($0.baseAddress, $0.count) }
    precondition(code == 0, "the system has no randomness (errno \(code))")
    return word
  }
}

/// xoshiro256** from a seed by SplitMix64 (Blackman and Vigna, 2018): the same seed gives the same sequence everywhere.
package struct SeededRandomness: Randomness {
  private var a, b, c, d: UInt64

  package init(seed: UInt64) {
    var state = seed
    func mix() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var word = state
      word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
      word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
      return word ^ (word >> 31)
    }
    a = mix()
    b = mix()
    c = mix()
    d = mix()
  }

  package mutating func next() -> UInt64 {
    let scrambled = b &* 5
    let result = (scrambled << 7 | scrambled >> 57) &* 9
    let shifted = b << 17
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = d << 45 | d >> 19
    return result
  }

  /// A number in `0 ..< bound`, unbiased enough for tests (multiply-shift). `bound` must be positive.
  package mutating func below(_ bound: Int) -> Int {
    Int((next() >> 32).multipliedFullWidth(by: UInt64(bound) << 32).high)
  }

  /// True once in `n` times on average.
  package mutating func oneIn(_ n: Int) -> Bool { below(n) == 0 }
}
