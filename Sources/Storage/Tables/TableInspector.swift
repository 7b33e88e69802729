package import Encoding
package import Platform

/// Looks into a table file without a store: for people.
package struct TableInspector {
  private let table: Table

  /// Opens the table at `path`; its name gives its number.
  package init(_ path: String, disk: any Disk) throws(StorageError) {
    let name = path.split(separator: "/").last.map(String.init) ?? path
    guard let number = TableFormat.number(ofFileName: name) else {
      throw .disk(DiskError(.other, operation: "find a table's number in the name of", path: path))
    }
    table = try Table(disk: disk, path: path, number: number, expected: nil, cache: BlockCache(capacityBytes: 0))
  }

  package var metadata: TableMetadata { table.metadata }
  package var rangeDeletions: RangeDeletions { table.rangeDeletions }

  /// Everything about the table but its entries, a line for each fact.
  package func describe() throws(StorageError) -> String {
    let metadata = table.metadata
    let raw = metadata.keySizeBytes + metadata.valueSizeBytes
    var lines = [
      "table \(metadata.number), format \(TableFormat.version), \(metadata.sizeBytes) bytes, file hash \(hexadecimal(metadata.fileHash))",
      "entries \(metadata.entryCount), of which deletions \(metadata.deleteCount); range deletions \(metadata.rangeDeletionCount)",
      "keys \(metadata.keySizeBytes) bytes, values \(metadata.valueSizeBytes) bytes, together \(percent(metadata.sizeBytes, of: raw)) of that on disk",
      "versions \(metadata.minimumVersion.rawValue) ... \(metadata.maximumVersion.rawValue)",
      "keys \(describeKey(metadata.lower)) \(metadata.upperIsExclusive ? "..<" : "...") \(describeKey(metadata.upper))",
      "garbage \(metadata.garbageCount), once the horizon is at \(metadata.garbageVersion.rawValue)",
    ]
    let root = unsafe table.root
    for index in 0..<(unsafe root.restartCount) {
      let entry = unsafe root.entry(at: root.restartOffset(index))
      let child = unsafe try table.child(root, entry, ofRoot: true)
      let separator = unsafe Array(UnsafeRawBufferPointer(start: root.base + entry.keyOffset, count: entry.unshared))
      lines.append(
        "leaf \(index): \(child.handle.sizeBytes) bytes at \(child.handle.offset), filter \(child.filter.sizeBytes) bytes at \(child.filter.offset), versions \(child.minimumVersion) ... \(child.maximumVersion), up to \(describeKey(separator))"
      )
    }
    for index in 0..<table.rangeDeletions.count {
      let fragment = unsafe table.rangeDeletions[index]
      let versions = unsafe fragment.versions.map { "\($0.rawValue)" }.joined(separator: " ")
      unsafe lines.append(
        "deletes \(describeKey(Array(fragment.start))) ..< \(describeKey(Array(fragment.end))) at \(versions)")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// Calls `body` for each entry in order until it returns false.
  package func forEachEntry(
    _ body: (UnsafeRawBufferPointer, Version, EntryKind, UnsafeRawBufferPointer) -> Bool
  ) throws(StorageError) {
    let cursor = TableCursor(table, fillsCache: false)
    try cursor.seekToFirst()
    while unsafe cursor.isValid {
      guard unsafe body(cursor.key, cursor.version, cursor.kind, cursor.value) else { return }
      try cursor.next()
    }
  }

  /// Reads every byte and says what is wrong.
  package func verify() throws(StorageError) -> [Damage] {
    var verifier = TableVerifier(table)
    return try verifier.run()
  }

  private func percent(_ part: UInt64, of whole: UInt64) -> String {
    whole == 0 ? "–" : "\(part.multipliedReportingOverflow(by: 100).partialValue / whole) %"
  }
}

/// A key for people: text where it is plain, else hexadecimal; long ones cut.
func describeKey(_ key: [UInt8]) -> String {
  let head = key.prefix(48)
  let rest = key.count > head.count ? "… (\(key.count) bytes)" : ""
  if !head.isEmpty, head.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 }) {
    return "\"" + head.map { String(UnicodeScalar($0)) }.joined() + "\"" + rest
  }
  return "x'" + head.map { String(hexadecimal($0).dropFirst(2)) }.joined() + "'" + rest
}
