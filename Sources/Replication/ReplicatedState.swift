package import Encoding

extension ReplicatedState {
  package func nextSafeVersion() -> Version { .zero }
  package func learnSafeVersion(_ version: Version) {}
}

/// What the log is delivered to.
package protocol ReplicatedState: AnyObject, Sendable {
  /// Applies a chosen group and makes it visible; called in log order, one at a time.
  func deliver(_ group: ChosenGroup) throws(DeliveryError)
  /// Transactions sequenced at `version` and after it are not chosen and never will be.
  func discard(from version: Version)
  /// This node leads and everything before is applied: commits may begin, in a term that no other leadership has.
  func lead(term: UInt64)
  /// The newest version at which nobody needs a serialization graph to read, for the record that is being built.
  func nextSafeVersion() -> Version
  /// A record that is applied told of one.
  func learnSafeVersion(_ version: Version)
  /// This node leads no longer. What was sequenced from `version` on was never proposed.
  func resign(discardingFrom version: Version?)

  // Checkpoints. `details` are the state's own words, and come from another node.

  /// Moves everything applied into files, and keeps those as they are.
  func pinCheckpoint() throws(DeliveryError) -> any PinnedState
  /// The files that a peer's checkpoint consists of, in the order in which the peer has them.
  func checkpointFiles(_ details: [UInt8]) throws(DeliveryError) -> [CheckpointFile]
  /// Reads the whole file and compares it with what the details say of it.
  func isSound(_ index: Int, of details: [UInt8], at path: String) -> Bool
  /// Where this node has the same file already.
  func localPath(of file: CheckpointFile) -> String?
  /// Becomes the checkpoint, durably, in one step, and visibly; called where groups are delivered. The files lie in
  /// `directory` under their names. `chain` is remembered until the next flush.
  func install(
    _ details: [UInt8], slot: Slot, version: Version, chain: Hash128, directory: String
  ) throws(DeliveryError)
  /// Holds the state as it is now, for a digest of a part of it. Called where groups are delivered.
  func hold(_ part: DigestPart) -> (any HeldState)?
}
