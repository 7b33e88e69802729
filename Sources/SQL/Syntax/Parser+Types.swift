/// Type names.
extension SQLParser {
  /// A type with its array bounds: `Typename`.
  mutating func parseTypeName() throws(SyntaxError) -> TypeName {
    let position = here
    let isSet = take(.setof)
    var type = try parseSimpleType()
    type.isSet = isSet
    if isSet { type.name.position = position }
    while take(.leftBracket) {
      type.arrayBounds.append(at(.rightBracket) ? nil : try parseInteger())
      try expect(.rightBracket)
    }
    // `t ARRAY`, `t ARRAY[3]`: one dimension.
    if type.arrayBounds.isEmpty, take(.array) {
      if take(.leftBracket) {
        type.arrayBounds = [try parseInteger()]
        try expect(.rightBracket)
      } else {
        type.arrayBounds = [nil]
      }
    }
    return type
  }

  /// A type without array bounds: `SimpleTypename`.
  mutating func parseSimpleType() throws(SyntaxError) -> TypeName {
    if let type = try parseBuiltinType() {
      if type.name.parts[1] == "interval" { return try parseIntervalSuffix(type) }
      return type
    }
    guard isTypeFunctionName(token) else { throw unexpected() }
    let position = here
    var parts = [try takeName()]
    while take(.dot) { parts.append(try parseLabel()) }
    var type = TypeName(name: QualifiedName(parts, position: position))
    if at(.leftParen) { type.modifiers = try parseExpressionList() }
    return type
  }

  /// The types with a syntax of their own; nil if the token begins none. An interval's fields are left to the caller,
  /// since a constant has them after its string.
  mutating func parseBuiltinType() throws(SyntaxError) -> TypeName? {
    guard let keyword = token.keyword else { return nil }
    let position = here
    func system(_ name: String) -> TypeName {
      TypeName(name: QualifiedName(["pg_catalog", name], position: position))
    }
    switch keyword {
    case .int, .integer: advance(); return system("int4")
    case .smallint: advance(); return system("int2")
    case .bigint: advance(); return system("int8")
    case .real: advance(); return system("float4")
    case .boolean: advance(); return system("bool")
    case .float: return try parseFloat(at: position)
    case .double:
      guard peek().keyword == .precision else { return nil }
      advance()
      advance()
      return system("float8")
    case .decimal, .dec, .numeric:
      advance()
      var type = system("numeric")
      if at(.leftParen) { type.modifiers = try parseExpressionList() }
      return type
    case .bit: throw unsupported("the type bit")
    case .character, .char, .varchar, .national, .nchar: return try parseCharacter(at: position)
    case .timestamp, .time: return try parseTime(at: position)
    case .interval: advance(); return system("interval")
    default: return nil
    }
  }

  /// `FLOAT(p)`: single up to 24 bits, double up to 53.
  private mutating func parseFloat(at position: Int) throws(SyntaxError) -> TypeName {
    advance()
    var name = "float8"
    if take(.leftParen) {
      let place = here
      let bits = try parseInteger()
      try expect(.rightParen)
      guard bits >= 1 else {
        throw SyntaxError(
          .invalidParameterValue, "precision for type float must be at least 1 bit", position: place)
      }
      guard bits <= 53 else {
        throw SyntaxError(
          .invalidParameterValue, "precision for type float must be less than 54 bits", position: place)
      }
      if bits <= 24 { name = "float4" }
    }
    return TypeName(name: QualifiedName(["pg_catalog", name], position: position))
  }

  private mutating func parseCharacter(at position: Int) throws(SyntaxError) -> TypeName {
    var varying = at(.varchar)
    if take(.national) {
      guard at(.character) || at(.char) else { throw unexpected() }
    }
    advance()
    if !varying { varying = take(.varying) }
    var type = TypeName(name: QualifiedName(["pg_catalog", varying ? "varchar" : "bpchar"], position: position))
    if take(.leftParen) {
      let place = here
      type.modifiers = [Expression(.number(String(try parseInteger())), place)]
      try expect(.rightParen)
    } else if !varying {
      // CHAR alone is CHAR(1), but a constant CHAR 'abc' is not cut: see parseTypedConstant.
      type.modifiers = [Expression(.number("1"), position)]
    }
    return type
  }

  private mutating func parseTime(at position: Int) throws(SyntaxError) -> TypeName {
    var name = at(.time) ? "time" : "timestamp"
    advance()
    var modifiers: [Expression] = []
    if take(.leftParen) {
      let place = here
      modifiers = [Expression(.number(String(try parseInteger())), place)]
      try expect(.rightParen)
    }
    if at(.with), peek().keyword == .time {
      advance()
      advance()
      try expect(.zone)
      name += "tz"
    } else if at(.without), peek().keyword == .time {
      advance()
      advance()
      try expect(.zone)
    }
    return TypeName(name: QualifiedName(["pg_catalog", name], position: position), modifiers: modifiers)
  }

  /// What may follow INTERVAL in a type: `(p)`, or fields.
  mutating func parseIntervalSuffix(_ type: TypeName) throws(SyntaxError) -> TypeName {
    var type = type
    if at(.leftParen) {
      type.modifiers = [try parseIntervalPrecision()]
    } else {
      try parseIntervalFields(&type)
    }
    return type
  }

  /// `(p)`.
  mutating func parseIntervalPrecision() throws(SyntaxError) -> Expression {
    try expect(.leftParen)
    let place = here
    let precision = Expression(.number(String(try parseInteger())), place)
    try expect(.rightParen)
    return precision
  }

  /// `DAY`, `DAY TO SECOND(p)`, or nothing.
  mutating func parseIntervalFields(_ type: inout TypeName) throws(SyntaxError) {
    typealias Fields = Syntax.IntervalFields
    guard let first = token.keyword else { return }
    switch first {
    case .year, .month, .day, .hour, .minute, .second: advance()
    default: return
    }
    var fields = Fields(rawValue: first.text)
    if first != .second, first != .month, take(.to) {
      guard let last = token.keyword, let both = Fields(rawValue: first.text + " to " + last.text) else {
        throw unexpected()
      }
      advance()
      fields = both
    }
    type.intervalFields = fields
    if fields?.rawValue.hasSuffix("second") == true, at(.leftParen) {
      type.modifiers = [try parseIntervalPrecision()]
    }
  }
}
