import Foundation
import Testing

/// What the hot paths allocate, held to `bench/micro/thresholds.json`. Counts only: times depend on the machine.
@Suite(.serialized) struct AllocationTests {
  #if DEBUG
    static let isOptimised = false
  #else
    static let isOptimised = true
  #endif
  static let program = Synod.executable.deletingLastPathComponent().appendingPathComponent("Microbench")
  static let thresholds = Synod.root.appendingPathComponent("bench/micro/thresholds.json").path

  static func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = program
    process.arguments = arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text)
  }

  /// Without the optimiser much more is allocated.
  @Test(.enabled(if: isOptimised)) func hotPathsAllocateNoMoreThanTheyMay() throws {
    let run = try Self.run(["--counts", "--thresholds", Self.thresholds])
    #expect(run.status == 0, "\(run.output)")
  }

  /// The comparison can fail: a threshold of nothing for what does allocate, one for what is not there, and none at all.
  @Test func aThresholdThatIsPassedIsNoticed() throws {
    let scratch = Scratch()
    let file = scratch.path + "/thresholds.json"
    let name = "prepared SELECT by primary key, in the process"
    for (limits, complaint) in [
      ("{\"\(name)\": 0}", "\(name): "), ("{}", "\(name): no threshold"), ("{\"\(name)\": 1000}", ""),
    ] {
      try limits.write(toFile: file, atomically: true, encoding: .utf8)
      let run = try Self.run(["--counts", "--only", name, "--thresholds", file])
      #expect(run.status == (complaint.isEmpty ? 0 : 1), "\(limits): \(run.output)")
      #expect(complaint.isEmpty || run.output.contains(complaint), "\(limits): \(run.output)")
    }
  }
}
