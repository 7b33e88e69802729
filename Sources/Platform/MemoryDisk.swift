internal import Synchronization

/// A disk in memory: for what is asked of a disk where nothing is to be kept. Everything is durable for as long as the disk
/// is there, and nothing longer.
package final class MemoryDisk: Disk {
  private struct State {
    var files: [String: MemoryFile.Contents] = [:]
    var directories: Set<String> = ["", "/"]
  }
  private let state = Mutex(State())

  package init() {}

  private static func normal(_ path: String) -> String {
    "/" + path.split(separator: "/").joined(separator: "/")
  }

  package func open(_ path: String, _ mode: FileMode) throws(DiskError) -> any DiskFile {
    let name = Self.normal(path)
    let contents = state.withLock { state -> Result<MemoryFile.Contents, DiskError> in
      if let there = state.files[name] {
        return mode == .create ? .failure(DiskError(.exists, operation: "open", path: path)) : .success(there)
      }
      guard mode == .create else { return .failure(DiskError(.notFound, operation: "open", path: path)) }
      let new = MemoryFile.Contents()
      state.files[name] = new
      return .success(new)
    }
    return MemoryFile(path, try contents.get())
  }

  package func createDirectory(_ path: String) throws(DiskError) {
    state.withLock { _ = $0.directories.insert(Self.normal(path)) }
  }

  package func list(_ directory: String) throws(DiskError) -> [String] {
    let name = Self.normal(directory)
    let prefix = name == "/" ? "/" : name + "/"
    return state.withLock { state in
      (Array(state.files.keys) + state.directories).filter {
        $0.hasPrefix(prefix) && $0 != prefix && !$0.dropFirst(prefix.count).contains("/")
      }.map { String($0.dropFirst(prefix.count)) }.sorted()
    }
  }

  package func status(_ path: String) throws(DiskError) -> FileStatus? {
    let name = Self.normal(path)
    return state.withLock { state in
      if let file = state.files[name] { return FileStatus(isDirectory: false, sizeBytes: file.sizeBytes) }
      return state.directories.contains(name) ? FileStatus(isDirectory: true, sizeBytes: 0) : nil
    }
  }

  package func rename(_ old: String, to new: String) throws(DiskError) {
    let isThere = state.withLock { state in
      guard let file = state.files.removeValue(forKey: Self.normal(old)) else { return false }
      state.files[Self.normal(new)] = file
      return true
    }
    guard isThere else { throw DiskError(.notFound, operation: "rename", path: old) }
  }

  package func remove(_ path: String) throws(DiskError) {
    let name = Self.normal(path)
    let isThere = state.withLock { state in
      state.files.removeValue(forKey: name) != nil || state.directories.remove(name) != nil
    }
    guard isThere else { throw DiskError(.notFound, operation: "remove", path: path) }
  }

  package func link(_ existing: String, to new: String) throws(DiskError) {
    let isThere = state.withLock { state in
      guard let file = state.files[Self.normal(existing)] else { return false }
      state.files[Self.normal(new)] = file
      return true
    }
    guard isThere else { throw DiskError(.notFound, operation: "link", path: existing) }
  }

  package func syncDirectory(_ directory: String) throws(DiskError) {}

  package func lock(_ path: String) throws(DiskError) -> any DiskFile {
    let isThere = try status(path) != nil
    return try open(path, isThere ? .readWrite : .create)
  }

  package func freeSizeBytes(_ path: String) throws(DiskError) -> UInt64 { 1 << 40 }
}

private final class MemoryFile: DiskFile {
  final class Contents: Sendable {
    let bytes = Mutex<[UInt8]>([])
    var sizeBytes: UInt64 { UInt64(bytes.withLock { $0.count }) }
  }

  let path: String
  private let contents: Contents

  init(_ path: String, _ contents: Contents) {
    self.path = path
    self.contents = contents
  }

  func sizeBytes() throws(DiskError) -> UInt64 { contents.sizeBytes }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DiskError) -> Int {
    let piece = contents.bytes.withLock { bytes -> [UInt8] in
      guard offset < UInt64(bytes.count) else { return [] }
      return Array(bytes[Int(offset)..<min(bytes.count, Int(offset) + buffer.count)])
    }
    unsafe buffer.copyBytes(from: piece)
    return piece.count
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError) {
    let piece = unsafe Array(bytes)
    contents.bytes.withLock { all in
      let end = Int(offset) + piece.count
      if all.count < end { all.append(contentsOf: [UInt8](repeating: 0, count: end - all.count)) }
      all.replaceSubrange(Int(offset)..<end, with: piece)
    }
  }

  func writeDurably(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError) {
    unsafe try write(bytes, at: offset)
  }

  func sync() throws(DiskError) {}

  func truncate(to sizeBytes: UInt64) throws(DiskError) {
    contents.bytes.withLock { all in
      let size = Int(sizeBytes)
      if all.count > size {
        all.removeLast(all.count - size)
      } else {
        all.append(contentsOf: [UInt8](repeating: 0, count: size - all.count))
      }
    }
  }

  func allocate(_ sizeBytes: UInt64) throws(DiskError) {
    if contents.sizeBytes < sizeBytes { try truncate(to: sizeBytes) }
  }

  func close() {}
}
