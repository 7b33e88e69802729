internal import Encoding
package import Platform

/// Looks into a manifest without opening the store: for people.
package struct ManifestInspector {
  /// The number of the manifest that was read, and whether CURRENT names it.
  package let number: UInt64
  package let isCurrent: Bool
  /// The file ends in a record that was never acknowledged.
  package let isTorn: Bool
  package let edits: [(offset: UInt64, edit: ManifestEdit)]
  /// What all edits come to.
  package let state: ManifestState
  package let sizeBytes: UInt64

  /// Reads the manifest of a database directory, or the manifest file at `path`.
  package init(_ path: String, disk: any Disk) throws(StorageError) {
    let name = path.split(separator: "/").last.map(String.init) ?? path
    let named = ManifestFormat.number(ofFileName: name)
    let directory = named == nil ? path : path.hasSuffix("/" + name) ? String(path.dropLast(name.count + 1)) : "."
    let reader = ManifestReader(disk: disk, directory: directory)
    let current = try? reader.readCurrent()
    if let named {
      number = named
    } else {
      guard let found = try reader.readCurrent() else {
        throw .disk(DiskError(.notFound, operation: "find CURRENT, so no database, in", path: path))
      }
      number = found
    }
    isCurrent = current == number
    var edits: [(offset: UInt64, edit: ManifestEdit)] = []
    let content = try reader.read(number) { edits.append(($0, $1)) }
    self.edits = edits
    state = content.state
    isTorn = content.isTorn
    sizeBytes = content.end
  }

  /// Every edit, and what they come to.
  package func describe() -> String {
    var lines = [
      "\(ManifestFormat.fileName(number)), format \(ManifestFormat.version), \(sizeBytes) bytes\(isCurrent ? "" : ", not current")"
    ]
    for (index, (offset, edit)) in edits.enumerated() {
      lines.append("record \(index + 1) at \(offset): \(Self.describe(edit))")
    }
    if isTorn { lines.append("then a torn tail: a record that was never acknowledged") }
    lines.append(
      "flushed to slot \(state.flushed.slot.rawValue), version \(state.flushed.version.rawValue), chain \(state.flushed.chain)"
    )
    lines.append("next table \(state.nextTableNumber), garbage floor \(state.garbageFloor.rawValue)")
    for (level, tables) in state.levels.enumerated() where !tables.isEmpty {
      lines.append("level \(level): \(tables.count) tables, \(tables.reduce(0) { $0 + $1.sizeBytes }) bytes")
      for table in tables {
        lines.append(
          "  \(TableFormat.fileName(table.number)) \(table.sizeBytes) bytes, \(table.entryCount) entries, versions \(table.minimumVersion.rawValue) ... \(table.maximumVersion.rawValue), \(describeKey(table.lower)) \(table.upperIsExclusive ? "..<" : "...") \(describeKey(table.upper))"
        )
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func describe(_ edit: ManifestEdit) -> String {
    var parts: [String] = []
    if edit.isWhole { parts.append("whole state") }
    if let flushed = edit.flushed {
      parts.append("flushed to slot \(flushed.slot.rawValue), version \(flushed.version.rawValue)")
    }
    if let floor = edit.garbageFloor { parts.append("garbage floor \(floor.rawValue)") }
    parts += edit.removed.map { "- table \($0.number) of level \($0.level)" }
    parts += edit.added.map { "+ table \($0.table.number) in level \($0.level)" }
    return parts.isEmpty ? "nothing" : parts.joined(separator: "; ")
  }
}
