package import Encoding
package import Platform
internal import Synchronization

// Taking over the tables of another node.
//
//   1  every file is verified, block by block, by whoever received it      (`verifyCheckpointFile`)
//   2  each gets a second name in `tables/`, under a number of this store; the names are synced
//   3  the tables are opened: what cannot be read replaces nothing
//   4  one edit, a whole state, takes the place of everything that was there, durably
//   5  the new set is published; the old tables' files go with their last readers
//
// 1. A crash before 4 finds the old state, and orphans that the next open removes; after 4 the new one.
// 2. The files that were received keep their first names: whoever received them removes them after 4.
// 3. The chain in the flushed position tells that the state is an installed one: flushes do not write it.
// 4. What snapshots older than the checkpoint's garbage floor show is gone: the set refuses them (`TableSet.readFloor`).

/// The state of a node's tables, as it is sent to another.
package struct TableCheckpoint: Hashable, Sendable {
  package var state: ManifestState

  package init(_ state: ManifestState) { self.state = state }

  /// All tables, level by level.
  package var tables: [TableMetadata] { Array(state.levels.joined()) }

  package func encode() -> [UInt8] { state.edit.encode() }

  package init(decoding bytes: [UInt8]) throws(DecodingError) {
    let result = unsafe bytes.withUnsafeBytes { bytes -> Result<ManifestState, DecodingError> in
      do throws(DecodingError) {
        let edit = unsafe try ManifestEdit.decode(bytes)
        guard edit.isWhole, edit.removed.isEmpty else {
          throw .invalid(offset: 0, reason: "a checkpoint that is no whole state")
        }
        var state = ManifestState()
        try state.apply(edit)
        return .success(state)
      } catch { return .failure(error) }
    }
    state = try result.get()
  }
}

extension TableStore {
  /// Makes `checkpoint` the state. `path` gives the file of each of its tables, on the same file system.
  ///
  /// Waits for the compaction that runs. After an error nothing has changed.
  func replace(with checkpoint: TableCheckpoint, path: (TableMetadata) -> String) throws(StorageError) {
    try compaction.run { () throws(StorageError) in
      var state = checkpoint.state
      var numbers: [UInt64] = []
      do throws(StorageError) {
        for level in state.levels.indices {
          for index in state.levels[level].indices {
            let table = state.levels[level][index]
            let number = takeTableNumber()
            do throws(DiskError) {
              try disk.link(path(table), to: "\(tablesDirectory)/\(TableFormat.fileName(number))")
            } catch { throw .disk(error) }
            numbers.append(number)
            state.levels[level][index].number = number
            state.levels[level][index].originNumber = table.footerNumber == number ? 0 : table.footerNumber
          }
        }
        do throws(DiskError) { try disk.syncDirectory(tablesDirectory) } catch { throw .disk(error) }
      } catch {
        removeFiles(numbers)
        throw error
      }
      try installWhole(state, new: numbers)
    }
  }

  /// Reads every block of a file that is to become a table, and compares it with what the checkpoint says of it.
  package static func verifyCheckpointFile(
    _ path: String, _ metadata: TableMetadata, disk: any Disk,
    progress: @escaping (_ sizeBytes: UInt64) -> Void = { _ in }
  ) throws(StorageError) -> [Damage] {
    let cache = BlockCache(capacityBytes: 0)
    do throws(StorageError) {
      var verifier = TableVerifier(
        try Table(disk: disk, path: path, number: metadata.number, expected: metadata, cache: cache),
        progress: progress)
      return try verifier.run()
    } catch {
      guard let damage = Damage(error) else { throw error }
      return [damage]
    }
  }
}

extension PinnedTables {
  /// What is pinned, as it is sent to another node.
  package var checkpoint: TableCheckpoint { TableCheckpoint(state) }
}

extension Engine {
  package var disk: any Disk { store.disk }

  /// Where a table's file lies.
  package func path(of table: TableMetadata) -> String {
    "\(store.tablesDirectory)/\(TableFormat.fileName(table.number))"
  }

  /// Makes a checkpoint of another node's engine the state of this one, durably and visibly, in place of everything applied
  /// so far. On the thread that applies.
  ///
  /// The checkpoint must hold what was applied here, and more. Transactions with older snapshots read on where they have a
  /// cursor; otherwise they fail with `snapshotTooOld` where the checkpoint lacks what they show.
  package func install(
    _ checkpoint: TableCheckpoint, path: (TableMetadata) -> String
  ) throws(StorageError) {
    let flushed = checkpoint.state.flushed
    try flushing.withLock { (_) throws(StorageError) in
      let before = writer.withLock { $0.position }
      guard before.slot <= flushed.slot else {
        throw .stopped(
          reason: "the checkpoint reaches slot \(flushed.slot.rawValue), and the state slot \(before.slot.rawValue)")
      }
      try store.replace(with: checkpoint, path: path)
      writer.withLock { writer in
        writer.waiting = []
        writer.active = Memtable(sizeBytes: options.memtableSizeBytes, reserve: arenas)
        writer.position = (flushed.slot, flushed.version)
        writer.flushed = writer.position
        writer.flushFailure = nil
        // What stopped it (a damaged table) is gone.
        if writer.failure != .closed { writer.failure = nil }
        installState(&writer)
      }
      snapshots.restart(floor: checkpoint.state.garbageFloor, visible: flushed.version)
    }
    progress.increment()
    progress.wake()
  }

  /// Where the tables stand, with the chain that an installed checkpoint left (zero once something was flushed since).
  package var installedPosition: FlushedPosition { store.flushed }
}
