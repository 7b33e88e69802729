package import Paxos

/// Carries messages between nodes. Loss, copies and reordering are allowed; forgery is not.
package protocol PeerTransport: AnyObject, Sendable {
  /// Takes something to be sent, in this order, or drops it where the way to the receiver is full or closed. Never blocks
  /// and never calls back into the sender: it is called with the sender's lock held. `flush` sends it.
  func send(_ message: Message, records: [StoredRecord])
  /// Sends what was taken, from the calling thread where that is possible. Never blocks; called without locks.
  func flush()
  /// Sends a word about a checkpoint.
  func send(_ transfer: TransferMessage)
}

extension PeerTransport {
  package func flush() {}
}

/// What receives them.
package protocol PeerReceiver: AnyObject, Sendable {
  /// A message with the records that came behind it, each checked by itself. On any thread; short.
  ///
  /// - Parameter isFollowed: the caller calls `endTurn` on the same thread, soon and without a lock: what takes longer, such
  ///   as writing what came, is then done there instead of by a thread that must be woken for it.
  func receive(_ message: Message, records: [StoredRecord], isFollowed: Bool)
  /// Does what the messages since the last call have brought. May wait for the disk.
  func endTurn()
  func receive(_ transfer: TransferMessage)
}
