/// A table, index, view or sequence, as tools list it.
public struct SchemaObject: Hashable, Sendable {
  /// The kinds.
  public enum Kind: String, Hashable, Sendable { case table, index, view, sequence }
  /// What it is.
  public var kind: Kind
  /// Its name.
  public var name: String
  /// The table an index belongs to.
  public var table: String?
  /// The statement that creates it, without the final semicolon.
  public var definition: String
  /// The columns of a table or view.
  public var columns: [String]
  /// The name of a table or sequence as a statement needs it: quoted, with its schema where that is not public.
  public var qualifiedName = ""
  /// The columns of a table that an INSERT may name: not those that are generated.
  public var storedColumns: [String] = []
  /// Constraints that can be added only when all tables exist (foreign keys), as ALTER TABLE statements.
  public var laterStatements: [String]

  /// Makes one from its parts.
  public init(
    kind: Kind, name: String, table: String? = nil, definition: String, columns: [String] = [],
    laterStatements: [String] = []
  ) {
    self.kind = kind
    self.name = name
    self.table = table
    self.definition = definition
    self.columns = columns
    self.laterStatements = laterStatements
  }
}

/// Where a session stands.
public enum TransactionState: Sendable {
  /// No transaction block is open.
  case idle
  /// A block is open.
  case inTransaction
  /// A statement of the block failed: everything is refused until ROLLBACK.
  case failed
}

/// The isolation levels, as PostgreSQL names them.
///
/// READ UNCOMMITTED is READ COMMITTED, and REPEATABLE READ is snapshot isolation, as in PostgreSQL.
public enum IsolationLevel: String, CaseIterable, Sendable {
  /// Each statement sees what had committed when it began.
  case readCommitted = "read committed"
  /// The transaction sees what had committed when it began; a row changed since then cannot be updated (40001).
  case repeatableRead = "repeatable read"
  /// As if transactions ran one after the other.
  case serializable

  /// The short form that prompts and flags use: rc, rr, ser.
  public var abbreviation: String {
    switch self {
    case .readCommitted: "rc"
    case .repeatableRead: "rr"
    case .serializable: "ser"
    }
  }

  /// Reads a level by its name or abbreviation.
  public init?(name: String) {
    switch name.lowercased() {
    case "rc", "read committed", "read-committed", "read uncommitted", "ru": self = .readCommitted
    case "rr", "si", "repeatable read", "repeatable-read", "snapshot": self = .repeatableRead
    case "ser", "serializable", "ssi": self = .serializable
    default: return nil
    }
  }
}
