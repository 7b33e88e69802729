// Randomness of the cluster simulator: one stream for each purpose, so that switching one kind of fault off leaves the
// draws of the others as they were. That is what makes a failing run smaller without making it another run.

/// SplitMix64: one word of state, good enough to choose faults with.
package struct Dice: Sendable {
  private var state: UInt64

  package init(seed: UInt64, stream: UInt64 = 0) {
    state = seed &* 0xD129_0D3A_4F4F_9A3B &+ stream &* 0x8CB9_2BA7_2F3D_8DD7 &+ 0x1234_5678_9ABC_DEF1
    for _ in 0..<3 { _ = next() }
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform below `bound`, which is positive.
  package mutating func below(_ bound: Int) -> Int {
    Int(((next() >> 32) &* UInt64(bound)) >> 32)
  }

  package mutating func ticks(_ range: ClosedRange<UInt64>) -> UInt64 {
    range.lowerBound + UInt64(below(Int(range.upperBound - range.lowerBound + 1)))
  }

  /// True `perMille` times out of a thousand.
  package mutating func chance(_ perMille: Int) -> Bool { perMille > 0 && below(1000) < perMille }

  package mutating func pick<T>(_ choices: [T]) -> T? { choices.isEmpty ? nil : choices[below(choices.count)] }
}
