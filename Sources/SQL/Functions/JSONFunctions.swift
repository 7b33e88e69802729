// Operators and functions of json and jsonb.

extension FunctionRegistry {
  mutating func addJSON() {
    for type in [TypeID.json, .jsonb] {
      let isBinary = type == .jsonb
      let prefix = isBinary ? "jsonb" : "json"
      infix("->", type, .text, type) { (a, c) throws(SQLError) in
        JSONFunctions.result(try JSONFunctions.parse(a[0])[key: a[1].string], isBinary, c.arena)
      }
      infix("->", type, .int4, type) { (a, c) throws(SQLError) in
        JSONFunctions.result(try JSONFunctions.parse(a[0])[index: Int(a[1].int)], isBinary, c.arena)
      }
      infix("->>", type, .text, .text) { (a, c) throws(SQLError) in
        JSONFunctions.textResult(try JSONFunctions.parse(a[0])[key: a[1].string], isBinary, c.arena)
      }
      infix("->>", type, .int4, .text) { (a, c) throws(SQLError) in
        JSONFunctions.textResult(try JSONFunctions.parse(a[0])[index: Int(a[1].int)], isBinary, c.arena)
      }
      infix("#>", type, TypeID(1009), type) { (a, c) throws(SQLError) in
        JSONFunctions.result(try JSONFunctions.path(a[0], try JSONFunctions.keys(a[1])), isBinary, c.arena)
      }
      infix("#>>", type, TypeID(1009), .text) { (a, c) throws(SQLError) in
        JSONFunctions.textResult(try JSONFunctions.path(a[0], try JSONFunctions.keys(a[1])), isBinary, c.arena)
      }
      scalar("\(prefix)_extract_path", [type], type, variadic: .text) { (a, c) throws(SQLError) in
        let keys = (1..<a.count).map { a[$0].string as String? }
        return JSONFunctions.result(try JSONFunctions.path(a[0], keys), isBinary, c.arena)
      }
      scalar("\(prefix)_extract_path_text", [type], .text, variadic: .text) { (a, c) throws(SQLError) in
        let keys = (1..<a.count).map { a[$0].string as String? }
        return JSONFunctions.textResult(try JSONFunctions.path(a[0], keys), isBinary, c.arena)
      }
      scalar("\(prefix)_typeof", [type], .text) { (a, c) throws(SQLError) in
        Value(c.arena.copy(try JSONFunctions.parse(a[0]).typeName))
      }
      scalar("\(prefix)_array_length", [type], .int4) { (a, _) throws(SQLError) in
        let json = try JSONFunctions.parse(a[0])
        guard case .array(let items) = json else {
          throw SQLError(
            .invalidParameterValue,
            "cannot get array length of \(json.typeName == "object" ? "a non-array" : "a scalar")")
        }
        return Value(items.count)
      }
      scalar("\(prefix)_strip_nulls", [type], type) { (a, c) throws(SQLError) in
        JSONFunctions.result(JSONFunctions.stripNulls(try JSONFunctions.parse(a[0])), isBinary, c.arena)
      }
      addJSONSets(type, prefix, isBinary)
      addJSONBuilders(type, prefix, isBinary)
      addJSONAggregates(type, prefix, isBinary)
    }
    addBinaryJSON()
  }

