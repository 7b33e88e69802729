import Foundation
import Testing

/// The built `synod`, run as a user runs it.
struct Synod {
  struct Outcome {
    var output: String
    var errors: String
    var status: Int32
  }

  /// Beside the test bundle.
  static let executable = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    .deletingLastPathComponent().appendingPathComponent("synod")
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  static func run(
    _ arguments: [String], input: String? = nil, directory: URL? = nil, environment: [String: String] = [:]
  ) throws -> Outcome {
    let process = Process()
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
    process.executableURL = executable
    process.arguments = arguments
    process.currentDirectoryURL = directory
    let output = Pipe()
    let errors = Pipe()
    let standardInput = Pipe()
    process.standardOutput = output
    process.standardError = errors
    process.standardInput = standardInput
    try process.run()
    let collected = Collected()
    let group = DispatchGroup()
    DispatchQueue.global().async(group: group) { collected.errors = errors.fileHandleForReading.readDataToEndOfFile() }
    DispatchQueue.global().async {
      if let input { try? standardInput.fileHandleForWriting.write(contentsOf: Data(input.utf8)) }
      try? standardInput.fileHandleForWriting.close()
    }
    let bytes = output.fileHandleForReading.readDataToEndOfFile()
    group.wait()
    process.waitUntilExit()
    return Outcome(
      output: String(decoding: bytes, as: UTF8.self), errors: String(decoding: collected.errors, as: UTF8.self),
      status: process.terminationReason == .uncaughtSignal ? -process.terminationStatus : process.terminationStatus)
  }

  private final class Collected: @unchecked Sendable {
    // Unchecked: written by one block, read after the group that it belongs to is done.
    var errors = Data()
  }
}

/// A directory that goes when the test is over.
final class Scratch {
  let path: String
  init() {
    path = NSTemporaryDirectory() + "/synod-test-\(UUID().uuidString)"
    try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }
  deinit { try? FileManager.default.removeItem(atPath: path) }
  var database: String { path + "/my.db" }
}
