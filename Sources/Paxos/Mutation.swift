// Bugs, put in on purpose. The simulator must find each of them; see docs/paxos.md for within how many seeds.

/// A known way to get Paxos wrong. Nil in production; tests set one to test the tests.
package enum Mutation: UInt8, CaseIterable, Sendable {
  // Acceptor
  case acceptedBeforeRecords
  case replyBeforeDurable
  case promiseLowerBallot
  case acceptLowerBallot
  case forgetPromiseOnRestart
  case amnesiacVotes
  case damagedCountsAsAbsent
  case acceptWithoutChainCheck
  case chosenBeyondOwnLog
  case syncCutsChosen
  case staleCompletionCounts
  // Leader
  case ignoreBetterLog
  case bestByLengthAlone
  case countOtherBallots
  case replicationQuorumTooSmall
  case electionQuorumTooSmall
  case syncStopsShort
  case leadBeforeDurable
  // Leases and reads
  case grantsForgottenOnRestart
  case exposeBeforeLeasesExpire
  case leaseFromReceipt
  case leaseKeptAcrossTransfer
  case readBeforeLeadershipRecord
  case readWithoutRound
  // Membership
  case configurationFromUnchosenTail
  case enterEpochWhenAccepted
  case proposeAfterStop
  // Checkpoints and repair
  case installKeepsForeignLog
  case checkpointWithoutConfiguration
  // Liveness
  case noQuorumCheck
}
