internal import CSynod
package import Encoding

// A blocked Bloom filter: all bits of a key lie in one cache line (Putze, Sanders, Singler: "Cache-, Hash- and
// Space-Efficient Bloom Filters", WEA 2007, section 3).
//
//   64 bytes × n     lines
//   4                n, number of lines; 0: a filter that excludes nothing
//   1                k, probes per key
//
// The key's XXH3-64 decides: its upper half chooses the line, n × upper half >> 32; its lower half h the bits: k times,
// bit = h >> 23, then h × 0x9E3779B9 (mod 2^32).
//
// Keys are user keys, without version: a filter that knew versions would exclude keys that are there.
// At 10 bits a key and 6 probes about 1 % of the absent keys pass (measured in `BloomFilterTests`).

package enum BloomFilter {
  static let lineSizeBytes = 64

  /// Builds the filter of the keys with these hashes.
  package static func build(hashes: [UInt64], bitsPerKey: Int, into output: inout ByteWriter) {
    let bits = hashes.count * bitsPerKey
    let lines = bitsPerKey <= 0 ? 0 : max(1, (bits + lineSizeBytes * 8 - 1) / (lineSizeBytes * 8))
    let probes = max(1, min(12, bitsPerKey * 6 / 10))
    let start = output.count
    output.append([UInt8](repeating: 0, count: lines * lineSizeBytes))
    if lines > 0 {
      unsafe output.bytes.withUnsafeMutableBytes { all in
        for hash in hashes {
          let line = start + Self.line(of: hash, count: lines) * lineSizeBytes
          var h = UInt32(truncatingIfNeeded: hash)
          for _ in 0..<probes {
            let bit = Int(h >> 23)
            unsafe all[line + bit >> 3] |= 1 << UInt8(bit & 7)
            h = h &* 0x9E37_79B9
          }
        }
      }
    }
    output.append(integer: UInt32(lines))
    output.append(UInt8(probes))
  }

  @inline(__always)
  private static func line(of hash: UInt64, count: Int) -> Int {
    Int(((hash >> 32) &* UInt64(count)) >> 32)
  }

  /// Asks for the line that `mayContain` will look at.
  @inline(__always)
  static func prefetch(_ hash: UInt64, _ filter: UnsafeRawPointer, count: Int) {
    let lines = (count &- 5) / lineSizeBytes
    guard lines > 0 else { return }
    unsafe synod_prefetch(filter + Self.line(of: hash, count: lines) &* lineSizeBytes)
  }

  /// False: no key with this hash is in the set. Nil: these bytes are no filter.
  @inline(__always)
  package static func mayContain(_ hash: UInt64, _ filter: UnsafeRawPointer, count: Int) -> Bool? {
    guard count >= 5 else { return nil }
    let lines = Int(UInt32(littleEndian: unsafe (filter + (count &- 5)).loadUnaligned(as: UInt32.self)))
    let probes = unsafe (filter + (count &- 1)).load(as: UInt8.self)
    guard lines &* lineSizeBytes &+ 5 == count else { return nil }
    if lines == 0 { return true }
    let line = unsafe filter + Self.line(of: hash, count: lines) &* lineSizeBytes
    var h = UInt32(truncatingIfNeeded: hash)
    var left = probes
    while left > 0 {
      let bit = Int(h >> 23)
      if unsafe (line + bit >> 3).load(as: UInt8.self) >> UInt8(truncatingIfNeeded: bit & 7) & 1 == 0 { return false }
      h = h &* 0x9E37_79B9
      left &-= 1
    }
    return true
  }
}
