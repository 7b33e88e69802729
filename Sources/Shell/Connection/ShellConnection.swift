package import Synod

/// What the shell talks to: a database in this process, or a server.
package protocol ShellConnection: AnyObject {
  /// For the prompt and `.show`: the directory's name, or the database's.
  var name: String { get }
  /// Whole statements in, results to `sink`. Stops at the first statement that fails and throws its error.
  func execute(_ sql: String, into sink: any ShellSink) throws(DatabaseError)
  /// Ends the running statement with 57014. Called from a signal handler's thread.
  func cancel()
  var transactionStatus: TransactionState { get }
  /// The isolation level of the next transaction, or of the one that is open.
  var isolation: IsolationLevel { get set }
  /// Tables, indexes, views and sequences, by name.
  func schemaObjects() throws(DatabaseError) -> [SchemaObject]
  /// What the session and the database report about themselves, name and value, for `.stats`.
  func statistics() -> [(String, String)]
  /// The last failures due to other transactions: code, message, detail.
  func conflicts() throws(DatabaseError) -> [[String?]]
  /// Row locks: transaction, keys, strength, state.
  func locks() throws(DatabaseError) -> [[String?]]
  /// What this is, for `\conninfo`.
  var description: String { get }
  /// True where nothing more can be run: the server is gone, and a script must not go on elsewhere.
  var isLost: Bool { get }
  /// Writes a backup into a new directory; says what it holds.
  func backup(to path: String, linksTables: Bool) throws(DatabaseError) -> String
  func close() throws(DatabaseError)
}

/// Where a statement's results go.
package protocol ShellSink: AnyObject {
  func columns(_ columns: [Column])
  func row(_ fields: [String?])
  /// The statement is done; the command tag.
  func completed(_ tag: String)
  func notice(_ severity: String, _ notice: DatabaseError)
  /// COPY … TO STDOUT.
  func copyOut(_ bytes: [UInt8])
  /// COPY … FROM STDIN: the next piece of data, nil at the end.
  func copyIn() throws(DatabaseError) -> [UInt8]?
}

/// What `.conflicts` and `.locks` ask, here or of a server.
enum ObservationQueries {
  static let conflicts = "SELECT code, message, detail FROM synod_conflicts"
  static let locks = """
    SELECT transaction, coalesce(relation || CASE WHEN key LIKE '(%' THEN ' ' ELSE ', ' END, '') || key || coalesce(', in index ' || index, ''), strength, \
    CASE WHEN granted THEN 'granted' ELSE 'waits' END FROM synod_locks
    """
}
