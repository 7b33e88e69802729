// Regular expressions: PostgreSQL's advanced ones (ARE), over Unicode scalars.
//
// A pattern becomes a Thompson automaton. Finding is a simulation of all its states at once, so time is at most
// (states · characters) whatever the pattern: no input can make it explode. Of the matches that begin leftmost the longest
// is taken (or the shortest, when the expression prefers that: when its first quantifier is a lazy one), as POSIX says.
// Sub-matches are then found by a memoised search within the match's bounds, greedy and lazy as written.
// Back-references need plain backtracking; it is bounded by a number of steps and fails with an error beyond.
//
// Syntax: . [a-z] [^…] [[:alpha:]] ( ) (?: ) (?= ) (?! ) (?<= ) (?<! ) | * + ? {m,n} each with ? for lazy, ^ $,
// \A \Z \m \M \y \Y, \d \w \s \D \W \S, \n \t \r \f \v \a \e \b(ackspace in brackets) \xhh \uhhhh \Uhhhhhhhh, \1…\9,
// (?flags) and ***: or ***= at the start; flags i c n p w s x q m b(refused) e(refused).

final class Regex: Sendable {
  indirect enum Node: Sendable {
    case empty
    case set(CharacterSet)
    case concatenation([Node])
    case alternation([Node])
    case repetition(Node, low: Int, high: Int?, lazy: Bool)
    case group(Node, index: Int)
    case assertion(Assertion)
    case look(Node, ahead: Bool, negated: Bool)
    case reference(Int)
  }
  enum Assertion: Sendable {
    case lineStart, lineEnd, textStart, textEnd, wordStart, wordEnd, wordBoundary, notWordBoundary
  }

  struct CharacterSet: Sendable {
    var ranges: [ClosedRange<UInt32>] = []
    var classes: [(UInt8, Bool)] = []
    var isNegated = false
    var foldsCase = false
    var excludesNewline = false

    func contains(_ scalar: UInt32) -> Bool {
      if excludesNewline, scalar == 10 { return false }
      if base(scalar) { return !isNegated }
      if foldsCase {
        for other in Regex.caseVariants(scalar) where base(other) { return !isNegated }
      }
      return isNegated
    }
    private func base(_ scalar: UInt32) -> Bool {
      for range in ranges where range.contains(scalar) { return true }
      for (kind, negated) in classes where Regex.isInClass(scalar, kind) != negated { return true }
      return false
    }
  }

  enum Instruction: Sendable {
    case scalar(UInt32)
    case set(Int)
    case jump(Int)
    /// The first is preferred.
    case split(Int, Int)
    case save(Int)
    case assertion(Assertion)
    case look(Int, ahead: Bool, negated: Bool)
    case reference(Int)
    case match
  }

  let program: [Instruction]
  let sets: [CharacterSet]
  /// The programs of lookaround.
  let looks: [Regex]
  let groupCount: Int
  let prefersShortest: Bool
  let hasReferences: Bool
  let newlineSensitive: Bool
  let foldsCase: Bool
  /// When the pattern begins with a literal scalar, where a match can begin.
  private let firstScalar: UInt32?

  static let stateLimit = 50_000
  static let stepLimit = 20_000_000

  static func invalid(_ reason: String) -> SQLError {
    SQLError(.invalidRegularExpression, "invalid regular expression: \(reason)")
  }
  static func tooComplex() -> SQLError {
    SQLError(
      .invalidRegularExpression, "invalid regular expression: regular expression is too complex",
      hint: "Use smaller repetition counts.")
  }

  convenience init(_ pattern: String, flags: RegexFlags) throws(SQLError) {
    var parser = RegexParser(pattern, flags: flags)
    let node = try parser.parse()
    try self.init(
      node, groups: parser.groupCount, flags: parser.flags, hasReferences: parser.hasReferences)
  }

  init(_ node: Node, groups: Int, flags: RegexFlags, hasReferences: Bool) throws(SQLError) {
    var builder = Builder(flags: flags)
    try builder.emit(node)
    builder.program.append(.match)
    program = builder.program
    sets = builder.sets
    looks = builder.looks
    groupCount = groups
    prefersShortest = Regex.preference(node) == true
    self.hasReferences = hasReferences
    newlineSensitive = flags.newlineAnchors
    foldsCase = flags.ignoreCase
    var first: UInt32? = nil
    for instruction in program {
      if case .save = instruction { continue }
      if case .scalar(let scalar) = instruction { first = scalar }
      break
    }
    firstScalar = first
  }

  /// Whether the node prefers the shortest match: true, false, or nil for no preference.
  private static func preference(_ node: Node) -> Bool? {
    switch node {
    case .repetition(_, let low, let high, let lazy): return high == low ? nil : lazy
    case .concatenation(let parts):
      for part in parts { if let found = preference(part) { return found } }
      return nil
    case .alternation: return false
    case .group(let inner, _): return preference(inner)
    default: return nil
    }
  }

