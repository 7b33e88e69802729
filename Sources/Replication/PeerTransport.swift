package import Paxos

/// Carries messages between nodes. Loss, copies and reordering are allowed; forgery is not.
package protocol PeerTransport: AnyObject, Sendable {
  /// Sends, or drops where the way to the receiver is full or closed. Never blocks and never calls back into the sender:
  /// it is called with the sender's lock held.
  func send(_ message: Message, records: [StoredRecord])
  /// The same for a word about a checkpoint.
  func send(_ transfer: TransferMessage)
}

/// What receives them.
package protocol PeerReceiver: AnyObject, Sendable {
  /// A message with the records that came behind it, each checked by itself. On any thread; short.
  func receive(_ message: Message, records: [StoredRecord])
  func receive(_ transfer: TransferMessage)
}
