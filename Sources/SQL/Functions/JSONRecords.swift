// Rows as JSON objects, and JSON objects as rows: to_json(t), row_to_json(t), json_to_recordset(…) AS x (a int, …).
//
// Neither has a type of its own that would tell the names of the fields: the binder knows them, and makes a function for
// the one place.

enum JSONRecords {
  /// Functions that take a row for an object with the row's names.
  static let takingRows: Set<String> = [
    "row_to_json", "to_json", "to_jsonb", "json_agg", "jsonb_agg", "json_build_array", "jsonb_build_array",
    "json_build_object", "jsonb_build_object", "json_object_agg", "jsonb_object_agg", "array_to_json",
  ]

  /// The fields as one JSON object: `{"a":1,"b":"x"}`. A row that an outer join made up of nulls alone is null.
  static func object(_ names: [String], _ types: [TypeID]) -> ScalarFunction {
    let keys = names.map { name in
      var buffer = ByteBuffer()
      JSONText.writeString(name, into: &buffer)
      return buffer.array
    }
    return ScalarFunction("row_to_json", types, returns: .json, .stable, strict: false) { (a, c) throws(SQLError) in
      guard (0..<a.count).contains(where: { !a[$0].isNull }) else { return .null }
      var buffer = ByteBuffer()
      buffer.append(UInt8(ascii: "{"))
      for index in keys.indices {
        if index > 0 { buffer.append(UInt8(ascii: ",")) }
        buffer.append(keys[index])
        buffer.append(UInt8(ascii: ":"))
        try JSONFunctions.write(a[index], types[index], c.format, into: &buffer)
      }
      buffer.append(UInt8(ascii: "}"))
      return Value(buffer.copied(into: c.arena))
    }
  }

  /// `json[b]_to_record[set](…) AS x (…)`: the members that the columns name, as their types.
  static func reader(
    _ name: String, _ source: TypeID, _ columns: [(name: String, type: SQLType)]
  ) -> SetFunction {
    let isSet = name.hasSuffix("set")
    let keys = columns.map { Array($0.name.utf8) }
    return SetFunction(name, [source], columns: columns.map { (name: $0.name, type: $0.type.id) }, .stable) {
      (a, c) throws(SQLError) in
      let arena = c.stateArena
      let format = c.format
      let text = arena.copy(a[0].bytes)
      let opening = text.first(where: { !TextScan.isSpace($0) })
      func row(_ object: Bytes) throws(SQLError) -> [Value] {
        guard object.first(where: { !TextScan.isSpace($0) }) == UInt8(ascii: "{") else {
          throw SQLError(
            .invalidParameterValue,
            "\(isSet ? "argument of \(name) must be an array of objects" : "cannot call \(name) on a scalar")")
        }
        var values: [Value] = []
        for (index, column) in columns.enumerated() {
          let raw = try Bytes.with(keys[index]) { (key) throws(SQLError) in try JSONRaw.member(object, key) }
          values.append(try value(raw, column.type, format, arena))
        }
        return values
      }
      guard isSet else { return RowsIterator([try row(text)]) }
      guard opening == UInt8(ascii: "[") else {
        throw SQLError(.invalidParameterValue, "cannot call \(name) on a non-array")
      }
      var rows: [[Value]] = []
      for item in try JSONRaw.items(text) { rows.append(try row(item)) }
      return RowsIterator(rows)
    }
  }

  /// A member as a value of `type`.
  private static func value(
    _ raw: Bytes?, _ type: SQLType, _ format: TextFormat, _ arena: Arena
  ) throws(SQLError) -> Value {
    guard let raw, raw.count > 0 else { return .null }
    let text = try JSONRaw.text(raw, arena)
    if text.isNull { return .null }
    switch type.id {
    case .json, .jsonb: return try TypeCodec.parse(raw, type, arena, format)
    default:
      var input = text.bytes
      if type.id.info.element != nil, raw[0] == UInt8(ascii: "[") {
        var buffer = ByteBuffer()
        try arrayText(raw, type.id.info.element ?? .text, into: &buffer, arena)
        input = buffer.copied(into: arena)
      }
      let parsed = try TypeCodec.parse(input, SQLType(type.id), arena, format)
      return try TypeModifier.apply(parsed, type, explicit: false, arena)
    }
  }

  /// A JSON array as the text of an SQL array.
  private static func arrayText(
    _ raw: Bytes, _ element: TypeID, into buffer: inout ByteBuffer, _ arena: Arena
  ) throws(SQLError) {
    buffer.append(UInt8(ascii: "{"))
    for (index, item) in try JSONRaw.items(raw).enumerated() {
      if index > 0 { buffer.append(UInt8(ascii: ",")) }
      if item.first(where: { _ in true }) == UInt8(ascii: "["), element != .json, element != .jsonb {
        try arrayText(item, element, into: &buffer, arena)
        continue
      }
      let text = element == .json || element == .jsonb ? Value(item) : try JSONRaw.text(item, arena)
      if text.isNull {
        buffer.append("NULL" as StaticString)
        continue
      }
      buffer.append(UInt8(ascii: "\""))
      for byte in text.bytes {
        if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { buffer.append(UInt8(ascii: "\\")) }
        buffer.append(byte)
      }
      buffer.append(UInt8(ascii: "\""))
    }
    buffer.append(UInt8(ascii: "}"))
  }
}
