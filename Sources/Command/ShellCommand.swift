import ArgumentParser
import Foundation
internal import Shell
internal import Synod

/// `synod [PATH] [SQL …]`: the shell, or statements from arguments, a file or standard input.
struct ShellCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "shell",
    abstract: "Open a database: the shell, or statements from arguments, a file or standard input. (The default.)")

  @Argument(
    help: """
      The database's directory, made if it is not there; a temporary one when left out. Or a server: \
      postgres://[user[:password]@]host[:port][/database][?sslmode=…].
      """)
  var path: String?

  @Argument(help: "Statements or commands to run instead of reading them.")
  var sql: [String] = []

  @Option(
    name: [.customShort("f"), .customLong("file")], help: ArgumentHelp("Run the file and exit.", valueName: "file"))
  var files: [String] = []

  @Option(
    name: .customLong("cmd", withSingleDash: true),
    help: ArgumentHelp("Run before anything else.", valueName: "command"))
  var commands: [String] = []

  @Option(
    name: .customLong("init", withSingleDash: true),
    help: ArgumentHelp("The file to run at the start instead of ~/.synodrc.", valueName: "file"))
  var initFile: String?

  @Flag(name: .customLong("batch", withSingleDash: true), help: "Not interactive, even on a terminal.")
  var batch = false

  @Flag(name: .customLong("bail", withSingleDash: true), help: "Stop at the first error.")
  var bail = false

  @Flag(name: .customLong("echo", withSingleDash: true), help: "Repeat the input in the output.")
  var echo = false

  @Flag(name: .customLong("readonly", withSingleDash: true), help: "Refuse every write.")
  var readOnly = false

  @Flag(name: .customLong("csv", withSingleDash: true), help: "Results as CSV.")
  var csv = false

  @Flag(name: .customLong("json", withSingleDash: true), help: "Results as JSON.")
  var json = false

  @Option(
    help: ArgumentHelp(
      "How results are written: box, table, column, list, line, csv, json, markdown, …", valueName: "mode"))
  var mode: String?

  @Option(
    name: .customLong("isolation"),
    help: ArgumentHelp("The isolation level of transactions: rc, rr or ser.", valueName: "level"))
  var isolation: String?

  @Flag(name: .customLong("noheader", withSingleDash: true), help: "Results without column names.")
  var noHeader = false

  func run() throws {
    let level = try isolation.map {
      guard let level = IsolationLevel(name: $0) else {
        throw ValidationError("unknown isolation level \"\($0)\"; there are rc, rr and ser")
      }
      return level
    }
    if path == "" { throw CommandFailure("the path is empty: name a directory, or none for a temporary database") }
    let reconnects = options.isInteractive
    let scratch = path == nil || path == ":memory:" ? try Self.makeScratchDirectory() : nil
    defer { if let scratch { try? FileManager.default.removeItem(atPath: scratch) } }
    let open: (String) throws -> any ShellConnection = { [readOnly] path in
      let connection: any ShellConnection
      if ConnectionSettings.isURL(path) {
        let environment = ProcessInfo.processInfo.environment
        var settings = try ConnectionSettings(url: path) { environment[$0] }
        if readOnly { settings.parameters.append(("default_transaction_read_only", "on")) }
        connection = try RemoteConnection(settings, reconnects: reconnects) { askPassword(for: $0) }
      } else {
        // What is only to be read must be there: a mistyped path would become a database, and its dump be empty.
        connection = try LocalConnection(
          path: path, isReadOnly: readOnly, createsIfMissing: !readOnly || scratch != nil)
      }
      if let level { connection.isolation = level }
      return connection
    }
    let connection: any ShellConnection
    do {
      connection = try open(scratch.map { $0 + "/scratch.db" } ?? path!)
    } catch let error as DatabaseError {
      FileHandle.standardError.write(Data("synod: \(error.message)\n".utf8))
      if let detail = error.detail { FileHandle.standardError.write(Data("  \(detail)\n".utf8)) }
      if let hint = error.hint { FileHandle.standardError.write(Data("  \(hint)\n".utf8)) }
      throw ExitCode(1)
    } catch let problem as ShellProblem {
      throw CommandFailure(problem.message)
    }
    let shell = Shell(connection: connection, options: options, open: open)
    feed(shell)
    let closed = shell.close()
    let status = shell.exitStatus ?? (shell.hasFailed ? 1 : 0)
    if status != 0 || !closed { throw ExitCode(status == 0 ? 1 : status) }
  }

  private var readsTerminal: Bool { !batch && sql.isEmpty && files.isEmpty && isatty(STDIN_FILENO) == 1 }

  private var options: ShellOptions {
    var options = ShellOptions()
    options.isInteractive = readsTerminal && isatty(STDOUT_FILENO) == 1
    options.bails = bail
    options.echoes = echo
    options.output.mode = csv ? "csv" : json ? "json" : mode
    options.output.showsHeaders = noHeader ? false : nil
    let home = ProcessInfo.processInfo.environment["HOME"]
    options.historyPath =
      ProcessInfo.processInfo.environment["SYNOD_HISTORY"] ?? home.map { $0 + "/.synod_history" }
    return options
  }

  /// What is to be run, in order: the start file, `-cmd`, then arguments or files or standard input.
  private func feed(_ shell: Shell) {
    let home = ProcessInfo.processInfo.environment["HOME"]
    if let start = initFile ?? (options.isInteractive ? home.map { $0 + "/.synodrc" } : nil),
      initFile != nil || FileManager.default.fileExists(atPath: start)
    {
      shell.runFile(start)
    }
    for command in commands { shell.run(text: command) }
    if sql.isEmpty && files.isEmpty {
      options.isInteractive ? shell.runInteractively() : shell.run(lines: StandardInput(), name: "stdin")
      return
    }
    for file in files where !shell.shouldStop {
      file == "-" ? shell.run(lines: StandardInput(), name: "stdin") : shell.runFile(file)
    }
    for text in sql where !shell.shouldStop { shell.run(text: text) }
  }

  private static func makeScratchDirectory() throws -> String {
    var template = Array((NSTemporaryDirectory() + "/synod-XXXXXX").utf8CString)
    guard unsafe mkdtemp(&template) != nil else {
      throw CommandFailure("cannot make a temporary directory: \(unsafe String(cString: strerror(errno)))")
    }
    return String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
