internal import Encoding
internal import Platform

/// The manifest that is being appended to, and its replacement when it cannot be (format: `ManifestFormat.swift`).
///
/// One thread at a time. After an error it is not known whether the edit is durable: whoever called keeps both the files
/// that it adds and those that it removes. The next `append` then begins a new file, and with that the doubt ends.
struct Manifest {
  private let disk: any Disk
  private let directory: String
  private let rotationSizeBytes: UInt64
  private(set) var number: UInt64
  private var file: (any DiskFile)?
  private var end: UInt64
  private var nextSequence: UInt64
  private var chain: UInt64
  /// The file must not be appended to: its tail is torn or in doubt, or there is none yet.
  private(set) var mustRotate: Bool
  /// Where the size stood after the first record: rotation pays when the edits outweigh the state.
  private var wholeSizeBytes: UInt64
  private(set) var state: ManifestState

  /// Before the first manifest; the first `append` makes it.
  init(disk: any Disk, directory: String, after lastNumber: UInt64, rotationSizeBytes: UInt64) {
    self.disk = disk
    self.directory = directory
    self.rotationSizeBytes = rotationSizeBytes
    number = lastNumber
    end = 0
    nextSequence = 1
    chain = 0
    mustRotate = true
    wholeSizeBytes = 0
    state = ManifestState()
  }

  /// Goes on from `content`, in a new file. `lastNumber`: no manifest in the directory has a larger one.
  ///
  /// What was read may be in the page cache alone: a process that was killed, or whose sync failed, leaves records that a
  /// power cut takes back. Only what is written and synced anew can be relied on.
  init(
    disk: any Disk, directory: String, content: ManifestContent, lastNumber: UInt64, rotationSizeBytes: UInt64
  ) {
    self.init(disk: disk, directory: directory, after: lastNumber, rotationSizeBytes: rotationSizeBytes)
    state = content.state
  }

  /// Makes `edit` durable and part of `state`. With `state` unchanged after an error.
  mutating func append(_ edit: ManifestEdit) throws(StorageError) {
    var next = state
    do throws(DecodingError) { try next.apply(edit) } catch {
      preconditionFailure("an edit that does not apply: \(error)")
    }
    if mustRotate || end >= max(rotationSizeBytes, 4 * wholeSizeBytes) {
      try rotate(to: next)
    } else {
      do throws(DiskError) { try write(edit) } catch {
        mustRotate = true
        close()
        throw .disk(error)
      }
    }
    state = next
  }

  /// Begins a new file, whatever is wrong with the old one.
  mutating func renew() throws(StorageError) {
    mustRotate = true
    try append(ManifestEdit())
  }

  private mutating func write(_ edit: ManifestEdit) throws(DiskError) {
    let file: any DiskFile
    if let open = self.file {
      file = open
    } else {
      file = try disk.open("\(directory)/\(ManifestFormat.fileName(number))", .readWrite)
      self.file = file
    }
    let payload = edit.encode()
    let link = ManifestFormat.chain(payload, after: chain)
    let bytes = ManifestFormat.encodeRecord(payload, sequence: nextSequence, manifest: number, chain: link)
    try file.write(bytes, at: end)
    try file.sync()
    end += UInt64(bytes.count)
    nextSequence += 1
    chain = link
  }

  /// Begins a new file with the whole of `next`, and makes it the one that counts.
  private mutating func rotate(to next: ManifestState) throws(StorageError) {
    mustRotate = true
    close()
    let old = number
    // A number is never tried twice: what a failed attempt left may be on the disk.
    number += 1
    do throws(DiskError) {
      let file = try disk.open("\(directory)/\(ManifestFormat.fileName(number))", .create)
      self.file = file
      try file.write(ManifestFormat.encodeHead(number: number), at: 0)
      end = UInt64(ManifestFormat.sectorSizeBytes)
      nextSequence = 1
      chain = 0
      try write(next.edit)
      try disk.syncDirectory(directory)
      try replaceCurrent()
    } catch {
      close()
      throw .disk(error)
    }
    wholeSizeBytes = end
    mustRotate = false
    // What does not count any more; a failure leaves files that the next open removes.
    for stale in removable(upTo: old) { try? disk.remove("\(directory)/\(stale)") }
  }

  private func removable(upTo old: UInt64) -> [String] {
    ((try? disk.list(directory)) ?? []).filter { name in
      ManifestFormat.number(ofFileName: name).map { $0 <= old } ?? false
    }
  }

  private func replaceCurrent() throws(DiskError) {
    let draft = "\(directory)/CURRENT.new"
    if try disk.status(draft) != nil { try disk.remove(draft) }
    let file = try disk.open(draft, .create)
    defer { file.close() }
    try file.write(ManifestFormat.encodeCurrent(number), at: 0)
    try file.sync()
    try disk.rename(draft, to: "\(directory)/CURRENT")
    try disk.syncDirectory(directory)
  }

  mutating func close() {
    file?.close()
    file = nil
  }
}
