package import Encoding

/// How a log is kept. The defaults are for production; tests shrink them so that edges are reached.
package struct LogOptions: Sendable {
  /// Full-grown segments. A multiple of 4 KiB.
  package var segmentSizeBytes = 64 << 20
  /// The smallest segments; larger ones come as the log that is kept gets longer, until they are full-grown.
  package var firstSegmentSizeBytes = 1 << 20
  /// Spares to keep once the log has proved to need them.
  package var spareSegments = 4
  /// Space of the file system that new segments leave to others, so that tables can still be flushed when it runs out.
  package var reserveSizeBytes: UInt64 = 64 << 20
  /// Whether segments are prepared by a thread. Otherwise (simulation) when they are needed.
  package var background = true
  /// Whether to make the database where there is none.
  package var creates = true
  /// Whether opening notes what each record's header says, for `Log.takeRecordNotes`: otherwise a replica would have to read the
  /// whole log a second time.
  package var notesRecords = false
  /// Identities of a new database.
  package var newCluster: Hash128?
  package var newNode: UInt64 = 1
  /// What to do where bytes that were durable are not what was written.
  package var onDamage = DamagePolicy.refuse
  /// Where a log that is made begins: behind what tables that come with it hold. Nowhere, for a new database.
  package var newState = LogState()
  /// Where salts and identities come from; nil for the system's randomness.
  package var seed: UInt64?

  package init() {}
}

/// What opening a log does about damage.
package enum DamagePolicy: Hashable, Sendable {
  /// Refuse to open: right where nobody else has the records.
  case refuse
  /// Open, and say which records are missing: right for a member of a cluster, which fetches them from its peers. The
  /// ballots are then kept in the superblock, too, so that a damaged frame cannot take a vow away.
  case report
}

/// Bugs that tests put in on purpose, to prove that the tests would find them. None outside tests.
package struct LogMutations: OptionSet, Sendable {
  package let rawValue: Int
  package init(rawValue: Int) { self.rawValue = rawValue }
  /// A frame counts wherever its checksum holds: stale ones of a recycled file parse as new.
  package static let trustsChecksumAlone = LogMutations(rawValue: 1)
  /// Directories are not synced.
  package static let skipsDirectorySync = LogMutations(rawValue: 2)
  /// A failed write is tried again instead of stopping.
  package static let retriesFailedWrite = LogMutations(rawValue: 4)
  /// Damage is taken for a torn tail.
  package static let truncatesOnDamage = LogMutations(rawValue: 8)
  /// `accepted` counts from SYNC_BEGIN on.
  package static let acceptsAtSyncBegin = LogMutations(rawValue: 16)
  /// Frames are written, not written durably.
  package static let acknowledgesEarly = LogMutations(rawValue: 32)
  /// Old segments are removed in the wrong order.
  package static let dropsNewestFirst = LogMutations(rawValue: 64)
  /// Nothing is written after a SYNC that was cut short.
  package static let skipsSyncAbort = LogMutations(rawValue: 128)
  /// Where frames are missing, what they did to the log's end is not asked for.
  package static let ignoresLostRewrites = LogMutations(rawValue: 256)
  /// A damaged end passes for the end.
  package static let vouchesForDamagedEnd = LogMutations(rawValue: 512)
  /// Ballots are noted in the log alone.
  package static let keepsBallotsInLogAlone = LogMutations(rawValue: 1024)
}
