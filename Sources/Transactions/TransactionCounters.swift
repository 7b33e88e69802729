internal import Glibc
internal import Synchronization

/// What every transaction counts: its number, and how it ended.
///
/// A line of the cache that all threads write costs each of them more than a small transaction's reads. So the counts lie in
/// cells by thread, on lines of their own, and are summed up by who asks; and none lies beside what is only read.
///
/// `@unchecked Sendable`: the memory is atomics.
@safe
final class TransactionCounters: @unchecked Sendable {
  enum Count: Int, CaseIterable {
    case ended, rolledBack, committedReadOnly
  }

  private static let cellCount = 16
  private static let strideBytes = 128
  /// The cells, and behind them the next number.
  private let memory: UnsafeMutableRawPointer

  init() {
    let size = (Self.cellCount + 1) * Self.strideBytes
    unsafe memory = .allocate(byteCount: size, alignment: Self.strideBytes)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    unsafe word(Self.cellCount, 0).pointee.store(1, ordering: .relaxed)
  }

  deinit { unsafe memory.deallocate() }

  @inline(__always)
  private func word(_ cell: Int, _ place: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (memory + cell &* Self.strideBytes + place &* 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inline(__always)
  func add(_ count: Count, _ number: UInt64 = 1) {
    let thread = UInt64(pthread_self()) &* 0x9E37_79B9_7F4A_7C15
    let cell = Int(truncatingIfNeeded: thread >> 60)
    unsafe word(cell, count.rawValue).pointee.wrappingAdd(number, ordering: .relaxed)
  }

  func sum(_ count: Count) -> UInt64 {
    (0..<Self.cellCount).reduce(0) { unsafe $0 &+ word($1, count.rawValue).pointee.load(ordering: .relaxed) }
  }

  /// A number that no other transaction has.
  @inline(__always)
  func nextId() -> UInt64 { unsafe word(Self.cellCount, 0).pointee.wrappingAdd(1, ordering: .relaxed).oldValue }

  /// How many numbers were given out.
  var begun: UInt64 { unsafe word(Self.cellCount, 0).pointee.load(ordering: .relaxed) - 1 }
}
