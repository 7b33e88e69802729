internal import Encoding
internal import Platform
internal import Replication
internal import Storage
internal import Synchronization
internal import Transactions

// The engine's tables as the checkpoint that nodes send each other: details are the manifest's whole state, files the
// tables, named by what is in them.

/// Tables that are kept while a peer takes them.
final class PinnedCheckpoint: PinnedState {
  let position: (slot: Slot, version: Version)
  let details: [UInt8]
  let files: [CheckpointFile]
  private let paths: [String]
  /// Keeps the files.
  private let pinned: PinnedTables

  init(_ engine: Engine) {
    let pinned = engine.pinTables()
    let checkpoint = pinned.checkpoint
    self.pinned = pinned
    position = (checkpoint.state.flushed.slot, checkpoint.state.flushed.version)
    details = checkpoint.encode()
    files = checkpoint.tables.map(\.checkpointFile)
    paths = checkpoint.tables.map { engine.path(of: $0) }
  }

  func path(_ index: Int) -> String { paths[index] }
}

extension TableMetadata {
  fileprivate var checkpointFile: CheckpointFile {
    let hash = String(fileHash, radix: 16)
    let origin = originNumber == 0 ? number : originNumber
    return CheckpointFile(name: "\(hash)-\(origin)-\(sizeBytes)", sizeBytes: sizeBytes)
  }
}

extension Bridge {
  private func withEngine<R>(_ body: (Engine, TransactionManager) throws -> R) throws(DeliveryError) -> R {
    guard let manager, let engine else { throw .failed("the database is closed") }
    do { return try body(engine, manager) } catch let error as DeliveryError { throw error } catch {
      if case StorageError.full? = error as? StorageError { throw .later }
      throw .failed("\(error)")
    }
  }

  func pinCheckpoint() throws(DeliveryError) -> any PinnedState {
    try withEngine { engine, _ in
      try engine.flush()
      return PinnedCheckpoint(engine)
    }
  }

  func checkpointFiles(_ details: [UInt8]) throws(DeliveryError) -> [CheckpointFile] {
    try decode(details).tables.map(\.checkpointFile)
  }

  private func decode(_ details: [UInt8]) throws(DeliveryError) -> TableCheckpoint {
    do throws(DecodingError) { return try TableCheckpoint(decoding: details) } catch { throw .failed("\(error)") }
  }

  func isSound(_ index: Int, of details: [UInt8], at path: String) -> Bool {
    guard let checkpoint = try? decode(details), checkpoint.tables.indices.contains(index), let disk = engine?.disk
    else { return false }
    let damage = try? TableStore.verifyCheckpointFile(path, checkpoint.tables[index], disk: disk)
    return damage?.isEmpty ?? false
  }

  func hold(_ part: DigestPart) -> (any HeldState)? { engine.map { HeldSnapshot($0, part) } }

  func localPath(of file: CheckpointFile) -> String? {
    guard let engine else { return nil }
    let own = engine.pinTables().checkpoint.tables.first { $0.checkpointFile == file }
    return own.map { engine.path(of: $0) }
  }

  func install(
    _ details: [UInt8], slot: Slot, version: Version, chain: Hash128, directory: String
  ) throws(DeliveryError) {
    var checkpoint = try decode(details)
    guard checkpoint.state.flushed.slot == slot, checkpoint.state.flushed.version == version else {
      throw .failed("the tables reach slot \(checkpoint.state.flushed.slot.rawValue) instead of \(slot.rawValue)")
    }
    checkpoint.state.flushed.chain = chain
    try withEngine { engine, manager in
      try engine.install(checkpoint) { "\(directory)/\($0.checkpointFile.name)" }
      manager.installed(through: version)
    }
    stateReplaced()
  }
}
