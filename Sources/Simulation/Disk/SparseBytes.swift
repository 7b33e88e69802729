/// The content of a simulated file: chunks that are shared until written to, so that keeping a copy of a whole disk at
/// every step of a test costs little. A chunk never written is all zeros and takes no memory.
struct SparseBytes: Sendable {
  static let chunkSizeBytes = 4096

  /// Each is empty (zeros) or `chunkSizeBytes` long; chunks past the end of the file do not exist.
  private var chunks: [[UInt8]] = []
  private(set) var count = 0

  init() {}

  /// Shortens, or grows with zeros.
  mutating func resize(to newCount: Int) {
    let size = Self.chunkSizeBytes
    if newCount < count {
      chunks.removeLast(chunks.count - (newCount + size - 1) / size)
      let tail = newCount % size
      if tail > 0, let last = chunks.indices.last, !chunks[last].isEmpty {
        for index in tail..<size { chunks[last][index] = 0 }
      }
    } else {
      let wanted = (newCount + size - 1) / size
      if wanted > chunks.count { chunks.append(contentsOf: repeatElement([], count: wanted - chunks.count)) }
    }
    count = newCount
  }

  /// Copies up to `buffer.count` bytes from `offset`; returns how many there were.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
    guard offset < count else { return 0 }
    let wanted = min(buffer.count, count - offset)
    var done = 0
    while done < wanted {
      let place = offset + done
      let inside = place % Self.chunkSizeBytes
      let step = min(Self.chunkSizeBytes - inside, wanted - done)
      let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + step])
      let chunk = chunks[place / Self.chunkSizeBytes]
      if chunk.isEmpty {
        unsafe target.initializeMemory(as: UInt8.self, repeating: 0)
      } else {
        unsafe chunk.withUnsafeBytes { unsafe target.copyMemory(from: .init(rebasing: $0[inside..<inside + step])) }
      }
      done += step
    }
    return wanted
  }

  /// Overwrites from `offset` on, growing where needed.
  mutating func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    if offset + bytes.count > count { resize(to: offset + bytes.count) }
    var done = 0
    while done < bytes.count {
      let place = offset + done
      let inside = place % Self.chunkSizeBytes
      let step = min(Self.chunkSizeBytes - inside, bytes.count - done)
      let source = unsafe UnsafeRawBufferPointer(rebasing: bytes[done..<done + step])
      let index = place / Self.chunkSizeBytes
      if step == Self.chunkSizeBytes {
        chunks[index] = unsafe [UInt8](source)
      } else {
        if chunks[index].isEmpty { chunks[index] = [UInt8](repeating: 0, count: Self.chunkSizeBytes) }
        unsafe chunks[index].withUnsafeMutableBytes {
          unsafe UnsafeMutableRawBufferPointer(rebasing: $0[inside..<inside + step]).copyMemory(from: source)
        }
      }
      done += step
    }
  }

  mutating func write(_ bytes: [UInt8], at offset: Int) {
    unsafe bytes.withUnsafeBytes { unsafe write($0, at: offset) }
  }

  /// The bytes in `range`, which must lie inside.
  func bytes(_ range: Range<Int>) -> [UInt8] {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    var result = [UInt8](repeating: 0, count: range.count)
    unsafe result.withUnsafeMutableBytes { _ = unsafe read(into: $0, at: range.lowerBound) }
    return result
  }
}
