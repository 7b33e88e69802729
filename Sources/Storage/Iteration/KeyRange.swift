internal import Encoding

/// An interval of keys: from `lower`, inclusive, to `upper`, exclusive; no `upper` means no end.
///
/// Keys are arbitrary bytes ordered by memcmp, shorter first.
package struct KeyRange: Hashable, Sendable, CustomStringConvertible {
  package var lower: [UInt8]
  package var upper: [UInt8]?

  package init(lower: [UInt8] = [], upper: [UInt8]? = nil) {
    self.lower = lower
    self.upper = upper
  }

  /// Every key.
  package static var all: KeyRange { KeyRange() }

  /// Every key that begins with `prefix`.
  package init(prefix: [UInt8]) {
    self.init(lower: prefix, upper: KeyRange.end(ofPrefix: prefix))
  }

  /// The range of one key.
  package init(key: [UInt8]) {
    self.init(lower: key, upper: key + [0])
  }

  /// The first key after all keys that begin with `prefix`; nil if there is none.
  package static func end(ofPrefix prefix: [UInt8]) -> [UInt8]? {
    var end = prefix
    while let last = end.last {
      if last < 0xFF {
        end[end.count - 1] = last + 1
        return end
      }
      end.removeLast()
    }
    return nil
  }

  /// Whether no key can be in it.
  package var isEmpty: Bool {
    guard let upper else { return false }
    return unsafe lower.withUnsafeBytes { lower in unsafe upper.withUnsafeBytes { unsafe compareKeys(lower, $0) >= 0 } }
  }

  /// Whether `key` is in it.
  package func contains(_ key: UnsafeRawBufferPointer) -> Bool {
    guard unsafe lower.withUnsafeBytes({ unsafe compareKeys($0, key) <= 0 }) else { return false }
    guard let upper else { return true }
    return unsafe upper.withUnsafeBytes { unsafe compareKeys(key, $0) < 0 }
  }

  package var description: String {
    func hex(_ bytes: [UInt8]) -> String {
      bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
    return "[\(hex(lower)), \(upper.map(hex) ?? "∞"))"
  }
}