  // MARK: Building

  private struct Builder {
    let flags: RegexFlags
    var program: [Instruction] = []
    var sets: [CharacterSet] = []
    var looks: [Regex] = []
    init(flags: RegexFlags) { self.flags = flags }

    mutating func emit(_ node: Node) throws(SQLError) {
      guard program.count < Regex.stateLimit else { throw Regex.tooComplex() }
      switch node {
      case .empty: break
      case .set(let set):
        if set.ranges.count == 1, set.classes.isEmpty, !set.isNegated, !set.foldsCase,
          set.ranges[0].lowerBound == set.ranges[0].upperBound
        {
          program.append(.scalar(set.ranges[0].lowerBound))
        } else {
          sets.append(set)
          program.append(.set(sets.count - 1))
        }
      case .concatenation(let parts): for part in parts { try emit(part) }
      case .alternation(let parts):
        var ends: [Int] = []
        for (index, part) in parts.enumerated() {
          guard index + 1 < parts.count else {
            try emit(part)
            break
          }
          let split = program.count
          program.append(.jump(0))
          try emit(part)
          ends.append(program.count)
          program.append(.jump(0))
          program[split] = .split(split + 1, program.count)
        }
        for end in ends { program[end] = .jump(program.count) }
      case .repetition(let inner, let low, let high, let lazy):
        for _ in 0..<low { try emit(inner) }
        if let high {
          // Optional copies, each inside the one before.
          var splits: [Int] = []
          for _ in low..<max(low, high) {
            splits.append(program.count)
            program.append(.jump(0))
            try emit(inner)
          }
          for split in splits {
            program[split] = lazy ? .split(program.count, split + 1) : .split(split + 1, program.count)
          }
        } else {
          let split = program.count
          program.append(.jump(0))
          try emit(inner)
          program.append(.jump(split))
          program[split] = lazy ? .split(program.count, split + 1) : .split(split + 1, program.count)
        }
      case .group(let inner, let index):
        program.append(.save(2 * index))
        try emit(inner)
        program.append(.save(2 * index + 1))
      case .assertion(let assertion): program.append(.assertion(assertion))
      case .look(let inner, let ahead, let negated):
        looks.append(try Regex(inner, groups: 0, flags: flags, hasReferences: false))
        program.append(.look(looks.count - 1, ahead: ahead, negated: negated))
      case .reference(let index): program.append(.reference(index))
      }
    }
  }

  // MARK: Characters

  static func caseVariants(_ scalar: UInt32) -> [UInt32] {
    if scalar < 128 {
      let letter = scalar | 0x20
      return letter >= 97 && letter <= 122 ? [scalar ^ 0x20] : []
    }
    guard let unicode = UnicodeScalar(scalar) else { return [] }
    return [unicode.properties.lowercaseMapping, unicode.properties.uppercaseMapping]
      .compactMap { $0.unicodeScalars.count == 1 ? $0.unicodeScalars.first!.value : nil }.filter { $0 != scalar }
  }

  static func isWord(_ scalar: UInt32) -> Bool { scalar == 95 || isInClass(scalar, UInt8(ascii: "w")) }

  /// d digit, w word, s space, and the POSIX classes: a alpha, n alnum, u upper, l lower, p punct, b blank, c cntrl,
  /// g graph, r print, x xdigit.
  static func isInClass(_ scalar: UInt32, _ kind: UInt8) -> Bool {
    guard let unicode = UnicodeScalar(scalar) else { return false }
    let p = unicode.properties
    switch kind {
    case UInt8(ascii: "d"): return scalar >= 48 && scalar <= 57 || (scalar > 127 && p.generalCategory == .decimalNumber)
    case UInt8(ascii: "w"): return scalar == 95 || p.isAlphabetic || p.generalCategory == .decimalNumber
    case UInt8(ascii: "s"): return scalar == 32 || (scalar >= 9 && scalar <= 13) || (scalar > 127 && p.isWhitespace)
    case UInt8(ascii: "a"): return p.isAlphabetic
    case UInt8(ascii: "n"): return p.isAlphabetic || p.generalCategory == .decimalNumber
    case UInt8(ascii: "u"): return p.isUppercase
    case UInt8(ascii: "l"): return p.isLowercase
    case UInt8(ascii: "p"):
      return scalar > 32 && scalar < 127
        ? !(p.isAlphabetic || (scalar >= 48 && scalar <= 57))
        : [.connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .otherPunctuation].contains(
          p.generalCategory)
    case UInt8(ascii: "b"): return scalar == 32 || scalar == 9
    case UInt8(ascii: "c"): return scalar < 32 || scalar == 127
    case UInt8(ascii: "g"): return scalar > 32 && scalar != 127 && !p.isWhitespace
    case UInt8(ascii: "r"): return scalar >= 32 && scalar != 127
    case UInt8(ascii: "x"): return scalar < 128 && TextScan.hexValue(UInt8(scalar)) != nil
    default: return false
    }
  }

