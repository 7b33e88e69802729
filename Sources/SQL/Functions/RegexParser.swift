internal import Synchronization

// The syntax of regular expressions (see `Regex.swift`), and the cache of compiled ones.

struct RegexFlags: Hashable, Sendable {
  var ignoreCase = false
  /// `.` and negated brackets do not match a newline.
  var newlineStops = false
  /// ^ and $ match at newlines.
  var newlineAnchors = false
  var expanded = false
  var isLiteral = false
  var isGlobal = false

  static func invalid(_ letter: Character) -> SQLError {
    SQLError(.invalidParameterValue, "invalid regular expression option: \"\(letter)\"")
  }

  init() {}
  init(_ text: String) throws(SQLError) { for letter in text { try apply(letter) } }

  mutating func apply(_ letter: Character) throws(SQLError) {
    switch letter {
    case "g": isGlobal = true
    case "i": ignoreCase = true
    case "c": ignoreCase = false
    case "n", "m": (newlineStops, newlineAnchors) = (true, true)
    case "s": (newlineStops, newlineAnchors) = (false, false)
    case "p": (newlineStops, newlineAnchors) = (true, false)
    case "w": (newlineStops, newlineAnchors) = (false, true)
    case "x": expanded = true
    case "t": expanded = false
    case "q": isLiteral = true
    case "e", "b":
      throw SQLError(
        .featureNotSupported, "regular expression option \"\(letter)\" is not supported",
        hint: "Expressions are always advanced ones.")
    default: throw RegexFlags.invalid(letter)
    }
  }
}

struct RegexParser {
  private var pattern: [UInt32]
  private var at = 0
  private var depth = 0
  var flags: RegexFlags
  private(set) var groupCount = 0
  private(set) var hasReferences = false
  private var closedGroups: Set<Int> = []

  init(_ text: String, flags: RegexFlags) {
    pattern = text.unicodeScalars.map(\.value)
    self.flags = flags
  }

  private var current: UInt32? { at < pattern.count ? pattern[at] : nil }
  private func isAt(_ character: Character) -> Bool { current == character.unicodeScalars.first!.value }
  private func hasPrefix(_ text: String) -> Bool {
    let wanted = text.unicodeScalars.map(\.value)
    return at + wanted.count <= pattern.count && Array(pattern[at..<at + wanted.count]) == wanted
  }
  private mutating func take(_ text: String) -> Bool {
    guard hasPrefix(text) else { return false }
    at += text.unicodeScalars.count
    return true
  }

  mutating func parse() throws(SQLError) -> Regex.Node {
    if take("***=") { flags.isLiteral = true } else if take("***:") {}
    if flags.isLiteral { return .concatenation(pattern[at...].map { literal($0) }) }
    if hasPrefix("(?"), at + 2 < pattern.count, let letter = UnicodeScalar(pattern[at + 2]),
      letter.properties.isAlphabetic
    {
      at += 2
      while let scalar = current.flatMap(UnicodeScalar.init), scalar != ")" {
        try flags.apply(Character(scalar))
        at += 1
      }
      guard take(")") else { throw Regex.invalid("parentheses () not balanced") }
    }
    let node = try alternation()
    guard at == pattern.count else { throw Regex.invalid("parentheses () not balanced") }
    return node
  }

  private func literal(_ scalar: UInt32) -> Regex.Node {
    .set(
      Regex.CharacterSet(ranges: [scalar...scalar], foldsCase: flags.ignoreCase && !Regex.caseVariants(scalar).isEmpty))
  }

  private mutating func alternation() throws(SQLError) -> Regex.Node {
    depth += 1
    defer { depth -= 1 }
    guard depth < 250 else { throw Regex.tooComplex() }
    var branches = [try branch()]
    while take("|") { branches.append(try branch()) }
    return branches.count == 1 ? branches[0] : .alternation(branches)
  }

  private mutating func skipExpanded() {
    guard flags.expanded else { return }
    while let scalar = current {
      if Regex.isInClass(scalar, UInt8(ascii: "s")) {
        at += 1
      } else if scalar == 35 {
        while let inner = current, inner != 10 { at += 1; _ = inner }
      } else {
        break
      }
    }
  }

  private mutating func branch() throws(SQLError) -> Regex.Node {
    var parts: [Regex.Node] = []
    while true {
      skipExpanded()
      guard let scalar = current, scalar != 124, scalar != 41 else { break }
      let atom = try self.atom()
      parts.append(try quantified(atom))
    }
    return parts.isEmpty ? .empty : parts.count == 1 ? parts[0] : .concatenation(parts)
  }

