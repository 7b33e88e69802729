import ArgumentParser

/// `synod bench …`: workloads with their peers' names, so that figures can be compared.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure commits, reads, transactions, scans and isolation on this machine.",
    subcommands: [
      BenchCommit.self, BenchRead.self, BenchTPCB.self, BenchScan.self, BenchSSI.self, BenchCatchUp.self,
      BenchGrow.self,
    ])
}
