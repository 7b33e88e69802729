// Functions and operators of arrays.

extension FunctionRegistry {
  mutating func addArrays() {
    addArrayShape()
    addArrayBuilding()
    addArraySearch()
    for hasNull in [false, true] {
      let types: [TypeID] = hasNull ? [.text, .text, .text] : [.text, .text]
      scalar("string_to_array", types, TypeID(1009), strict: false) { (a, c) throws(SQLError) in
        if a[0].isNull { return .null }
        let nullText = hasNull && !a[2].isNull ? a[2].bytes : nil
        let parts = ArrayLibrary.split(a[0].bytes, a[1].isNull ? nil : a[1].bytes)
        return try ArrayBuilder.make(
          parts.map { part in nullText.map { $0.equals(part) } == true ? .null : Value(part) }, element: .text, c.arena)
      }
      scalar(
        "array_to_string", hasNull ? [.anyarray, .text, .text] : [.anyarray, .text], .text, .stable, strict: false
      ) {
        (a, c) throws(SQLError) in
        if a[0].isNull || a[1].isNull { return .null }
        let view = try ArrayView(a[0].bytes)
        var parts: [Bytes] = []
        for item in try view.values {
          if item.isNull, !hasNull || a[2].isNull { continue }
          if !parts.isEmpty { parts.append(a[1].bytes) }
          parts.append(item.isNull ? a[2].bytes : try TypeCodec.text(item, view.element, c.arena, c.format))
        }
        return try TextFunctions.joined(parts, c.arena)
      }
    }
  }

  private mutating func addArrayShape() {
    scalar("array_length", [.anyarray, .int4], .int4) { (a, _) throws(SQLError) in
      let view = try ArrayView(a[0].bytes)
      let d = Int(a[1].int) - 1
      return d >= 0 && d < view.dimensions ? Value(view.length(d)) : .null
    }
    scalar("cardinality", [.anyarray], .int4) { (a, _) throws(SQLError) in Value(try ArrayView(a[0].bytes).count) }
    scalar("array_ndims", [.anyarray], .int4) { (a, _) throws(SQLError) in
      let n = try ArrayView(a[0].bytes).dimensions
      return n == 0 ? .null : Value(n)
    }
    scalar("array_lower", [.anyarray, .int4], .int4) { (a, _) throws(SQLError) in
      let view = try ArrayView(a[0].bytes)
      let d = Int(a[1].int) - 1
      return d >= 0 && d < view.dimensions ? Value(view.lowerBound(d)) : .null
    }
    scalar("array_upper", [.anyarray, .int4], .int4) { (a, _) throws(SQLError) in
      let view = try ArrayView(a[0].bytes)
      let d = Int(a[1].int) - 1
      return d >= 0 && d < view.dimensions ? Value(view.lowerBound(d) + view.length(d) - 1) : .null
    }
    scalar("array_dims", [.anyarray], .text) { (a, c) throws(SQLError) in
      let view = try ArrayView(a[0].bytes)
      guard view.dimensions > 0 else { return .null }
      let text = (0..<view.dimensions).map { "[\(view.lowerBound($0)):\(view.lowerBound($0) + view.length($0) - 1)]" }
        .joined()
      return Value(c.arena.copy(text))
    }
  }

  /// A polymorphic function whose code needs the element type.
  private mutating func withElement(
    _ name: String, _ types: [TypeID], _ result: TypeID, op: String? = nil, arrayAt: Int,
    _ body: @escaping @Sendable (Arguments, TypeID, Arena) throws(SQLError) -> Value
  ) {
    let entry = ScalarFunction(
      name, types, returns: result, strict: false,
      specialise: { (actual) throws(SQLError) in
        let array = actual[arrayAt]
        let element = array.element ?? .text
        return ScalarFunction(
          name, actual.map(\.id), returns: result == .anycompatiblearray || result == .anyarray ? array.id : result,
          strict: false
        ) { (a, c) throws(SQLError) in try body(a, element, c.arena) }
      }
    ) { (_, _) throws(SQLError) in .null }
    if let op {
      add(Operator(op, types[0], types[1], entry))
    } else {
      add(entry)
    }
  }