  // MARK: Finding

  /// A match: the bounds of the whole and of each group (-1 where a group took no part), in scalar offsets.
  struct Match {
    var bounds: [Int]
    var range: Range<Int> { bounds[0]..<bounds[1] }
    func group(_ index: Int) -> Range<Int>? {
      2 * index + 1 < bounds.count && bounds[2 * index] >= 0 && bounds[2 * index + 1] >= bounds[2 * index]
        ? bounds[2 * index]..<bounds[2 * index + 1] : nil
    }
  }

  func matches(_ text: [UInt32]) throws(SQLError) -> Bool {
    if hasReferences { return try find(text, from: 0, captures: false) != nil }
    return simulate(text, from: 0, anchored: false, anyEnd: true) != nil
  }

  func find(_ text: [UInt32], from: Int, captures: Bool = true) throws(SQLError) -> Match? {
    if hasReferences {
      for start in from...max(from, text.count) where start <= text.count {
        var search = Backtracker(self, text, start: start, end: nil)
        if let bounds = try search.run() { return Match(bounds: bounds) }
      }
      return nil
    }
    guard let (start, end) = simulate(text, from: from, anchored: false, anyEnd: false) else { return nil }
    if groupCount == 0 || !captures { return Match(bounds: [start, end]) }
    var search = Backtracker(self, text, start: start, end: end)
    return Match(bounds: try search.run() ?? [start, end])
  }

  /// The leftmost match's bounds, longest or shortest as preferred; with `anyEnd` the first that is noticed.
  private func simulate(_ text: [UInt32], from: Int, anchored: Bool, anyEnd: Bool) -> (Int, Int)? {
    var current = StateList(program.count)
    var next = StateList(program.count)
    // Leftmost first: one start at a time would be quadratic, so each state carries its start and earlier starts win.
    var best: (Int, Int)? = nil
    var at = from
    while true {
      if best == nil, !anchored || at == from {
        if let firstScalar, current.isEmpty, at < text.count, text[at] != firstScalar {
          // Nothing alive: skip to where a match can begin.
          if anchored { return nil }
          var skip = at + 1
          while skip < text.count, text[skip] != firstScalar { skip += 1 }
          if skip >= text.count { return nil }
          at = skip
        }
        add(0, start: at, at, text, &current)
      }
      if current.isEmpty { break }
      for index in 0..<current.count {
        let (state, start) = current[index]
        if let found = best, start > found.0 { continue }
        switch program[state] {
        case .match:
          if anyEnd { return (start, at) }
          if best == nil || start < best!.0 || (start == best!.0 && !prefersShortest) { best = (start, at) }
        case .scalar(let scalar):
          if at < text.count, text[at] == scalar { add(state + 1, start: start, at + 1, text, &next) }
        case .set(let set):
          if at < text.count, sets[set].contains(text[at]) { add(state + 1, start: start, at + 1, text, &next) }
        default: break
        }
      }
      swap(&current, &next)
      next.removeAll()
      if at >= text.count { break }
      at += 1
      if best != nil, current.isEmpty { break }
    }
    return best
  }

  /// The states reachable without reading, from `state`.
  private func add(_ state: Int, start: Int, _ at: Int, _ text: [UInt32], _ list: inout StateList) {
    var pending = [state]
    while let s = pending.popLast() {
      guard list.insert(s, start) else { continue }
      switch program[s] {
      case .jump(let target): pending.append(target)
      case .split(let first, let second):
        pending.append(second)
        pending.append(first)
      case .save: pending.append(s + 1)
      case .assertion(let assertion): if holds(assertion, at, text) { pending.append(s + 1) }
      case .look(let index, let ahead, let negated):
        if looks[index].looksLike(text, at, ahead: ahead) != negated { pending.append(s + 1) }
      default: break
      }
    }
  }

  /// Lookaround: whether the expression matches from here, or up to here.
  fileprivate func looksLike(_ text: [UInt32], _ at: Int, ahead: Bool) -> Bool {
    if ahead { return simulate(text, from: at, anchored: true, anyEnd: true) != nil }
    let head = Array(text[0..<at])
    for start in 0...at {
      if endsExactly(head, from: start) { return true }
    }
    return false
  }

