extension Shell {
  /// How results look and where they go.
  static let outputCommands: [MetaCommand] = [
    MetaCommand(".mode", usage: "MODE [TABLE]", "How results are written: \(OutputMode.names)") { shell, invocation in
      guard let word = invocation.arguments.first else {
        return shell.write("current output mode: \(shell.options.mode.rawValue)\n")
      }
      guard let mode = OutputMode(rawValue: word == "tab" ? "tabs" : word) else {
        throw ShellProblem("unknown mode \"\(word)\"; there are \(OutputMode.names)")
      }
      shell.options.mode = mode
      if invocation.arguments.count > 1 { shell.options.insertTable = invocation.arguments[1] }
      if [.csv, .box, .table, .column, .markdown].contains(mode) { shell.options.showsHeaders = true }
    },
    MetaCommand(".headers", ".header", usage: "on|off", "Whether results have a line of column names") {
      shell, invocation in
      shell.options.showsHeaders = try invocation.isOn()
    },
    MetaCommand(".nullvalue", usage: "TEXT", "What stands for NULL") { shell, invocation in
      shell.options.nullText = try invocation.argument(0, "a text")
    },
    MetaCommand(".separator", usage: "COLUMN [ROW]", "What stands between columns, and between rows") {
      shell, invocation in
      shell.options.columnSeparator = try invocation.argument(0, "a separator")
      if invocation.arguments.count > 1 { shell.options.rowSeparator = invocation.arguments[1] }
    },
    MetaCommand(".width", usage: "N …", "Column widths for column mode; 0 as needed, negative right-aligned") {
      shell, invocation in
      shell.options.widths = try invocation.arguments.map {
        guard let width = Int($0), abs(width) <= 10_000 else { throw ShellProblem("\"\($0)\" is no width") }
        return width
      }
    },
    MetaCommand(
      ".output", "\\o", usage: "[FILE | '|COMMAND']", "Send results to a file, a command, or (alone) back here"
    ) {
      shell, invocation in
      let target = try OutputTarget.named(invocation.arguments.first ?? "")
      shell.output.close()
      shell.output = target
    },
    MetaCommand(".once", usage: "FILE | '|COMMAND'", "Send the next result to a file or a command") {
      shell, invocation in
      shell.outputOnce = try OutputTarget.named(invocation.argument(0, "a file or a command"))
    },
    MetaCommand(".print", usage: "TEXT …", "Write the text") { shell, invocation in
      shell.write(invocation.arguments.joined(separator: " ") + "\n")
    },
    MetaCommand("\\echo", usage: "TEXT …", "Write the text") { shell, invocation in
      shell.write(invocation.arguments.joined(separator: " ") + "\n")
    },
    MetaCommand(".timer", usage: "on|off", "Whether each statement's time is shown") { shell, invocation in
      shell.settings.timer = try invocation.isOn()
    },
    MetaCommand("\\timing", usage: "[on|off]", "Whether each statement's time is shown") { shell, invocation in
      shell.settings.timer = invocation.arguments.isEmpty ? !shell.settings.timer : try invocation.isOn()
      shell.write("Timing is \(shell.settings.timer ? "on" : "off").\n")
    },
    MetaCommand("\\x", usage: "[on|off]", "Expanded results: a field a line") { shell, invocation in
      let on = invocation.arguments.isEmpty ? shell.options.mode != .expanded : try invocation.isOn()
      if on, shell.options.mode != .expanded {
        shell.settings.expandedBefore = shell.options.mode
        shell.options.mode = .expanded
      } else if !on, shell.options.mode == .expanded {
        shell.options.mode = shell.settings.expandedBefore ?? .box
      }
      shell.write("Expanded display is \(on ? "on" : "off").\n")
    },
    MetaCommand(".changes", usage: "on|off", "Whether the count of changed rows is shown") { shell, invocation in
      shell.settings.showsChanges = try invocation.isOn()
    },
    MetaCommand(".echo", usage: "on|off", "Whether input is repeated in the output") { shell, invocation in
      shell.settings.echoes = try invocation.isOn()
    },
    MetaCommand(".eqp", usage: "on|off", "Whether the plan of each query is shown before its result") {
      shell, invocation in
      shell.settings.explains = try invocation.isOn()
    },
  ]
}