  private mutating func addArrayBuilding() {
    for op in [nil, "||"] {
      withElement("array_append", [.anycompatiblearray, .anycompatible], .anycompatiblearray, op: op, arrayAt: 0) {
        (a, element, arena) throws(SQLError) in
        try ArrayLibrary.appending(a[0], [a[1]], atEnd: true, element, arena)
      }
      withElement("array_prepend", [.anycompatible, .anycompatiblearray], .anycompatiblearray, op: op, arrayAt: 1) {
        (a, element, arena) throws(SQLError) in
        try ArrayLibrary.appending(a[1], [a[0]], atEnd: false, element, arena)
      }
      withElement("array_cat", [.anycompatiblearray, .anycompatiblearray], .anycompatiblearray, op: op, arrayAt: 0) {
        (a, element, arena) throws(SQLError) in
        try ArrayLibrary.concatenate(a[0], a[1], element, arena)
      }
    }
    withElement("trim_array", [.anyarray, .int4], .anyarray, arrayAt: 0) { (a, element, arena) throws(SQLError) in
      if a[0].isNull || a[1].isNull { return .null }
      let view = try ArrayView(a[0].bytes)
      let length = view.dimensions == 0 ? 0 : view.length(0)
      guard a[1].int >= 0, a[1].int <= Int64(length) else {
        throw SQLError(
          SQLState(rawValue: "2202E"), "number of elements to trim must be between 0 and \(length)")
      }
      let kept = length - Int(a[1].int)
      guard kept > 0 else { return try ArrayBuilder.make([], element: element, arena) }
      var dimensions = (0..<view.dimensions).map { (length: view.length($0), lowerBound: 1) }
      dimensions[0].length = kept
      let count = dimensions.reduce(1) { $0 * $1.length }
      return try ArrayBuilder.make(
        Array(try view.values.prefix(count)), element: element, dimensions: dimensions, arena)
    }
    withElement("array_remove", [.anycompatiblearray, .anycompatible], .anycompatiblearray, arrayAt: 0) {
      (a, element, arena) throws(SQLError) in
      if a[0].isNull { return .null }
      let wanted = a[1]
      let values = try ArrayView(a[0].bytes).values.filter { !ArrayLibrary.isSame($0, wanted, element) }
      return try ArrayBuilder.make(values, element: element, arena)
    }
    withElement(
      "array_replace", [.anycompatiblearray, .anycompatible, .anycompatible], .anycompatiblearray, arrayAt: 0
    ) {
      (a, element, arena) throws(SQLError) in
      if a[0].isNull { return .null }
      let view = try ArrayView(a[0].bytes)
      let (from, to) = (a[1], a[2])
      let values = try view.values.map { ArrayLibrary.isSame($0, from, element) ? to : $0 }
      return try ArrayBuilder.make(
        values, element: element, dimensions: (0..<view.dimensions).map { (view.length($0), view.lowerBound($0)) },
        arena)
    }
    for hasBounds in [false, true] {
      let types: [TypeID] = hasBounds ? [.anyelement, TypeID(1007), TypeID(1007)] : [.anyelement, TypeID(1007)]
      add(
        ScalarFunction(
          "array_fill", types, returns: .anyarray, strict: false,
          specialise: { (actual) throws(SQLError) in
            let element = actual[0].id
            return ScalarFunction("array_fill", actual.map(\.id), returns: element.info.array ?? .text, strict: false) {
              (a, c) throws(SQLError) in
              try ArrayLibrary.fill(a, element, hasBounds: hasBounds, c.arena)
            }
          }
        ) { (_, _) throws(SQLError) in .null })
    }
  }