  private mutating func addBinaryJSON() {
    infix("@>", .jsonb, .jsonb, .bool, commutator: "<@") { (a, c) throws(SQLError) in
      Value(JSONFunctions.contains(try JSONFunctions.parse(a[0]), try JSONFunctions.parse(a[1]), c.arena))
    }
    infix("<@", .jsonb, .jsonb, .bool, commutator: "@>") { (a, c) throws(SQLError) in
      Value(JSONFunctions.contains(try JSONFunctions.parse(a[1]), try JSONFunctions.parse(a[0]), c.arena))
    }
    infix("?", .jsonb, .text, .bool) { (a, _) throws(SQLError) in
      Value(JSONFunctions.has(try JSONFunctions.parse(a[0]), a[1].string))
    }
    for (name, all) in [("?|", false), ("?&", true)] {
      infix(name, .jsonb, TypeID(1009), .bool) { (a, _) throws(SQLError) in
        let json = try JSONFunctions.parse(a[0])
        let keys = try JSONFunctions.keys(a[1]).compactMap { $0 }
        return Value(
          all ? keys.allSatisfy { JSONFunctions.has(json, $0) } : keys.contains { JSONFunctions.has(json, $0) })
      }
    }
    infix("||", .jsonb, .jsonb, .jsonb) { (a, c) throws(SQLError) in
      JSONFunctions.result(
        JSONFunctions.concatenate(try JSONFunctions.parse(a[0]), try JSONFunctions.parse(a[1])), true, c.arena)
    }
    infix("-", .jsonb, .text, .jsonb) { (a, c) throws(SQLError) in
      JSONFunctions.result(try JSONFunctions.removing(try JSONFunctions.parse(a[0]), [a[1].string]), true, c.arena)
    }
    infix("-", .jsonb, TypeID(1009), .jsonb) { (a, c) throws(SQLError) in
      let keys = try JSONFunctions.keys(a[1]).compactMap { $0 }
      return JSONFunctions.result(try JSONFunctions.removing(try JSONFunctions.parse(a[0]), keys), true, c.arena)
    }
    infix("-", .jsonb, .int4, .jsonb) { (a, c) throws(SQLError) in
      let json = try JSONFunctions.parse(a[0])
      guard case .array(var items) = json else {
        throw SQLError(
          .invalidParameterValue,
          json.typeName == "object" ? "cannot delete from object using integer index" : "cannot delete from scalar")
      }
      let at = a[1].int < 0 ? items.count + Int(a[1].int) : Int(a[1].int)
      if items.indices.contains(at) { items.remove(at: at) }
      return JSONFunctions.result(.array(items), true, c.arena)
    }
    infix("#-", .jsonb, TypeID(1009), .jsonb) { (a, c) throws(SQLError) in
      let path = try JSONFunctions.keys(a[1]).map { $0 ?? "" }
      return JSONFunctions.result(
        try JSONFunctions.edit(try JSONFunctions.parse(a[0]), path[...], .delete), true, c.arena)
    }
    scalar("jsonb_set", [.jsonb, TypeID(1009), .jsonb, .bool], .jsonb, defaults: [.bool(true)]) {
      (a, c) throws(SQLError) in
      let path = try JSONFunctions.keys(a[1]).map { $0 ?? "" }
      let edited = try JSONFunctions.edit(
        try JSONFunctions.parse(a[0]), path[...], .set(try JSONFunctions.parse(a[2]), create: a[3].bool))
      return JSONFunctions.result(edited, true, c.arena)
    }
    scalar("jsonb_insert", [.jsonb, TypeID(1009), .jsonb, .bool], .jsonb, defaults: [.bool(false)]) {
      (a, c) throws(SQLError) in
      let path = try JSONFunctions.keys(a[1]).map { $0 ?? "" }
      let edited = try JSONFunctions.edit(
        try JSONFunctions.parse(a[0]), path[...], .insert(try JSONFunctions.parse(a[2]), after: a[3].bool))
      return JSONFunctions.result(edited, true, c.arena)
    }
    scalar("jsonb_pretty", [.jsonb], .text) { (a, c) throws(SQLError) in
      var buffer = ByteBuffer()
      JSONFunctions.pretty(try JSONFunctions.parse(a[0]), 0, &buffer)
      return Value(buffer.copied(into: c.arena))
    }
  }

