import ArgumentParser
import Foundation
internal import Shell
internal import Synod

/// `synod backup PATH|URL TARGET`.
struct BackupCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Write a verified backup of a database into a directory.",
    discussion: """
      A database that is served, alone or by a cluster, is named by its URL, as a superuser; it is in use meanwhile, and \
      its files are sent to this machine. A directory must not be open in another process; in the shell that has it \
      open, use .backup. Every byte is verified before the backup counts as one.

        synod backup my.db backup/
        synod backup postgres://synod@127.0.0.1:7432/synod backup/
        synod verify backup/
        synod restore backup/ copy.db

      A cluster's leader sends the backup, or, with the URL's parameter options=-csynod.read_consistency=stale, the node \
      that is named.
      """)

  @Argument(help: "The database directory, or a server's URL.") var path: String
  @Argument(help: "A directory that does not exist yet, or an empty one.") var target: String
  @Flag(help: "Hard links to the tables instead of copies: instant, on the same file system only.") var link = false

  func run() throws {
    try reportingDatabaseErrors {
      let connection: any ShellConnection
      if ConnectionSettings.isURL(path) {
        let environment = ProcessInfo.processInfo.environment
        let settings: ConnectionSettings
        do { settings = try ConnectionSettings(url: path) { environment[$0] } } catch let problem as ShellProblem {
          throw CommandFailure(problem.message)
        }
        connection = try RemoteConnection(settings, reconnects: false) { askPassword(for: $0) }
      } else {
        connection = try LocalConnection(path: path, isReadOnly: false, createsIfMissing: false)
      }
      defer { try? connection.close() }
      print(try connection.backup(to: target, linksTables: link))
    }
  }
}

/// `synod restore BACKUP PATH`.
struct RestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Make a database from a backup, verifying every byte.",
    discussion: "The new database has an id of its own. Nothing is made where the backup is damaged.")

  @Argument(help: "The backup's directory.") var backup: String
  @Argument(help: "Where the database is to be: a directory that does not exist yet, or an empty one.") var path: String
  @Option(
    help: ArgumentHelp(
      "The last version to restore, or a time such as 2026-01-31T12:00:00Z.", valueName: "version|time"))
  var to: String?

  func run() throws {
    var point = RestorePoint.latest
    if let to {
      if let version = UInt64(to) {
        point = .version(version)
      } else if let date = ISO8601DateFormatter().date(from: to), date.timeIntervalSince1970 >= 0 {
        point = .time(UInt64(date.timeIntervalSince1970 * 1e9))
      } else {
        throw ValidationError("\"\(to)\" is neither a version nor a time such as 2026-01-31T12:00:00Z")
      }
    }
    try reportingDatabaseErrors {
      let last = try Database.restore(from: backup, to: path, through: point)
      print("restored to version \(last); every byte was verified")
    }
  }
}

/// `synod dump PATH|URL`.
struct DumpCommandLine: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dump", abstract: "Print statements that make the database again, from one snapshot.",
    discussion: "The output goes into an empty database: synod new.db -f FILE")

  @Argument(help: "The database directory, or a server's URL.") var path: String
  @Argument(help: "Only tables whose names match; * and ? stand for any text or character.") var pattern: String?

  func run() throws {
    let command = try ShellCommand.parse([
      "-batch", "-bail", "-readonly", path, ".dump \(pattern.map { "'\($0)'" } ?? "")",
    ])
    try command.run()
  }
}

/// Runs `body`; a database's error ends the command with its lines and status 1.
func reportingDatabaseErrors(_ body: () throws -> Void) throws {
  do { try body() } catch let error as DatabaseError {
    var text = error.message
    if let detail = error.detail { text += "\n  \(detail)" }
    if let hint = error.hint { text += "\n  \(hint)" }
    throw CommandFailure(text)
  }
}
