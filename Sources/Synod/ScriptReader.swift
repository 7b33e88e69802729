internal import SQL

/// Takes a script line by line and hands out whole statements.
public struct ScriptReader: Sendable {
  private var splitter = StatementSplitter()

  /// Makes one from its parts.
  public init() {}

  /// True where the next line begins a statement.
  public var isEmpty: Bool { splitter.isReady }

  /// What the pending statement waits for: `'`, `"`, `(`, `*` for a comment, `$`, or nothing for its semicolon.
  public var openMark: String {
    switch splitter.state {
    case .string: "'"
    case .identifier: "\""
    case .dollar: "$"
    case .comment: "*"
    case .parenthesis: "("
    default: ""
    }
  }

  /// Takes a line without its end; returns the statements that it completes.
  public mutating func feed(_ line: String) -> [String] {
    splitter.append(line: line)
    var statements: [String] = []
    while let statement = splitter.next() { statements.append(statement.text) }
    return statements
  }

  /// The statement that the end of the input left without its semicolon.
  public mutating func finish() -> String? { splitter.finish()?.text }

  /// The words that SQL knows, for completion.
  public static var keywords: [String] { SQLCompletion.keywords }
}
