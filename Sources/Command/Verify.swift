import ArgumentParser
import Foundation
internal import Log
internal import Platform
internal import Storage
internal import Synod

/// `synod verify PATH`: reads every byte of the database, or of the backup, and names every damage.
struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read every byte of a database or a backup and name what is damaged, by file and offset.",
    discussion: """
      A database must not be open. Nothing is changed. The exit status is 0 where all is well, 1 where something is \
      damaged. An unfinished write at the end of the log is harmless: it was never acknowledged, and is reported as such.
      """)

  @Argument(help: "The directory of a database or of a backup.")
  var path: String

  @Flag(help: "Say nothing where all is well.")
  var quiet = false

  func run() throws {
    let disk = LinuxDisk()
    var findings: [String] = []
    var harmless: [String] = []
    guard try disk.status(path + "/" + Superblock.fileName) != nil else {
      guard try disk.status(path + "/BACKUP") != nil else {
        throw CommandFailure(
          "\(path) is neither a database (it has no superblock) nor a backup (it has no file BACKUP)")
      }
      return try verifyBackup()
    }
    let lock: DirectoryLock
    do throws(LogError) { lock = try DirectoryLock(path, disk: disk) } catch { throw CommandFailure("\(error)") }
    defer { lock.release() }
    do throws(LogError) {
      for damage in try LogVerification.verify(path, disk: disk) {
        if damage.isHarmless { harmless.append("\(damage)") } else { findings.append("\(damage)") }
      }
    } catch { findings.append("\(error)") }
    let (tables, bytes) = verifyTables(disk, &findings)
    for line in harmless where !quiet { print(line) }
    for line in findings { print("damaged: \(line)") }
    if !findings.isEmpty {
      FileHandle.standardError.write(
        Data(
          "\(findings.count) damaged place\(findings.count == 1 ? "" : "s"). Restore from a backup or a replica.\n".utf8
        ))
      throw ExitCode(1)
    }
    if !quiet { print("ok: the log, the superblock, the manifest and \(tables) tables (\(bytes) bytes)") }
  }

  private func verifyBackup() throws {
    let summary: BackupSummary
    do throws(DatabaseError) { summary = try Database.verifyBackup(at: path) } catch {
      print("damaged: \(error.message)")
      throw ExitCode(1)
    }
    guard !quiet else { return }
    print(
      "ok: a backup of versions \(summary.versions.lowerBound) to \(summary.versions.upperBound), \(summary.tables) tables, "
        + "\(summary.sizeBytes) bytes")
  }

  /// The manifest and every table that it names.
  private func verifyTables(_ disk: LinuxDisk, _ findings: inout [String]) -> (tables: Int, bytes: UInt64) {
    // A database that never flushed has no manifest yet.
    guard (try? disk.status(path + "/CURRENT")) ?? nil != nil else {
      if (try? disk.list(path + "/tables"))?.isEmpty == false {
        findings.append("\(path)/CURRENT: the file is missing, but there are tables")
      }
      return (0, 0)
    }
    let manifest: ManifestInspector
    do throws(StorageError) { manifest = try ManifestInspector(path, disk: disk) } catch {
      findings.append("\(error)")
      return (0, 0)
    }
    var count = 0
    var bytes: UInt64 = 0
    for table in manifest.state.levels.joined() {
      count += 1
      bytes += table.sizeBytes
      do throws(StorageError) {
        let inspector = try TableInspector("\(path)/tables/\(TableFormat.fileName(table.number))", disk: disk)
        if inspector.metadata.fileHash != table.fileHash {
          findings.append("\(path)/tables/\(TableFormat.fileName(table.number)): another file than the manifest names")
        }
        findings += try inspector.verify().map { "\($0)" }
      } catch { findings.append("\(error)") }
    }
    return (count, bytes)
  }
}
