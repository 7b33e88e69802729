internal import Glibc

// Many visible entries at once: what a cursor gives to a reader that goes on and on. Moving to the next entry, asked for
// one at a time, passes five layers; here a source runs over its block in one loop and the layers are passed once a block.
//
// 1. Values stay where they are: in memtables, which the cursor holds anyway, and in blocks. A table's cursor that leaves
//    a block while the batch is filled gives the block to the batch, which keeps it until it is filled again.
// 2. Keys are put together from pieces in the cursor's own memory. They are copied, if they are asked for.
// 3. A batch ends early rather than keep more than `mostBlocks` blocks: values may be large.

/// Visible entries of a cursor, in its order; see `EngineCursor.next(into:)`. One thread at a time.
@safe
package final class RowBatch {
  /// The most rows that it takes at a time.
  package static let mostRows = 256
  private static let mostBlocks = 8

  @exclusivity(unchecked) package private(set) var count = 0
  @exclusivity(unchecked) private var keepsKeys = false
  @exclusivity(unchecked) private var limit = 0
  @exclusivity(unchecked) private var capacity = 0
  @exclusivity(unchecked) private var values: UnsafeMutablePointer<UnsafeRawBufferPointer>
  /// Where each key ends in `keys`.
  @exclusivity(unchecked) private var keyEnds: UnsafeMutablePointer<Int>
  @exclusivity(unchecked) private var keys: UnsafeMutableRawPointer
  @exclusivity(unchecked) private var keyCapacity = 0
  @exclusivity(unchecked) private var blocks: [UnsafeMutablePointer<CachedBlock>] = unsafe []

  package init() {
    unsafe values = .allocate(capacity: 0)
    unsafe keyEnds = .allocate(capacity: 0)
    unsafe keys = .allocate(byteCount: 0, alignment: 16)
  }

  deinit {
    releaseBlocks()
    unsafe values.deallocate()
    unsafe keyEnds.deallocate()
    unsafe keys.deallocate()
  }

  // MARK: Reading

  /// The value of row `index`; valid until the batch is filled again.
  @inline(__always)
  package func value(_ index: Int) -> UnsafeRawBufferPointer {
    precondition(unsafe index >= 0 && index < count)
    return unsafe values[index]
  }

  /// All values in order.
  @inline(__always)
  package var allValues: UnsafeBufferPointer<UnsafeRawBufferPointer> {
    unsafe UnsafeBufferPointer(start: values, count: count)
  }

  /// The key of row `index`, if the batch keeps keys.
  @inline(__always)
  package func key(_ index: Int) -> UnsafeRawBufferPointer {
    precondition(unsafe keepsKeys && index >= 0 && index < count)
    let start = index == 0 ? 0 : unsafe keyEnds[index &- 1]
    return unsafe UnsafeRawBufferPointer(start: keys + start, count: keyEnds[index] &- start)
  }

  // MARK: Filling

  /// Becomes empty, with room for `limit` rows (at most `mostRows`), and for their keys if they are wanted.
  package func begin(_ limit: Int, withKeys: Bool) {
    clear()
    unsafe keepsKeys = withKeys
    unsafe self.limit = max(1, min(limit, RowBatch.mostRows))
    if unsafe self.limit > capacity {
      unsafe capacity = unsafe self.limit
      unsafe values.deallocate()
      unsafe values = unsafe .allocate(capacity: capacity)
      unsafe keyEnds.deallocate()
      unsafe keyEnds = unsafe .allocate(capacity: capacity)
    }
  }

  /// Lets go of all rows; the memory stays, for the next use.
  package func clear() {
    unsafe count = 0
    if unsafe !blocks.isEmpty { releaseBlocks() }
  }

  @inline(__always)
  var isFull: Bool { unsafe count == limit || blocks.count >= RowBatch.mostBlocks }

  /// Adds a row; there is room.
  @inline(__always)
  package func add(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
    unsafe values[count] = unsafe value
    if unsafe keepsKeys { unsafe addKey(key) }
    unsafe count &+= 1
  }

  @inline(__always)
  private func addKey(_ key: UnsafeRawBufferPointer) {
    let start = unsafe count == 0 ? 0 : keyEnds[count &- 1]
    let end = start &+ key.count
    if unsafe end > keyCapacity { growKeys(to: end, keeping: start) }
    if let source = key.baseAddress { unsafe memcpy(keys + start, source, key.count) }
    unsafe keyEnds[count] = end
  }

  @inline(never)
  private func growKeys(to size: Int, keeping kept: Int) {
    let larger = unsafe max(size, keyCapacity * 2, limit * 24)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
    unsafe memory.copyMemory(from: keys, byteCount: kept)
    unsafe keys.deallocate()
    unsafe keys = unsafe memory
    unsafe keyCapacity = larger
  }

  /// Takes over what a cursor that leaves a block had of it, if rows may be in it.
  @inline(__always)
  func keep(_ pin: inout BlockPin) {
    guard unsafe count > 0, let block = unsafe pin.block else { return }
    unsafe pin.block = nil
    unsafe blocks.append(block)
  }

  private func releaseBlocks() {
    for index in unsafe blocks.indices { unsafe blocks[index].release() }
    unsafe blocks.removeAll(keepingCapacity: true)
  }
}
