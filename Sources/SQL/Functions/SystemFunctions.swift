// Functions of the session that need no catalog: who, where, settings, types by number.

extension FunctionRegistry {
  mutating func addSystem() {
    for name in ["current_user", "user", "current_role"] {
      scalar(name, [], .name, .stable) { (_, c) throws(SQLError) in Value(c.arena.copy(c.user)) }
    }
    scalar("session_user", [], .name, .stable) { (_, c) throws(SQLError) in
      Value(c.arena.copy(unsafe c.host?.setting("session_authorization") ?? c.user))
    }
    for name in ["current_database", "current_catalog"] {
      scalar(name, [], .name, .stable) { (_, c) throws(SQLError) in Value(c.arena.copy(c.database)) }
    }
    scalar("current_setting", [.text], .text, .stable) { (a, c) throws(SQLError) in
      guard let value = unsafe c.host?.setting(a[0].string) else {
        throw SQLError(.undefinedObject, "unrecognized configuration parameter \"\(a[0].string)\"")
      }
      return Value(c.arena.copy(value))
    }
    scalar("current_setting", [.text, .bool], .text, .stable) { (a, c) throws(SQLError) in
      guard let value = unsafe c.host?.setting(a[0].string) else {
        if a[1].bool { return .null }
        throw SQLError(.undefinedObject, "unrecognized configuration parameter \"\(a[0].string)\"")
      }
      return Value(c.arena.copy(value))
    }
    scalar("format_type", [.oid, .int4], .text, .stable, strict: false) { (a, c) throws(SQLError) in
      if a[0].isNull { return .null }
      let id = TypeID(UInt32(truncatingIfNeeded: a[0].int))
      guard id.exists else { return Value(c.arena.copy(a[0].int == 0 ? "-" : "???")) }
      let modifier = a[1].isNull ? -1 : Int32(truncatingIfNeeded: a[1].int)
      // Without a modifier given, char is bpchar's own name, as pg_dump needs it.
      if id == .bpchar, a[1].isNull { return Value(c.arena.copy("character")) }
      if id == .bpchar, modifier < 0 { return Value(c.arena.copy("bpchar")) }
      return Value(c.arena.copy(SQLType(id, modifier: modifier).description))
    }
    add(
      ScalarFunction(
        "pg_typeof", [.any], returns: .regtype, .stable, strict: false,
        specialise: { (types) throws(SQLError) in
          let id = types[0].id
          return ScalarFunction("pg_typeof", [id], returns: .regtype, .stable, strict: false) {
            (_, _) throws(SQLError) in
            Value(Int64(id.rawValue))
          }
        }
      ) { (_, _) throws(SQLError) in .null })
    add(
      ScalarFunction(
        "pg_column_size", [.any], returns: .int4, .stable,
        specialise: { (types) throws(SQLError) in
          let storage = types[0].storage
          return ScalarFunction("pg_column_size", [types[0].id], returns: .int4, .stable) { (a, _) throws(SQLError) in
            Value(storage.fixedSize ?? (storage == .numeric ? NumericCodec.packedSize(a[0]) : a[0].bytes.count))
          }
        }
      ) { (_, _) throws(SQLError) in .null })
    for name in ["num_nulls", "num_nonnulls"] {
      let countNulls = name == "num_nulls"
      scalar(name, [], .int4, strict: false, variadic: .any) { (a, _) throws(SQLError) in
        Value((0..<a.count).filter { a[$0].isNull == countNulls }.count)
      }
    }
  }
}
