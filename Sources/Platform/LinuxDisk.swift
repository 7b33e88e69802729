internal import CSynod
internal import Glibc
internal import Synchronization

/// The file system of the machine. Every call retries EINTR; every failure is a `DiskError` with the path.
package struct LinuxDisk: Disk {
  package init() {}

  package func open(_ path: String, _ mode: FileMode) throws(DiskError) -> any DiskFile {
    try openFile(path, mode)
  }

  func openFile(_ path: String, _ mode: FileMode) throws(DiskError) -> LinuxFile {
    let base =
      switch mode {
      case .read: O_RDONLY
      case .readWrite, .direct: O_RDWR
      case .create: O_RDWR | O_CREAT | O_EXCL
      }
    if mode == .direct {
      let descriptor = unsafe synod_open(path, base | O_CLOEXEC | synod_o_direct | synod_o_dsync, 0)
      if descriptor >= 0 { return LinuxFile(descriptor, path: path, isDirect: true) }
      // File systems without direct I/O (tmpfs before Linux 6.6, some overlays) say EINVAL: buffered, then fdatasync.
      guard errno == EINVAL else { throw DiskError(errno: errno, operation: "open", path: path) }
    }
    let descriptor = unsafe synod_open(path, base | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw DiskError(errno: errno, operation: "open", path: path) }
    return LinuxFile(descriptor, path: path, isDirect: false)
  }

  package func createDirectory(_ path: String) throws(DiskError) {
    guard unsafe mkdir(path, 0o700) != 0 else { return }
    let code = errno
    if code == EEXIST, let status = try status(path), status.isDirectory { return }
    throw DiskError(errno: code, operation: "create directory", path: path)
  }

  package func list(_ directory: String) throws(DiskError) -> [String] {
    guard let stream = unsafe opendir(directory) else {
      throw DiskError(errno: errno, operation: "list", path: directory)
    }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    errno = 0
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
      errno = 0
    }
    guard errno == 0 else { throw DiskError(errno: errno, operation: "list", path: directory) }
    return names.sorted()
  }

  package func status(_ path: String) throws(DiskError) -> FileStatus? {
    var result = stat()
    guard unsafe stat(path, &result) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { return nil }
      throw DiskError(errno: errno, operation: "look at", path: path)
    }
    return FileStatus(isDirectory: result.st_mode & S_IFMT == S_IFDIR, sizeBytes: UInt64(max(0, result.st_size)))
  }

  package func rename(_ old: String, to new: String) throws(DiskError) {
    guard unsafe Glibc.rename(old, new) == 0 else { throw DiskError(errno: errno, operation: "rename", path: old) }
  }

  package func remove(_ path: String) throws(DiskError) {
    guard unsafe Glibc.remove(path) == 0 else { throw DiskError(errno: errno, operation: "remove", path: path) }
  }

  package func link(_ existing: String, to new: String) throws(DiskError) {
    guard unsafe Glibc.link(existing, new) == 0 else { throw DiskError(errno: errno, operation: "link", path: new) }
  }

  package func syncDirectory(_ directory: String) throws(DiskError) {
    let descriptor = unsafe synod_open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw DiskError(errno: errno, operation: "open", path: directory) }
    defer { Glibc.close(descriptor) }
    guard fsync(descriptor) == 0 else { throw DiskError(errno: errno, operation: "sync", path: directory) }
  }

  package func lock(_ path: String) throws(DiskError) -> any DiskFile {
    let descriptor = unsafe synod_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw DiskError(errno: errno, operation: "open", path: path) }
    let file = LinuxFile(descriptor, path: path, isDirect: false)
    let code = synod_lock_exclusively(descriptor)
    guard code == 0 else {
      file.close()
      throw code == EAGAIN || code == EACCES
        ? DiskError(.locked, operation: "lock", path: path) : DiskError(errno: code, operation: "lock", path: path)
    }
    return file
  }

  package func freeSizeBytes(_ path: String) throws(DiskError) -> UInt64 {
    var result = statvfs()
    guard unsafe statvfs(path, &result) == 0 else {
      throw DiskError(errno: errno, operation: "measure free space of", path: path)
    }
    return UInt64(result.f_bavail) * UInt64(result.f_frsize)
  }
}

/// An open file descriptor, closed with the object.
final class LinuxFile: DiskFile {
  let path: String
  let isDirect: Bool
  /// The descriptor; -1 once closed.
  private let descriptor: Atomic<Int32>

  init(_ descriptor: Int32, path: String, isDirect: Bool) {
    self.descriptor = Atomic(descriptor)
    self.path = path
    self.isDirect = isDirect
  }

  deinit { close() }

  private var number: Int32 { descriptor.load(ordering: .relaxed) }

  private func failure(_ operation: String) -> DiskError { DiskError(errno: errno, operation: operation, path: path) }

  func sizeBytes() throws(DiskError) -> UInt64 {
    var result = stat()
    guard unsafe fstat(number, &result) == 0 else { throw failure("look at") }
    return UInt64(max(0, result.st_size))
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DiskError) -> Int {
    var done = 0
    while done < buffer.count {
      let got = unsafe pread(number, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
      if got == 0 { break }
      guard got > 0 else {
        if errno == EINTR { continue }
        throw failure("read")
      }
      done += got
    }
    return done
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError) {
    var done = 0
    while done < bytes.count {
      let wrote = unsafe pwrite(number, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done))
      guard wrote > 0 else {
        if wrote < 0 && errno == EINTR { continue }
        throw wrote == 0 ? DiskError(.noSpace, operation: "write", path: path) : failure("write")
      }
      done += wrote
    }
  }

  func writeDurably(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError) {
    unsafe try write(bytes, at: offset)
    if !isDirect { try sync() }
  }

  func writeOut(_ range: Range<UInt64>) throws(DiskError) {
    guard !range.isEmpty else { return }
    let code = synod_write_out(number, Int64(range.lowerBound), Int64(range.count))
    // File systems that cannot do it leave it to the sync.
    guard code == 0 || code == ENOSYS || code == EINVAL || code == ESPIPE else {
      throw DiskError(errno: code, operation: "sync", path: path)
    }
  }

  func sync() throws(DiskError) {
    while fdatasync(number) != 0 {
      guard errno == EINTR else { throw failure("sync") }
    }
  }

  func truncate(to sizeBytes: UInt64) throws(DiskError) {
    while ftruncate(number, off_t(sizeBytes)) != 0 {
      guard errno == EINTR else { throw failure("truncate") }
    }
  }

  func allocate(_ sizeBytes: UInt64) throws(DiskError) {
    var size = try self.sizeBytes()
    guard size < sizeBytes else { return }
    let code = synod_fallocate(number, Int64(size), Int64(sizeBytes - size))
    if code == 0 { return }
    guard code == EOPNOTSUPP || code == ENOSYS || code == EINVAL else {
      throw DiskError(errno: code, operation: "allocate", path: path)
    }
    // A file system without extents: zeros take the space as well.
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    while size < sizeBytes {
      let count = Int(min(UInt64(zeros.count), sizeBytes - size))
      try write(Array(zeros[0..<count]), at: size)
      size += UInt64(count)
    }
  }

  func close() {
    let old = descriptor.exchange(-1, ordering: .relaxed)
    if old >= 0 { Glibc.close(old) }
  }
}
