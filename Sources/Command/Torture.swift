import ArgumentParser
import Foundation
internal import Synod

/// `synod torture`: kills a writing process again and again, and looks for every commit that it acknowledged.
///
/// The child commits from many threads and writes a line for each acknowledgement to a pipe. Client c's n-th transaction
/// puts the keys `a/c/n` and `b/c/n`. After SIGKILL the parent opens the database and checks, for each client:
///
/// 1. every acknowledged transaction is there;
/// 2. transactions are there wholly or not at all: a and b together;
/// 3. what is there is a prefix: n transactions mean numbers 1 to n.
struct Torture: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Kill a writing process (kill -9) again and again and check that no acknowledged commit is lost.")

  @Option(help: "The database; made if it is not there.")
  var path: String

  @Option(help: "How often to kill.")
  var rounds = 100

  @Option(help: "Writing threads.")
  var clients = 8

  @Option(help: "The seed of the moments at which the process is killed.")
  var seed: UInt64 = 1

  @Flag(help: .hidden)
  var child = false

  func run() throws { child ? try write() : try oversee() }

  private static func key(_ kind: Character, _ client: Int, _ number: Int) -> [UInt8] {
    Array("\(kind)/\(client)/\(number)".utf8)
  }

  private func counter(_ database: Database, _ client: Int) throws -> Int {
    guard let bytes = try database.get(Array("n/\(client)".utf8)) else { return 0 }
    return Int(String(decoding: bytes, as: UTF8.self)) ?? -1
  }

  /// The child: commits until it is killed.
  private func write() throws {
    let database = try openForBench(path)
    let output = FileHandle.standardOutput
    _ = try measure(clients: clients, seconds: 3600) { client in
      let start = try self.counter(database, client)
      return { index in
        let number = start + Int(index) + 1
        let filler = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 20 + number % 400)
        try database.transaction { transaction in
          try transaction.put(Self.key("a", client, number), filler)
          try transaction.put(Self.key("b", client, number), filler)
          try transaction.put(Array("n/\(client)".utf8), Array("\(number)".utf8))
        }
        // One write of one short line is atomic on a pipe.
        output.write(Data("\(client) \(number)\n".utf8))
        return 0
      }
    }
  }

  private func oversee() throws {
    var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
    var acknowledged = [Int](repeating: 0, count: clients)
    var total = 0
    for round in 1...max(1, rounds) {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      let lines = try killedChild(afterMilliseconds: 30 + Int(state % 400))
      for line in lines {
        let words = line.split(separator: " ").compactMap { Int($0) }
        guard words.count == 2, words[0] < clients else { continue }
        acknowledged[words[0]] = max(acknowledged[words[0]], words[1])
      }
      total += lines.count
      try check(acknowledged, round: round)
      print("round \(round): \(lines.count) acknowledged, nothing lost")
    }
    print("\(rounds) kills, \(total) acknowledged commits, 0 lost")
  }

  /// Runs the child and kills it; returns the complete lines that it wrote.
  private func killedChild(afterMilliseconds delay: Int) throws -> [Substring] {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    process.arguments = ["torture", "--child", "--path", path, "--clients", "\(clients)"]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let killer = DispatchWorkItem { kill(process.processIdentifier, SIGKILL) }
    DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(delay), execute: killer)
    let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    let text = String(decoding: bytes, as: UTF8.self)
    let whole = text.lastIndex(of: "\n").map { text[...$0] } ?? ""
    return whole.split(separator: "\n")
  }

  private func check(_ acknowledged: [Int], round: Int) throws {
    let database = try openForBench(path)
    defer { try? database.close() }
    for client in 0..<clients {
      let count = try counter(database, client)
      func lost(_ what: String) -> CommandFailure {
        CommandFailure("round \(round), seed \(seed), client \(client): \(what); the database is kept in \(path)")
      }
      guard count >= acknowledged[client] else {
        throw lost("transaction \(acknowledged[client]) was acknowledged, but only \(count) are there")
      }
      for number in Swift.stride(from: max(1, count - 2000), through: count, by: 1) {
        guard let a = try database.get(Self.key("a", client, number)),
          a == (try database.get(Self.key("b", client, number)))
        else {
          throw lost("transaction \(number) is not whole")
        }
      }
      for kind in ["a", "b"] as [Character] {
        guard try database.get(Self.key(kind, client, count + 1)) == nil else {
          throw lost("part of transaction \(count + 1) is there")
        }
      }
    }
  }
}
