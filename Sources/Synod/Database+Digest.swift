internal import Encoding
internal import Replication
internal import Storage
internal import Transactions

/// What a database holds at one version, in a few words: equal on all nodes of a cluster.
package struct StateDigest: Hashable, Sendable {
  package var version: UInt64
  package var keys: UInt64
  package var low: UInt64
  package var high: UInt64
}

extension Database {
  /// Reads every key that is visible now. O(database).
  package func stateDigest() throws(DatabaseError) -> StateDigest {
    do throws(StorageError) {
      let hold = core.engine.retainVisible()
      defer { core.engine.release(hold) }
      let part = DigestPart(limitSizeBytes: .max, first: [])
      guard let found = try core.engine.digest(part, at: hold.version, while: { true }) else {
        preconditionFailure("nobody gave up")
      }
      return StateDigest(
        version: found.digest.version, keys: found.digest.keys, low: found.digest.low, high: found.digest.high)
    } catch { throw DatabaseError(TransactionError.storage(error)) }
  }
}

/// A snapshot of an engine, of which a part is read later.
final class HeldSnapshot: HeldState {
  private let engine: Engine
  private let hold: SnapshotHold
  private let part: DigestPart

  init(_ engine: Engine, _ part: DigestPart) {
    self.engine = engine
    self.part = part
    hold = engine.retainVisible()
  }

  deinit { engine.release(hold) }

  func digest(while isLeft: () -> Bool) -> (digest: PartDigest, next: [UInt8])? {
    try? engine.digest(part, at: hold.version, while: isLeft)
  }
}

extension Engine {
  /// - Parameter version: a version that is held.
  /// - Returns: the digest of the keys from `part.first` on, and the first key that is beyond the limit; nil if given up.
  fileprivate func digest(
    _ part: DigestPart, at version: Version, while isLeft: () -> Bool
  ) throws(StorageError) -> (digest: PartDigest, next: [UInt8])? {
    var digest = PartDigest(version: version.rawValue, keys: 0, low: 0, high: 0)
    var size: UInt64 = 0
    var piece: [UInt8] = []
    piece.reserveCapacity(80 << 10)
    func close() {
      let hash = Hash128(of: piece, seed: digest.low ^ (digest.high &* 0x9E37_79B9_7F4A_7C15))
      (digest.low, digest.high) = (hash.low, hash.high)
      piece.removeAll(keepingCapacity: true)
    }
    func append(_ bytes: UnsafeRawBufferPointer) {
      for shift in stride(from: 0, to: 32, by: 8) { piece.append(UInt8(truncatingIfNeeded: bytes.count >> shift)) }
      unsafe piece.append(contentsOf: bytes)
      size += UInt64(bytes.count)
    }
    let cursor = try makeCursor(KeyRange(lower: part.first), at: version)
    while try cursor.next() {
      if size >= part.limitSizeBytes {
        close()
        return (digest, unsafe Array(cursor.key))
      }
      unsafe append(cursor.key)
      unsafe append(cursor.value)
      digest.keys += 1
      if piece.count >= 64 << 10 {
        close()
        if !isLeft() { return nil }
      }
    }
    close()
    return (digest, [])
  }
}
