internal import Glibc
import Synod

/// How a shell was started.
package struct ShellOptions: Sendable {
  package var isInteractive = false
  /// Stop at the first error.
  package var bails = false
  package var echoes = false
  package var output = OutputSettings()
  package var historyPath: String?

  /// The part of the output's settings that flags choose.
  package struct OutputSettings: Sendable {
    package var mode: String?
    package var showsHeaders: Bool?
    package init() {}
  }
  package init() {}
}

/// The interactive shell: reads statements and commands, sends statements to a connection, writes results.
///
/// One instance belongs to one thread; only `interrupt` may be called from another.
package final class Shell {
  var connection: any ShellConnection
  var options = OutputOptions()
  var settings = ShellSettings()
  let isInteractive: Bool
  /// Opens another database for `.open` and `\c`.
  let open: (String) throws -> any ShellConnection
  /// True once anything failed: the exit status.
  package internal(set) var hasFailed = false
  var wantsToQuit = false
  /// The exit status that `.quit` named.
  package internal(set) var exitStatus: Int32?
  /// Whether the pending statement has lines that are not UTF-8.
  private var hasBadText = false
  /// How many scripts are being read, one from the other.
  private var scriptDepth = 0
  private static let deepestScript = 64
  var output: OutputTarget = .standardOutput
  /// The output of the next statement only (`.once`).
  var outputOnce: OutputTarget?
  var pending = ScriptReader()
  /// The lines of the statement that is not yet whole, for completion.
  private(set) var pendingText = ""
  /// What was typed last, for the history.
  var lastStatement = ""
  /// The last statement that was run, for `\g`, `\watch` and `\e`.
  var lastQuery = ""
  var log: StatementLog?
  /// Whether the statement that ran last failed.
  private(set) var hasFailedSinceMark = false
  /// Takes a command of the program around the shell; false: it is none.
  package var commandOfOthers: ((_ name: String, _ arguments: [String]) throws -> Bool)?
  let editor: LineEditor?
  private let news = News()
  var timing = Timing()

  package init(
    connection: any ShellConnection, options: ShellOptions, open: @escaping (String) throws -> any ShellConnection
  ) {
    self.connection = connection
    self.open = open
    isInteractive = options.isInteractive
    settings.bails = options.bails
    settings.echoes = options.echoes
    editor = options.isInteractive ? LineEditor(historyPath: options.historyPath, news: news) : nil
    self.options.mode = options.output.mode.flatMap(OutputMode.init(rawValue:)) ?? (isInteractive ? .box : .list)
    self.options.showsHeaders = options.output.showsHeaders ?? (isInteractive || self.options.mode != .list)
    self.options.terminalWidth = isInteractive ? terminalWidth() : nil
    editor?.complete = { [unowned self] before in self.completions(before) }
  }

  /// Shows a line of text that has nothing to do with what is typed; may be called from any thread.
  package var announce: @Sendable (_ line: String) -> Void { { [news] line in news.tell(line) } }

  /// Reads from the terminal until the end of input or `.quit`.
  package func runInteractively() {
    guard let editor else { return run(lines: StandardInput(), name: "stdin") }
    while !wantsToQuit {
      options.terminalWidth = terminalWidth()
      switch editor.read(prompt: prompt) {
      case .end:
        print()
        return
      case .interrupted:
        pending = ScriptReader()
      case .line(let line):
        take(line, from: nil)
        if pending.isEmpty, !lastStatement.isEmpty {
          editor.remember(lastStatement)
          lastStatement = ""
        }
      }
    }
  }

  /// Runs everything in `lines`; `name` is the file for error messages.
  package func run(lines: any LineSource, name: String) {
    guard scriptDepth < Self.deepestScript else {
      return complain("\"\(name)\": scripts read one another more than \(Self.deepestScript) deep")
    }
    scriptDepth += 1
    let outer = pending
    pending = ScriptReader()
    defer {
      pending = outer
      scriptDepth -= 1
    }
    var number = 0
    while !wantsToQuit, let bytes = lines.nextLine() {
      number += 1
      let line = String(decoding: bytes, as: UTF8.self)
      // What decoding had to replace must not be stored as if it had been said.
      if line.utf8.count != bytes.count || !line.utf8.elementsEqual(bytes) { hasBadText = true }
      take(line, from: Place(file: name, line: number, source: lines))
      if pending.isEmpty { hasBadText = false }
      if shouldStop { return }
    }
    // A last statement without its semicolon is run, as sqlite3 and psql -c do.
    if !wantsToQuit, let rest = pending.finish() { execute(rest, from: Place(file: name, line: number, source: lines)) }
  }

  /// Runs the commands and statements in a file.
  package func runFile(_ path: String) {
    do throws(ShellProblem) {
      run(lines: try FileLines(path: path), name: path)
    } catch {
      complain(error.message)
    }
  }

  /// True once nothing more is to be run: `.quit`, or an error with `-bail`.
  package var shouldStop: Bool { wantsToQuit || hasFailed && settings.bails || !isInteractive && connection.isLost }

  /// Ends the output and the connection; false where closing failed, which was reported.
  package func close() -> Bool {
    output.close()
    let failed = output.failureText ?? OutputTarget.standardOutput.failureText
    if let failed { complain("cannot write the output: \(failed)") }
    do throws(DatabaseError) {
      try connection.close()
      return failed == nil
    } catch {
      report(error)
      return false
    }
  }

  /// Runs one argument of the command line: a command, or statements.
  package func run(text: String) { run(lines: TextLines(text), name: "command line") }

  /// Where a line came from, for messages, and for COPY data that follows it.
  struct Place {
    var file: String
    var line: Int
    var source: any LineSource
  }

  private func take(_ line: String, from place: Place?) {
    if settings.echoes { write(line + "\n") }
    if pending.isEmpty {
      let trimmed = line.drop { $0 == " " || $0 == "\t" }
      if trimmed.hasPrefix(".") || trimmed.hasPrefix("\\") {
        lastStatement = line
        runCommand(trimmed.hasSuffix("\r") ? String(trimmed.dropLast()) : String(trimmed), from: place)
        return
      }
      if trimmed.hasPrefix("#!") && place?.line == 1 { return }
    }
    let (text, command) = Self.splitCommand(line)
    defer { pendingText = pending.isEmpty ? "" : pendingText + text + "\n" }
    for statement in pending.feed(text) {
      lastStatement = statement
      if let command {
        // `SELECT … \gx`: the statement is run by the command.
        lastQuery = statement
        lastStatement = line
        runCommand(command, from: place)
        continue
      }
      execute(statement, from: place)
      if hasFailed && settings.bails && !isInteractive || connection.isLost { return }
    }
  }

  /// A statement's line that ends with `\g`, `\gx` or `\watch`: its text with a semicolon, and the command.
  static func splitCommand(_ line: String) -> (text: String, command: String?) {
    guard let mark = line.lastIndex(of: "\\") else { return (line, nil) }
    let command = line[mark...].trimmingSuffix { $0.isWhitespace }
    guard ["\\g", "\\gx", "\\watch"].contains(String(command.prefix { $0 != " " })) else { return (line, nil) }
    return (line[..<mark] + ";", String(command))
  }

  /// Runs one statement and writes what comes back.
  func execute(_ statement: String, from place: Place? = nil) {
    if hasBadText, statement.unicodeScalars.contains("\u{FFFD}") {
      report(
        DatabaseError(
          sqlState: "22021", message: "invalid byte sequence for encoding \"UTF8\"",
          hint: "Save the script as UTF-8."), place: place)
      return
    }
    lastQuery = statement
    let statement = interpolate(statement, settings.parameters)
    let sink = PrintingSink(shell: self, copySource: place?.source)
    var outcome = "ok"
    hasFailedSinceMark = false
    let watch = Interrupts.watch { [connection] in connection.cancel() }
    timing.start()
    do throws(DatabaseError) {
      if settings.explains && isPlanned(statement) { try connection.execute("EXPLAIN " + statement, into: sink) }
      try connection.execute(statement, into: sink)
    } catch {
      sink.abandon()
      outcome = "\(error.sqlState) \(error.message)"
      hasFailedSinceMark = true
      report(error, statement: statement, place: place)
    }
    timing.stop()
    log?.note(statement, timing, outcome)
    watch.end()
    sink.finish()
    if settings.timer { writeError(timing.description + "\n") }
    if outputOnce != nil {
      outputOnce?.close()
      outputOnce = nil
    }
  }

  /// Whether EXPLAIN says something about the statement.
  private func isPlanned(_ statement: String) -> Bool {
    let word = statement.drop { $0.isWhitespace || $0 == "(" }.prefix { $0.isLetter }.lowercased()
    return ["select", "with", "values", "insert", "update", "delete"].contains(word)
  }

  /// Says what went wrong, with the line and a mark under the place, as psql does.
  func report(_ error: DatabaseError, statement: String? = nil, place: Place? = nil) {
    hasFailed = true
    var text = place.map { "\($0.file):\($0.line): " } ?? ""
    text += "ERROR:  \(error.message)"
    if settings.showsCodes || !isInteractive { text += " (\(error.sqlState))" }
    text += "\n"
    if let statement, let position = error.position { text += mark(position, in: statement) }
    if let detail = error.detail { text += "DETAIL:  \(detail)\n" }
    if let hint = error.hint { text += "HINT:  \(hint)\n" }
    writeError(text)
  }

  /// A problem of the shell's own: a command misused, a file not there.
  func complain(_ message: String, place: Place? = nil) {
    hasFailed = true
    writeError((place.map { "\($0.file):\($0.line): " } ?? "") + "Error: \(message)\n")
  }

  private func mark(_ position: Int, in statement: String) -> String {
    let scalars = Array(statement.unicodeScalars)
    guard position >= 1, position <= scalars.count + 1 else { return "" }
    let index = position - 1
    let start = scalars[..<index].lastIndex(of: "\n").map { $0 + 1 } ?? 0
    let end = scalars[index...].firstIndex(of: "\n") ?? scalars.count
    let number = scalars[..<index].count { $0 == "\n" } + 1
    // A window around the place, so that a statement of megabytes does not fill the screen.
    let from = max(start, index - 60)
    let to = min(end, index + 60)
    let head = "LINE \(number): " + (from > start ? "…" : "")
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars[from..<to])
    var before = String.UnicodeScalarView()
    before.append(contentsOf: scalars[from..<index])
    let indent = displayWidth(head) + displayWidth(displayable(String(before)))
    return head + displayable(String(view)) + (to < end ? "…" : "") + "\n" + String(repeating: " ", count: indent)
      + "^\n"
  }

  /// Writes to where results go.
  func write(_ text: String) { write([UInt8](text.utf8)) }

  func write(_ bytes: [UInt8]) { (outputOnce ?? output).write(bytes) }

  func writeError(_ text: String) {
    output.flush()
    FileHandleOutput.standardError.write([UInt8](text.utf8))
  }
}