  private mutating func quantified(_ atom: Regex.Node) throws(SQLError) -> Regex.Node {
    skipExpanded()
    var (low, high): (Int, Int?) = (1, 1)
    if take("*") {
      (low, high) = (0, nil)
    } else if take("+") {
      (low, high) = (1, nil)
    } else if take("?") {
      (low, high) = (0, 1)
    } else if isAt("{"), at + 1 < pattern.count, pattern[at + 1] >= 48, pattern[at + 1] <= 57 {
      at += 1
      low = try count()
      high = low
      if take(",") {
        high = isAt("}") ? nil : try count()
      }
      guard take("}") else { throw Regex.invalid("braces {} not balanced") }
      guard high ?? low >= low else { throw Regex.invalid("invalid repetition count(s)") }
    } else {
      return atom
    }
    switch atom {
    case .assertion, .look: throw Regex.invalid("quantifier operand invalid")
    default: break
    }
    let lazy = take("?")
    if isAt("*") || isAt("+") || isAt("?") { throw Regex.invalid("quantifier operand invalid") }
    return .repetition(atom, low: low, high: high, lazy: lazy)
  }

  private mutating func count() throws(SQLError) -> Int {
    var value = 0
    let start = at
    while let scalar = current, scalar >= 48, scalar <= 57 {
      value = value * 10 + Int(scalar - 48)
      guard value <= 255 else { throw Regex.invalid("invalid repetition count(s)") }
      at += 1
    }
    guard at > start else { throw Regex.invalid("invalid repetition count(s)") }
    return value
  }

  private mutating func atom() throws(SQLError) -> Regex.Node {
    guard let scalar = current else { return .empty }
    switch scalar {
    case 40: return try group()
    case 91: return .set(try bracket())
    case 46:
      at += 1
      return .set(Regex.CharacterSet(ranges: [0...0x10ffff], excludesNewline: flags.newlineStops))
    case 94:
      at += 1
      return .assertion(.lineStart)
    case 36:
      at += 1
      return .assertion(.lineEnd)
    case 92: return try escape()
    case 42, 43, 63: throw Regex.invalid("quantifier operand invalid")
    case 123 where at + 1 < pattern.count && pattern[at + 1] >= 48 && pattern[at + 1] <= 57:
      throw Regex.invalid("quantifier operand invalid")
    default:
      at += 1
      return literal(scalar)
    }
  }

  private mutating func group() throws(SQLError) -> Regex.Node {
    var kind = 0
    if take("(?:") {
      kind = 1
    } else if take("(?=") {
      kind = 2
    } else if take("(?!") {
      kind = 3
    } else if take("(?<=") {
      kind = 4
    } else if take("(?<!") {
      kind = 5
    } else if hasPrefix("(?") {
      throw Regex.invalid("quantifier operand invalid")
    } else {
      at += 1
    }
    var index = 0
    if kind == 0 {
      groupCount += 1
      index = groupCount
    }
    let inner = try alternation()
    guard take(")") else { throw Regex.invalid("parentheses () not balanced") }
    switch kind {
    case 0:
      closedGroups.insert(index)
      return .group(inner, index: index)
    case 1: return inner
    default: return .look(inner, ahead: kind <= 3, negated: kind == 3 || kind == 5)
    }
  }

  private mutating func hexScalar(_ digits: Int) throws(SQLError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<digits {
      guard let scalar = current, scalar < 128, let digit = TextScan.hexValue(UInt8(scalar)) else {
        throw Regex.invalid("invalid escape \\ sequence")
      }
      value = value << 4 | UInt32(digit)
      at += 1
    }
    return value
  }

  private static let classes: [UInt32: (UInt8, Bool)] = [
    100: (UInt8(ascii: "d"), false), 119: (UInt8(ascii: "w"), false), 115: (UInt8(ascii: "s"), false),
    68: (UInt8(ascii: "d"), true), 87: (UInt8(ascii: "w"), true), 83: (UInt8(ascii: "s"), true),
  ]

  private mutating func escape() throws(SQLError) -> Regex.Node {
    at += 1
    guard let scalar = current else { throw Regex.invalid("invalid escape \\ sequence") }
    if let (kind, negated) = RegexParser.classes[scalar] {
      at += 1
      return .set(Regex.CharacterSet(classes: [(kind, negated)]))
    }
    let assertions: [UInt32: Regex.Assertion] = [
      65: .textStart, 90: .textEnd, 109: .wordStart, 77: .wordEnd, 121: .wordBoundary, 89: .notWordBoundary,
    ]
    if let assertion = assertions[scalar] {
      at += 1
      return .assertion(assertion)
    }
    if scalar >= 49, scalar <= 57 {
      at += 1
      let index = Int(scalar - 48)
      guard closedGroups.contains(index) else { throw Regex.invalid("invalid backreference number") }
      hasReferences = true
      return .reference(index)
    }
    return literal(try characterEscape())
  }

