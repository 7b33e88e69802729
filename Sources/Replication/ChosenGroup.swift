package import Encoding

/// Transactions that are chosen, together and in order: to be applied now. The payload is valid during the call.
@safe
package struct ChosenGroup {
  package let slot: Slot
  package let firstVersion: Version
  package let transactionCount: Int
  /// `u32 length | batch` for each transaction.
  package let payload: UnsafeRawBufferPointer
}

/// Why a chosen group could not be delivered.
package enum DeliveryError: Error, Sendable {
  /// There is no room to apply it now; the same group is to be delivered again after a while.
  case later
  /// It never can be: the pipeline stops.
  case failed(String)
}
