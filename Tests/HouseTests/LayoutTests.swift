import Foundation
import Testing

/// The repository's own files, read as text.
enum House {
  static let root: URL = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// Every Swift file below `folder`, by path relative to the root.
  static func swiftFiles(_ folder: String) throws -> [(path: String, text: String)] {
    let base = root.appendingPathComponent(folder)
    guard let walk = FileManager.default.enumerator(at: base, includingPropertiesForKeys: nil) else { return [] }
    return try walk.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }.map {
      (String($0.path.dropFirst(root.path.count + 1)), try String(contentsOf: $0, encoding: .utf8))
    }.sorted { $0.0 < $1.0 }
  }

  /// The modules that a file imports.
  static func imports(_ text: String) -> [String] {
    text.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ").drop {
        $0.hasPrefix("@") || ["package", "public", "internal"].contains($0)
      }
      guard words.first == "import" else { return nil }
      return words.dropFirst().first { !["struct", "class", "enum", "func", "protocol"].contains($0) }.map(String.init)
    }
  }
}

/// ARCHITECTURE.md's list of modules, held to.
@Suite struct LayoutTests {
  /// What each module may import of ours; a module may import only what stands above it.
  static let allowed: [String: Set<String>] = [
    "Encoding": ["CSynod", "CLZ4"],
    "Paxos": [],
    "Wire": [],
    "Platform": ["CSynod", "COpenSSL"],
    "Log": ["Encoding", "Platform"],
    "Replication": ["Encoding", "Platform", "Log", "Paxos"],
    "Storage": ["CSynod", "Encoding", "Platform"],
    "Transactions": ["Encoding", "Platform", "Storage"],
    "SQL": ["Encoding", "Platform", "Storage", "Transactions", "COpenSSL"],
    "Synod": ["Encoding", "Platform", "Paxos", "Log", "Replication", "Storage", "Transactions", "SQL"],
    "Server": ["Platform", "Encoding", "Wire", "Transactions", "SQL", "Synod", "COpenSSL"],
    "Shell": ["Synod", "Wire", "CEdit", "COpenSSL"],
    "Simulation": ["Encoding", "Platform", "Paxos", "Log"],
    "Command": [
      "Encoding", "Platform", "Paxos", "Log", "Replication", "Storage", "SQL", "Synod", "Server", "Shell", "Simulation",
    ],
  ]
  /// The standard library's modules, and the packages each module was allowed with a reason (docs/decisions).
  static let system: Set<String> = ["Swift", "Synchronization", "Glibc", "Darwin"]
  static let packages: [String: Set<String>] = [
    "SQL": ["OrderedCollections", "BigInt"],
    "Simulation": ["Foundation", "FoundationEssentials"],
    "Server": ["NIOCore", "NIOPosix", "NIOHTTP1", "Logging", "CoreMetrics", "Metrics"],
    "Shell": ["Dispatch", "Foundation", "FoundationEssentials"],
    "Synod": ["Dispatch"],
    "Command": ["ArgumentParser", "Foundation", "FoundationEssentials", "Histogram", "Logging"],
  ]

  @Test(arguments: allowed.keys.sorted())
  func importsOnlyWhatTheLayoutAllows(_ module: String) throws {
    let permitted = Self.allowed[module]!.union(Self.system).union(Self.packages[module] ?? [])
    for file in try House.swiftFiles("Sources/\(module)") {
      for name in House.imports(file.text) {
        #expect(permitted.contains(name), "\(file.path) imports \(name)")
      }
    }
  }

  @Test func everyModuleIsListed() throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: House.root.appendingPathComponent("Sources").path)
    #expect(Set(folders).subtracting(["CSynod", "CLZ4", "COpenSSL", "CEdit"]) == Set(Self.allowed.keys))
  }
}
