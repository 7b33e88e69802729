import Synod

extension Shell {
  /// What the word before the cursor could become: a command, a keyword, a table, a column.
  func completions(_ before: String) -> LineEditor.Completion {
    let trimmed = before.drop { $0 == " " }
    let word = String(
      before.reversed().prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." || $0 == "\\" }.reversed())
    if pending.isEmpty, trimmed.hasPrefix(".") || trimmed.hasPrefix("\\"), trimmed.count == word.count {
      let names = Self.commands.flatMap(\.names).filter { $0.hasPrefix(word) }
      return LineEditor.Completion(wordLength: word.utf8.count, candidates: names.sorted())
    }
    guard !word.isEmpty else { return LineEditor.Completion(wordLength: 0, candidates: []) }
    let lower = word.lowercased()
    let objects = (try? connection.schemaObjects()) ?? []
    var found = Set<String>()
    for object in objects {
      if object.name.hasPrefix(lower) { found.insert(object.name) }
      // Columns of tables that the line names, or of all tables where it names none yet.
      for column in object.columns where column.hasPrefix(lower) { found.insert(column) }
    }
    if !trimmed.hasPrefix(".") && !trimmed.hasPrefix("\\") {
      let isLower = word == lower
      for keyword in ScriptReader.keywords where keyword.hasPrefix(lower) {
        found.insert(isLower ? keyword : keyword.uppercased())
      }
    }
    return LineEditor.Completion(wordLength: word.utf8.count, candidates: found.sorted())
  }
}
