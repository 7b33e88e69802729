package import Synod

extension Shell {
  /// What the word before the cursor could become, by where it stands.
  func completions(_ before: String) -> LineEditor.Completion {
    let trimmed = before.drop { $0 == " " }
    let word = String(
      before.reversed().prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." || $0 == "\\" }.reversed())
    if pending.isEmpty, trimmed.hasPrefix(".") || trimmed.hasPrefix("\\") {
      if trimmed.count == word.count {
        let names = Self.commands.flatMap(\.names).filter { $0.hasPrefix(word) }
        return LineEditor.Completion(wordLength: word.utf8.count, candidates: names.sorted())
      }
      return argumentCompletions(String(trimmed))
    }
    let statement = pendingText + before.dropLast(word.count)
    let found = CompletionContext(statement: statement, word: word).candidates((try? connection.schemaObjects()) ?? [])
    let part = word.lastIndex(of: ".").map { String(word[word.index(after: $0)...]) } ?? word
    return LineEditor.Completion(wordLength: part.utf8.count, candidates: found)
  }

  /// A command's argument: a file where it takes one, otherwise a table.
  private func argumentCompletions(_ line: String) -> LineEditor.Completion {
    let name = line.prefix { $0 != " " }
    let word = String(line.reversed().prefix { $0 != " " && $0 != "'" }.reversed())
    let files = [
      ".read", "\\i", ".open", "\\c", ".import", ".output", "\\o", ".once", ".backup", ".restore", ".cd", ".log", "\\e",
    ]
    if files.contains(String(name)) {
      return LineEditor.Completion(wordLength: word.utf8.count, candidates: fileNames(startingWith: word))
    }
    let tables = ((try? connection.schemaObjects()) ?? []).map(\.name).filter { $0.hasPrefix(word) }
    return LineEditor.Completion(wordLength: word.utf8.count, candidates: Array(Set(tables)).sorted())
  }
}

/// Where in a statement a word stands, and what may stand there: after FROM a table, among the columns of the tables that
/// the statement names a column, at its beginning a keyword that begins one.
package struct CompletionContext {
  private let word: String
  /// The statement's words before the cursor, in lower case; punctuation is a word of its own.
  private let words: [String]

  package init(statement: String, word: String) {
    self.word = word
    words = Self.split(statement)
  }

  private static func split(_ text: String) -> [String] {
    var words: [String] = []
    var current = ""
    var quote: Character?
    for character in text {
      if let open = quote {
        if character == open { quote = nil } else { current.append(character) }
      } else if character.isLetter || character.isNumber || character == "_" || character == "." {
        current.append(contentsOf: character.lowercased())
      } else {
        if !current.isEmpty { words.append(current) }
        current = ""
        if character == "'" || character == "\"" {
          quote = character
        } else if !character.isWhitespace {
          words.append(String(character))
        }
      }
    }
    if !current.isEmpty { words.append(current) }
    return words
  }

  private enum Wanted { case statement, table, column, anything }

  private static let beforeTable: Set<String> = [
    "from", "join", "into", "update", "table", "references", "truncate", "copy", "analyze", "vacuum",
  ]
  private static let beforeColumn: Set<String> = [
    "select", "where", "and", "or", "on", "by", "set", "having", "returning", "not", "distinct", "case", "when", "then",
    "else", "using",
  ]
  private static let statements = [
    "alter", "analyze", "begin", "commit", "copy", "create", "delete", "drop", "explain", "insert", "release",
    "rollback",
    "savepoint", "select", "set", "show", "truncate", "update", "values", "with",
  ]

  private static let inExpressions = [
    "all", "any", "array", "avg", "case", "cast", "coalesce", "count", "current_date", "current_timestamp",
    "current_user", "default", "distinct", "exists", "false", "interval", "max", "min", "not", "null", "nullif", "row",
    "select", "sum", "true",
  ]

  /// The nearest clause decides what a list is made of.
  private var clause: String? { words.last { Self.beforeTable.contains($0) || Self.beforeColumn.contains($0) } }

  private var wanted: Wanted {
    guard let last = words.last(where: { $0 != "(" }) else { return .statement }
    if Self.beforeTable.contains(last), words.last != "(" || last == "into" {
      return words.last == "(" ? .column : .table
    }
    if Self.beforeColumn.contains(last) { return .column }
    if last == "," || words.last == "(" {
      return clause == "from" && words.last == "," ? .table : .column
    }
    return ["=", "<", ">", "+", "-", "*", "/", "|", "%"].contains(last) ? .column : .anything
  }

  /// The tables that the statement names, by name and alias. Only those before the cursor are known.
  private func tables(_ objects: [SchemaObject]) -> [String: SchemaObject] {
    var named: [String: SchemaObject] = [:]
    let known = Dictionary(
      objects.filter { $0.kind == .table || $0.kind == .view }.map { ($0.name, $0) },
      uniquingKeysWith: { first, _ in first })
    for (index, word) in words.enumerated() {
      guard let object = known[word.split(separator: ".").last.map(String.init) ?? word] else { continue }
      named[object.name] = object
      var alias = index + 1
      if alias < words.count, words[alias] == "as" { alias += 1 }
      if alias < words.count, words[alias].first?.isLetter == true, !Self.beforeColumn.contains(words[alias]) {
        named[words[alias]] = object
      }
    }
    return named
  }

  /// What the word may become, in order.
  package func candidates(_ objects: [SchemaObject]) -> [String] {
    let named = tables(objects)
    if let dot = word.lastIndex(of: ".") {
      // After a table or its alias, its columns; after a schema, its tables.
      let owner = word[..<dot].lowercased()
      let part = word[word.index(after: dot)...].lowercased()
      if let object = named[owner] ?? objects.first(where: { $0.name == owner }) {
        return object.columns.filter { $0.hasPrefix(part) }.sorted()
      }
      return Set(objects.filter { $0.qualifiedName.hasPrefix(owner + ".") && $0.name.hasPrefix(part) }.map(\.name))
        .sorted()
    }
    let lower = word.lowercased()
    let relations = objects.filter { $0.kind == .table || $0.kind == .view }.map(\.name)
    let columns = (named.isEmpty ? objects : Array(named.values)).flatMap(\.columns)
    var found = Set<String>()
    func add(_ names: [String]) { for name in names where name.hasPrefix(lower) { found.insert(name) } }
    func addKeywords(_ keywords: [String]) {
      for keyword in keywords where keyword.hasPrefix(lower) {
        found.insert(word == lower ? keyword : keyword.uppercased())
      }
    }
    switch wanted {
    case .statement: addKeywords(Self.statements)
    case .table:
      add(relations)
      if found.isEmpty { addKeywords(ScriptReader.keywords) }
    case .column:
      add(columns)
      add(Array(named.keys))
      // Keywords would only stand in the way of a column: `dis` is `distance`, not one of it and `distinct`. In the list of
      // columns that INSERT names there are none.
      if found.isEmpty, !word.isEmpty, clause != "into" { addKeywords(Self.inExpressions) }
    case .anything where !word.isEmpty:
      add(relations + columns)
      addKeywords(ScriptReader.keywords)
    case .anything: break
    }
    return found.sorted()
  }
}