  private mutating func addJSONSets(_ type: TypeID, _ prefix: String, _ isBinary: Bool) {
    add(
      SetFunction("\(prefix)_object_keys", [type], columns: [(name: "\(prefix)_object_keys", type: .text)]) {
        (a, c) throws(SQLError) in
        let json = try JSONFunctions.parse(a[0])
        guard case .object(let members) = json else {
          throw SQLError(
            .invalidParameterValue,
            "cannot call \(prefix)_object_keys on \(json.typeName == "array" ? "an array" : "a scalar")")
        }
        return RowsIterator(members.map { [Value(c.stateArena.copy($0.key))] })
      })
    for isText in [false, true] {
      let suffix = isText ? "_text" : ""
      let valueType: TypeID = isText ? .text : type
      add(
        SetFunction("\(prefix)_array_elements\(suffix)", [type], columns: [(name: "value", type: valueType)]) {
          (a, c) throws(SQLError) in
          let json = try JSONFunctions.parse(a[0])
          guard case .array(let items) = json else {
            throw SQLError(
              .invalidParameterValue,
              "cannot extract elements from \(json.typeName == "object" ? "an object" : "a scalar")")
          }
          let arena = c.stateArena
          return RowsIterator(
            items.map {
              [isText ? JSONFunctions.textResult($0, isBinary, arena) : JSONFunctions.result($0, isBinary, arena)]
            })
        })
      add(
        SetFunction(
          "\(prefix)_each\(suffix)", [type], columns: [(name: "key", type: .text), (name: "value", type: valueType)]
        ) { (a, c) throws(SQLError) in
          let json = try JSONFunctions.parse(a[0])
          guard case .object(let members) = json else {
            throw SQLError(
              .invalidParameterValue, "cannot call \(prefix)_each\(suffix) on a non-object")
          }
          let arena = c.stateArena
          return RowsIterator(
            members.map {
              [
                Value(arena.copy($0.key)),
                isText
                  ? JSONFunctions.textResult($0.value, isBinary, arena)
                  : JSONFunctions.result($0.value, isBinary, arena),
              ]
            })
        })
    }
  }

  private mutating func addJSONBuilders(_ type: TypeID, _ prefix: String, _ isBinary: Bool) {
    func variadicAny(
      _ name: String,
      _ body: @escaping @Sendable ([(Value, SQLType)], inout EvaluationContext) throws(SQLError) -> JSON
    ) {
      let specialise: @Sendable ([SQLType]) throws(SQLError) -> ScalarFunction = { (types) throws(SQLError) in
        ScalarFunction(name, types.map(\.id), returns: type, .stable, strict: false) { (a, c) throws(SQLError) in
          let values = (0..<a.count).map { (a[$0], types[$0]) }
          return JSONFunctions.result(try body(values, &c), isBinary, c.arena)
        }
      }
      let unused: ScalarImplementation = { (_, _) throws(SQLError) in .null }
      add(
        ScalarFunction(
          name, [], variadic: .any, returns: type, .stable, strict: false, specialise: specialise, body: unused))
      add(ScalarFunction(name, [], returns: type, .stable, strict: false, specialise: specialise, body: unused))
    }
    variadicAny("\(prefix)_build_array") { (values, c) throws(SQLError) in
      var items: [JSON] = []
      for (value, type) in values { items.append(try JSONFunctions.json(value, type.id, c.format)) }
      return .array(items)
    }
    variadicAny("\(prefix)_build_object") { (values, c) throws(SQLError) in
      guard values.count % 2 == 0 else {
        throw SQLError(
          .invalidParameterValue, "argument list must have even number of elements",
          hint: "The arguments of \(prefix)_build_object() must consist of alternating keys and values.")
      }
      var members: [(key: String, value: JSON)] = []
      for index in stride(from: 0, to: values.count, by: 2) {
        let (key, keyType) = values[index]
        guard !key.isNull else {
          throw SQLError(.invalidParameterValue, "argument \(index + 1): key must not be null")
        }
        members.append(
          (
            try TypeCodec.string(key, keyType.id, c.format),
            try JSONFunctions.json(values[index + 1].0, values[index + 1].1.id, c.format)
          ))
      }
      return .object(members)
    }
    add(
      ScalarFunction(
        isBinary ? "to_jsonb" : "to_json", [.any], returns: type, .stable,
        specialise: { (types) throws(SQLError) in
          let source = types[0].id
          return ScalarFunction("to_\(prefix)", [source], returns: type, .stable) { (a, c) throws(SQLError) in
            JSONFunctions.result(try JSONFunctions.json(a[0], source, c.format), isBinary, c.arena)
          }
        }
      ) { (_, _) throws(SQLError) in .null })
  }

