internal import Encoding
internal import Platform

/// Reads every byte of a table, past the cache, and checks everything that the format promises.
struct TableVerifier {
  let table: Table
  private(set) var damage: [Damage] = []
  /// Every block that was reached.
  private var blocks: [BlockHandle] = []
  private var lastKey: [UInt8] = []
  private var lastVersion: UInt64 = 0
  private var entryCount: UInt64 = 0
  private let progress: (UInt64) -> Void

  /// - Parameter progress: gets the bytes of each block that was read.
  init(_ table: Table, progress: @escaping (UInt64) -> Void = { _ in }) {
    self.table = table
    self.progress = progress
  }

  /// Returns what is wrong; throws only where the disk refuses to read.
  mutating func run() throws(StorageError) -> [Damage] {
    try checkFooter()
    let footer = table.footer
    for (handle, what) in [
      (footer.root, "root block"), (footer.properties, "properties"), (footer.rangeTombstones, "range tombstone block"),
    ] where !handle.isNone {
      if let block = unsafe try read(handle, what) { unsafe block.release() }
    }
    let root = unsafe table.root
    for index in 0..<(unsafe root.restartCount) {
      do throws(StorageError) {
        let entry = unsafe root.entry(at: root.restartOffset(index))
        try checkLeaf(unsafe try table.child(root, entry, ofRoot: true))
      } catch { try note(error) }
    }
    guard damage.isEmpty else { return damage }
    checkTotals()
    return damage
  }

  private mutating func checkFooter() throws(StorageError) {
    do throws(DiskError) {
      let start = table.fileSizeBytes - UInt64(TableFormat.footerSizeBytes)
      let bytes = try table.file.readBytes(TableFormat.footerSizeBytes, at: start)
      progress(UInt64(bytes.count))
      if bytes != table.footer.encode() { add(start, "the footer is not what it was when the table was opened") }
      if try table.file.sizeBytes() != table.fileSizeBytes { add(nil, "the file's size has changed") }
    } catch { throw .disk(error) }
  }

  private mutating func checkLeaf(_ child: Table.Child) throws(StorageError) {
    let filter = unsafe try read(child.filter, "filter block")
    defer { if let filter = unsafe filter { unsafe filter.release() } }
    guard let leaf = unsafe try read(child.handle, "index leaf") else { return }
    defer { unsafe leaf.release() }
    guard let view = unsafe BlockView(leaf.bytes, count: leaf.pointee.sizeBytes) else {
      return add(child.handle.offset, "index leaf: its arrays do not fit")
    }
    for index in 0..<(unsafe view.restartCount) {
      let entry = unsafe view.entry(at: view.restartOffset(index))
      let data: Table.Child
      do throws(StorageError) { data = unsafe try table.child(view, entry, ofRoot: false) } catch {
        try note(error)
        continue
      }
      if data.minimumVersion < child.minimumVersion || data.maximumVersion > child.maximumVersion {
        add(data.handle.offset, "data block: its versions lie outside those of its index leaf")
      }
      guard let block = unsafe try read(data.handle, "data block") else { continue }
      defer { unsafe block.release() }
      let separator = unsafe (
        key: UnsafeRawBufferPointer(start: view.base + entry.keyOffset, count: entry.unshared), version: entry.version
      )
      unsafe check(block, data, separator, filter)
    }
  }

  /// Order, bounds, versions, separator and filter for every entry of a data block.
  private mutating func check(
    _ block: UnsafeMutablePointer<CachedBlock>, _ child: Table.Child,
    _ separator: (key: UnsafeRawBufferPointer, version: UInt64), _ filter: UnsafeMutablePointer<CachedBlock>?
  ) {
    guard let view = unsafe BlockView(block.bytes, count: block.pointee.sizeBytes) else {
      return add(child.handle.offset, "data block: its arrays do not fit")
    }
    var key: [UInt8] = []
    var offset = 0
    while unsafe offset < view.entriesEnd {
      let entry = unsafe view.entry(at: offset)
      guard entry.next > offset, entry.shared <= key.count else {
        return add(child.handle.offset, "data block: an entry makes no sense")
      }
      key.removeLast(key.count - entry.shared)
      unsafe key.append(
        contentsOf: UnsafeRawBufferPointer(start: view.base + entry.keyOffset, count: entry.unshared))
      let order = entryCount == 0 ? -1 : compareKeyArrays(lastKey, key)
      if order > 0 || (order == 0 && lastVersion <= entry.version) {
        return add(child.handle.offset, "data block: entries out of order")
      }
      if entry.version < child.minimumVersion || entry.version > child.maximumVersion {
        return add(child.handle.offset, "data block: a version lies outside those of its index entry")
      }
      let toEnd = unsafe key.withUnsafeBytes { unsafe compareKeys($0, separator.key) }
      if unsafe toEnd > 0 || (toEnd == 0 && entry.version < separator.version) {
        return add(child.handle.offset, "data block: an entry lies beyond its separator")
      }
      if let filter = unsafe filter,
        unsafe BloomFilter.mayContain(xxh3(key), filter.bytes, count: filter.pointee.sizeBytes) != true
      {
        return add(child.handle.offset, "data block: a key is missing in the filter")
      }
      lastKey = key
      lastVersion = entry.version
      entryCount += 1
      offset = entry.next
    }
  }

  private mutating func checkTotals() {
    blocks.sort { $0.offset < $1.offset }
    var end: UInt64 = 0
    var hashes = ByteWriter()
    for block in blocks {
      if block.offset != end { return add(end, "bytes that belong to no block, or to two") }
      end = block.end
      hashes.append(integer: block.hash)
    }
    if end != table.reader.dataEnd { return add(end, "bytes that belong to no block") }
    if xxh3(hashes.bytes) != table.footer.fileHash { add(nil, "the file's hash is not that of its blocks") }
    if entryCount != table.metadata.entryCount {
      add(nil, "\(entryCount) entries, and the properties say \(table.metadata.entryCount)")
    }
  }

  /// The block, or nil where it is damaged.
  private mutating func read(_ handle: BlockHandle, _ what: String) throws(StorageError) -> UnsafeMutablePointer<
    CachedBlock
  >? {
    blocks.append(handle)
    do throws(StorageError) {
      let block = unsafe try table.reader.read(handle, what)
      progress(UInt64(handle.sizeBytes))
      return unsafe block
    } catch {
      try note(error)
      return nil
    }
  }

  /// Damage is noted, anything else thrown.
  private mutating func note(_ error: StorageError) throws(StorageError) {
    guard let found = Damage(error) else { throw error }
    damage.append(found)
  }

  private mutating func add(_ offset: UInt64?, _ message: String) {
    damage.append(Damage(path: table.path, offset: offset, message: message))
  }
}

extension Damage {
  /// What a failed read says about a file; nil where it says nothing about its bytes.
  init?(_ error: StorageError) {
    switch error {
    case .corruption(let found):
      let hashes =
        found.expected == found.found
        ? "" : ": \(hexadecimal(found.expected)) was expected, \(hexadecimal(found.found)) was found"
      self.init(path: found.path, offset: found.offset, message: found.what + hashes)
    case .unsupportedFormat(let path, let found, let supported):
      self.init(path: path, offset: nil, message: "format \(found), and this release reads up to \(supported)")
    case .disk(let cause) where cause.kind == .io:
      self.init(path: cause.path, offset: nil, message: "\(cause)")
    default: return nil
    }
  }
}
