import Foundation
import Testing

@Suite(.serialized) struct ClusterProcessTests {
  /// Small; `synod torture-cluster --kills 200` is the long form.
  @Test func noAcknowledgedCommitIsLostWhenLeadersAreKilled() throws {
    let result = try Synod.run(["torture-cluster", "--kills", "2", "--clients", "4"])
    #expect(result.status == 0, "\(result.output)\n\(result.errors)")
    #expect(result.output.contains("no acknowledged commit lost"), "\(result.output)")
  }

  /// Small; `tools/nemesis` is the long form.
  @Test func historiesUnderFaultsAreWhatTheirLevelsPromise() throws {
    let scratch = Scratch()
    let library = scratch.path + "/faults.so"
    let compiler = Process()
    compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    compiler.arguments = ["cc", "-O2", "-shared", "-fPIC", "-o", library, Synod.root.path + "/tools/faults.c"]
    try compiler.run()
    compiler.waitUntilExit()
    #expect(compiler.terminationStatus == 0)
    let result = try Synod.run([
      "torture-cluster", "--nemesis", "all", "--faults-library", library, "--seconds", "6", "--seed", "3",
      "--clients", "4", "--data", scratch.path + "/cluster", "--verbose",
    ])
    #expect(result.status == 0, "\(result.output)\n\(result.errors)")
    #expect(result.output.contains("no anomaly"), "\(result.output)")
  }

  /// Leadership moves under load: no transaction fails, no session is lost. Clients are on all nodes.
  @Test func transfersFailNoTransaction() throws {
    let result = try Synod.run(["torture-transfer", "--transfers", "4", "--clients", "6", "--pause", "100"])
    #expect(result.status == 0, "\(result.output)\n\(result.errors)")
    #expect(result.output.contains(" 0 failed"), "\(result.output)")
  }

  /// The leader is stopped by SIGTERM: the sessions of the other nodes' clients go on.
  @Test func aStoppedLeaderHandsItsSessionsOver() throws {
    let result = try Synod.run([
      "torture-transfer", "--transfers", "2", "--clients", "6", "--pause", "100", "--restart",
    ])
    #expect(result.status == 0, "\(result.output)\n\(result.errors)")
  }
}
