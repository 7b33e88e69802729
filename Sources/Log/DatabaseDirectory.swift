internal import Encoding
package import Platform

/// The lock on a database directory: at most one process has it, until the object is closed or the process ends.
package final class DirectoryLock: Sendable {
  package static let fileName = "LOCK"
  private let file: any DiskFile

  /// - Throws: `.locked` where another process has the database open.
  package init(_ directory: String, disk: any Disk) throws(LogError) {
    let path = directory + "/" + Self.fileName
    do throws(DiskError) { file = try disk.lock(path) } catch {
      throw error.kind == .locked ? .locked(path: path) : .disk(error)
    }
  }

  package func release() { file.close() }
}

/// The directory of a database: finding one, or making one.
enum DatabaseDirectory {
  static let logName = "log"

  /// Sees to it that `path` is a directory; returns whether a database is in it.
  static func find(_ path: String, disk: any Disk, creates: Bool) throws(LogError) -> Bool {
    guard let status = try onDisk({ () throws(DiskError) in try disk.status(path) }) else {
      guard creates else { throw .notADatabase(path: path, reason: "it does not exist") }
      try onDisk { () throws(DiskError) in
        try disk.createDirectory(path)
        try disk.syncDirectory(parent(path))
      }
      return false
    }
    guard status.isDirectory else { throw .notADatabase(path: path, reason: "it is a file, not a directory") }
    let superblock = path + "/" + Superblock.fileName
    if try onDisk({ () throws(DiskError) in try disk.status(superblock) }) != nil { return true }
    // What an interrupted creation may have left. Anything else is not ours to build in.
    let ours: Set<String> = [
      DirectoryLock.fileName, logName, Superblock.fileName + ".new", "members", "members.new",
    ]
    let names = try onDisk { () throws(DiskError) in try disk.list(path) }
    if let foreign = names.first(where: { !ours.contains($0) }) {
      throw .notADatabase(path: path, reason: "it holds \(foreign) but no superblock")
    }
    guard creates else { throw .notADatabase(path: path, reason: "it has no superblock") }
    return false
  }

  static func parent(_ path: String) -> String {
    var trimmed = Substring(path)
    while trimmed.count > 1 && trimmed.hasSuffix("/") { trimmed = trimmed.dropLast() }
    guard let slash = trimmed.lastIndex(of: "/") else { return "." }
    return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
  }

  /// Clears what an interrupted creation left in `log/`, refusing where there is a log after all.
  static func clearForCreation(_ directory: String, disk: any Disk) throws(LogError) {
    let names = try onDisk { () throws(DiskError) in try disk.list(directory) }
    for name in names {
      let path = directory + "/" + name
      if case .segment(let sequence) = LogFileName(name) {
        let file = try onDisk { () throws(DiskError) in try disk.open(path, .read) }
        defer { file.close() }
        let scanner = try SegmentScanner(file)
        if case .frame = try scanner.find(at: UInt64(SegmentHeader.sizeBytes), sequence: sequence, salt: nil) {
          throw .corrupt(
            LogPlace(file: parent(directory) + "/" + Superblock.fileName, offset: 0),
            reason: "the superblock is missing, but \(path) holds a log", expected: 0, found: 0)
        }
      }
      try onDisk { () throws(DiskError) in try disk.remove(path) }
    }
  }
}