  private mutating func addJSONAggregates(_ type: TypeID, _ prefix: String, _ isBinary: Bool) {
    let listed: @Sendable ([SQLType]) throws(SQLError) -> AggregateFunction = { (types) throws(SQLError) in
      let source = types[0].id
      return AggregateFunction.typed(
        "\(prefix)_agg", [source], type, strict: false, start: GrowingValues(),
        { (s, a, c) throws(SQLError) in
          var buffer = ByteBuffer()
          JSONText.write(try JSONFunctions.json(a[0], source, c.format), into: &buffer, spaced: isBinary)
          try s.append(Value(buffer.copied(into: c.stateArena)), c.stateArena)
        },
        finish: { (s, c) throws(SQLError) in
          if s.count == 0 { return .null }
          var items: [Bytes] = []
          for (index, value) in s.values.enumerated() {
            items.append(c.arena.copy(index == 0 ? "[" : ", "))
            items.append(value.bytes)
          }
          items.append(c.arena.copy("]"))
          let text = try TextFunctions.joined(items, c.arena)
          return isBinary ? Value(try JSONText.canonical(text.bytes, c.arena)) : text
        })
    }
    let unused: @Sendable (AggregateFunction.State, inout EvaluationContext) throws(SQLError) -> Value = {
      (_, _) throws(SQLError) in .null
    }
    unsafe add(
      AggregateFunction(
        "\(prefix)_agg", [.any], returns: type, stateSize: 16, strict: false, specialise: listed,
        accumulate: { (_, _, _) throws(SQLError) in }, finish: unused))
    let keyed: @Sendable ([SQLType]) throws(SQLError) -> AggregateFunction = { (types) throws(SQLError) in
      let (keyType, valueType) = (types[0].id, types[1].id)
      return AggregateFunction.typed(
        "\(prefix)_object_agg", [keyType, valueType], type, strict: false, start: GrowingValues(),
        { (s, a, c) throws(SQLError) in
          guard !a[0].isNull else { throw SQLError(.invalidParameterValue, "field name must not be null") }
          var buffer = ByteBuffer()
          JSONText.writeString(try TypeCodec.string(a[0], keyType, c.format), into: &buffer)
          buffer.append(isBinary ? ": " as StaticString : " : " as StaticString)
          JSONText.write(try JSONFunctions.json(a[1], valueType, c.format), into: &buffer, spaced: isBinary)
          try s.append(Value(buffer.copied(into: c.stateArena)), c.stateArena)
        },
        finish: { (s, c) throws(SQLError) in
          if s.count == 0 { return .null }
          var items: [Bytes] = []
          for (index, value) in s.values.enumerated() {
            items.append(c.arena.copy(index == 0 ? (isBinary ? "{" : "{ ") : ", "))
            items.append(value.bytes)
          }
          items.append(c.arena.copy(isBinary ? "}" : " }"))
          let text = try TextFunctions.joined(items, c.arena)
          return isBinary ? Value(try JSONText.canonical(text.bytes, c.arena)) : text
        })
    }
    unsafe add(
      AggregateFunction(
        "\(prefix)_object_agg", [.any, .any], returns: type, stateSize: 16, strict: false, specialise: keyed,
        accumulate: { (_, _, _) throws(SQLError) in }, finish: unused))
  }
}

enum JSONFunctions {
  static func parse(_ value: Value) throws(SQLError) -> JSON { try JSONText.parse(value.bytes) }

