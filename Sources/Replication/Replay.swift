package import Encoding
package import Log

/// Hands every chosen group behind `slot` to `deliver`, in order: what brings the tables up to date when a database is
/// opened. With one acceptor, whatever is in the log is chosen.
///
/// - Throws: `.notInLog` where the log does not reach back to `slot`: part of it is missing.
package func replay(
  _ log: Log, after slot: Slot, through end: Slot? = nil, deliver: (ChosenGroup) throws -> Void
) throws {
  let reader = try log.reader(after: slot, through: end)
  while let record = try reader.nextRecord() {
    guard record.header.type == .transactionGroup, record.header.transactionCount > 0 else { continue }
    unsafe try deliver(
      ChosenGroup(
        slot: record.header.slot, firstVersion: record.header.firstVersion,
        transactionCount: Int(record.header.transactionCount), payload: record.payload))
  }
}
