// LIKE: `%` any run, `_` any character, `\` the next one literally. Matching backtracks only to the last `%`, so it takes
// time at most the product of the lengths.

enum LikeMatcher {
  static func badEscape() -> SQLError {
    SQLError(.invalidEscape, "LIKE pattern must not end with escape character")
  }

  /// Whether `text` matches; letters of ASCII and, for ILIKE, the caller folds both sides first.
  static func matches(_ text: Bytes, _ pattern: Bytes) throws(SQLError) -> Bool {
    var t = 0
    var p = 0
    // Where to resume after the last %: the pattern behind it and the text it has swallowed up to.
    var resumePattern = -1
    var resumeText = 0
    while true {
      if p < pattern.count {
        let byte = pattern[p]
        if byte == UInt8(ascii: "%") {
          p += 1
          if p == pattern.count { return true }
          resumePattern = p
          resumeText = t
          continue
        }
        if t < text.count {
          if byte == UInt8(ascii: "_") {
            t += min(TextScan.characterLength(text[t]), text.count - t)
            p += 1
            continue
          }
          var wanted = byte
          var width = 1
          if byte == UInt8(ascii: "\\") {
            guard p + 1 < pattern.count else { throw badEscape() }
            wanted = pattern[p + 1]
            width = 2
          }
          if text[t] == wanted {
            t += 1
            p += width
            continue
          }
        }
      } else if t == text.count {
        return true
      }
      guard resumePattern >= 0, resumeText < text.count else { return false }
      resumeText += min(TextScan.characterLength(text[resumeText]), text.count - resumeText)
      t = resumeText
      p = resumePattern
    }
  }

  /// like_escape(pattern, escape): the pattern with `\` as its escape.
  static func normalised(_ pattern: Bytes, escape: Bytes, _ arena: Arena) throws(SQLError) -> Bytes {
    guard escape.isEmpty || TextScan.characterCount(escape) == 1 else {
      throw SQLError(
        SQLState(rawValue: "22019"), "invalid escape string", detail: nil,
        hint: "Escape string must be empty or one character.")
    }
    if escape.count == 1, escape[0] == UInt8(ascii: "\\") { return pattern }
    var buffer = ByteBuffer(capacity: pattern.count + 8)
    var at = 0
    while at < pattern.count {
      if !escape.isEmpty, at + escape.count <= pattern.count, pattern[at..<at + escape.count].equals(escape) {
        at += escape.count
        buffer.append(UInt8(ascii: "\\"))
        guard at < pattern.count else { break }
        buffer.append(pattern[at])
        at += 1
        continue
      }
      if pattern[at] == UInt8(ascii: "\\") { buffer.append(UInt8(ascii: "\\")) }
      buffer.append(pattern[at])
      at += 1
    }
    return buffer.copied(into: arena)
  }

  /// The literal text before the first wildcard, for index ranges; nil escape handling errors end the prefix.
  package static func prefix(_ pattern: Bytes) -> (text: [UInt8], isWhole: Bool) {
    var result: [UInt8] = []
    var at = 0
    while at < pattern.count {
      let byte = pattern[at]
      if byte == UInt8(ascii: "%") || byte == UInt8(ascii: "_") { return (result, false) }
      if byte == UInt8(ascii: "\\") {
        at += 1
        guard at < pattern.count else { return (result, false) }
      }
      result.append(pattern[at])
      at += 1
    }
    return (result, true)
  }
}

extension FunctionRegistry {
  mutating func addLike() {
    let names: [(String, String, Bool, Bool)] = [
      ("~~", "like", false, false), ("!~~", "notlike", false, true), ("~~*", "texticlike", true, false),
      ("!~~*", "texticnlike", true, true),
    ]
    for (op, name, folds, negated) in names {
      infix(
        op, .text, .text, .bool, function: name, intrinsic: .like(caseInsensitive: folds, negated: negated),
        negator: String(negated ? op.dropFirst() : "!\(op)"[...])
      ) { (a, c) throws(SQLError) in
        guard folds else { return Value(try LikeMatcher.matches(a[0].bytes, a[1].bytes) != negated) }
        let text = TextFunctions.mapped(a[0].bytes, c.arena, TextScan.lower) { $0.lowercaseMapping }
        let pattern = TextFunctions.mapped(a[1].bytes, c.arena, TextScan.lower) { $0.lowercaseMapping }
        return Value(try LikeMatcher.matches(text.bytes, pattern.bytes) != negated)
      }
      // char(n) keeps its trailing blanks in LIKE.
      infix(op, .bpchar, .text, .bool) { (a, c) throws(SQLError) in
        guard folds else { return Value(try LikeMatcher.matches(a[0].bytes, a[1].bytes) != negated) }
        let text = TextFunctions.mapped(a[0].bytes, c.arena, TextScan.lower) { $0.lowercaseMapping }
        let pattern = TextFunctions.mapped(a[1].bytes, c.arena, TextScan.lower) { $0.lowercaseMapping }
        return Value(try LikeMatcher.matches(text.bytes, pattern.bytes) != negated)
      }
    }
    infix("~~", .bytea, .bytea, .bool) { (a, _) throws(SQLError) in
      Value(try LikeMatcher.matches(a[0].bytes, a[1].bytes))
    }
    scalar("like_escape", [.text, .text], .text) { (a, c) throws(SQLError) in
      Value(try LikeMatcher.normalised(a[0].bytes, escape: a[1].bytes, c.arena))
    }
  }
}
