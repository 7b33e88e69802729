import Foundation
import Testing

/// `bench/run --small`, so that the measurements never rot: with whatever peers this machine has.
@Suite(.serialized) struct BenchScriptTests {
  static let hasPython = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").contains {
    FileManager.default.isExecutableFile(atPath: "\($0)/python3")
  }

  @Test(.enabled(if: hasPython))
  func theSmallRunWorksAndReports() throws {
    let scratch = Scratch()
    let process = Process()
    process.executableURL = Synod.root.appendingPathComponent("bench/run")
    process.arguments = [
      "--small", "--no-install", "--clients", "2", "--without", "etcd", "--only", "embedded", "--only", "SELECT by",
      "--only",
      "TPC-B, serializable", "--only", "group by", "--only", "COPY", "--only", "write-skew", "--only", "replicated",
      "--only", "costs", "--synod",
      Synod.executable.path, "--directory",
      scratch.path, "--output", scratch.path + "/results",
    ]
    let log = scratch.path + "/log"
    _ = FileManager.default.createFile(atPath: log, contents: nil)
    let output = try #require(FileHandle(forWritingAtPath: log))
    process.standardOutput = output
    process.standardError = output
    try process.run()
    process.waitUntilExit()
    let said = try String(contentsOfFile: log, encoding: .utf8)
    #expect(process.terminationStatus == 0, "\(said.suffix(3000))")

    let folder = try #require(try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/results").first)
    let place = scratch.path + "/results/" + folder
    let report = try String(contentsOfFile: place + "/report.md", encoding: .utf8)
    #expect(report.contains("## The floors"))
    #expect(report.contains("| 2 threads | synod |"))
    let results = try #require(
      try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: place + "/results.json")))
        as? [String: Any])
    let cases = try #require(results["results"] as? [[String: Any]])
    #expect(cases.count >= 3)
    for entry in cases {
      let samples = try #require(entry["samples"] as? [String: [[String: Any]]])
      #expect(samples["synod"]?.isEmpty == false, "\(entry["table"] ?? "") has no figures of synod")
    }
    // Nothing is left: the servers are gone, and so is their data.
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted() == ["log", "results"])
  }
}
