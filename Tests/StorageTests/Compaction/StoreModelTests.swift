import Encoding
import Platform
import Simulation
import Storage
import Testing

/// Random flushes, compactions, reopenings and reads against the model.
@Suite struct StoreModelTests {
  struct Shape: Sendable {
    var seed: UInt64
    var spread: Int
    var adjust: @Sendable (inout TableStoreOptions) -> Void = { _ in }
  }

  static let shapes: [Shape] = [
    Shape(seed: 1, spread: 4), Shape(seed: 2, spread: 40), Shape(seed: 3, spread: 400), Shape(seed: 4, spread: 4000),
    Shape(seed: 5, spread: 40) { $0.table.blockSizeBytes = 1 },
    Shape(seed: 6, spread: 100) { $0.blockCacheSizeBytes = 0 },
    Shape(seed: 7, spread: 60) { $0.table.bloomBitsPerKey = 0 },
    Shape(seed: 8, spread: 60) { $0.table.compresses = false },
    Shape(seed: 9, spread: 200) {
      $0.table.blockSizeBytes = 16 << 10
      $0.table.tableSizeBytes = 1 << 20
      $0.table.restartInterval = 16
    },
    Shape(seed: 10, spread: 30) {
      $0.table.restartInterval = 1
      $0.table.tableSizeBytes = 1
    },
  ]

  /// A history; the first difference from the model, or nil.
  static func run(_ shape: Shape, mutation: StorageMutation? = nil, rounds: Int = 40) throws -> String? {
    var random = SeededRandomness(seed: shape.seed)
    var options = StoreHarness.tinyOptions()
    shape.adjust(&options)
    options.mutation = mutation
    var harness = try StoreHarness(SimulatedDisk(seed: shape.seed), options)
    for round in 0..<rounds {
      harness.write(random.below(8) + 1, &random, spread: shape.spread)
      try harness.flush()
      if random.oneIn(3) {
        let old = harness.horizon.value.rawValue
        harness.horizon.value = Version(old + UInt64(random.below(Int(harness.version - old) + 1)))
      }
      switch random.below(12) {
      case 0: try harness.store.compactAll()
      case 1: try harness.reopen()
      case 2..<8: while try harness.store.compactOnce() {}
      default: break
      }
      if let difference = try harness.difference(&random, spread: shape.spread) {
        return "round \(round), seed \(shape.seed): \(difference)"
      }
    }
    return nil
  }

  @Test(arguments: shapes)
  func matchesTheModel(_ shape: Shape) throws {
    let difference = try Self.run(shape)
    #expect(difference == nil)
  }
}
