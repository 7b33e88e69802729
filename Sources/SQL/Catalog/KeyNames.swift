internal import Encoding
package import Storage

// Keys and key intervals in the words of SQL: the reverse of `KeySpace` and `KeyBounds`.
//
//   03 · storage of a table · columns                account (id) = (7)
//   03 · storage of an index · columns · row key     account (owner) = ('ann'), row (id) = (7), in index account_owner_idx
//   a range of either                                account, (id) from (3) to before (10)   ·   account, all rows
//   02 …                                             the definition of table account
//   04 …                                             sequence account_id_seq
//   01 …                                             key 'text' or key \\x00ff: the user's own
//
// What follows the whole columns of a bound says how it was meant: nothing, or FF after a prefix of the columns, or the
// byte that no column begins with; see `KeyBounds`. A key that cannot be read (its relation is dropped, its bytes are
// cut) is shown in hexadecimal digits: describing never fails.

/// What a key or an interval of keys is to the user.
package struct KeyPlace: Hashable, Sendable {
  package var schema: String?
  /// The table, sequence or view that it belongs to.
  package var table: String?
  /// The index, if it is not the table's own order.
  package var index: String?
  /// The key or interval: `(id) = (7)`.
  package var text: String
}

/// Names keys by one catalog.
package struct KeyNames: Sendable {
  private let catalog: CatalogSnapshot?

  package init(_ catalog: CatalogSnapshot?) { self.catalog = catalog }

  /// `account (id) = (7)`.
  package func describe(_ range: KeyRange) -> String {
    let place = place(range)
    guard let table = place.table else { return place.text }
    return table + (place.text.hasPrefix("(") ? " " : ", ") + place.text
      + (place.index.map { ", in index \($0)" } ?? "")
  }

  package func place(_ range: KeyRange) -> KeyPlace {
    let isOne = range.upper.map {
      $0.count == range.lower.count + 1 && $0.last == 0 && $0.dropLast() == range.lower[...]
    }
    guard let space = range.lower.first else { return KeyPlace(text: "all keys") }
    switch space {
    case KeySpace.user: return KeyPlace(text: user(range, isOne ?? false))
    case KeySpace.catalog: return definition(range.lower)
    case KeySpace.relation: return relation(range, isOne ?? false)
    case KeySpace.sequence, KeySpace.statistics:
      let id = ObjectID(KeyNames.number(range.lower, 1))
      guard let catalog else { break }
      if space == KeySpace.sequence, let sequence = catalog.sequences.first(where: { $0.storage == id }) {
        return KeyPlace(schema: schema(sequence.schema), table: sequence.name, text: "the next value")
      }
      if id == ObjectID(1) { return KeyPlace(text: "the next object id") }
      if let table = catalog.allTables.first(where: { $0.storage == id || $0.id == id }) {
        let what = space == KeySpace.sequence ? "the next row id" : "statistics"
        return KeyPlace(schema: schema(table.schema), table: table.name, text: what)
      }
    default: break
    }
    return KeyPlace(text: KeyNames.hexadecimal(range, isOne ?? false))
  }

  // MARK: Other keys

  private func schema(_ id: ObjectID) -> String? { catalog?.schema(id)?.name }

  private static func number(_ key: [UInt8], _ offset: Int) -> UInt32 {
    guard key.count >= offset + 4 else { return 0 }
    return key[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
  }

  private static func hexadecimal(_ key: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return "\\x" + String(decoding: key.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  private static func hexadecimal(_ range: KeyRange, _ isOne: Bool) -> String {
    if isOne { return "key \(hexadecimal(range.lower))" }
    return "keys from \(hexadecimal(range.lower))" + (range.upper.map { " to before \(hexadecimal($0))" } ?? "")
  }

  private func user(_ range: KeyRange, _ isOne: Bool) -> String {
    func shown(_ key: ArraySlice<UInt8>) -> String {
      let isText = !key.isEmpty && key.allSatisfy { $0 >= 0x20 && $0 < 0x7f }
      return isText ? "'\(String(decoding: key, as: UTF8.self))'" : KeyNames.hexadecimal(Array(key))
    }
    let lower = shown(range.lower.dropFirst())
    if isOne { return "key \(lower)" }
    guard let upper = range.upper, upper.first == KeySpace.user else { return "keys from \(lower)" }
    return "keys from \(lower) to before \(shown(upper.dropFirst()))"
  }

  private func definition(_ key: [UInt8]) -> KeyPlace {
    guard key.count >= 2, key[1] != 0 else { return KeyPlace(text: "the catalog") }
    let id = ObjectID(KeyNames.number(key, key[1] == 1 ? 3 : 2))
    guard let catalog, let relation = catalog.relation(id) else {
      return KeyPlace(text: "the definition of object \(id.rawValue)")
    }
    return KeyPlace(schema: schema(relation.schema), table: relation.name, text: "the definition")
  }

  // MARK: Rows and index entries

  private func relation(_ range: KeyRange, _ isOne: Bool) -> KeyPlace {
    let storage = ObjectID(KeyNames.number(range.lower, 1))
    for table in catalog?.allTables ?? [] {
      let index = table.indexes.first { $0.storage == storage }
      guard index != nil || table.storage == storage else { continue }
      let isRows = index == nil || index?.isPrimary == true
      let columns = Columns(table, isRows ? nil : index)
      let text = columns.describe(range, isOne)
      return KeyPlace(
        schema: schema(table.schema), table: table.name, index: isRows ? nil : index?.name, text: text)
    }
    return KeyPlace(text: KeyNames.hexadecimal(range, isOne))
  }

  /// The columns of a table's or an index's keys.
  private struct Columns {
    private let names: [String]
    private let types: [KeyColumn]
    /// How many of them are the index's own; the others are the row's.
    private let own: Int
    /// Whether the last one is a row id: eight bytes without a marker.
    private var hasRowID = false

    init(_ table: TableDescriptor, _ index: IndexDescriptor?) {
      func add(_ keys: [IndexKey], _ names: inout [String], _ types: inout [KeyColumn]) {
        for (position, key) in keys.enumerated() {
          names.append(key.column.map { table.column($0).name } ?? "expr\(position == 0 ? "" : "\(position)")")
          types.append(KeyColumn(key.type, descending: key.descending, nullsFirst: key.nullsFirst))
        }
      }
      var names: [String] = []
      var types: [KeyColumn] = []
      if let index { add(index.keys, &names, &types) }
      own = names.count
      if let primary = table.primaryIndex {
        add(primary.keys, &names, &types)
      } else {
        names.append("row id")
        types.append(KeyColumn(.int8))
        hasRowID = true
      }
      self.names = names
      self.types = types
    }

    /// The columns that `key` holds whole, and the bytes after them.
    private func read(_ key: [UInt8]) -> (values: [String], rest: ArraySlice<UInt8>) {
      let arena = Arena()
      var values: [String] = []
      var offset = KeySpace.prefixLength
      var buffer = ByteBuffer(capacity: key.count)
      buffer.append(key)
      while values.count < types.count, offset < key.count {
        if hasRowID, values.count == own {
          guard offset + 8 <= key.count else { break }
          let bits = key[offset..<offset + 8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
          values.append("\(Int64(bitPattern: bits ^ (1 << 63)))")
          offset += 8
          break
        }
        guard key[offset] <= KeyCodec.nullLast else { break }
        let start = offset
        let column = types[values.count]
        guard let value = try? KeyCodec.decode(buffer.bytes, &offset, column, arena) else {
          offset = start
          break
        }
        values.append(Columns.shown(value, column.type))
      }
      withExtendedLifetime(arena) {}
      offset = min(offset, buffer.count)
      return (values, key[offset...])
    }

    private static func shown(_ value: Value, _ type: SQLType) -> String {
      if value.isNull { return "NULL" }
      guard let text = try? TypeCodec.string(value, type.id) else { return "?" }
      let isPlain: Bool
      switch type.storage {
      case .bool, .int16, .int32, .int64, .oid, .float32, .float64, .numeric:
        isPlain = [TypeID.date, .time, .timestamp, .timestamptz].allSatisfy { $0 != type.id }
      default: isPlain = false
      }
      let short = text.count > 60 ? String(text.prefix(57)) + "…" : text
      return isPlain ? short : "'\(short)'"
    }

    private func list(_ words: some Sequence<String>) -> String { "(" + words.joined(separator: ", ") + ")" }

    private func equal(_ values: [String]) -> String {
      let mine = min(own, values.count)
      guard own > 0 else { return "\(list(names[..<values.count])) = \(list(values))" }
      let entry = "\(list(names[..<mine])) = \(list(values[..<mine]))"
      guard values.count > own else { return entry }
      return entry + ", row \(list(names[own..<values.count])) = \(list(values[own...]))"
    }

    func describe(_ range: KeyRange, _ isOne: Bool) -> String {
      let lower = read(range.lower)
      if isOne && !lower.values.isEmpty { return equal(lower.values) }
      let upper = range.upper.map { $0.starts(with: range.lower.prefix(KeySpace.prefixLength)) ? read($0) : ([], []) }
      let high = upper ?? ([], [])
      // Values that both ends share are equalities.
      var shared = 0
      while shared < min(lower.values.count, high.0.count), lower.values[shared] == high.0[shared] { shared += 1 }
      let low = lower.values.dropFirst(shared)
      let top = high.0.dropFirst(shared)
      var parts: [String] = []
      if shared > 0 { parts.append(equal(Array(lower.values.prefix(shared)))) }
      func tail(_ count: Int) -> String { list(names[shared..<shared + count]) }
      if !low.isEmpty {
        let isAfter = lower.rest.first == KeyCodec.afterAll
        parts.append("\(tail(low.count)) \(isAfter ? ">" : ">=") \(list(low))")
      }
      if !top.isEmpty {
        let isThrough = high.1.first == KeyCodec.afterAll || high.1.first == 0
        parts.append("\(tail(top.count)) \(isThrough ? "<=" : "<") \(list(top))")
      }
      return parts.isEmpty ? "all rows" : parts.joined(separator: " and ")
    }
  }
}
