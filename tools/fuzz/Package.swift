// swift-tools-version: 6.2

// Coverage-guided fuzzing, apart from the product: sanitizers need unsafe flags, which a dependency may not use.
// The sources under test are links to the product's own, so that their `package` declarations are in reach.

import PackageDescription

let instrumented: [SwiftSetting] = [
  .unsafeFlags(["-sanitize=fuzzer,address", "-enforce-exclusivity=checked"]),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
  name: "fuzz",
  targets: [
    .target(name: "Transactions"),
    .target(name: "Syntax", dependencies: ["Transactions"], swiftSettings: instrumented),
    .executableTarget(
      name: "FuzzParser", dependencies: ["Syntax"], swiftSettings: instrumented,
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
    .target(name: "Wire", swiftSettings: instrumented),
    .executableTarget(
      name: "FuzzWire", dependencies: ["Wire"], swiftSettings: instrumented,
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
  ],
  swiftLanguageModes: [.v6]
)
