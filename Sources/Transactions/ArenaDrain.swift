internal import Platform

// Giving back an arena while it is read for the last time.
//
// The batch of a bulk load is as large as the values of which it is made, and both were in memory until the last was copied.
// But a chunk of the arena whose values are all in the batch is of no use any more:
//
//   values   [chunk ··········][chunk ·····     ][chunk           ]        · copied; a chunk of dots goes back to the system
//   batch    [····················               …                ]        touched as it is written
//
// 1. Every value that will be read is announced (`expect`) before the first one is read (`passed`), each as often as it is
//    read. Those that nobody will read (overwritten, undone) are not: they go with the chunk.
// 2. A chunk that nothing is expected of any more reads as zeros, except for its first page, where the arena keeps what it
//    knows of it; the arena unmaps it when it is freed.
//
// Rows that were written in the order of their keys empty one chunk after the other; in another order the chunks go late, and
// nothing is worse than without this.

@unsafe
struct ArenaDrain {
  private struct Chunk: BitwiseCopyable {
    var start: UInt
    var end: UInt
    var expected: Int
  }

  /// By address.
  private var chunks = unsafe RawList<Chunk>()
  private var recent = 0

  /// Of no arena: nothing is given back.
  init() {}

  init(_ arena: Arena) {
    unsafe arena.forEachMapped { start, count in
      let start = UInt(bitPattern: start)
      unsafe chunks.append(Chunk(start: start, end: start + UInt(count), expected: 0))
    }
    guard unsafe chunks.count > 1 else { return }
    var all = unsafe UnsafeMutableBufferPointer(start: chunks.base, count: chunks.count)
    unsafe all.sort { $0.start < $1.start }
  }

  var isEmpty: Bool { unsafe chunks.isEmpty }

  @inline(__always)
  mutating func expect(_ place: UnsafeRawPointer?) {
    guard let chunk = unsafe chunk(of: place) else { return }
    unsafe chunks.pointer(chunk).pointee.expected += 1
  }

  @inline(__always)
  mutating func passed(_ place: UnsafeRawPointer?) {
    guard let chunk = unsafe chunk(of: place) else { return }
    unsafe chunks.pointer(chunk).pointee.expected -= 1
    if unsafe chunks.pointer(chunk).pointee.expected == 0 { unsafe giveBack(chunk) }
  }

  /// Values come one behind the other: the chunk is the last one's.
  @inline(__always)
  private mutating func chunk(of place: UnsafeRawPointer?) -> Int? {
    let address = UInt(bitPattern: place)
    if unsafe recent < chunks.count, unsafe chunks[recent].start <= address, unsafe address < chunks[recent].end {
      return unsafe recent
    }
    return unsafe search(address)
  }

  @inline(never)
  private mutating func search(_ address: UInt) -> Int? {
    var low = 0
    var high = unsafe chunks.count
    while low < high {
      let middle = (low + high) >> 1
      if unsafe chunks[middle].end <= address { low = middle + 1 } else { high = middle }
    }
    guard unsafe low < chunks.count, unsafe chunks[low].start <= address else { return nil }
    unsafe recent = low
    return low
  }

  @inline(never)
  private func giveBack(_ place: Int) {
    let page: UInt = 4096
    let start = unsafe chunks[place].start + page
    let end = unsafe chunks[place].end & ~(page - 1)
    guard start < end, let memory = unsafe UnsafeMutableRawPointer(bitPattern: start) else { return }
    unsafe LargeMemory.discard(memory, Int(end - start))
  }

  mutating func free() { unsafe chunks.free() }
}
