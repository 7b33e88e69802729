internal import Encoding
internal import Platform

/// What was read of one manifest.
struct ManifestContent {
  var number: UInt64
  var state: ManifestState
  /// Where the next record goes.
  var end: UInt64
  var nextSequence: UInt64
  var chain: UInt64
  /// The file ends in a record that was never acknowledged.
  var isTorn: Bool
}

/// Reads manifests (format and rules: `ManifestFormat.swift`).
struct ManifestReader {
  let disk: any Disk
  let directory: String

  var currentPath: String { "\(directory)/CURRENT" }

  /// The number of the manifest that counts, or nil where there is no `CURRENT`.
  func readCurrent() throws(StorageError) -> UInt64? {
    let bytes: [UInt8]
    do throws(DiskError) {
      guard try disk.status(currentPath) != nil else { return nil }
      let file = try disk.open(currentPath, .read)
      defer { file.close() }
      bytes = try file.readBytes(4096, at: 0)
    } catch { throw .disk(error) }
    let (number, newerFormat) = ManifestFormat.decodeCurrent(bytes)
    if let newerFormat {
      throw .unsupportedFormat(path: currentPath, found: newerFormat, supported: ManifestFormat.version)
    }
    guard let number else { throw damage(currentPath, 0, "CURRENT (it names no manifest)") }
    return number
  }

  /// Reads a manifest to its end. `visit` gets every edit with its offset.
  func read(_ number: UInt64, visit: (UInt64, ManifestEdit) -> Void = { _, _ in }) throws(StorageError)
    -> ManifestContent
  {
    let path = "\(directory)/\(ManifestFormat.fileName(number))"
    let bytes = try readFile(path)
    try checkHead(bytes, path: path, number: number)
    var content = ManifestContent(
      number: number, state: ManifestState(), end: UInt64(ManifestFormat.sectorSizeBytes), nextSequence: 1, chain: 0,
      isTorn: false)
    while Int(content.end) < bytes.count {
      guard let payload = payload(bytes, content) else {
        guard isTornTail(bytes, content) else {
          throw damage(path, content.end, "manifest record \(content.nextSequence)")
        }
        content.isTorn = true
        break
      }
      let edit: ManifestEdit
      do throws(DecodingError) {
        edit = try ManifestReader.decode(payload)
        try content.state.apply(edit)
      } catch { throw damage(path, content.end, "manifest record \(content.nextSequence) (\(error))") }
      visit(content.end, edit)
      content.chain = ManifestFormat.chain(payload, after: content.chain)
      content.end += UInt64(ManifestFormat.sectorCount(payload.count) * ManifestFormat.sectorSizeBytes)
      content.nextSequence += 1
    }
    guard content.nextSequence > 1 else {
      // The first record was synced before CURRENT named the file.
      throw damage(path, content.end, "manifest (its first record is missing)")
    }
    return content
  }

  private static func decode(_ payload: [UInt8]) throws(DecodingError) -> ManifestEdit {
    var result: Result<ManifestEdit, DecodingError> = .success(ManifestEdit())
    unsafe payload.withUnsafeBytes { bytes in
      result = Result { () throws(DecodingError) in unsafe try ManifestEdit.decode(bytes) }
    }
    return try result.get()
  }

  private func readFile(_ path: String) throws(StorageError) -> [UInt8] {
    do throws(DiskError) {
      let file = try disk.open(path, .read)
      defer { file.close() }
      let size = try file.sizeBytes()
      guard size <= ManifestFormat.maximumSizeBytes else {
        throw DiskError(.other, operation: "read \(size) bytes of", path: path)
      }
      return try file.readBytes(Int(size), at: 0)
    } catch {
      // CURRENT names it, so that its absence is damage.
      if error.kind == .notFound { throw damage(path, 0, "manifest (the file is missing)") }
      throw .disk(error)
    }
  }

  private func checkHead(_ bytes: [UInt8], path: String, number: UInt64) throws(StorageError) {
    let size = ManifestFormat.sectorSizeBytes
    guard bytes.count >= size else { throw damage(path, 0, "manifest head (the file is too short)") }
    func field<T: FixedWidthInteger>(_ place: Int) -> T {
      unsafe bytes.withUnsafeBytes { T(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: place, as: T.self)) }
    }
    let magic: UInt64 = field(0)
    guard magic == ManifestFormat.magic else { throw damage(path, 0, "manifest head (no manifest)") }
    let stored: UInt32 = field(size - 4)
    let actual = crc32c(Array(bytes[..<(size - 4)]))
    guard stored == actual else {
      throw damage(path, 0, "manifest head", expected: UInt64(stored), found: UInt64(actual))
    }
    let format: UInt32 = field(8)
    guard format == ManifestFormat.version else {
      throw .unsupportedFormat(path: path, found: format, supported: ManifestFormat.version)
    }
    let named: UInt64 = field(16)
    guard named == number else {
      throw damage(path, 0, "manifest head (another manifest's)", expected: number, found: named)
    }
  }

  /// The payload of the record at `content.end`, or nil where it is not whole.
  private func payload(_ bytes: [UInt8], _ content: ManifestContent) -> [UInt8]? {
    guard let first = ManifestSector(bytes, at: Int(content.end), manifest: content.number), first.index == 0,
      first.sequence == content.nextSequence
    else { return nil }
    let count = ManifestFormat.sectorCount(first.payloadSizeBytes)
    guard count <= (bytes.count - Int(content.end)) / ManifestFormat.sectorSizeBytes else { return nil }
    var payload: [UInt8] = []
    payload.reserveCapacity(first.payloadSizeBytes)
    for index in 0..<count {
      let offset = Int(content.end) + index * ManifestFormat.sectorSizeBytes
      guard let sector = ManifestSector(bytes, at: offset, manifest: content.number), sector.index == UInt32(index),
        sector.sequence == first.sequence, sector.chain == first.chain
      else { return nil }
      payload += sector.payload.prefix(first.payloadSizeBytes - payload.count)
    }
    return ManifestFormat.chain(payload, after: content.chain) == first.chain ? payload : nil
  }

  /// Whether what is left of the file is some sectors of the record that comes next, and nothing else.
  private func isTornTail(_ bytes: [UInt8], _ content: ManifestContent) -> Bool {
    guard bytes.count % ManifestFormat.sectorSizeBytes == 0 else { return false }
    var intact = 0
    var expected = Int.max
    for offset in stride(from: Int(content.end), to: bytes.count, by: ManifestFormat.sectorSizeBytes) {
      if bytes[offset..<(offset + ManifestFormat.sectorSizeBytes)].allSatisfy({ $0 == 0 }) { continue }
      let place = (offset - Int(content.end)) / ManifestFormat.sectorSizeBytes
      guard let sector = ManifestSector(bytes, at: offset, manifest: content.number),
        sector.sequence == content.nextSequence, sector.index == UInt32(place)
      else { return false }
      intact += 1
      expected = ManifestFormat.sectorCount(sector.payloadSizeBytes)
    }
    return intact < expected
  }

  func damage(
    _ path: String, _ offset: UInt64, _ what: String, expected: UInt64 = 0, found: UInt64 = 0
  ) -> StorageError {
    .corruption(.init(path: path, offset: offset, what: what, expected: expected, found: found))
  }
}