/// What `.show` shows and commands change.
struct ShellSettings {
  var bails = false
  var echoes = false
  var timer = false
  var showsChanges = false
  var showsCodes = true
  /// EXPLAIN before every query (`.eqp on`).
  var explains = false
  var prompt: String?
  var continuationPrompt: String?
  var parameters: [String: String] = [:]
  var expandedBefore: OutputMode?
}

/// Wall and processor time of the last statement.
struct Timing {
  private var wall: UInt64 = 0
  private var processor: UInt64 = 0
  private(set) var wallNanoseconds: UInt64 = 0
  private(set) var processorNanoseconds: UInt64 = 0

  private static func now(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  mutating func start() {
    wall = Self.now(CLOCK_MONOTONIC)
    processor = Self.now(CLOCK_PROCESS_CPUTIME_ID)
  }

  mutating func stop() {
    wallNanoseconds = Self.now(CLOCK_MONOTONIC) - wall
    processorNanoseconds = Self.now(CLOCK_PROCESS_CPUTIME_ID) - processor
  }

  var description: String {
    "Time: \(milliseconds(wallNanoseconds)) ms (processor \(milliseconds(processorNanoseconds)) ms)"
  }
}

/// Milliseconds with three decimals.
func milliseconds(_ nanoseconds: UInt64) -> String {
  let thousandths = nanoseconds / 1000
  let rest = String(thousandths % 1000)
  return "\(thousandths / 1000)." + String(repeating: "0", count: 3 - rest.count) + rest
}

extension Substring {
  fileprivate func trimmingSuffix(_ isTrimmed: (Character) -> Bool) -> Substring {
    var rest = self
    while let last = rest.last, isTrimmed(last) { rest.removeLast() }
    return rest
  }
}