  /// An escape that stands for one character.
  private mutating func characterEscape() throws(SQLError) -> UInt32 {
    guard let scalar = current else { throw Regex.invalid("invalid escape \\ sequence") }
    at += 1
    switch scalar {
    case 110: return 10
    case 116: return 9
    case 114: return 13
    case 102: return 12
    case 118: return 11
    case 97: return 7
    case 98: return 8
    case 101: return 27
    case 66: return 92
    case 48: return 0
    case 120:
      var value: UInt32 = 0
      var digits = 0
      while let next = current, next < 128, let digit = TextScan.hexValue(UInt8(next)), digits < 8 {
        value = value << 4 | UInt32(digit)
        digits += 1
        at += 1
      }
      guard digits > 0 else { throw Regex.invalid("invalid escape \\ sequence") }
      return value
    case 117: return try hexScalar(4)
    case 85: return try hexScalar(8)
    default:
      // Letters and digits without a meaning are errors; everything else stands for itself.
      guard let unicode = UnicodeScalar(scalar), !unicode.properties.isAlphabetic, !(scalar >= 48 && scalar <= 57)
      else {
        throw Regex.invalid("invalid escape \\ sequence")
      }
      return scalar
    }
  }

  private static let posix: [String: UInt8] = [
    "alpha": 97, "alnum": 110, "upper": 117, "lower": 108, "digit": 100, "space": 115, "punct": 112, "blank": 98,
    "cntrl": 99,
    "graph": 103, "print": 114, "xdigit": 120, "word": 119,
  ]

  private mutating func bracket() throws(SQLError) -> Regex.CharacterSet {
    at += 1
    var set = Regex.CharacterSet(foldsCase: flags.ignoreCase)
    if take("^") {
      set.isNegated = true
      set.excludesNewline = flags.newlineStops
    }
    var isFirst = true
    while true {
      guard let scalar = current else { throw Regex.invalid("brackets [] not balanced") }
      if scalar == 93, !isFirst {
        at += 1
        return set
      }
      isFirst = false
      if take("[:") {
        var name = ""
        while let inner = current.flatMap(UnicodeScalar.init), inner.properties.isAlphabetic {
          name.unicodeScalars.append(inner)
          at += 1
        }
        guard take(":]"), let kind = RegexParser.posix[name] else { throw Regex.invalid("invalid character class") }
        set.classes.append((kind, false))
        continue
      }
      if scalar == 92, at + 1 < pattern.count, let (kind, negated) = RegexParser.classes[pattern[at + 1]] {
        at += 2
        set.classes.append((kind, negated))
        continue
      }
      let low = try bracketScalar()
      var high = low
      if isAt("-"), at + 1 < pattern.count, pattern[at + 1] != 93 {
        at += 1
        high = try bracketScalar()
        guard high >= low else { throw Regex.invalid("invalid character range") }
      }
      set.ranges.append(low...high)
    }
  }

  private mutating func bracketScalar() throws(SQLError) -> UInt32 {
    guard let scalar = current else { throw Regex.invalid("brackets [] not balanced") }
    if take("[.") || take("[=") {
      guard let inner = current else { throw Regex.invalid("brackets [] not balanced") }
      at += 1
      guard take(".]") || take("=]") else { throw Regex.invalid("invalid collating element") }
      return inner
    }
    at += 1
    return scalar == 92 ? try characterEscape() : scalar
  }
}

/// Compiled expressions by pattern and flags, shared by all sessions.
enum RegexCache {
  private struct Key: Hashable {
    let pattern: String
    let flags: RegexFlags
  }
  private static let cache = Mutex<[Key: Regex]>([:])
  private static let limit = 512

  static func regex(_ pattern: Bytes, _ flags: RegexFlags) throws(SQLError) -> Regex {
    let key = Key(pattern: pattern.string, flags: flags)
    if let known = cache.withLock({ $0[key] }) { return known }
    let made = try Regex(key.pattern, flags: flags)
    cache.withLock {
      if $0.count >= limit { $0.removeAll() }
      $0[key] = made
    }
    return made
  }
}
