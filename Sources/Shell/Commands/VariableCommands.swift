internal import Glibc
import Synod

extension Shell {
  /// Variables, and what runs or edits statements again.
  static let variableCommands: [MetaCommand] = [
    MetaCommand(
      ".parameter", usage: "set NAME VALUE | unset NAME | list | clear",
      "Values that statements use as :name; what is no number, keyword or quoted text is quoted"
    ) { shell, invocation in
      switch invocation.arguments.first {
      case "set":
        let name = try shell.variableName(invocation.argument(1, "a name"))
        _ = try invocation.argument(2, "a value")
        let rest = invocation.text.drop { $0 != " " }.drop { $0 == " " }.drop { $0 != " " }.drop { $0 == " " }
        shell.settings.parameters[name] = parameterLiteral(String(rest))
      case "unset": shell.settings.parameters[try shell.variableName(invocation.argument(1, "a name"))] = nil
      case "clear": shell.settings.parameters = [:]
      case "list", nil:
        for (name, value) in shell.settings.parameters.sorted(by: { $0.key < $1.key }) {
          shell.write(":\(name) \(value)\n")
        }
      case let word?: throw ShellProblem("\(invocation.name) has no \"\(word)\"; there are set, unset, list and clear")
      }
    },
    MetaCommand(
      "\\set", usage: "[NAME [VALUE …]]", "A variable for :name, :'name' and :\"name\"; ON_ERROR_STOP is .bail"
    ) {
      shell, invocation in
      guard let name = invocation.arguments.first else {
        for (name, value) in shell.settings.parameters.sorted(by: { $0.key < $1.key }) {
          shell.write("\(name) = '\(value)'\n")
        }
        return
      }
      if name.uppercased() == "ON_ERROR_STOP" {
        shell.settings.bails = invocation.arguments.count < 2 ? true : try invocation.isOn(1)
        return
      }
      shell.settings.parameters[try shell.variableName(name)] = invocation.arguments.dropFirst().joined()
    },
    MetaCommand("\\unset", usage: "NAME", "Forget a variable") { shell, invocation in
      shell.settings.parameters[try shell.variableName(invocation.argument(0, "a name"))] = nil
    },
    MetaCommand("\\watch", usage: "[SECONDS]", "Run the last statement every 2 seconds, or so many, until Ctrl-C") {
      shell, invocation in
      guard !shell.lastQuery.isEmpty else { throw ShellProblem("there is no statement to run again") }
      let seconds = invocation.arguments.first.map { Double($0) } ?? 2
      guard let seconds, seconds.isFinite, (0.01...86_400).contains(seconds) else {
        throw ShellProblem("\\watch needs a number of seconds")
      }
      shell.watch(every: seconds)
    },
    MetaCommand("\\g", usage: "", "Run the last statement again; at a statement's end, instead of the semicolon") {
      shell, invocation in
      guard !shell.lastQuery.isEmpty else { throw ShellProblem("there is no statement to run again") }
      shell.execute(shell.lastQuery, from: invocation.place)
    },
    MetaCommand("\\gx", usage: "", "Like \\g, with expanded output") { shell, invocation in
      guard !shell.lastQuery.isEmpty else { throw ShellProblem("there is no statement to run again") }
      let mode = shell.options.mode
      shell.options.mode = .expanded
      defer { shell.options.mode = mode }
      shell.execute(shell.lastQuery, from: invocation.place)
    },
    MetaCommand("\\e", "\\edit", usage: "[FILE]", "Edit the last statement, or a file, with $EDITOR, and run it") {
      shell, invocation in
      try shell.edit(invocation.arguments.first)
    },
    MetaCommand(".log", usage: "FILE | off", "Append each statement to a file, with its time and what became of it") {
      shell, invocation in
      let name = try invocation.argument(0, "a file, or off")
      shell.log = name == "off" ? nil : try StatementLog(path: name)
    },
  ]

  private func variableName(_ text: String) throws(ShellProblem) -> String {
    let name = text.hasPrefix(":") || text.hasPrefix("$") || text.hasPrefix("@") ? String(text.dropFirst()) : text
    guard !name.isEmpty, name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "_" }) else {
      throw ShellProblem("\"\(text)\" is no name")
    }
    return name
  }

  /// Runs the last statement again and again, until it fails or is interrupted.
  private func watch(every seconds: Double) {
    let interrupted = FlagForInterrupt()
    let statement = lastQuery
    while !interrupted.isSet && !hasFailedSinceMark {
      write("\(clockText())  (every \(seconds) s)\n")
      execute(statement)
      let watch = Interrupts.watch { interrupted.set() }
      interrupted.wait(seconds)
      watch.end()
    }
    if interrupted.isSet && isInteractive { write("\n") }
  }

  /// `\e`: what the editor leaves is run as if it had been typed.
  private func edit(_ name: String?) throws(ShellProblem) {
    let path: String
    var isTemporary = false
    if let name {
      path = name
    } else {
      isTemporary = true
      var template = Array("/tmp/synod-edit-XXXXXX.sql".utf8CString)
      let descriptor = unsafe mkstemps(&template, 4)
      guard descriptor >= 0 else { throw ShellProblem("cannot make a temporary file") }
      path = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      FileHandleOutput(descriptor: descriptor, owned: true).write(
        [UInt8]((lastQuery.isEmpty ? "" : lastQuery + ";\n").utf8))
    }
    defer { if isTemporary { unsafe unlink(path) } }
    let names = ["SYNOD_EDITOR", "VISUAL", "EDITOR"]
    let editor = names.compactMap { name in unsafe getenv(name).map { unsafe String(cString: $0) } }
    let quoted = "'" + path.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    let status = runSystemCommand("\(editor.first { !$0.isEmpty } ?? "vi") \(quoted)")
    guard status == 0 else { throw ShellProblem("the editor ended with status \(status >> 8); nothing was run") }
    run(lines: try FileLines(path: path), name: name ?? "edited statement")
  }
}

/// A value as a statement needs it: numbers, keywords and quoted text as they are, anything else quoted.
package func parameterLiteral(_ text: String) -> String {
  let keywords = ["null", "true", "false"]
  if Double(text) != nil || keywords.contains(text.lowercased()) { return text }
  if text.count > 1, text.hasPrefix("'"), text.hasSuffix("'") { return text }
  if text.count > 1, text.hasPrefix("\""), text.hasSuffix("\"") {
    return sqlLiteral(String(text.dropFirst().dropLast()), .text)
  }
  return sqlLiteral(text, .text)
}
