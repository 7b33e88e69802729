// Operators and functions of json and jsonb.

extension FunctionRegistry {
  mutating func addJSON() {
    for type in [TypeID.json, .jsonb] {
      let isBinary = type == .jsonb
      let prefix = isBinary ? "jsonb" : "json"
      addJSONAccess(type, prefix)
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
          let arena = c.stateArena
          let source = arena.copy(a[0].bytes)
          guard source.first(where: { !TextScan.isSpace($0) }) == UInt8(ascii: "[") else {
            let kind = try JSONFunctions.parse(a[0]).typeName
            throw SQLError(
              .invalidParameterValue, "cannot extract elements from \(kind == "object" ? "an object" : "a scalar")")
          }
          var rows: [[Value]] = []
          for item in try JSONRaw.items(source) {
            rows.append([isText ? try JSONRaw.text(item, arena) : Value(item)])
          }
          return RowsIterator(rows)
        })
      add(
        SetFunction(
          "\(prefix)_each\(suffix)", [type], columns: [(name: "key", type: .text), (name: "value", type: valueType)]
        ) { (a, c) throws(SQLError) in
          let arena = c.stateArena
          let source = arena.copy(a[0].bytes)
          guard source.first(where: { !TextScan.isSpace($0) }) == UInt8(ascii: "{") else {
            throw SQLError(.invalidParameterValue, "cannot call \(prefix)_each\(suffix) on a non-object")
          }
          var rows: [[Value]] = []
          for (key, item) in try JSONRaw.members(source) {
            rows.append([Value(arena.copy(key)), isText ? try JSONRaw.text(item, arena) : Value(item)])
          }
          return RowsIterator(rows)
        })
    }
  }

  private mutating func addJSONAggregates(_ type: TypeID, _ prefix: String, _ isBinary: Bool) {
    let listed: @Sendable ([SQLType]) throws(SQLError) -> AggregateFunction = { (types) throws(SQLError) in
      let source = types[0].id
      return AggregateFunction.typed(
        "\(prefix)_agg", [source], type, strict: false, start: GrowingValues(),
        { (s, a, c) throws(SQLError) in
          var buffer = ByteBuffer()
          try JSONFunctions.write(a[0], source, c.format, into: &buffer)
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
          try JSONFunctions.write(a[1], valueType, c.format, into: &buffer)
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
    JSONText.write(isBinary ? JSONText.canonical(json, arena) : json, into: &buffer, spaced: isBinary)
    return Value(buffer.copied(into: arena))
  }

  static func keys(_ array: Value) throws(SQLError) -> [String?] {
    try ArrayView(array.bytes).values.map { $0.isNull ? nil : $0.string }
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
}
