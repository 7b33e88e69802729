import ArgumentParser

@main
struct SynodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "synod", subcommands: [Bench.self, Sim.self])
}
