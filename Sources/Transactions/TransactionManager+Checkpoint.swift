package import Encoding

extension TransactionManager {
  /// The engine became another node's checkpoint, which reaches `version`. This node does not lead, so nothing is in
  /// flight that could still commit.
  package func installed(through version: Version) {
    sequencer.latch.lock()
    sequencer.delivered(through: version)
    sequencer.latch.unlock()
  }
}
