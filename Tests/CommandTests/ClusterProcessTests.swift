import Foundation
import Testing

@Suite(.serialized) struct ClusterProcessTests {
  /// Small; `synod torture-cluster --kills 200` is the long form.
  @Test func noAcknowledgedCommitIsLostWhenLeadersAreKilled() throws {
    let result = try Synod.run(["torture-cluster", "--kills", "2", "--clients", "4"])
    #expect(result.status == 0, "\(result.output)\n\(result.errors)")
    #expect(result.output.contains("no acknowledged commit lost"), "\(result.output)")
  }
}
