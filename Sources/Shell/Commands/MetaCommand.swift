import Synod

/// A command of the shell's own: SQLite's `.name` or psql's `\name`.
struct MetaCommand: Sendable {
  /// The name with its mark, e.g. `.tables`.
  var names: [String]
  /// The arguments, as `.help` shows them.
  var usage: String
  var summary: String
  var run: @Sendable (Shell, Invocation) throws -> Void

  init(
    _ names: String..., usage: String = "", _ summary: String,
    run: @escaping @Sendable (Shell, Invocation) throws -> Void
  ) {
    self.names = names
    self.usage = usage
    self.summary = summary
    self.run = run
  }
}

/// A command as it was typed.
struct Invocation {
  var name: String
  /// The arguments: words, or text in single or double quotes.
  var arguments: [String]
  /// Everything after the name.
  var text: String
  var place: Shell.Place?

  /// The argument at `index`, or a problem that shows the usage.
  func argument(_ index: Int, _ what: String) throws(ShellProblem) -> String {
    guard index < arguments.count else { throw ShellProblem("\(name) needs \(what)") }
    return arguments[index]
  }

  /// An `on` or `off` argument.
  func isOn(_ index: Int = 0) throws(ShellProblem) -> Bool {
    let word = try argument(index, "on or off").lowercased()
    switch word {
    case "on", "yes", "true", "1": return true
    case "off", "no", "false", "0": return false
    default: throw ShellProblem("\(name): \"\(word)\" is neither on nor off")
    }
  }
}

extension Shell {
  static let commands: [MetaCommand] =
    outputCommands + schemaCommands + dataCommands + variableCommands + sessionCommands + observationCommands
    + clusterCommands + shellCommands

  private static let byName: [String: MetaCommand] = Dictionary(
    commands.flatMap { command in command.names.map { ($0, command) } }, uniquingKeysWith: { first, _ in first })

  /// The command named `name`, which may be shortened as far as it is unambiguous.
  static func command(named name: String) throws(ShellProblem) -> MetaCommand {
    if let exact = byName[name] { return exact }
    let matches = byName.keys.filter { $0.hasPrefix(name) }.sorted()
    let distinct = Set(matches.map { byName[$0]!.names[0] })
    if name.hasPrefix("."), distinct.count == 1, name.count > 1 { return byName[matches[0]]! }
    if name.hasPrefix("."), !matches.isEmpty, name.count > 1 {
      throw ShellProblem("\(name) could be \(matches.joined(separator: ", "))")
    }
    throw ShellProblem("unknown command \(name); .help lists the commands")
  }

  func runCommand(_ line: String, from place: Place?) {
    let name = String(line.prefix { $0 != " " && $0 != "\t" && $0 != ";" })
    let text = String(line.dropFirst(name.count).drop { $0 == " " || $0 == "\t" })
    do {
      let arguments = try words(text)
      if let commandOfOthers, try commandOfOthers(name, arguments) { return }
      try Self.command(named: name).run(self, Invocation(name: name, arguments: arguments, text: text, place: place))
    } catch let problem as ShellProblem {
      complain(problem.message, place: place)
    } catch let error as DatabaseError {
      report(error, place: place)
    } catch {
      complain("\(error)", place: place)
    }
  }
}

/// Splits arguments at white space, keeping what stands in single or double quotes together. In double quotes and
/// outside of quotes a backslash makes the next character plain, and `\t \n \\` are what they are in C.
package func words(_ text: String) throws(ShellProblem) -> [String] {
  var words: [String] = []
  var word: String?
  var quote: Character?
  var escaped = false
  for character in text {
    if escaped {
      let plain: Character = character == "t" ? "\t" : character == "n" ? "\n" : character == "r" ? "\r" : character
      word = (word ?? "") + String(plain)
      escaped = false
    } else if character == "\\" && quote != "'" {
      escaped = true
      word = word ?? ""
    } else if let open = quote {
      if character == open { quote = nil } else { word = (word ?? "") + String(character) }
    } else if character == "'" || character == "\"" {
      quote = character
      word = word ?? ""
    } else if character == " " || character == "\t" {
      if let done = word { words.append(done) }
      word = nil
    } else {
      word = (word ?? "") + String(character)
    }
  }
  if let quote { throw ShellProblem("the \(quote) is not closed") }
  if escaped { word = (word ?? "") + "\\" }
  if let word { words.append(word) }
  return words
}
