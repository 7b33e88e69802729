internal import CSynod
internal import Glibc

/// How much of the calling thread's stack is left.
package enum StackGuard {
  /// The most that is held back for what recurses without asking.
  private static let reserveBytes: UInt = 1 << 20

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let status = unsafe pthread_key_create(&key, nil)
    precondition(status == 0, "no thread-specific key is free")
    return key
  }()

  /// True where little is left: an eighth of the stack, at most 1 MiB.
  package static var isLow: Bool {
    var marker: UInt8 = 0
    let here = unsafe withUnsafePointer(to: &marker) { UInt(bitPattern: $0) }
    var limit = unsafe UInt(bitPattern: pthread_getspecific(key))
    if limit == 0 {
      limit = measure()
      _ = unsafe pthread_setspecific(key, UnsafeRawPointer(bitPattern: limit))
    }
    return here < limit
  }

  /// The address below which the stack counts as low; 1 where the system does not say.
  private static func measure() -> UInt {
    var start: UInt = 0
    var size = 0
    guard unsafe synod_stack_bounds(&start, &size) == 0, start > 0, size > 0 else { return 1 }
    return start + min(UInt(size) / 8, reserveBytes)
  }
}
