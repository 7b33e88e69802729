internal import Encoding
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
  /// Reads every key that is visible now. O(database); reads past the cache of blocks would not disturb less.
  ///
  /// - Parameter isLeft: asked now and then; false gives up, and the result is nil.
  package func stateDigest(while isLeft: () -> Bool = { true }) throws(DatabaseError) -> StateDigest? {
    do throws(StorageError) {
      let hold = core.engine.retainVisible()
      defer { core.engine.release(hold) }
      return try core.engine.digest(at: hold.version, while: isLeft)
    } catch { throw DatabaseError(TransactionError.storage(error)) }
  }
}

extension Engine {
  /// - Parameter version: a version that is held.
  fileprivate func digest(at version: Version, while isLeft: () -> Bool) throws(StorageError) -> StateDigest? {
    var digest = StateDigest(version: version.rawValue, keys: 0, low: 0, high: 0)
    var piece: [UInt8] = []
    piece.reserveCapacity(80 << 10)
    func close() {
      let hash = Hash128(of: piece, seed: digest.low ^ (digest.high &* 0x9E37_79B9_7F4A_7C15))
      (digest.low, digest.high) = (hash.low, hash.high)
      piece.removeAll(keepingCapacity: true)
    }
    func append(_ part: UnsafeRawBufferPointer) {
      for shift in stride(from: 0, to: 32, by: 8) { piece.append(UInt8(truncatingIfNeeded: part.count >> shift)) }
      unsafe piece.append(contentsOf: part)
    }
    let cursor = try makeCursor(.all, at: version)
    while try cursor.next() {
      unsafe append(cursor.key)
      unsafe append(cursor.value)
      digest.keys += 1
      if piece.count >= 64 << 10 {
        close()
        if !isLeft() { return nil }
      }
    }
    close()
    return digest
  }
}
