internal import CSynod

/// CRC-32C (Castagnoli; RFC 3720, B.4) of `bytes`, continuing from `seed`. Hardware where there is any: about 16 GB/s on pages.
@inline(__always)
package func crc32c(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
  unsafe synod_crc32c(seed, bytes.baseAddress, bytes.count)
}

/// The table-driven CRC-32C: the oracle beside the hardware form.
package func crc32cPortable(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
  unsafe synod_crc32c_portable(seed, bytes.baseAddress, bytes.count)
}

/// CRC-32C of an array of bytes.
package func crc32c(_ bytes: [UInt8], seed: UInt32 = 0) -> UInt32 {
  unsafe bytes.withUnsafeBytes { unsafe crc32c($0, seed: seed) }
}

/// XXH3, 64 bits: hash tables, Bloom filters, block checksums. Not for adversarial input.
package func xxh3(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
  unsafe synod_xxh3_64(bytes.baseAddress, bytes.count, seed)
}

/// XXH3, 64 bits, of an array of bytes.
package func xxh3(_ bytes: [UInt8], seed: UInt64 = 0) -> UInt64 {
  unsafe bytes.withUnsafeBytes { unsafe xxh3($0, seed: seed) }
}

/// A 128-bit XXH3 hash: what links the records of the log into a chain.
///
/// It detects every accident and any misplaced, stale or foreign record; it is not meant to resist a forger, who is kept
/// out by the peers' mutual authentication.
@frozen
package struct Hash128: Hashable, Comparable, Sendable, CustomStringConvertible {
  package var low: UInt64
  package var high: UInt64

  @inlinable
  package init(low: UInt64, high: UInt64) {
    self.low = low
    self.high = high
  }

  /// The hash of `bytes`.
  package init(of bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) {
    let hash = unsafe synod_xxh3_128(bytes.baseAddress, bytes.count, seed)
    self.init(low: hash.low, high: hash.high)
  }

  /// The hash of an array of bytes.
  package init(of bytes: [UInt8], seed: UInt64 = 0) {
    self = unsafe bytes.withUnsafeBytes { unsafe Hash128(of: $0, seed: seed) }
  }

  /// The chain value before the first record, and the identity of wrapping addition.
  @inlinable package static var zero: Hash128 { Hash128(low: 0, high: 0) }

  @inlinable
  package static func < (a: Hash128, b: Hash128) -> Bool { (a.high, a.low) < (b.high, b.low) }

  package var description: String {
    func hex(_ word: UInt64) -> String {
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }
    return hex(high) + hex(low)
  }
}
