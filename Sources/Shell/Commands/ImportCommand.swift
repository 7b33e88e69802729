internal import Glibc
import Synod

/// `.import`: a file of separated values into a table, in one transaction, through COPY.
struct ImportCommand {
  private var path = ""
  private var table = ""
  private var skip = 0
  private var format = "csv"
  private var delimiter: String
  private var columns: [String] = []

  init(_ invocation: Invocation, options: OutputOptions) throws(ShellProblem) {
    delimiter = options.mode == .tabs ? "\t" : options.columnSeparator == "|" ? "," : options.columnSeparator
    if options.mode == .list { delimiter = options.columnSeparator }
    var words = invocation.arguments[...]
    var rest: [String] = []
    while let word = words.popFirst() {
      switch word {
      case "--csv", "-csv": delimiter = ","
      case "--tabs", "-tabs":
        delimiter = "\t"
        format = "text"
      case "--skip", "-skip":
        guard let count = words.popFirst().flatMap({ Int($0) }), count >= 0 else {
          throw ShellProblem("--skip needs the number of lines to pass over")
        }
        skip = count
      case "--columns", "-columns":
        guard let names = words.popFirst() else { throw ShellProblem("--columns needs names") }
        columns = names.split(separator: ",").map(String.init)
      case _ where word.hasPrefix("-"): throw ShellProblem("\(invocation.name) has no option \(word)")
      default: rest.append(word)
      }
    }
    guard rest.count == 2 else { throw ShellProblem("\(invocation.name) needs a file and a table") }
    guard delimiter.utf8.count == 1 else { throw ShellProblem("the separator must be one character to import") }
    path = rest[0]
    table = rest[1]
  }

  func run(_ shell: Shell) throws {
    let file = try FileLines(path: path)
    guard try !shell.objects([.table], matching: nil).contains(where: { $0.name == table }) else {
      return try load(file, passing: skip, shell)
    }
    // The table and its rows come together or not at all.
    let isOwn = shell.connection.transactionStatus == .idle
    if isOwn { try shell.connection.execute("BEGIN", into: SilentSink()) }
    do {
      for _ in 0..<skip { _ = file.nextLine() }
      guard let header = file.nextLine() else {
        throw ShellProblem("\"\(path)\" is empty: there is no header to make a table from")
      }
      let names = splitHeader(String(decoding: header, as: UTF8.self))
      let list = names.map { "\(quotedIdentifier($0)) text" }.joined(separator: ", ")
      try shell.connection.execute("CREATE TABLE \(quotedIdentifier(table)) (\(list))", into: SilentSink())
      try load(file, passing: 0, shell)
      if isOwn { try shell.connection.execute("COMMIT", into: SilentSink()) }
    } catch {
      if isOwn { try? shell.connection.execute("ROLLBACK", into: SilentSink()) }
      throw error
    }
  }

  private func load(_ file: FileLines, passing count: Int, _ shell: Shell) throws {
    // One line is passed over by COPY itself, which then counts lines as the file does.
    for _ in 0..<max(0, count - 1) { _ = file.nextLine() }
    let list = columns.isEmpty ? "" : " (\(columns.map(quotedIdentifier).joined(separator: ", ")))"
    let statement =
      "COPY \(quotedIdentifier(table))\(list) FROM STDIN WITH (FORMAT \(format), HEADER \(count > 0), DELIMITER "
      + "\(delimiter == "\t" ? "E'\\t'" : sqlLiteral(delimiter, .text)))"
    let sink = ImportSink(file: file, progress: Progress(total: file.sizeBytes, isShown: shell.isInteractive))
    let watch = Interrupts.watch { [connection = shell.connection] in connection.cancel() }
    defer {
      watch.end()
      sink.progress.end()
    }
    try shell.connection.execute(statement, into: sink)
    if shell.isInteractive || shell.settings.showsChanges { shell.write("\(sink.tag)\n") }
  }

  private func splitHeader(_ line: String) -> [String] {
    var names: [String] = []
    var name = ""
    var quoted = false
    var previous: Character?
    for character in line.hasSuffix("\r") ? line.dropLast() : line[...] {
      if character == "\"" {
        // A quote doubled within quotes is one.
        if !quoted && previous == "\"" && !name.isEmpty { name.append("\"") }
        quoted.toggle()
      } else if String(character) == delimiter && !quoted {
        names.append(name)
        name = ""
      } else {
        name.append(character)
      }
      previous = character
    }
    names.append(name)
    return names.enumerated().map { $1.isEmpty ? "column\($0 + 1)" : $1 }
  }
}

/// Feeds a file to COPY FROM STDIN.
private final class ImportSink: ShellSink {
  let file: FileLines
  var progress: Progress
  private(set) var tag = ""

  init(file: FileLines, progress: Progress) {
    self.file = file
    self.progress = progress
  }

  func columns(_ columns: [Column]) {}
  func row(_ fields: [String?]) {}
  func completed(_ tag: String) { self.tag = tag }
  func notice(_ severity: String, _ notice: DatabaseError) {}
  func copyOut(_ bytes: [UInt8]) {}
  func copyIn() throws(DatabaseError) -> [UInt8]? {
    let piece = file.nextBytes()
    progress.advance(by: piece?.count ?? 0)
    return piece
  }
}

/// Takes results and says nothing.
final class SilentSink: ShellSink {
  func columns(_ columns: [Column]) {}
  func row(_ fields: [String?]) {}
  func completed(_ tag: String) {}
  func notice(_ severity: String, _ notice: DatabaseError) {}
  func copyOut(_ bytes: [UInt8]) {}
  func copyIn() throws(DatabaseError) -> [UInt8]? { nil }
}

/// A line on the terminal that says how far a long command has come.
struct Progress {
  private let total: UInt64?
  private let isShown: Bool
  private var done: UInt64 = 0
  private var shown: UInt64 = 0
  private static let stepBytes: UInt64 = 8 << 20

  init(total: UInt64?, isShown: Bool) {
    self.total = total
    self.isShown = isShown && isatty(STDERR_FILENO) == 1
  }

  mutating func advance(by count: Int) {
    done += UInt64(count)
    guard isShown, done - shown >= Self.stepBytes else { return }
    shown = done
    let size = "\(done >> 20) MiB"
    let part = total.map { $0 > 0 ? " of \($0 >> 20) MiB (\(min(100, done * 100 / $0)) %)" : "" } ?? ""
    FileHandleOutput.standardError.write([UInt8]("\r\u{1B}[K\(size)\(part)".utf8))
  }

  mutating func end() {
    if isShown && shown > 0 { FileHandleOutput.standardError.write([UInt8]("\r\u{1B}[K".utf8)) }
    shown = 0
  }
}

/// Changes the working directory.
func changeDirectory(_ path: String) throws(ShellProblem) {
  guard unsafe chdir(path) == 0 else {
    throw ShellProblem("cannot change to \"\(path)\": \(unsafe String(cString: strerror(errno)))")
  }
}
