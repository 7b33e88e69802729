// The replicated state of a simulated node: who has done how much, and a digest over all of it.

import Paxos

/// What a command record says: client `client` does its `sequence`-th thing.
struct Command: Hashable {
  var client: Int
  var sequence: UInt64
}

/// Content of records, by chain. A record never changes, so one table serves all nodes and all time.
enum Content {
  case command(Command)
  case leadership
  case stop(Configuration)
}

struct ClusterMachine {
  private(set) var applied: SlotNumber = 0
  private(set) var digest: UInt64 = 0
  /// Things done; an exactly-once count.
  private(set) var version: UInt64 = 0
  private(set) var sessions = SessionTable(capacity: 64)

  /// - Returns: whether the command had an effect.
  mutating func apply(_ entry: Entry, _ content: Content) -> Bool {
    precondition(entry.slot == applied + 1)
    applied = entry.slot
    var effect = false
    if case .command(let command) = content {
      if !sessions.contains(UInt64(command.client)) { sessions.open(UInt64(command.client), time: entry.slot) }
      switch sessions.check(UInt64(command.client), sequence: command.sequence) {
      case .new:
        version += 1
        effect = true
        sessions.record(
          UInt64(command.client), sequence: command.sequence, outcome: .version(version), time: entry.slot)
        digest = mix(digest, UInt64(command.client), command.sequence)
      case .duplicate, .stale, .unknownSession: break
      }
    }
    digest = mix(digest, entry.chain.low, entry.slot)
    return effect
  }
}

@inline(__always)
func mix(_ a: UInt64, _ b: UInt64, _ c: UInt64) -> UInt64 {
  var z = a &* 0x9E37_79B9_7F4A_7C15 &+ b
  z = (z ^ (z >> 29)) &* 0xBF58_476D_1CE4_E5B9 &+ c
  z = (z ^ (z >> 32)) &* 0x94D0_49BB_1331_11EB
  return z ^ (z >> 31)
}
