package import Platform

/// Tables that stay where they are for as long as this is held, with the manifest's state that names them.
package struct PinnedTables: Sendable {
  package let state: ManifestState
  /// Keeps the files.
  private let set: TableSet

  init(state: ManifestState, set: TableSet) {
    self.state = state
    self.set = set
  }
}

extension TableStore {
  /// Writes a manifest that holds `state`, and CURRENT, into a directory that has none: what a copy of the tables needs to
  /// be a store. Durable when it returns.
  package static func writeManifest(
    _ state: ManifestState, in directory: String, disk: any Disk
  ) throws(StorageError) {
    var manifest = Manifest(disk: disk, directory: directory, after: 0, rotationSizeBytes: .max)
    try manifest.append(state.edit)
  }
}

extension Engine {
  /// The tables as they are now, kept until the result goes.
  package func pinTables() -> PinnedTables { store.pin() }
}
