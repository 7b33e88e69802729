internal import Encoding
internal import Platform

extension TableStore {
  /// Reads every byte of CURRENT, the manifest and every table of the current set, past the cache.
  ///
  /// Runs beside readers and writers. A damaged table does not end it.
  /// - Parameter progress: bytes read so far, and bytes in all.
  package func verify(_ progress: (UInt64, UInt64) -> Void = { _, _ in }) throws(StorageError) -> [Damage] {
    var damage: [Damage] = []
    do throws(StorageError) { try verifyManifest() } catch {
      guard let found = Damage(error) else { throw error }
      damage.append(found)
    }
    let set = current
    let total = set.levels.joined().reduce(0) { $0 + $1.metadata.sizeBytes }
    var done: UInt64 = 0
    for table in set.levels.joined() {
      var verifier = TableVerifier(table)
      damage += try verifier.run()
      done += table.metadata.sizeBytes
      progress(done, total)
    }
    return damage
  }

  /// Reads CURRENT and the manifest, and writes them anew where they do not say what this store believes: all of it is in
  /// memory.
  ///
  /// - Returns: what was wrong; nil if nothing was.
  package func mendManifest() throws(StorageError) -> Damage? {
    do throws(StorageError) {
      try verifyManifest()
      return nil
    } catch {
      guard let found = Damage(error) else { throw error }
      try renewManifest()
      return found
    }
  }

  /// CURRENT and the manifest say what this store believes. (An edit may come while the file is read: read again.)
  private func verifyManifest() throws(StorageError) {
    let reader = ManifestReader(disk: disk, directory: directory)
    for attempt in 0... {
      let before = manifestState
      guard let number = try reader.readCurrent() else {
        throw reader.damage(reader.currentPath, 0, "CURRENT (the file is missing)")
      }
      do throws(StorageError) {
        let content = try reader.read(number)
        if content.state == before || isManifestInDoubt || attempt > 2 && before != manifestState { return }
        if before == manifestState {
          throw reader.damage(
            "\(directory)/\(ManifestFormat.fileName(number))", content.end,
            "manifest (it does not say what was written to it)")
        }
      } catch {
        if before == manifestState { throw error }
      }
    }
  }
}
