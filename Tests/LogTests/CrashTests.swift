import Encoding
import Log
import Platform
import Simulation
import Testing

/// Cuts the power at every operation of a mixed workload, and looks at what is left.
///
/// The model: the payloads whose append returned, and the one under way. What is found must be the first of these, in
/// order, with every one that returned.
struct CrashScenario {
  var seed: UInt64
  var mutations: LogMutations = []
  var steps = 24

  struct Model {
    /// By slot: what was appended and returned.
    var acknowledged: [[UInt8]] = []
    /// What was being appended when the power went off.
    var underway: [[UInt8]] = []
    var truncatedThrough = 0
    var promised = LogBallot.zero
  }

  /// Runs the workload until it ends or the disk crashes.
  func run(_ disk: SimulatedDisk, _ model: inout Model) {
    var randomness = SeededRandomness(seed: seed)
    var log: Log?
    defer { if let log { try? log.close() } }
    do {
      for _ in 0..<steps {
        if log == nil {
          log = try Log.open(dbPath, disk: disk, options: smallOptions(), mutations: mutations)
        }
        guard let open = log else { return }
        switch randomness.below(14) {
        case 0:
          try open.close()
          log = nil
        case 1: try open.seal()
        case 2:
          let through = randomness.below(model.acknowledged.count + 1)
          model.truncatedThrough = max(model.truncatedThrough, through)
          try open.truncate(through: Slot(UInt64(through)))
        case 3:
          let ballot = LogBallot(epoch: 1, round: model.promised.round + 1, priority: 0, node: 1)
          try open.write(.promise(ballot))
          model.promised = ballot
        case 4: try open.updateSuperblock { $0.promised.round += 1 }
        // Ahead of need segments are filled, otherwise they get their space: both come, and the change between them.
        case 5...6: open.maintain()
        default:
          var writer = TestWriter(open)
          let count = 1 + randomness.below(3)
          model.underway = (0..<count).map { payload(model.acknowledged.count + $0, &randomness) }
          try writer.append(model.underway)
          model.acknowledged += model.underway
          model.underway = []
        }
      }
    } catch {}
  }

  /// What is wrong with what a crash left, or nil.
  func judge(_ disk: SimulatedDisk, _ model: Model) -> String? {
    do {
      return try withLog(disk, smallOptions(), mutations) { log in
        let found = try contents(log)
        let all = model.acknowledged + model.underway
        let last = Int(log.state.last.slot.rawValue)
        if last < model.acknowledged.count { return "slots \(last + 1)...\(model.acknowledged.count) are lost" }
        if last > all.count { return "slot \(last) never was" }
        // A frame is all there or not at all.
        if last != model.acknowledged.count && last != all.count { return "half a frame" }
        let first = Int(log.base.slot.rawValue)
        if first > model.truncatedThrough { return "slot \(first) was given back" }
        for slot in first + 1..<max(first + 1, last + 1) where found[UInt64(slot)] != all[slot - 1] {
          return "slot \(slot) has another payload"
        }
        if log.state.promised < model.promised { return "a promise is lost" }
        // And it goes on.
        var writer = TestWriter(log)
        try writer.append([[1, 2, 3]])
        return nil
      }
    } catch { return "\(error)" }
  }

  /// Every crash point, each with `survivors` outcomes; returns the first thing that is wrong.
  func everyCrash(survivors: Int, twice: Bool = true) -> String? {
    let whole = SimulatedDisk(seed: seed)
    var model = Model()
    run(whole, &model)
    for point in 0..<whole.operationCount {
      let disk = SimulatedDisk(seed: seed)
      disk.crash(atOperation: point)
      var model = Model()
      run(disk, &model)
      for index in 0..<survivors {
        let survivorSeed = seed &* 1000 &+ UInt64(point * survivors + index)
        let after = disk.survivor(seed: survivorSeed)
        if twice {
          // The power fails again during recovery, somewhere.
          after.crash(atOperation: Int(survivorSeed % 7))
          _ = judge(after, model)
          if after.isCrashed {
            let third = after.survivor(seed: survivorSeed &+ 1)
            if let problem = judgeAgain(third, model) {
              return "seed \(seed), crash at \(point), survivor \(survivorSeed), second crash: \(problem)"
            }
          }
        }
        if let problem = judge(disk.survivor(seed: survivorSeed), model) {
          return "seed \(seed), crash at \(point), survivor \(survivorSeed): \(problem)"
        }
      }
    }
    return nil
  }

  /// After a second crash the record that `judge` appends may or may not be there.
  private func judgeAgain(_ disk: SimulatedDisk, _ model: Model) -> String? {
    guard let first = judge(disk.copy(), model) else { return nil }
    var grown = model
    if model.underway.isEmpty {
      grown.underway = [[1, 2, 3]]
      return judge(disk.copy(), grown)
    }
    // Either frame may be the one under way.
    grown.underway = [[1, 2, 3]]
    if judge(disk.copy(), grown) == nil { return nil }
    grown.acknowledged += model.underway
    return judge(disk.copy(), grown) == nil ? nil : first
  }
}

@Suite struct CrashTests {
  @Test(arguments: 0..<seedCount(8))
  func everyCrashLeavesAPrefixWithAllThatWasAcknowledged(seed: UInt64) {
    let problem = CrashScenario(seed: seed).everyCrash(survivors: 2)
    #expect(problem == nil, "\(problem ?? "")")
  }

  /// The tests' own test: each bug, put in on purpose, is found.
  @Test(arguments: [
    LogMutations.skipsDirectorySync, .acknowledgesEarly, .dropsNewestFirst,
  ])
  func mutantsAreFound(mutation: LogMutations) {
    let isFound = (0..<40 as Range<UInt64>).contains { seed in
      CrashScenario(seed: seed, mutations: mutation).everyCrash(survivors: 3, twice: false) != nil
    }
    #expect(isFound, "mutation \(mutation.rawValue)")
  }
}
