import ArgumentParser

/// The `synod` executable.
@main
struct SynodCommand: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "synod",
    abstract: "A transactional database in your process, with PostgreSQL's SQL and one replicated log.",
    usage: """
      synod [PATH] [SQL …]           open the shell, or run statements and exit
      synod serve --data DIR         serve it to psql and PostgreSQL's drivers
      synod bench commit --path P    measure this machine
      """,
    discussion: """
      With a path and nothing more, opens the shell on that database, which is made if it is not there. Without a path \
      the database lives in a temporary directory and ends with the shell.
      """,
    version: version,
    subcommands: [
      ShellCommand.self, ServeCommand.self, DemoCommand.self, ClusterCommand.self, Bench.self, BackupCommand.self,
      RestoreCommand.self,
      DumpCommandLine.self,
      Inspect.self, Verify.self, Torture.self, ClusterTorture.self, TransferTorture.self, Sim.self, Cert.self,
    ],
    defaultSubcommand: ShellCommand.self)
}
