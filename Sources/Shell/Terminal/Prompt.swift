import Synod

extension Shell {
  /// `my.db:ser*>`: the database, the isolation level, and whether a transaction is open (`*`) or failed (`!`); while a
  /// statement is unfinished, what it waits for.
  var prompt: String {
    guard pending.isEmpty else { return settings.continuationPrompt ?? continuation }
    if let prompt = settings.prompt { return prompt }
    let mark =
      switch connection.transactionStatus {
      case .idle: ""
      case .inTransaction: "*"
      case .failed: "!"
      }
    return "\(connection.name):\(connection.isolation.abbreviation)\(mark)> "
  }

  private var continuation: String {
    let width = connection.name.count + connection.isolation.abbreviation.count + 1
    return String(repeating: " ", count: max(0, width - 3)) + "..." + pending.openMark + "> "
  }
}