  static func result(_ json: JSON?, _ isBinary: Bool, _ arena: Arena) -> Value {
    guard let json else { return .null }
    var buffer = ByteBuffer()
    JSONText.write(isBinary ? JSONText.canonical(json, arena) : json, into: &buffer, spaced: true)
    return Value(buffer.copied(into: arena))
  }

  static func textResult(_ json: JSON?, _ isBinary: Bool, _ arena: Arena) -> Value {
    switch json {
    case nil, .null?: return .null
    case .string(let text)?: return Value(arena.copy(text))
    default: return result(json, isBinary, arena)
    }
  }

  static func keys(_ array: Value) throws(SQLError) -> [String?] {
    try ArrayView(array.bytes).values.map { $0.isNull ? nil : $0.string }
  }

  static func path(_ value: Value, _ keys: [String?]) throws(SQLError) -> JSON? {
    var json: JSON? = try parse(value)
    for key in keys {
      guard let key else { return nil }
      switch json {
      case .object?: json = json?[key: key]
      case .array?: json = Int(key).flatMap { json?[index: $0] }
      default: return nil
      }
    }
    return json
  }

  static func stripNulls(_ json: JSON) -> JSON {
    switch json {
    case .array(let items): return .array(items.map(stripNulls))
    case .object(let members):
      return .object(
        members.compactMap { member in
          if case .null = member.value { return nil }
          return (key: member.key, value: stripNulls(member.value))
        })
    default: return json
    }
  }

  static func has(_ json: JSON, _ key: String) -> Bool {
    switch json {
    case .object(let members): return members.contains { $0.key == key }
    case .array(let items): return items.contains { if case .string(key) = $0 { return true } else { return false } }
    case .string(let text): return text == key
    default: return false
    }
  }

  static func contains(_ a: JSON, _ b: JSON, _ arena: Arena, top: Bool = true) -> Bool {
    switch (a, b) {
    case (.object(let x), .object(let y)):
      return y.allSatisfy { member in
        x.contains { $0.key == member.key && contains($0.value, member.value, arena, top: false) }
      }
    case (.array(let x), .array(let y)):
      return y.allSatisfy { item in x.contains { contains($0, item, arena, top: false) } }
    case (.array(let x), _) where top:
      // An array contains a scalar that is one of its elements.
      if case .object = b { return false }
      return x.contains { JSONText.compare($0, b, arena) == 0 }
    case (.array, _), (_, .array), (.object, _), (_, .object): return false
    default: return JSONText.compare(a, b, arena) == 0
    }
  }

  static func concatenate(_ a: JSON, _ b: JSON) -> JSON {
    if case .object(let x) = a, case .object(let y) = b { return .object(x + y) }
    func list(_ json: JSON) -> [JSON] {
      if case .array(let items) = json { return items }
      return [json]
    }
    return .array(list(a) + list(b))
  }

  static func removing(_ json: JSON, _ keys: [String]) throws(SQLError) -> JSON {
    switch json {
    case .object(let members): return .object(members.filter { !keys.contains($0.key) })
    case .array(let items):
      return .array(
        items.filter { if case .string(let text) = $0 { return !keys.contains(text) } else { return true } })
    default: throw SQLError(.invalidParameterValue, "cannot delete from scalar")
    }
  }

  enum Edit {
    case set(JSON, create: Bool)
    case insert(JSON, after: Bool)
    case delete
  }

