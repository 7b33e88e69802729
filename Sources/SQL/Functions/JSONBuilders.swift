// Values as JSON: to_json, json_build_array, json_build_object.

extension FunctionRegistry {
  mutating func addJSONBuilders(_ type: TypeID, _ prefix: String, _ isBinary: Bool) {
    func variadicAny(
      _ name: String,
      _ body: @escaping @Sendable ([(Value, SQLType)], inout ByteBuffer, TextFormat) throws(SQLError) -> Void
    ) {
      let specialise: @Sendable ([SQLType]) throws(SQLError) -> ScalarFunction = { (types) throws(SQLError) in
        ScalarFunction(name, types.map(\.id), returns: type, .stable, strict: false) { (a, c) throws(SQLError) in
          var buffer = ByteBuffer()
          try body((0..<a.count).map { (a[$0], types[$0]) }, &buffer, c.format)
          return Value(isBinary ? try JSONText.canonical(buffer.bytes, c.arena) : buffer.copied(into: c.arena))
        }
      }
      let unused: ScalarImplementation = { (_, _) throws(SQLError) in .null }
      add(
        ScalarFunction(
          name, [], variadic: .any, returns: type, .stable, strict: false, specialise: specialise, body: unused))
      add(ScalarFunction(name, [], returns: type, .stable, strict: false, specialise: specialise, body: unused))
    }
    variadicAny("\(prefix)_build_array") { (values, buffer, format) throws(SQLError) in
      buffer.append(UInt8(ascii: "["))
      for (index, (value, type)) in values.enumerated() {
        if index > 0 { buffer.append(", " as StaticString) }
        try JSONFunctions.write(value, type.id, format, into: &buffer)
      }
      buffer.append(UInt8(ascii: "]"))
    }
    variadicAny("\(prefix)_build_object") { (values, buffer, format) throws(SQLError) in
      guard values.count % 2 == 0 else {
        throw SQLError(
          .invalidParameterValue, "argument list must have even number of elements",
          hint: "The arguments of \(prefix)_build_object() must consist of alternating keys and values.")
      }
      buffer.append(UInt8(ascii: "{"))
      for index in stride(from: 0, to: values.count, by: 2) {
        let (key, keyType) = values[index]
        guard !key.isNull else {
          throw SQLError(.invalidParameterValue, "argument \(index + 1): key must not be null")
        }
        if index > 0 { buffer.append(", " as StaticString) }
        JSONText.writeString(try TypeCodec.string(key, keyType.id, format), into: &buffer)
        buffer.append(" : " as StaticString)
        try JSONFunctions.write(values[index + 1].0, values[index + 1].1.id, format, into: &buffer)
      }
      buffer.append(UInt8(ascii: "}"))
    }
    add(
      ScalarFunction(
        "to_\(prefix)", [.any], returns: type, .stable,
        specialise: { (types) throws(SQLError) in
          let source = types[0].id
          return ScalarFunction("to_\(prefix)", [source], returns: type, .stable) { (a, c) throws(SQLError) in
            var buffer = ByteBuffer()
            try JSONFunctions.write(a[0], source, c.format, into: &buffer)
            return Value(isBinary ? try JSONText.canonical(buffer.bytes, c.arena) : buffer.copied(into: c.arena))
          }
        }
      ) { (_, _) throws(SQLError) in .null })
  }
}

extension JSONFunctions {
  /// Appends a value as JSON: numbers and Booleans as such, arrays as arrays, json as its text, times in ISO 8601, all
  /// else as strings.
  static func write(
    _ value: Value, _ type: TypeID, _ format: TextFormat, into buffer: inout ByteBuffer
  ) throws(SQLError) {
    if value.isNull {
      buffer.append("null" as StaticString)
      return
    }
    switch type {
    case .bool: buffer.append(value.bool ? "true" as StaticString : "false" as StaticString)
    case .json, .jsonb: buffer.append(value.bytes)
    case .int2, .int4, .int8, .float4, .float8, .numeric:
      let text = try TypeCodec.string(value, type, format)
      // NaN and infinities are not JSON numbers.
      if text.utf8.last.map(TextScan.isDigit) == true {
        buffer.append(text)
      } else {
        JSONText.writeString(text, into: &buffer)
      }
    case .timestamp, .timestamptz:
      var iso = try TypeCodec.string(value, type, format)
      if let space = iso.firstIndex(of: " ") { iso.replaceSubrange(space...space, with: "T") }
      if type == .timestamptz, DateTime.isInRange(value.int),
        let sign = iso.lastIndex(where: { $0 == "+" || $0 == "-" }),
        !iso[sign...].contains(":")
      {
        iso.insert(contentsOf: ":00", at: iso.index(sign, offsetBy: 3))
      }
      JSONText.writeString(iso, into: &buffer)
    default:
      guard let element = type.info.element else {
        JSONText.writeString(try TypeCodec.string(value, type, format), into: &buffer)
        return
      }
      let view = try ArrayView(value.bytes)
      var index = 0
      if view.count == 0 {
        buffer.append("[]" as StaticString)
      } else {
        try writeLevel(view, element, 0, &index, format, into: &buffer)
      }
    }
  }

  private static func writeLevel(
    _ view: ArrayView, _ element: TypeID, _ depth: Int, _ index: inout Int, _ format: TextFormat,
    into buffer: inout ByteBuffer
  ) throws(SQLError) {
    buffer.append(UInt8(ascii: "["))
    for n in 0..<view.length(depth) {
      if n > 0 { buffer.append(UInt8(ascii: ",")) }
      if depth + 1 < view.dimensions {
        try writeLevel(view, element, depth + 1, &index, format, into: &buffer)
      } else {
        try write(try view.value(index), element, format, into: &buffer)
        index += 1
      }
    }
    buffer.append(UInt8(ascii: "]"))
  }
}
