internal import Glibc
import Synod

/// `\copy`: COPY, with the file on this side of the connection.
///
/// ```
/// \copy table [(column, …)] from|to 'file' | program 'command' | stdin | stdout [options of COPY]
/// \copy (query) to …
/// ```
struct CopyCommand {
  package enum Peer: Equatable { case file(String), program(String), standard }

  /// The statement that the server gets.
  let statement: String
  let isFrom: Bool
  let peer: Peer

  init(_ text: String) throws(ShellProblem) {
    let tokens = try Self.tokens(text.hasSuffix(";") ? String(text.dropLast()) : text)
    guard let at = tokens.firstIndex(where: { ["from", "to"].contains($0.lowercased()) }), at > 0 else {
      throw ShellProblem("\\copy needs a table or (query), then from or to")
    }
    isFrom = tokens[at].lowercased() == "from"
    var rest = tokens[(at + 1)...]
    guard let word = rest.popFirst() else { throw ShellProblem("\\copy needs a file, program, stdin or stdout") }
    switch word.lowercased() {
    case "stdin", "stdout", "pstdin", "pstdout": peer = .standard
    case "program":
      guard let command = rest.popFirst() else { throw ShellProblem("\\copy program needs a command") }
      peer = .program(Self.unquoted(command))
    default: peer = .file(Self.unquoted(word))
    }
    let head = tokens[..<at].joined(separator: " ")
    let options = rest.isEmpty ? "" : " " + rest.joined(separator: " ")
    statement = "COPY \(head) \(isFrom ? "FROM STDIN" : "TO STDOUT")\(options)"
  }

  private static func unquoted(_ word: String) -> String {
    guard word.count > 1, word.hasPrefix("'"), word.hasSuffix("'") else { return word }
    return word.dropFirst().dropLast().split(separator: "''", omittingEmptySubsequences: false).joined(separator: "'")
  }

  /// Words, and what stands in quotes or parentheses as one.
  private static func tokens(_ text: String) throws(ShellProblem) -> [String] {
    var tokens: [String] = []
    var word = ""
    var depth = 0
    var quote: Character?
    for character in text {
      if let open = quote {
        word.append(character)
        if character == open { quote = nil }
      } else if character == "'" || character == "\"" {
        quote = character
        word.append(character)
      } else if character == "(" {
        if depth == 0, !word.isEmpty {
          tokens.append(word)
          word = ""
        }
        depth += 1
        word.append(character)
      } else if character == ")" {
        depth -= 1
        word.append(character)
        if depth == 0 {
          tokens.append(word)
          word = ""
        }
      } else if depth == 0, character == " " || character == "\t" {
        if !word.isEmpty { tokens.append(word) }
        word = ""
      } else {
        word.append(character)
      }
    }
    guard quote == nil, depth == 0 else { throw ShellProblem("a quote or a parenthesis is not closed") }
    if !word.isEmpty { tokens.append(word) }
    return tokens
  }

  func run(_ shell: Shell, _ place: Shell.Place?) throws {
    let watch = Interrupts.watch { [connection = shell.connection] in connection.cancel() }
    defer { watch.end() }
    let sink: CopySink
    switch (isFrom, peer) {
    case (true, .file(let path)): sink = CopySink(source: try FileLines(path: path))
    case (true, .program(let command)): sink = CopySink(source: try CommandLines(command: command))
    case (true, .standard): sink = CopySink(source: place?.source ?? StandardInput(), endsAtMark: true)
    case (false, .file(let path)):
      sink = CopySink(target: path == "stdout" ? try OutputTarget.named("./stdout") : try OutputTarget.named(path))
    case (false, .program(let command)): sink = CopySink(target: try OutputTarget.named("|" + command))
    case (false, .standard): sink = CopySink(target: shell.outputOnce ?? shell.output)
    }
    do {
      try shell.connection.execute(statement, into: sink)
    } catch {
      sink.close()
      throw error
    }
    sink.close()
    if let problem = sink.problem { throw ShellProblem(problem) }
    if shell.isInteractive || shell.settings.showsChanges { shell.write(sink.tag + "\n") }
  }
}

/// Moves COPY's data between the connection and a file, a command or the shell's own input and output.
private final class CopySink: ShellSink {
  private let source: (any LineSource)?
  private let target: OutputTarget?
  private let endsAtMark: Bool
  private(set) var tag = ""
  var problem: String? { target?.failureText.map { "cannot write: \($0)" } }

  init(source: any LineSource, endsAtMark: Bool = false) {
    self.source = source
    target = nil
    self.endsAtMark = endsAtMark
  }

  init(target: OutputTarget) {
    source = nil
    self.target = target
    endsAtMark = false
  }

  func close() { target?.close() }
  func columns(_ columns: [Column]) {}
  func row(_ fields: [String?]) {}
  func completed(_ tag: String) { self.tag = tag }
  func notice(_ severity: String, _ notice: DatabaseError) {
    FileHandleOutput.standardError.write([UInt8]("\(severity):  \(notice.message)\n".utf8))
  }
  func copyOut(_ bytes: [UInt8]) { target?.write(bytes) }
  func copyIn() throws(DatabaseError) -> [UInt8]? {
    guard endsAtMark else { return source?.nextBytes() }
    guard let line = source?.nextLine(), line != [0x5C, 0x2E], line != [0x5C, 0x2E, 0x0D] else { return nil }
    return line + [0x0A]
  }
}

/// What a command writes.
@safe
final class CommandLines: DescriptorLines {
  private let stream: UnsafeMutablePointer<FILE>

  init(command: String) throws(ShellProblem) {
    guard let stream = unsafe popen(command, "re") else { throw ShellProblem("cannot run \"\(command)\"") }
    unsafe self.stream = stream
    super.init(descriptor: unsafe fileno(stream))
  }

  deinit { unsafe pclose(stream) }
}
