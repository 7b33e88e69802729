package import Encoding
internal import Glibc
package import Platform
internal import Synchronization

/// What a search for one key came to.
@unsafe
package struct TableLookup {
  package enum Outcome: Sendable { case absent, put, delete }
  package var outcome: Outcome
  package var version: Version
  /// The value of a put; valid as long as the pin keeps it.
  package var value: UnsafeRawBufferPointer

  static func deleted(_ version: Version) -> TableLookup {
    unsafe TableLookup(outcome: .delete, version: version, value: .init(start: nil, count: 0))
  }

  static var absent: TableLookup {
    unsafe TableLookup(outcome: .absent, version: .zero, value: .init(start: nil, count: 0))
  }
}

/// An open table, read by any number of threads.
///
/// The root block and the range deletions stay in memory, charged to the cache's budget; everything else goes through the
/// cache. The file is removed with the last reference once `markObsolete` was called: cursors and pinned sets keep it.
///
/// `@unchecked Sendable`: everything is written by the initialiser and only read from then on, save for one atomic.
@safe
package final class Table: @unchecked Sendable {
  package let metadata: TableMetadata
  package let rangeDeletions: RangeDeletions
  let hasRangeDeletions: Bool
  package let path: String
  let number: UInt64
  let file: any DiskFile
  let fileSizeBytes: UInt64
  let cache: BlockCache
  private let index: BlockIndex
  private let gate: ReadGate
  private let disk: any Disk
  private let rootBlock: UnsafeMutablePointer<CachedBlock>
  let root: BlockView
  let footer: TableFooter
  private let reservedSizeBytes: Int
  private let isObsolete = Atomic<Bool>(false)

  /// Opens the file and reads footer, properties, root and range deletions, and nothing else.
  ///
  /// - Parameter expected: what the manifest says of it; a file that is another table is refused.
  package init(
    disk: any Disk, path: String, number: UInt64, expected: TableMetadata?, cache: BlockCache
  ) throws(StorageError) {
    self.disk = disk
    self.path = path
    self.number = number
    self.cache = cache
    unsafe index = unsafe cache.index
    unsafe gate = unsafe cache.epochs.gate
    do throws(DiskError) {
      file = try disk.open(path, .read)
      fileSizeBytes = try file.sizeBytes()
    } catch { throw .disk(error) }
    footer = try Self.readFooter(file, sizeBytes: fileSizeBytes, expected: expected)
    let reader = BlockReader(file: file, dataEnd: fileSizeBytes - UInt64(TableFormat.footerSizeBytes), table: number)
    var found = try Self.readProperties(reader, footer.properties)
    found.fileHash = footer.fileHash
    found.sizeBytes = fileSizeBytes
    found.number = number
    found.originNumber = footer.tableNumber == number ? 0 : footer.tableNumber
    if let expected { found.sequence = expected.sequence }
    guard expected == nil || expected == found else {
      throw reader.damage(footer.properties.offset, "properties (they are not what the manifest says)")
    }
    metadata = found
    rangeDeletions = try Self.readRangeDeletions(reader, footer.rangeTombstones)
    hasRangeDeletions = !rangeDeletions.isEmpty
    unsafe rootBlock = unsafe try reader.read(footer.root, "root block")
    guard let view = unsafe BlockView(rootBlock.bytes, count: rootBlock.pointee.sizeBytes) else {
      unsafe rootBlock.release()
      throw reader.damage(footer.root.offset, "root block (its arrays do not fit)")
    }
    unsafe root = unsafe view
    reservedSizeBytes = unsafe rootBlock.pointee.sizeBytes + Int(footer.rangeTombstones.sizeBytes)
    cache.reserve(reservedSizeBytes)
  }

  deinit {
    unsafe rootBlock.release()
    cache.reserve(-reservedSizeBytes)
    file.close()
    if isObsolete.load(ordering: .acquiring) { try? disk.remove(path) }
  }

  /// The file goes when nobody uses the table any more. Only after the manifest edit that drops it is durable.
  func markObsolete() { isObsolete.store(true, ordering: .releasing) }

  var reader: BlockReader {
    BlockReader(file: file, dataEnd: fileSizeBytes - UInt64(TableFormat.footerSizeBytes), table: number)
  }

  // MARK: Opening

  private static func readFooter(
    _ file: any DiskFile, sizeBytes: UInt64, expected: TableMetadata?
  ) throws(StorageError) -> TableFooter {
    func damage(_ what: String, expected: UInt64 = 0, found: UInt64 = 0) -> StorageError {
      let offset = sizeBytes - min(sizeBytes, UInt64(TableFormat.footerSizeBytes))
      return .corruption(.init(path: file.path, offset: offset, what: what, expected: expected, found: found))
    }
    if let expected, expected.sizeBytes != sizeBytes {
      throw damage("table (its size is not what the manifest says)", expected: expected.sizeBytes, found: sizeBytes)
    }
    guard sizeBytes >= UInt64(TableFormat.footerSizeBytes) else { throw damage("footer (the file is too short)") }
    let bytes: [UInt8]
    do throws(DiskError) {
      bytes = try file.readBytes(TableFormat.footerSizeBytes, at: sizeBytes - UInt64(TableFormat.footerSizeBytes))
    } catch { throw .disk(error) }
    let footer: TableFooter
    do throws(TableFooter.Refusal) { footer = try TableFooter.decode(bytes) } catch {
      switch error {
      case .newerFormat(let format):
        throw .unsupportedFormat(path: file.path, found: format, supported: TableFormat.version)
      case .damaged(let reason): throw damage("footer (\(reason))")
      }
    }
    guard footer.fileSizeBytes == sizeBytes else {
      throw damage("footer (it belongs to a file of another size)", expected: footer.fileSizeBytes, found: sizeBytes)
    }
    // Without a manifest nobody knows whether the table came from another node.
    if let expected, footer.tableNumber != expected.footerNumber {
      throw damage(
        "footer (it belongs to table \(footer.tableNumber))", expected: expected.footerNumber, found: footer.tableNumber
      )
    }
    if let expected, expected.fileHash != footer.fileHash {
      throw damage("table (it is not the one in the manifest)", expected: expected.fileHash, found: footer.fileHash)
    }
    return footer
  }

  private static func readProperties(_ reader: BlockReader, _ handle: BlockHandle) throws(StorageError) -> TableMetadata
  {
    let block = unsafe try reader.read(handle, "properties")
    defer { unsafe block.release() }
    do throws(DecodingError) {
      return unsafe try TableMetadata.decode(UnsafeRawBufferPointer(start: block.bytes, count: block.pointee.sizeBytes))
    } catch { throw reader.damage(handle.offset, "properties (\(error))") }
  }

  private static func readRangeDeletions(
    _ reader: BlockReader, _ handle: BlockHandle
  ) throws(StorageError) -> RangeDeletions {
    if handle.isNone { return .empty }
    let block = unsafe try reader.read(handle, "range tombstone block")
    defer { unsafe block.release() }
    do throws(DecodingError) {
      let bytes = unsafe UnsafeRawBufferPointer(start: block.bytes, count: block.pointee.sizeBytes)
      return RangeDeletions(fragments: unsafe try RangeDeletionBlock.decode(bytes))
    } catch { throw reader.damage(handle.offset, "range tombstone block (\(error))") }
  }

  // MARK: Searching

  /// The newest entry of `key` at or below `version`, range deletions left aside. Blocks without a version after `floor`
  /// are not looked at: an entry at or below it may be missed.
  ///
  /// The filter decides before a leaf is read: a key that is not here costs no reading besides the filter's.
  ///
  /// The caller stands in a section of the cache's epochs. The value is kept by `pin`.
  ///
  /// - Parameter isExpected: the key is probably here, and its leaf is looked up while the filter's line comes from memory;
  ///   else no line of the leaf is touched for nothing.
  @inline(__always)
  func find(
    _ key: UnsafeRawBufferPointer, hash: UInt64, _ version: Version, floor: UInt64, isExpected: Bool,
    _ pin: inout BlockPin
  ) throws(StorageError) -> TableLookup {
    guard let rootEntry = unsafe root.seekIndex(key, version.rawValue) else { return unsafe .absent }
    let leafChild = unsafe try child(root, rootEntry, ofRoot: true)
    if leafChild.minimumVersion > version.rawValue || leafChild.maximumVersion <= floor { return unsafe .absent }
    let filter = unsafe try cached(leafChild.filter, .filter)
    var leafBlock: UnsafeMutablePointer<CachedBlock>?
    if isExpected {
      unsafe BloomFilter.prefetch(hash, filter.bytes, count: filter.pointee.sizeBytes)
      unsafe leafBlock = unsafe index.find(number, leafChild.handle.offset)
    }
    guard let mayContain = unsafe BloomFilter.mayContain(hash, filter.bytes, count: filter.pointee.sizeBytes) else {
      throw reader.damage(leafChild.filter.offset, "filter block (its size is wrong)")
    }
    guard mayContain else { return unsafe .absent }
    if unsafe leafBlock == nil { unsafe leafBlock = unsafe try cached(leafChild.handle, .leaf) }
    let leaf = unsafe try view(leafBlock.unsafelyUnwrapped, leafChild.handle, .leaf)
    guard let leafEntry = unsafe leaf.seekIndex(key, version.rawValue) else { return unsafe .absent }
    let dataChild = unsafe try child(leaf, leafEntry, ofRoot: false)
    if dataChild.minimumVersion > version.rawValue || dataChild.maximumVersion <= floor { return unsafe .absent }
    let block = unsafe try cached(dataChild.handle, .data)
    let data = unsafe try view(block, dataChild.handle, .data)
    let found = unsafe data.find(key, version.rawValue)
    switch found.outcome {
    case .absent: return unsafe .absent
    case .damaged: throw reader.damage(dataChild.handle.offset, "data block (its entries make no sense)")
    case .found:
      if unsafe pin.block != block {
        unsafe block.retain()
        unsafe pin.adopt(block)
      }
      return unsafe TableLookup(
        outcome: found.isDelete ? .delete : .put, version: Version(found.version),
        value: UnsafeRawBufferPointer(start: data.base + found.valueOffset, count: found.valueLength))
    }
  }

  /// What an index entry says.
  struct Child {
    var handle: BlockHandle
    var minimumVersion: UInt64
    var maximumVersion: UInt64
    /// Of a leaf: its filter.
    var filter: BlockHandle
  }

  /// Reads an index entry's value.
  @inline(__always)
  func child(_ index: BlockView, _ entry: BlockEntry, ofRoot isRoot: Bool) throws(StorageError) -> Child {
    let size = 2 * 8 + TableFormat.handleSizeBytes * (isRoot ? 2 : 1)
    guard entry.next >= 0, entry.valueLength == size else {
      throw reader.damage(
        isRoot ? footer.root.offset : 0,
        isRoot ? "root block (an entry makes no sense)" : "index leaf (an entry makes no sense)")
    }
    let value = unsafe index.base + entry.valueOffset
    return unsafe Child(
      handle: Self.handle(value), minimumVersion: UInt64(littleEndian: (value + 20).loadUnaligned(as: UInt64.self)),
      maximumVersion: UInt64(littleEndian: (value + 28).loadUnaligned(as: UInt64.self)),
      filter: isRoot ? Self.handle(value + 36) : .none)
  }

  @inline(__always)
  private static func handle(_ bytes: UnsafeRawPointer) -> BlockHandle {
    unsafe BlockHandle(
      offset: UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self)),
      sizeBytes: UInt32(littleEndian: (bytes + 8).loadUnaligned(as: UInt32.self)),
      hash: UInt64(littleEndian: (bytes + 12).loadUnaligned(as: UInt64.self)))
  }

  /// The block, from the cache or the disk; valid until the caller's section ends.
  @inline(__always)
  func cached(_ handle: BlockHandle, _ kind: BlockKind) throws(StorageError) -> UnsafeMutablePointer<CachedBlock> {
    if let block = unsafe index.find(number, handle.offset) { return unsafe block }
    return unsafe try load(handle, kind)
  }

  @inline(never)
  private func load(_ handle: BlockHandle, _ kind: BlockKind) throws(StorageError) -> UnsafeMutablePointer<CachedBlock>
  {
    let block = unsafe try reader.read(handle, kind.name)
    if unsafe cache.insert(block) {
      // The cache's reference keeps it: should another thread evict it now, then not before this thread's section has ended.
      unsafe block.release()
    } else {
      var alone = unsafe BlockChain()
      unsafe alone.append(block)
      unsafe cache.epochs.retire(alone)
    }
    return unsafe block
  }

  /// The view of a block that `cached` gave; valid as long.
  @inline(__always)
  private func view(
    _ block: UnsafeMutablePointer<CachedBlock>, _ handle: BlockHandle, _ kind: BlockKind
  ) throws(StorageError) -> BlockView {
    guard let view = unsafe BlockView(block.bytes, count: block.pointee.sizeBytes) else {
      throw reader.damage(handle.offset, "\(kind.name) (its arrays do not fit)")
    }
    return unsafe view
  }

  /// The block with a reference of the caller's own. `fillsCache`: keep it for others (compactions do not).
  func pinned(_ handle: BlockHandle, _ kind: BlockKind, fillsCache: Bool) throws(StorageError) -> BlockPin {
    let token = unsafe gate.enter()
    if let block = unsafe index.find(number, handle.offset) {
      unsafe block.retain()
      unsafe gate.leave(token)
      return unsafe BlockPin(owning: block)
    }
    unsafe gate.leave(token)
    let block = unsafe try reader.read(handle, kind.name)
    if fillsCache { unsafe cache.insert(block) }
    return unsafe BlockPin(owning: block)
  }
}

/// For messages.
enum BlockKind {
  case data, leaf, filter

  var name: String {
    switch self {
    case .data: "data block"
    case .leaf: "index leaf"
    case .filter: "filter block"
    }
  }
}