  private func endsExactly(_ text: [UInt32], from: Int) -> Bool {
    var current = StateList(program.count)
    var next = StateList(program.count)
    add(0, start: from, from, text, &current)
    var at = from
    while true {
      for index in 0..<current.count {
        let (state, start) = current[index]
        switch program[state] {
        case .match: if at == text.count { return true }
        case .scalar(let scalar):
          if at < text.count, text[at] == scalar { add(state + 1, start: start, at + 1, text, &next) }
        case .set(let set):
          if at < text.count, sets[set].contains(text[at]) { add(state + 1, start: start, at + 1, text, &next) }
        default: break
        }
      }
      if at >= text.count || next.isEmpty { return false }
      swap(&current, &next)
      next.removeAll()
      at += 1
    }
  }

  fileprivate func holds(_ assertion: Assertion, _ at: Int, _ text: [UInt32]) -> Bool {
    let before = at > 0 && Regex.isWord(text[at - 1])
    let after = at < text.count && Regex.isWord(text[at])
    switch assertion {
    case .textStart: return at == 0
    case .textEnd: return at == text.count
    case .lineStart: return at == 0 || (newlineSensitive && text[at - 1] == 10)
    case .lineEnd: return at == text.count || (newlineSensitive && text[at] == 10)
    case .wordStart: return !before && after
    case .wordEnd: return before && !after
    case .wordBoundary: return before != after
    case .notWordBoundary: return before == after
    }
  }

  /// A set of states with the earliest start that reached each, in order of arrival.
  private struct StateList {
    private var entries: [(state: Int, start: Int)] = []
    private var position: [Int32]
    init(_ size: Int) { position = [Int32](repeating: -1, count: size) }
    var isEmpty: Bool { entries.isEmpty }
    var count: Int { entries.count }
    subscript(_ index: Int) -> (state: Int, start: Int) { entries[index] }
    mutating func insert(_ state: Int, _ start: Int) -> Bool {
      let known = Int(position[state])
      if known >= 0 {
        // A state that a later start reached first is taken over, and what follows from it is walked again.
        guard start < entries[known].start else { return false }
        entries[known].start = start
        return true
      }
      position[state] = Int32(entries.count)
      entries.append((state, start))
      return true
    }
    mutating func removeAll() {
      for entry in entries { position[entry.state] = -1 }
      entries.removeAll(keepingCapacity: true)
    }
  }

  /// Finds the groups of a match: depth first in order of preference; without references each (state, place) is tried once.
  private struct Backtracker {
    let regex: Regex
    let text: [UInt32]
    let start: Int
    let end: Int?
    var bounds: [Int]
    var visited: Set<Int> = []
    var steps = 0
    var best: [Int]? = nil

    init(_ regex: Regex, _ text: [UInt32], start: Int, end: Int?) {
      self.regex = regex
      self.text = text
      self.start = start
      self.end = end
      bounds = [Int](repeating: -1, count: 2 * (regex.groupCount + 1))
    }

    enum Task {
      case visit(Int, Int)
      case restore(Int, Int)
    }

    mutating func run() throws(SQLError) -> [Int]? {
      var stack: [Task] = [.visit(0, start)]
      while let task = stack.popLast() {
        switch task {
        case .restore(let slot, let value): bounds[slot] = value
        case .visit(let firstState, let firstAt):
          var (state, at) = (firstState, firstAt)
          walk: while true {
            steps += 1
            guard steps < Regex.stepLimit else { throw Regex.tooComplex() }
            if !regex.hasReferences, !visited.insert(state * (text.count + 1) + at).inserted { break walk }
            switch regex.program[state] {
            case .scalar(let scalar):
              guard at < text.count, text[at] == scalar else { break walk }
              (state, at) = (state + 1, at + 1)
            case .set(let set):
              guard at < text.count, regex.sets[set].contains(text[at]) else { break walk }
              (state, at) = (state + 1, at + 1)
            case .jump(let target): state = target
            case .split(let first, let second):
              stack.append(.visit(second, at))
              state = first
            case .save(let slot):
              stack.append(.restore(slot, bounds[slot]))
              bounds[slot] = at
              state += 1
            case .assertion(let assertion):
              guard regex.holds(assertion, at, text) else { break walk }
              state += 1
            case .look(let index, let ahead, let negated):
              guard regex.looks[index].looksLike(text, at, ahead: ahead) != negated else { break walk }
              state += 1
            case .reference(let index):
              let (low, high) = (bounds[2 * index], bounds[2 * index + 1])
              guard low >= 0, high >= low, at + high - low <= text.count else { break walk }
              for offset in 0..<high - low {
                let (x, y) = (text[low + offset], text[at + offset])
                guard x == y || (regex.foldsCase && Regex.caseVariants(x).contains(y)) else { break walk }
              }
              at += high - low
              state += 1
            case .match:
              var found = bounds
              found[0] = start
              found[1] = at
              if let end {
                if at == end { return found }
              } else if best == nil || (regex.prefersShortest ? at < best![1] : at > best![1]) {
                best = found
              }
              break walk
            }
          }
        }
      }
      return best
    }
  }
}
