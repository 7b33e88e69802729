// swift-tools-version: 6.2

// The shape of the project: each module imports only modules above it in this list.
// `tools/test` builds with `--explicit-target-dependency-import-check error`, so what is not
// declared here cannot be imported.

import PackageDescription

/// Every module of ours: warnings are errors, and each unsafe place says so.
let strict: [SwiftSetting] = [
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// Tests take unsafe pointers where the module under test does; they need not mark each place.
let tests: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
]

let package = Package(
  name: "synod",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Synod", targets: ["Synod"]),
    .executable(name: "synod", targets: ["Command"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
  ],
  targets: [
    // C: what Swift cannot say, and the system's libraries.
    .target(name: "CSynod"),
    .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "libssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CEdit", pkgConfig: "libedit", providers: [.apt(["libedit-dev"])]),

    .target(name: "Encoding", dependencies: ["CSynod", "CLZ4"], swiftSettings: strict),
    .target(name: "Paxos", swiftSettings: strict),
    .target(name: "Wire", swiftSettings: strict),
    .target(name: "Platform", dependencies: ["CSynod", "COpenSSL"], swiftSettings: strict),
    .target(name: "Log", dependencies: ["Encoding", "Platform"], swiftSettings: strict),
    .target(name: "Replication", dependencies: ["Encoding", "Platform", "Log", "Paxos"], swiftSettings: strict),
    .target(name: "Storage", dependencies: ["CSynod", "Encoding", "Platform"], swiftSettings: strict),
    .target(name: "Transactions", dependencies: ["Encoding", "Platform", "Storage"], swiftSettings: strict),
    .target(
      name: "SQL",
      dependencies: [
        "Encoding", "Platform", "Storage", "Transactions", "COpenSSL",
        .product(name: "OrderedCollections", package: "swift-collections"),
      ],
      swiftSettings: strict),
    .target(
      name: "Synod",
      dependencies: ["Encoding", "Platform", "Paxos", "Log", "Replication", "Storage", "Transactions", "SQL"],
      swiftSettings: strict),
    .target(
      name: "Server",
      dependencies: [
        "Platform", "Encoding", "Wire", "Transactions", "SQL", "Synod", "COpenSSL",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Metrics", package: "swift-metrics"),
      ],
      swiftSettings: strict),
    .target(name: "Shell", dependencies: ["Synod", "Wire", "CEdit", "COpenSSL"], swiftSettings: strict),
    .target(
      name: "Simulation",
      dependencies: ["Encoding", "Platform", "Paxos", "Log"],
      swiftSettings: strict),
    .executableTarget(
      name: "Command",
      dependencies: [
        "Encoding", "Platform", "Log", "Paxos", "Replication", "Storage", "SQL", "Synod", "Server", "Shell",
        "Simulation",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Histogram", package: "hdrhistogram-swift"),
      ],
      swiftSettings: strict),

    // Measures the hot paths, which only modules of this package can see. In no product.
    .target(name: "CAllocations", path: "bench/micro/CAllocations"),
    .executableTarget(
      name: "Microbench",
      dependencies: [
        "CAllocations", "Encoding", "Platform", "Log", "Replication", "Storage", "Transactions", "SQL", "Wire", "Synod",
      ],
      path: "bench/micro/Microbench", swiftSettings: tests),

    .testTarget(name: "EncodingTests", dependencies: ["Encoding"], swiftSettings: tests),
    .testTarget(
      name: "PaxosTests", dependencies: ["Paxos", "Simulation"], exclude: ["Scripts"], swiftSettings: tests),
    .testTarget(
      name: "WireTests", dependencies: ["Wire", "COpenSSL"], exclude: ["Scripts"], swiftSettings: tests),
    .testTarget(name: "PlatformTests", dependencies: ["Platform"], swiftSettings: tests),
    .testTarget(name: "LogTests", dependencies: ["Log", "Platform", "Encoding", "Simulation"], swiftSettings: tests),
    .testTarget(
      name: "ReplicationTests",
      dependencies: ["Replication", "Log", "Paxos", "Platform", "Encoding", "Simulation"], swiftSettings: tests),
    .testTarget(
      name: "StorageTests", dependencies: ["Storage", "Platform", "Encoding", "Simulation"], swiftSettings: tests),
    .testTarget(
      name: "TransactionsTests",
      dependencies: ["Transactions", "Storage", "Platform", "Encoding", "Simulation"],
      exclude: ["Scripts"], swiftSettings: tests),
    .testTarget(
      name: "SQLTests",
      dependencies: ["SQL", "Transactions", "Storage", "Platform", "Encoding", "Simulation"],
      exclude: ["Scripts"], swiftSettings: tests),
    .testTarget(
      name: "SynodTests",
      dependencies: ["Synod", "Simulation", "Platform", "Encoding", "Log", "Paxos", "Replication", "Transactions"],
      swiftSettings: tests),
    .testTarget(
      name: "ServerTests", dependencies: ["Server", "Wire", "SQL", "Synod", "Platform", "Encoding"],
      exclude: ["Clients"], swiftSettings: tests),
    .testTarget(name: "ShellTests", dependencies: ["Shell", "Synod"], swiftSettings: tests),
    .testTarget(
      name: "SimulationTests",
      dependencies: ["Simulation", "Paxos", "Log", "Platform", "Encoding"],
      exclude: ["Scripts"], swiftSettings: tests),
    .testTarget(name: "CommandTests", dependencies: ["Command"], swiftSettings: tests),
    .testTarget(name: "HouseTests", swiftSettings: tests),
  ],
  swiftLanguageModes: [.v6]
)
