import Synod

extension Shell {
  /// The session and the database.
  static let sessionCommands: [MetaCommand] = [
    MetaCommand(".isolation", usage: "[rc|rr|ser]", "The isolation level of transactions from here on") {
      shell, invocation in
      guard let word = invocation.arguments.first else {
        return shell.write("\(shell.connection.isolation.rawValue)\n")
      }
      guard let level = IsolationLevel(name: invocation.text) ?? IsolationLevel(name: word) else {
        throw ShellProblem("unknown isolation level \"\(word)\"; there are rc, rr and ser")
      }
      guard shell.connection.transactionStatus == .idle else {
        throw ShellProblem("a transaction is open; end it first, or name the level when it begins")
      }
      shell.connection.isolation = level
    },
    MetaCommand(".open", "\\c", usage: "PATH|URL", "Close this database and open another, here or at a server") {
      shell, invocation in
      let path = try invocation.argument(0, "a path")
      guard shell.connection.transactionStatus == .idle else {
        throw ShellProblem("a transaction is open; COMMIT or ROLLBACK first")
      }
      let next = try shell.open(path)
      try shell.connection.close()
      shell.connection = next
    },
    MetaCommand("\\conninfo", usage: "", "What this shell is connected to") { shell, _ in
      shell.write("You are connected to \(shell.connection.description).\n")
    },
    MetaCommand(".timeout", usage: "MS", "How long a statement waits for a lock; 0 for ever") { shell, invocation in
      guard let wait = UInt32(try invocation.argument(0, "milliseconds")) else {
        throw ShellProblem("no number of milliseconds")
      }
      shell.execute("SET lock_timeout = \(wait)")
    },
    MetaCommand(".bail", usage: "on|off", "Whether the first error ends a script") { shell, invocation in
      shell.settings.bails = try invocation.isOn()
    },
    MetaCommand(".prompt", usage: "MAIN [CONTINUATION]", "The prompts; without arguments the usual ones") {
      shell, invocation in
      shell.settings.prompt = invocation.arguments.first
      shell.settings.continuationPrompt = invocation.arguments.count > 1 ? invocation.arguments[1] : nil
    },
    MetaCommand(".show", usage: "", "The settings in force") { shell, _ in
      let settings: [(String, String)] = [
        ("database", shell.connection.name), ("isolation", shell.connection.isolation.rawValue),
        ("mode", shell.options.mode.rawValue), ("headers", shell.options.showsHeaders ? "on" : "off"),
        ("nullvalue", "\"\(shell.options.nullText)\""),
        ("separator", "\"\(displayable(shell.options.columnSeparator))\""),
        ("widths", shell.options.widths.map(String.init).joined(separator: " ")),
        ("timer", shell.settings.timer ? "on" : "off"), ("echo", shell.settings.echoes ? "on" : "off"),
        ("changes", shell.settings.showsChanges ? "on" : "off"), ("bail", shell.settings.bails ? "on" : "off"),
        ("eqp", shell.settings.explains ? "on" : "off"),
      ]
      let width = settings.map(\.0.count).max() ?? 0
      for (name, value) in settings {
        shell.write(String(repeating: " ", count: width - name.count) + "\(name): \(value)\n")
      }
    },
    MetaCommand(".quit", ".exit", "\\q", usage: "[STATUS]", "Leave") { shell, invocation in
      if let word = invocation.arguments.first {
        guard let status = UInt8(word) else {
          throw ShellProblem("\"\(word)\" is no exit status; there are 0 to 255")
        }
        shell.exitStatus = Int32(status)
      }
      shell.wantsToQuit = true
    },
  ]

  /// What a session and its database report about themselves.
  static let observationCommands: [MetaCommand] = [
    MetaCommand(".stats", usage: "", "What the database has done since it was opened") { shell, _ in
      shell.writeTable(["name", "value"], shell.connection.statistics().map { [$0.0, $0.1] })
    },
    MetaCommand(".conflicts", usage: "", "The last aborts that were due to other transactions: who, where and why") {
      shell, _ in
      shell.writeTable(["code", "message", "detail"], try shell.connection.conflicts())
    },
    MetaCommand(".locks", usage: "", "Row locks that are held or waited for") { shell, _ in
      shell.writeTable(["transaction", "keys", "strength", "state"], try shell.connection.locks())
    },
  ]

  /// The shell itself and the system around it.
  static let shellCommands: [MetaCommand] = [
    MetaCommand(".help", "\\?", usage: "[PATTERN]", "This list") { shell, invocation in
      let pattern = invocation.arguments.first.map { "*\($0)*" } ?? "*"
      let shown = commands.filter { command in command.names.contains { matches($0, pattern) } }
      guard !shown.isEmpty else { throw ShellProblem("no command matches \"\(invocation.text)\"") }
      let heads = shown.map { ($0.names.joined(separator: " ") + " " + $0.usage, $0.summary) }
      let width = min(34, heads.map(\.0.count).max() ?? 0)
      for (head, summary) in heads {
        if head.count > width {
          shell.write(head + "\n" + String(repeating: " ", count: width) + "  \(summary)\n")
        } else {
          shell.write(head + String(repeating: " ", count: width - head.count) + "  \(summary)\n")
        }
      }
      if invocation.arguments.isEmpty {
        shell.write(
          "\nStatements end with a semicolon. Tab completes, Ctrl-C clears the line or cancels the statement.\n")
      }
    },
    MetaCommand(".shell", ".system", "\\!", usage: "COMMAND", "Run a command of the system's shell") {
      shell, invocation in
      guard !invocation.text.isEmpty else { throw ShellProblem("\(invocation.name) needs a command") }
      let status = runSystemCommand(invocation.text)
      if status != 0 { throw ShellProblem("the command ended with status \(status >> 8)") }
    },
    MetaCommand(".cd", usage: "DIRECTORY", "Change the working directory") { _, invocation in
      try changeDirectory(try invocation.argument(0, "a directory"))
    },
  ]
}