  private mutating func addArraySearch() {
    withElement("array_position", [.anycompatiblearray, .anycompatible], .int4, arrayAt: 0) {
      (a, element, _) throws(SQLError) in
      try ArrayLibrary.position(a[0], a[1], element, from: 1)
    }
    withElement("array_position", [.anycompatiblearray, .anycompatible, .int4], .int4, arrayAt: 0) {
      (a, element, _) throws(SQLError) in
      try ArrayLibrary.position(a[0], a[1], element, from: Int(a[2].int))
    }
    withElement("array_positions", [.anycompatiblearray, .anycompatible], TypeID(1007), arrayAt: 0) {
      (a, element, arena) throws(SQLError) in
      if a[0].isNull { return .null }
      let view = try ArrayView(a[0].bytes)
      var found: [Value] = []
      for index in 0..<view.count where ArrayLibrary.isSame(try view.value(index), a[1], element) {
        found.append(Value(index + view.lowerBound(0)))
      }
      return try ArrayBuilder.make(found, element: .int4, arena)
    }
    infix("@>", .anyarray, .anyarray, .bool, commutator: "<@") { (a, _) throws(SQLError) in
      Value(try ArrayLibrary.contains(a[0], a[1]))
    }
    infix("<@", .anyarray, .anyarray, .bool, commutator: "@>") { (a, _) throws(SQLError) in
      Value(try ArrayLibrary.contains(a[1], a[0]))
    }
    infix("&&", .anyarray, .anyarray, .bool, commutator: "&&") { (a, _) throws(SQLError) in
      let (x, y) = (try ArrayView(a[0].bytes), try ArrayView(a[1].bytes))
      guard let order = ValueOrder(x.element) else { return Value(false) }
      let others = try y.values
      for item in try x.values where !item.isNull {
        if others.contains(where: { !$0.isNull && order.equal(item, $0) }) { return Value(true) }
      }
      return Value(false)
    }
  }
}

enum ArrayLibrary {
  /// The pieces of `text` between separators: nil splits into characters, empty does not split.
  static func split(_ text: Bytes, _ separator: Bytes?) -> [Bytes] {
    if text.isEmpty { return [] }
    var parts: [Bytes] = []
    var at = 0
    guard let separator else {
      while at < text.count {
        let length = min(TextScan.characterLength(text[at]), text.count - at)
        parts.append(text[at..<at + length])
        at += length
      }
      return parts
    }
    if separator.isEmpty { return [text] }
    while let found = text.firstIndex(of: separator, from: at) {
      parts.append(text[at..<found])
      at = found + separator.count
    }
    parts.append(text[at..<text.count])
    return parts
  }

  static func isSame(_ a: Value, _ b: Value, _ element: TypeID) -> Bool {
    if a.isNull || b.isNull { return a.isNull && b.isNull }
    return ValueOrder(element)?.equal(a, b) ?? false
  }

  static func appending(
    _ array: Value, _ items: [Value], atEnd: Bool, _ element: TypeID, _ arena: Arena
  ) throws(SQLError) -> Value {
    if array.isNull { return try ArrayBuilder.make(items, element: element, arena) }
    let view = try ArrayView(array.bytes)
    guard view.dimensions <= 1 else {
      throw SQLError(SQLState(rawValue: "22000"), "argument must be empty or one-dimensional array")
    }
    let values = atEnd ? try view.values + items : items + (try view.values)
    let lower = view.dimensions == 1 ? view.lowerBound(0) : 1
    return try ArrayBuilder.make(values, element: element, dimensions: [(values.count, lower)], arena)
  }

