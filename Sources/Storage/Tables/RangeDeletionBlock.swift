package import Encoding

// The range tombstone block: fragments in key order, disjoint.
//
//   varint                n, number of fragments
//   n times:
//     varint | bytes      start
//     varint | bytes      end, exclusive
//     varint              m, number of versions
//     varint              the newest version
//     varint × (m - 1)    how much older each next one is; at least 1

package enum RangeDeletionBlock {
  package static func encode(_ fragments: [RangeDeletionBuilder.OwnedFragment], into output: inout ByteWriter) {
    output.append(varint: UInt64(fragments.count))
    for fragment in fragments {
      output.append(lengthPrefixed: fragment.start)
      output.append(lengthPrefixed: fragment.end)
      output.append(varint: UInt64(fragment.versions.count))
      var last = fragment.versions[0].rawValue
      output.append(varint: last)
      for version in fragment.versions.dropFirst() {
        output.append(varint: last - version.rawValue)
        last = version.rawValue
      }
    }
  }

  package static func decode(_ bytes: UnsafeRawBufferPointer) throws(DecodingError) -> [RangeDeletionBuilder
    .OwnedFragment]
  {
    var reader = unsafe ByteReader(bytes)
    let count = unsafe try reader.readVarint()
    // A fragment takes at least five bytes.
    guard count <= UInt64(bytes.count) / 5 else {
      throw .invalid(offset: 0, reason: "too many range deletions announced")
    }
    var result: [RangeDeletionBuilder.OwnedFragment] = []
    result.reserveCapacity(Int(count))
    for _ in 0..<count {
      let offset = unsafe reader.offset
      let start = unsafe Array(try reader.readLengthPrefixed())
      let end = unsafe Array(try reader.readLengthPrefixed())
      guard compareKeyArrays(start, end) < 0, result.last.map({ compareKeyArrays($0.end, start) <= 0 }) ?? true else {
        throw .invalid(offset: offset, reason: "range deletions out of order")
      }
      let versions = unsafe try readVersions(&reader)
      result.append(.init(start: start, end: end, versions: versions))
    }
    guard unsafe reader.isAtEnd else {
      throw .invalid(offset: unsafe reader.offset, reason: "bytes after the last range deletion")
    }
    return result
  }

  private static func readVersions(_ reader: inout ByteReader) throws(DecodingError) -> [Version] {
    let offset = unsafe reader.offset
    let count = unsafe try reader.readVarint()
    guard count > 0, count <= UInt64(unsafe reader.remaining) else {
      throw .invalid(offset: offset, reason: "a range deletion announces \(count) versions")
    }
    var versions = [Version(unsafe try reader.readVarint())]
    for _ in 1..<count {
      let step = unsafe try reader.readVarint()
      let last = versions[versions.count - 1].rawValue
      guard step > 0, step <= last else {
        throw .invalid(offset: offset, reason: "range deletion's versions out of order")
      }
      versions.append(Version(last - step))
    }
    return versions
  }
}
