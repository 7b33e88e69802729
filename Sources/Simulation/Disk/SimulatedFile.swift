internal import Platform
internal import Synchronization

/// An open file of a `SimulatedDisk`.
final class SimulatedFile: DiskFile {
  let path: String
  private let disk: SimulatedDisk
  private let inode: Int
  private let mode: FileMode
  private let holdsLock: Bool
  private let isOpen = Atomic(true)

  init(_ disk: SimulatedDisk, _ inode: Int, path: String, mode: FileMode, holdsLock: Bool = false) {
    self.disk = disk
    self.inode = inode
    self.path = path
    self.mode = mode
    self.holdsLock = holdsLock
  }

  deinit { close() }

  func close() {
    guard isOpen.exchange(false, ordering: .relaxed) else { return }
    if holdsLock { disk.unlock(inode) }
  }

  /// Direct files take only whole, aligned blocks; closed ones nothing.
  private func check(_ operation: String, _ bytes: UnsafeRawBufferPointer, _ offset: UInt64) throws(DiskError) {
    guard isOpen.load(ordering: .relaxed) else {
      throw DiskError(.other, operation: operation, path: path, code: 9)
    }
    guard offset <= UInt64(Int.max - bytes.count) else {
      throw DiskError(.other, operation: operation, path: path, code: 22)
    }
    guard mode == .direct else { return }
    let address = UInt(bitPattern: bytes.baseAddress)
    let block = AlignedBuffer.alignment
    guard offset % UInt64(block) == 0 && bytes.count % block == 0 && address % UInt(block) == 0 else {
      throw DiskError(.other, operation: operation, path: path, code: 22)
    }
  }

  private func checkWritable(_ operation: String) throws(DiskError) {
    guard mode != .read else { throw DiskError(.other, operation: operation, path: path, code: 9) }
  }

  func sizeBytes() throws(DiskError) -> UInt64 {
    try disk.step(.status, path) { (state, fault) throws(DiskError) in UInt64(state.inodes[inode].content.count) }
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DiskError) -> Int {
    unsafe try check("read", UnsafeRawBufferPointer(buffer), offset)
    return try disk.step(.read, path, offset: offset, sizeBytes: buffer.count) { (state, fault) throws(DiskError) in
      var place = Int(offset)
      if case .misdirect(let distance) = fault { place = max(0, place + distance) }
      let got = unsafe state.inodes[inode].content.read(into: buffer, at: place)
      if case .flipBit(let bit) = fault, got > 0 { unsafe buffer[bit / 8 % got] ^= 1 << UInt8(bit % 8) }
      return got
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError) {
    unsafe try write(bytes, at: offset, durably: false)
  }

  func writeDurably(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError) {
    unsafe try write(bytes, at: offset, durably: true)
    // A buffered file's durable write is a write and a sync.
    if mode != .direct { try sync() }
  }

  private func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, durably: Bool) throws(DiskError) {
    unsafe try check("write", bytes, offset)
    try checkWritable("write")
    let isDurable = durably && mode == .direct
    let kind: DiskOperation.Kind = isDurable ? .writeDurably : .write
    try disk.step(kind, path, offset: offset, sizeBytes: bytes.count) { (state, fault) throws(DiskError) in
      try disk.checkCapacity(state, inode, newCount: Int(offset) + bytes.count, path)
      var write = unsafe UnsyncedWrite(offset: Int(offset), bytes: [UInt8](bytes))
      switch fault {
      case .flipBit(let bit) where !write.bytes.isEmpty: write.bytes[bit / 8 % write.bytes.count] ^= 1 << UInt8(bit % 8)
      case .misdirect(let distance):
        // Into the file as it is: a misdirected write does not grow it.
        let room = max(0, state.inodes[inode].content.count - write.bytes.count)
        write.offset = min(room, max(0, write.offset + distance))
      default: break
      }
      state.inodes[inode].content.write(write.bytes, at: write.offset)
      if case .errorWithPartialEffect = fault {
        state.inodes[inode].unsynced.append(write)
        // A failed durable write has reached the medium in part; the rest counts as clean.
        if isDurable { state.settle(inode, tearsSectors: disk.tearsSectors) }
      } else if isDurable && fault != .crash {
        state.writeDurably(write, to: inode)
      } else {
        state.inodes[inode].unsynced.append(write)
      }
    }
  }

  func sync() throws(DiskError) {
    try disk.step(.sync, path) { (state, fault) throws(DiskError) in
      switch fault {
      case .crash: break
      case .errorWithPartialEffect: state.settle(inode, tearsSectors: disk.tearsSectors)
      default: state.sync(inode)
      }
    }
  }

  func allocate(_ sizeBytes: UInt64) throws(DiskError) {
    if try self.sizeBytes() < sizeBytes { try truncate(to: sizeBytes) }
  }

  func truncate(to sizeBytes: UInt64) throws(DiskError) {
    try checkWritable("truncate")
    try disk.step(.truncate, path, offset: sizeBytes) { (state, fault) throws(DiskError) in
      guard sizeBytes <= UInt64(Int.max) else { throw DiskError(.other, operation: "truncate", path: path, code: 22) }
      try disk.checkCapacity(state, inode, newCount: Int(sizeBytes), path)
      state.inodes[inode].content.resize(to: Int(sizeBytes))
      state.inodes[inode].unsynced.append(UnsyncedWrite(offset: Int(sizeBytes), bytes: [], isTruncation: true))
    }
  }
}
