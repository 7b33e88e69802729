internal import Encoding
internal import Log
internal import Platform
internal import Storage

/// Makes a backup's directory of the pieces that `synod_backup()` sends, and verifies it. One thread at a time.
///
/// 1. Names and positions are the sender's: a name that leads out of the directory, or a piece out of order, is refused.
/// 2. BACKUP is kept in memory, and written when everything else was read back and verified, byte by byte.
/// 3. Whatever fails, `abandon` removes what was written.
package final class BackupReceiver {
  private static let largestManifestSizeBytes = 256 << 20

  private let path: String
  private let disk = LinuxDisk()
  private let isOurs: Bool
  private var open: (name: String, file: any DiskFile)?
  private var offset: UInt64 = 0
  private var manifest: [UInt8] = []

  /// - Throws: 58P02 unless there is nothing at `path`, or an empty directory.
  package init(_ path: String) throws(DatabaseError) {
    self.path = path
    do {
      try Database.requireEmpty(path, disk: disk)
      isOurs = try disk.status(path) == nil
      try disk.createDirectory(path)
      try disk.createDirectory(path + "/tables")
    } catch { throw DatabaseError(opening: path, error) }
  }

  /// Takes the next piece.
  package func take(_ file: String, at position: UInt64, _ bytes: [UInt8]) throws(DatabaseError) {
    do {
      if file == BackupManifest.fileName {
        try finishFile()
        guard position == UInt64(manifest.count), bytes.count <= Self.largestManifestSizeBytes - manifest.count else {
          throw misplaced(file, position)
        }
        manifest += bytes
        return
      }
      guard manifest.isEmpty, Self.isSafe(file) else { throw misplaced(file, position) }
      if open?.name != file {
        try finishFile()
        open = (file, try disk.open("\(path)/\(file)", .create))
        offset = 0
      }
      guard position == offset else { throw misplaced(file, position) }
      try open?.file.write(bytes, at: offset)
      offset += UInt64(bytes.count)
    } catch { throw DatabaseError(opening: path, error) }
  }

  /// Verifies what came, and makes it a backup.
  package func finish() throws(DatabaseError) -> BackupSummary {
    do {
      try finishFile()
      guard !manifest.isEmpty else {
        throw DatabaseError(sqlState: "08006", message: "the backup ended before it was complete")
      }
      try disk.syncDirectory(path + "/tables")
      let summary = try BackupVerification(path, disk: disk).verify(manifest)
      let file = try disk.open("\(path)/\(BackupManifest.fileName)", .create)
      defer { file.close() }
      try file.write(manifest, at: 0)
      try file.sync()
      try disk.syncDirectory(path)
      return summary
    } catch { throw DatabaseError(opening: path, error) }
  }

  /// Removes what was written.
  package func abandon() {
    open?.file.close()
    open = nil
    try? disk.removeContents(path)
    if isOurs { try? disk.remove(path) }
  }

  private func finishFile() throws {
    guard let (_, file) = open else { return }
    open = nil
    defer { file.close() }
    try file.sync()
  }

  private func misplaced(_ file: String, _ position: UInt64) -> DatabaseError {
    DatabaseError(sqlState: "08P01", message: "the server sent byte \(position) of \"\(file)\" out of place")
  }

  /// One name, or one in `tables`.
  private static func isSafe(_ name: String) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 1 || parts.count == 2 && parts[0] == "tables", let last = parts.last else { return false }
    return !last.isEmpty && last != "." && last != ".." && last != "tables" && !last.utf8.contains(0)
      && last != BackupManifest.fileName
  }
}

extension Disk {
  /// Removes what is in a directory, and below.
  func removeContents(_ directory: String) throws(DiskError) {
    for name in try list(directory) {
      let path = "\(directory)/\(name)"
      if try status(path)?.isDirectory == true { try removeContents(path) }
      try remove(path)
    }
  }
}
