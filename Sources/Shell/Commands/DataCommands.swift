import Synod

extension Shell {
  /// Moving data in and out.
  static let dataCommands: [MetaCommand] = [
    MetaCommand(".read", "\\i", usage: "FILE", "Run the commands and statements in a file") { shell, invocation in
      let path = try invocation.argument(0, "a file")
      shell.run(lines: try FileLines(path: path), name: path)
    },
    MetaCommand(
      ".import", usage: "[--csv|--tabs] [--skip N] [--columns A,B] FILE TABLE",
      "Load a file of separated values; a table that is not there is made from the header"
    ) { shell, invocation in
      try ImportCommand(invocation, options: shell.options).run(shell)
    },
    MetaCommand(".dump", usage: "[PATTERN]", "The whole database, or some tables, as statements that make it again") {
      shell, invocation in
      try DumpCommand(pattern: invocation.arguments.first).run(shell)
    },
  ]
}