  static func edit(_ json: JSON, _ path: ArraySlice<String>, _ edit: Edit) throws(SQLError) -> JSON {
    guard let key = path.first else { return json }
    let isLast = path.count == 1
    switch json {
    case .object(var members):
      guard let at = members.firstIndex(where: { $0.key == key }) else {
        guard isLast else { return json }
        switch edit {
        case .set(let value, true), .insert(let value, _): return .object(members + [(key: key, value: value)])
        default: return json
        }
      }
      guard isLast else {
        members[at].value = try self.edit(members[at].value, path.dropFirst(), edit)
        return .object(members)
      }
      switch edit {
      case .set(let value, _): members[at].value = value
      case .insert:
        throw SQLError(
          .invalidParameterValue, "cannot replace existing key",
          hint: "Try using the function jsonb_set to replace key value.")
      case .delete: members.remove(at: at)
      }
      return .object(members)
    case .array(var items):
      guard let index = Int(key) else {
        throw SQLError(.invalidText, "path element at position 1 is not an integer: \"\(key)\"")
      }
      let at = index < 0 ? items.count + index : index
      if items.indices.contains(at) {
        if !isLast {
          items[at] = try self.edit(items[at], path.dropFirst(), edit)
        } else {
          switch edit {
          case .set(let value, _): items[at] = value
          case .insert(let value, let after): items.insert(value, at: after ? at + 1 : at)
          case .delete: items.remove(at: at)
          }
        }
      } else if isLast {
        switch edit {
        case .set(let value, true), .insert(let value, _): items.insert(value, at: at < 0 ? 0 : items.count)
        default: break
        }
      }
      return .array(items)
    default: throw SQLError(.invalidParameterValue, "cannot set path in scalar")
    }
  }

  static func pretty(_ json: JSON, _ depth: Int, _ buffer: inout ByteBuffer) {
    func newline(_ depth: Int, _ buffer: inout ByteBuffer) {
      buffer.append(10 as UInt8)
      buffer.append(repeating: 32, count: depth * 4)
    }
    switch json {
    case .array(let items):
      buffer.append(UInt8(ascii: "["))
      for (index, item) in items.enumerated() {
        if index > 0 { buffer.append(UInt8(ascii: ",")) }
        newline(depth + 1, &buffer)
        pretty(item, depth + 1, &buffer)
      }
      newline(depth, &buffer)
      buffer.append(UInt8(ascii: "]"))
    case .object(let members):
      buffer.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { buffer.append(UInt8(ascii: ",")) }
        newline(depth + 1, &buffer)
        JSONText.writeString(member.key, into: &buffer)
        buffer.append(": " as StaticString)
        pretty(member.value, depth + 1, &buffer)
      }
      newline(depth, &buffer)
      buffer.append(UInt8(ascii: "}"))
    default: JSONText.write(json, into: &buffer, spaced: true)
    }
  }

  /// A value as JSON: numbers and Booleans as such, arrays as arrays, json as it is, times in ISO 8601, all else as strings.
  static func json(_ value: Value, _ type: TypeID, _ format: TextFormat) throws(SQLError) -> JSON {
    if value.isNull { return .null }
    switch type {
    case .bool: return .bool(value.bool)
    case .json, .jsonb: return try JSONText.parse(value.bytes)
    case .int2, .int4, .int8, .float4, .float8, .numeric:
      let text = try TypeCodec.string(value, type, format)
      // NaN and infinities are not JSON numbers.
      return text.utf8.last.map(TextScan.isDigit) == true ? .number(text) : .string(text)
    case .timestamp, .timestamptz:
      let text = try TypeCodec.string(value, type, format)
      var iso = text
      if let space = iso.firstIndex(of: " ") { iso.replaceSubrange(space...space, with: "T") }
      if type == .timestamptz, !iso.hasSuffix("BC"), let sign = iso.lastIndex(where: { $0 == "+" || $0 == "-" }),
        !iso[sign...].contains(":"), DateTime.isInRange(value.int)
      {
        iso += ":00"
      }
      return .string(iso)
    default:
      if let element = type.info.element {
        let view = try ArrayView(value.bytes)
        var index = 0
        func level(_ depth: Int) throws(SQLError) -> JSON {
          var items: [JSON] = []
          for _ in 0..<view.length(depth) {
            if depth + 1 < view.dimensions {
              items.append(try level(depth + 1))
            } else {
              items.append(try json(try view.value(index), element, format))
              index += 1
            }
          }
          return .array(items)
        }
        return view.count == 0 ? .array([]) : try level(0)
      }
      return .string(try TypeCodec.string(value, type, format))
    }
  }
}
