internal import SQL
internal import Transactions

/// A conversation in SQL: settings, an open transaction block, prepared statements. One thread at a time, but for
/// `cancel()`.
///
/// Outside a block each call is a transaction of its own; `BEGIN` opens a block as in PostgreSQL.
public final class Session {
  let sql: SQLSession

  init(_ sql: SQLSession) { self.sql = sql }

  /// Runs one or more statements and returns the last one's result. With parameters there must be just one statement.
  @discardableResult
  public func execute(_ text: String, _ parameters: any SQLValueConvertible...) throws(DatabaseError) -> Result {
    try run(text, parameters.map(\.sqlValue))
  }

  /// Runs a query and returns its rows.
  public func query(_ text: String, _ parameters: any SQLValueConvertible...) throws(DatabaseError) -> Result {
    try run(text, parameters.map(\.sqlValue))
  }

  func run(_ text: String, _ parameters: [SQLValue]) throws(DatabaseError) -> Result {
    guard parameters.isEmpty else { return try prepare(text).run(parameters) }
    let sink = CollectingSink(sql)
    do throws(SQLError) { try sql.execute(text, sink) } catch { throw DatabaseError(error) }
    return sink.result
  }

  /// Parses and plans a statement once, to be run often.
  public func prepare(_ text: String) throws(DatabaseError) -> Statement {
    do throws(SQLError) { return Statement(self, try sql.prepare("", text)) } catch { throw DatabaseError(error) }
  }

  /// Whether a transaction block is open.
  public var transactionState: TransactionState {
    switch sql.status {
    case .idle: .idle
    case .inBlock: .inTransaction
    case .failed: .failed
    }
  }

  /// The level of the open transaction, or of the next one; setting it changes the session's default.
  public var isolation: IsolationLevel {
    get {
      switch sql.isolation {
      case .readCommitted: .readCommitted
      case .repeatableRead: .repeatableRead
      case .serializable: .serializable
      }
    }
    set { try? sql.set("default_transaction_isolation", to: newValue.rawValue) }
  }

  /// Makes the running statement fail with 57014; from any thread. Nothing happens where none runs.
  public nonisolated func cancel() { sql.cancel() }

  /// Rolls an open transaction back and ends the session.
  public func close() { sql.close() }

  /// Tables, indexes, views and sequences with the statements that make them again.
  public func schemaObjects() throws(DatabaseError) -> [SchemaObject] {
    do throws(SQLError) {
      return try sql.definitions().map { definition in
        let kind: SchemaObject.Kind =
          switch definition.kind {
          case .table: .table
          case .index: .index
          case .view: .view
          case .sequence: .sequence
          }
        var object = SchemaObject(
          kind: kind, name: definition.name, table: definition.table, definition: definition.statement,
          columns: definition.columns, laterStatements: definition.later)
        object.qualifiedName = definition.qualifiedName
        object.storedColumns = definition.storedColumns
        return object
      }
    } catch { throw DatabaseError(error) }
  }

  /// Runs statements and hands everything they produce to `handler`, row by row.
  package func execute(_ text: String, into handler: any ResultHandler) throws(DatabaseError) {
    let sink = TextSink(sql, handler)
    do throws(SQLError) { try sql.execute(text, sink) } catch {
      throw sink.failure ?? DatabaseError(error)
    }
  }
}

/// Takes what statements produce, as text: what the shell prints.
package protocol ResultHandler: AnyObject {
  func columns(_ columns: [Column])
  func row(_ fields: [String?])
  func completed(_ tag: String)
  func notice(_ severity: String, _ notice: DatabaseError)
  func copyOut(_ bytes: [UInt8])
  func copyIn() throws(DatabaseError) -> [UInt8]?
}

/// A statement that was planned once.
public final class Statement {
  private let session: Session
  private let prepared: PreparedStatement
  private let sink: CollectingSink
  private let converter: ParameterConverter

  init(_ session: Session, _ prepared: PreparedStatement) {
    self.session = session
    self.prepared = prepared
    sink = CollectingSink(session.sql)
    converter = ParameterConverter(session.sql)
  }

  /// Runs the statement and returns its rows.
  public func query(_ parameters: SQLValue...) throws(DatabaseError) -> Result { try run(parameters) }

  /// Runs the statement.
  @discardableResult
  public func execute(_ parameters: any SQLValueConvertible...) throws(DatabaseError) -> Result {
    try run(parameters.map(\.sqlValue))
  }

  /// Runs the statement with the values of an array.
  @discardableResult
  public func run(_ parameters: [SQLValue]) throws(DatabaseError) -> Result {
    do throws(SQLError) {
      let data = try converter.convert(parameters, for: prepared)
      sink.reset()
      try session.sql.run(prepared, parameters: data, into: sink)
    } catch { throw DatabaseError(error) }
    return sink.take()
  }
}
