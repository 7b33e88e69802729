extension Syntax {
  // MARK: Transactions

  package struct TransactionStatement: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
      /// BEGIN, START TRANSACTION.
      case begin(TransactionModes)
      /// COMMIT, END; `AND CHAIN`.
      case commit(chain: Bool)
      /// ROLLBACK, ABORT; `AND CHAIN`.
      case rollback(chain: Bool)
      case savepoint(Name)
      case release(Name)
      case rollbackTo(Name)
      /// SET TRANSACTION (also SET LOCAL TRANSACTION).
      case setTransaction(TransactionModes)
      /// SET SESSION CHARACTERISTICS AS TRANSACTION.
      case setSession(TransactionModes)
      /// SET TRANSACTION SNAPSHOT 'id'.
      case setSnapshot(String)
      /// SET CONSTRAINTS; empty for ALL.
      case setConstraints([QualifiedName], deferred: Bool)
    }
    package var kind: Kind
    @SourcePosition package var position: Int = 0
  }

  package enum IsolationLevel: String, Hashable, Sendable {
    case readUncommitted = "read uncommitted"
    case readCommitted = "read committed"
    case repeatableRead = "repeatable read"
    case serializable = "serializable"
  }

  package struct TransactionModes: Hashable, Sendable {
    package var isolation: IsolationLevel?
    package var readOnly: Bool?
    package var deferrable: Bool?
    /// The whole transaction reads an older snapshot.
    package var asOf: AsOf?
  }

  package struct LockTable: Hashable, Sendable {
    package enum Mode: String, Hashable, Sendable {
      case accessShare = "access share"
      case rowShare = "row share"
      case rowExclusive = "row exclusive"
      case shareUpdateExclusive = "share update exclusive"
      case share = "share"
      case shareRowExclusive = "share row exclusive"
      case exclusive = "exclusive"
      case accessExclusive = "access exclusive"
    }
    package var tables: [RelationName]
    package var mode: Mode = .accessExclusive
    package var noWait = false
    @SourcePosition package var position: Int = 0
  }

  // MARK: Settings

  package struct SetSetting: Hashable, Sendable {
    package enum Scope: Hashable, Sendable { case session, local }
    package enum Value: Hashable, Sendable {
      case values([OptionValue])
      /// `TO DEFAULT`.
      case defaultValue
      /// `FROM CURRENT`, in ALTER ROLE.
      case fromCurrent
    }
    package var scope: Scope
    /// Lower case; `SET TIME ZONE` is `timezone`, `SET NAMES` is `client_encoding`, `SET SCHEMA` is `search_path`,
    /// `SET ROLE` is `role`, `SET SESSION AUTHORIZATION` is `session_authorization`, as in PostgreSQL.
    package var name: String
    package var value: Value
    @SourcePosition package var position: Int = 0
  }

  package struct Show: Hashable, Sendable {
    /// Lower case; `all` for SHOW ALL; `timezone`, `transaction_isolation`, `session_authorization` for their phrases.
    package var name: String
    @SourcePosition package var position: Int = 0
  }

  package struct Reset: Hashable, Sendable {
    /// Nil for RESET ALL.
    package var name: String?
    @SourcePosition package var position: Int = 0
  }

  package enum Discard: Hashable, Sendable { case all, plans, sequences, temporary }

  package struct Notify: Hashable, Sendable {
    package var channel: Name
    package var payload: String?
  }

  // MARK: Prepared statements and cursors

  package struct Prepare: Hashable, Sendable {
    package var name: Name
    package var types: [TypeName] = []
    package var statement: Statement
    @SourcePosition package var position: Int = 0
  }

  package struct Execute: Hashable, Sendable {
    package var name: Name
    package var arguments: [Expression] = []
    @SourcePosition package var position: Int = 0
  }

  package struct DeclareCursor: Hashable, Sendable {
    package var name: Name
    package var binary = false
    /// SCROLL, NO SCROLL, or unsaid.
    package var scroll: Bool?
    /// INSENSITIVE, ASENSITIVE, or unsaid: all the same here, since a cursor reads one snapshot.
    package var insensitive: Bool?
    package var hold = false
    package var query: Query
    @SourcePosition package var position: Int = 0
  }

  package struct Fetch: Hashable, Sendable {
    package enum Direction: Hashable, Sendable {
      /// NEXT, a count, FORWARD n; `nil` is ALL. A negative count goes backward.
      case forward(Int?)
      /// PRIOR, BACKWARD n, BACKWARD ALL (nil).
      case backward(Int?)
      /// FIRST is 1, LAST is −1.
      case absolute(Int)
      case relative(Int)
    }
    package var direction: Direction
    package var cursor: Name
    /// MOVE.
    package var isMove = false
    @SourcePosition package var position: Int = 0
  }

  // MARK: Utilities

  package struct Explain: Hashable, Sendable {
    /// `analyze`, `verbose`, `costs`, `buffers`, `timing`, `summary`, `format`…: checked by the executor.
    package var options: [Option] = []
    package var statement: Statement
    @SourcePosition package var position: Int = 0
  }

  /// VACUUM and ANALYZE.
  package struct Vacuum: Hashable, Sendable {
    package struct Table: Hashable, Sendable {
      package var name: QualifiedName
      package var columns: [Name] = []
    }
    /// False: ANALYZE alone.
    package var isVacuum: Bool
    package var options: [Option] = []
    package var tables: [Table] = []
    @SourcePosition package var position: Int = 0
  }

  package struct Reindex: Hashable, Sendable {
    package enum Kind: Hashable, Sendable { case index, table, schema, database, system }
    package var kind: Kind
    package var name: QualifiedName
    package var concurrently = false
    package var options: [Option] = []
    @SourcePosition package var position: Int = 0
  }
}
