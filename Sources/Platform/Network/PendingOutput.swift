/// Bytes that the kernel did not take yet: appended at the end, consumed at the front. Empty, it holds no memory, so that
/// an idle connection costs none.
@safe
struct PendingOutput: ~Copyable {
  private var memory: UnsafeMutableRawPointer?
  private var capacity = 0
  private var start = 0
  private var end = 0

  init() { unsafe memory = nil }
  deinit { unsafe memory?.deallocate() }

  var count: Int { end - start }
  var isEmpty: Bool { start == end }
  /// Valid until the next change.
  var bytes: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: memory.map { unsafe UnsafeRawPointer($0) + start }, count: count)
  }

  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    if capacity - end < bytes.count { makeRoom(bytes.count) }
    unsafe (memory! + end).copyMemory(from: source, byteCount: bytes.count)
    end += bytes.count
  }

  mutating func consume(_ size: Int) {
    precondition(size >= 0 && size <= count)
    start += size
    if start == end { removeAll() }
  }

  mutating func removeAll() {
    unsafe memory?.deallocate()
    unsafe memory = nil
    (capacity, start, end) = (0, 0, 0)
  }

  private mutating func makeRoom(_ size: Int) {
    let live = count
    let wanted = max(4096, max(live + size, capacity - start >= live + size && start >= live ? capacity : capacity * 2))
    let fresh = UnsafeMutableRawPointer.allocate(byteCount: wanted, alignment: 16)
    if let memory = unsafe memory {
      unsafe fresh.copyMemory(from: memory + start, byteCount: live)
      unsafe memory.deallocate()
    }
    unsafe memory = fresh
    (capacity, start, end) = (wanted, 0, live)
  }
}

extension PendingOutput: @unchecked Sendable {}  // The memory has one owner, and no reference to it is kept.
