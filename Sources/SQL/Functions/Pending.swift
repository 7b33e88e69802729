extension FunctionRegistry {
  mutating func addFormatting() {}
  mutating func addJSON() {}
  mutating func addArrays() {}
  mutating func addSystem() {}
}
enum ArrayLibrary {
  /// The pieces of `text` between separators: nil splits into characters, empty does not split.
  static func split(_ text: Bytes, _ separator: Bytes?) -> [Bytes] {
    if text.isEmpty { return [] }
    guard let separator else {
      var parts: [Bytes] = []
      var at = 0
      while at < text.count {
        let length = min(TextScan.characterLength(text[at]), text.count - at)
        parts.append(text[at..<at + length])
        at += length
      }
      return parts
    }
    if separator.isEmpty { return [text] }
    var parts: [Bytes] = []
    var at = 0
    while let found = text.firstIndex(of: separator, from: at) {
      parts.append(text[at..<found])
      at = found + separator.count
    }
    parts.append(text[at..<text.count])
    return parts
  }
}
