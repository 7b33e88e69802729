package import Encoding
internal import Storage

/// The same with arrays, where speed does not matter.
extension Transaction {
  package func get(_ key: [UInt8]) throws(TransactionError) -> [UInt8]? {
    unsafe try withBytes(key) { (key) throws(TransactionError) in unsafe try self.get(key).map { unsafe Array($0) } }
  }
  package func isUnchanged(_ key: [UInt8], since version: Version) throws(TransactionError) -> Bool {
    unsafe try withBytes(key) { (key) throws(TransactionError) in
      unsafe try self.isUnchanged(key, since: version)
    }
  }
  package func getLatest(_ key: [UInt8]) throws(TransactionError) -> [UInt8]? {
    unsafe try withBytes(key) { (key) throws(TransactionError) in
      unsafe try self.getLatest(key).map { unsafe Array($0) }
    }
  }
  package func put(_ key: [UInt8], _ value: [UInt8]) throws(TransactionError) {
    unsafe try withBytes(key) { (key) throws(TransactionError) in
      unsafe try withBytes(value) { (value) throws(TransactionError) in unsafe try self.put(key, value) }
    }
  }
  package func insert(_ key: [UInt8], _ value: [UInt8]) throws(TransactionError) -> Bool {
    unsafe try withBytes(key) { (key) throws(TransactionError) in
      unsafe try withBytes(value) { (value) throws(TransactionError) in unsafe try self.insert(key, value) }
    }
  }
  package func putUnshared(_ key: [UInt8], _ value: [UInt8]) throws(TransactionError) {
    unsafe try withBytes(key) { (key) throws(TransactionError) in
      unsafe try withBytes(value) { (value) throws(TransactionError) in unsafe try self.putUnshared(key, value) }
    }
  }
  package func delete(_ key: [UInt8]) throws(TransactionError) {
    unsafe try withBytes(key) { (key) throws(TransactionError) in unsafe try self.delete(key) }
  }
  package func deleteRange(_ start: [UInt8], _ end: [UInt8]) throws(TransactionError) {
    unsafe try withBytes(start) { (start) throws(TransactionError) in
      unsafe try withBytes(end) { (end) throws(TransactionError) in unsafe try self.deleteRange(start, end) }
    }
  }
  package func lock(
    _ key: [UInt8], _ strength: LockStrength, _ wait: WaitPolicy = .wait
  ) throws(TransactionError) -> LockOutcome {
    unsafe try withBytes(key) { (key) throws(TransactionError) in unsafe try self.lock(key, strength, wait) }
  }
}

/// `Array.withUnsafeBytes` with typed errors.
@inline(__always)
func withBytes<R, E: Error>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
  var result: Result<R, E>?
  unsafe bytes.withUnsafeBytes { buffer in
    do throws(E) { result = unsafe .success(try body(buffer)) } catch { result = .failure(error) }
  }
  return unsafe try result.unsafelyUnwrapped.get()
}
