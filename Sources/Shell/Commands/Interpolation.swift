/// Puts variables into a statement, as psql does: `:name` as it is, `:'name'` as a literal, `:"name"` as an identifier.
///
/// Names that are not set stay as they are, and so does everything in quotes, dollar quotes and comments, and `::`.
///
/// - Complexity: O(n) in the statement's length.
package func interpolate(_ statement: String, _ variables: [String: String]) -> String {
  guard !variables.isEmpty, statement.utf8.contains(UInt8(ascii: ":")) else { return statement }
  let text = Array(statement.unicodeScalars)
  var result = String.UnicodeScalarView()
  var at = 0
  /// Copies through the end of what begins at `at` and ends with `mark`.
  func copy(through mark: [UnicodeScalar], from start: Int) {
    var end = start
    while end < text.count, !text[end...].starts(with: mark) { end += 1 }
    end = min(text.count, end + mark.count)
    result.append(contentsOf: text[at..<end])
    at = end
  }
  while at < text.count {
    let next: UnicodeScalar? = at + 1 < text.count ? text[at + 1] : nil
    switch text[at] {
    case "'", "\"": copy(through: [text[at]], from: at + 1)
    case "-" where next == "-": copy(through: ["\n"], from: at + 2)
    case "/" where next == "*": copy(through: ["*", "/"], from: at + 2)
    case "$":
      let tag = text[(at + 1)...].prefix { isNamePart($0) }
      let end = at + 1 + tag.count
      if end < text.count, text[end] == "$", tag.first.map({ !("0"..."9").contains($0) }) ?? true {
        copy(through: Array(text[at...end]), from: end + 1)
      } else {
        result.append(text[at])
        at += 1
      }
    case ":" where next == ":":
      result.append(contentsOf: "::".unicodeScalars)
      at += 2
    case ":":
      let quote: UnicodeScalar? = next == "'" || next == "\"" ? next : nil
      let start = at + (quote == nil ? 1 : 2)
      let name = text[min(start, text.count)...].prefix { isNamePart($0) }
      let end = start + name.count
      let isClosed = quote == nil || end < text.count && text[end] == quote
      if !name.isEmpty, isClosed, let value = variables[String(String.UnicodeScalarView(name))] {
        let shown =
          quote == "'" ? sqlLiteral(value, .text) : quote == "\"" ? quotedIdentifier(value) : value
        result.append(contentsOf: shown.unicodeScalars)
        at = end + (quote == nil ? 0 : 1)
      } else {
        result.append(text[at])
        at += 1
      }
    default:
      result.append(text[at])
      at += 1
    }
  }
  return String(result)
}

private func isNamePart(_ scalar: UnicodeScalar) -> Bool {
  scalar == "_" || scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
}
