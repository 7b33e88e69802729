// The door to storage. `LinuxDisk` is the real one; Simulation's disk loses unsynced writes, tears sectors and fails on
// purpose. Both keep to what follows, and whoever writes files relies on nothing else.
//
// 1. `write` may be lost, wholly or in part and in any order, until a `sync` of that file (or a `writeDurably`) returns.
// 2. `writeDurably` and `sync` return only when the data is on stable storage. If either throws, the state of everything
//    written since the last success is unknown for ever: a retry that succeeds proves nothing (ATC '20, "Can
//    applications recover from fsync failures?").
// 3. A name (create, rename, link, remove) is durable only after `syncDirectory` of its directory.
// 4. `rename` is atomic: after a crash the old or the new file is there, whole.
// 5. Within one 512-byte sector a write is atomic; between sectors it is not.
//
// The protocols are used as existentials: a call that reaches the kernel costs far more than the dispatch.

/// Files and directories by path.
package protocol Disk: Sendable {
  /// Opens the file at `path`.
  func open(_ path: String, _ mode: FileMode) throws(DiskError) -> any DiskFile
  /// Creates a directory; its parent must exist. It is no error if the directory is there already.
  func createDirectory(_ path: String) throws(DiskError)
  /// The names in a directory, sorted, without `.` and `..`.
  func list(_ directory: String) throws(DiskError) -> [String]
  /// What is at `path`, or nil.
  func status(_ path: String) throws(DiskError) -> FileStatus?
  func rename(_ old: String, to new: String) throws(DiskError)
  /// Removes a file, or an empty directory.
  func remove(_ path: String) throws(DiskError)
  /// A second name for a file.
  func link(_ existing: String, to new: String) throws(DiskError)
  /// Makes the names in `directory` durable.
  func syncDirectory(_ directory: String) throws(DiskError)
  /// Takes an exclusive lock on the file at `path`, creating it, or throws `.locked` at once. Released by `close` or when
  /// the process ends, however it ends.
  func lock(_ path: String) throws(DiskError) -> any DiskFile
  /// The bytes that can still be written to the file system that holds `path`.
  func freeSizeBytes(_ path: String) throws(DiskError) -> UInt64
}

/// How a file is opened.
package enum FileMode: Hashable, Sendable {
  /// For reading; the file must exist.
  case read
  /// For reading and writing; the file must exist.
  case readWrite
  /// A new file, for reading and writing; an existing one is an error.
  case create
  /// For reading and writing, past the page cache and durably with every write where the file system allows
  /// (O_DIRECT | O_DSYNC): offsets, lengths and addresses must be multiples of 4 KiB. The file must exist.
  case direct
}

/// What is at a path.
package struct FileStatus: Hashable, Sendable {
  package var isDirectory: Bool
  package var sizeBytes: UInt64
  package init(isDirectory: Bool, sizeBytes: UInt64) {
    self.isDirectory = isDirectory
    self.sizeBytes = sizeBytes
  }
}

/// An open file. Calls at different offsets may run at the same time; closing ends the use.
package protocol DiskFile: AnyObject, Sendable {
  /// The path by which it was opened, for messages.
  var path: String { get }
  func sizeBytes() throws(DiskError) -> UInt64
  /// Reads up to `buffer.count` bytes at `offset`; fewer only at the end of the file.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DiskError) -> Int
  /// Writes all of `bytes` at `offset`, growing the file where needed; durable only after `sync`.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError)
  /// Writes all of `bytes` at `offset` and returns when they are durable: one direct write, or write and fdatasync.
  func writeDurably(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError)
  /// Hands what was written in `range` to the device, and returns when it has it: not durable, but a sync, of this file or of
  /// another, has that much less to do. A failure counts as one of `sync`.
  func writeOut(_ range: Range<UInt64>) throws(DiskError)
  /// fdatasync: everything written so far is durable, and so is the size.
  func sync() throws(DiskError)
  func truncate(to sizeBytes: UInt64) throws(DiskError)
  /// Grows the file to `sizeBytes` and takes the space for it; what is new reads as zeros. Durable after `sync`. Quick where
  /// the file system notes extents as unwritten; the first durable write to such a place then costs a write to the file
  /// system's journal, too.
  func allocate(_ sizeBytes: UInt64) throws(DiskError)
  /// Ends the use; idempotent. Never reports an error: what must be durable was synced.
  func close()
}

extension DiskFile {
  package func writeOut(_ range: Range<UInt64>) throws(DiskError) {}

  /// Reads exactly `count` bytes at `offset`, or as many as there are.
  package func readBytes(_ count: Int, at offset: UInt64) throws(DiskError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var failure: DiskError?
    var got = 0
    unsafe bytes.withUnsafeMutableBytes { buffer in
      do throws(DiskError) { got = unsafe try read(into: buffer, at: offset) } catch { failure = error }
    }
    if let failure { throw failure }
    bytes.removeLast(count - got)
    return bytes
  }

  package func write(_ bytes: [UInt8], at offset: UInt64) throws(DiskError) {
    var failure: DiskError?
    unsafe bytes.withUnsafeBytes { buffer in
      do throws(DiskError) { unsafe try write(buffer, at: offset) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}
