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
    MetaCommand(
      "\\copy", usage: "TABLE|(QUERY) from|to 'FILE' [OPTIONS]", "COPY with the file, a program or stdin on this side"
    ) { shell, invocation in
      try CopyCommand(invocation.text).run(shell, invocation.place)
    },
    MetaCommand(
      ".backup", usage: "[--link] DIRECTORY", "Write a verified backup while the database is in use"
    ) { shell, invocation in
      let links = invocation.arguments.first == "--link"
      guard let path = invocation.arguments.dropFirst(links ? 1 : 0).first else {
        throw ShellProblem("\(invocation.name) needs a directory")
      }
      shell.write(try shell.connection.backup(to: path, linksTables: links) + "\n")
    },
    MetaCommand(
      ".restore", usage: "BACKUP DIRECTORY", "Make a database from a backup, verifying every byte, and open it"
    ) { shell, invocation in
      let backup = try invocation.argument(0, "a backup's directory")
      let path = try invocation.argument(1, "a directory for the database")
      guard shell.connection.transactionStatus == .idle else {
        throw ShellProblem("a transaction is open; COMMIT or ROLLBACK first")
      }
      let version = try Database.restore(from: backup, to: path)
      shell.write("restored to version \(version)\n")
      let next = try shell.open(path)
      try shell.connection.close()
      shell.connection = next
    },
    MetaCommand(".sha3sum", usage: "[PATTERN]", "One checksum of all tables' content, whatever the order of rows") {
      shell, invocation in
      try ChecksumCommand(pattern: invocation.arguments.first).run(shell)
    },
  ]
}
