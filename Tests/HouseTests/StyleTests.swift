import Foundation
import Testing

/// What review would otherwise have to say again and again.
@Suite struct StyleTests {
  @Test func formatterIsContent() throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["swift", "format", "lint", "--strict", "-r", "Sources", "Tests", "Package.swift"]
    process.currentDirectoryURL = House.root
    let output = Pipe()
    process.standardError = output
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 0, "\(text.prefix(2000))")
  }

  @Test func filesStayReadable() throws {
    for file in try House.swiftFiles("Sources") {
      let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false).count
      #expect(lines <= 900, "\(file.path) has \(lines) lines: one concept per file")
    }
  }

  /// An unchecked promise carries the sentence that makes it true, within the lines around it.
  @Test func uncheckedPromisesAreExplained() throws {
    for file in try House.swiftFiles("Sources") {
      let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
      for (number, line) in lines.enumerated()
      where (line.contains("@unchecked Sendable") || line.contains("nonisolated(unsafe)"))
        && !line.drop(while: { $0 == " " }).hasPrefix("//")
      {
        let near = lines[max(0, number - 12)...min(lines.count - 1, number + 3)]
        #expect(near.contains { $0.contains("//") }, "\(file.path):\(number + 1) promises without a reason")
      }
    }
  }

  @Test func nothingIsLeftForLater() throws {
    for file in try House.swiftFiles("Sources") {
      for (number, line) in file.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
        for word in ["TODO", "FIXME", "XXX:", "HACK"] where line.contains(word) {
          Issue.record("\(file.path):\(number + 1): \(line)")
        }
      }
    }
  }

  @Test func toolsAreExecutable() {
    for tool in ["tools/setup", "tools/quickstart", "tools/test", ".ci/run"] {
      let path = House.root.appendingPathComponent(tool).path
      #expect(FileManager.default.isExecutableFile(atPath: path), "\(tool) is missing or has no run bit")
    }
  }
}