  static func concatenate(_ a: Value, _ b: Value, _ element: TypeID, _ arena: Arena) throws(SQLError) -> Value {
    if a.isNull { return b }
    if b.isNull { return a }
    let (x, y) = (try ArrayView(a.bytes), try ArrayView(b.bytes))
    if x.count == 0 { return b }
    if y.count == 0 { return a }
    func mismatch() -> SQLError {
      SQLError(SQLState(rawValue: "2202E"), "cannot concatenate incompatible arrays")
    }
    var dimensions: [(length: Int, lowerBound: Int)]
    func shape(_ v: ArrayView) -> [(length: Int, lowerBound: Int)] {
      (0..<v.dimensions).map { (v.length($0), v.lowerBound($0)) }
    }
    func agree(_ p: ArraySlice<(length: Int, lowerBound: Int)>, _ q: ArraySlice<(length: Int, lowerBound: Int)>) -> Bool
    {
      p.count == q.count && zip(p, q).allSatisfy { $0.length == $1.length }
    }
    let (p, q) = (shape(x), shape(y))
    if p.count == q.count {
      guard agree(p.dropFirst(), q.dropFirst()) else { throw mismatch() }
      dimensions = p
      dimensions[0].length += q[0].length
    } else if p.count == q.count + 1 {
      guard agree(p.dropFirst(), q[...]) else { throw mismatch() }
      dimensions = p
      dimensions[0].length += 1
    } else if p.count + 1 == q.count {
      guard agree(p[...], q.dropFirst()) else { throw mismatch() }
      dimensions = q
      dimensions[0].length += 1
    } else {
      throw mismatch()
    }
    return try ArrayBuilder.make(try x.values + (try y.values), element: element, dimensions: dimensions, arena)
  }

  static func position(_ array: Value, _ wanted: Value, _ element: TypeID, from: Int) throws(SQLError) -> Value {
    if array.isNull { return .null }
    let view = try ArrayView(array.bytes)
    guard view.dimensions <= 1 else {
      throw SQLError(.featureNotSupported, "searching for elements in multidimensional arrays is not supported")
    }
    let lower = view.dimensions == 0 ? 1 : view.lowerBound(0)
    for index in max(0, from - lower)..<max(view.count, from - lower, 0) where index < view.count {
      if isSame(try view.value(index), wanted, element) { return Value(index + lower) }
    }
    return .null
  }

  static func contains(_ a: Value, _ b: Value) throws(SQLError) -> Bool {
    let (x, y) = (try ArrayView(a.bytes), try ArrayView(b.bytes))
    guard let order = ValueOrder(x.element) else { return false }
    let all = try x.values
    for item in try y.values {
      if item.isNull || !all.contains(where: { !$0.isNull && order.equal($0, item) }) { return false }
    }
    return true
  }

  static func fill(_ a: Arguments, _ element: TypeID, hasBounds: Bool, _ arena: Arena) throws(SQLError) -> Value {
    let nullArgument = SQLState(rawValue: "22004")
    guard !a[1].isNull, !hasBounds || !a[2].isNull else {
      throw SQLError(nullArgument, "dimension array or low bound array cannot be null")
    }
    let lengths = try ArrayView(a[1].bytes).values
    let lowers = hasBounds ? try ArrayView(a[2].bytes).values : lengths.map { _ in Value(1) }
    guard lengths.count == lowers.count, lengths.count <= 6, !lengths.contains(where: \.isNull) else {
      throw SQLError(SQLState(rawValue: "2202E"), "wrong number of array subscripts")
    }
    var total = lengths.isEmpty ? 0 : 1
    for length in lengths {
      guard length.int >= 0, length.int < 1 << 27, total * Int(length.int) <= ArrayBuilder.elementLimit else {
        throw SQLError(.programLimit, "array size exceeds the maximum allowed (\(ArrayBuilder.elementLimit))")
      }
      total *= Int(length.int)
    }
    let dimensions = total == 0 ? [] : zip(lengths, lowers).map { (length: Int($0.int), lowerBound: Int($1.int)) }
    return try ArrayBuilder.make(
      Array(repeating: a[0], count: total), element: element, dimensions: dimensions, arena)
  }
}
