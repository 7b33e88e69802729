package import Synod

/// A database that this process has open.
package final class LocalConnection: ShellConnection {
  package let name: String
  private let path: String
  private let database: Database
  private let session: Session

  /// Opens the database at `path`, or makes it where that is meant.
  package init(path: String, isReadOnly: Bool, createsIfMissing: Bool) throws(DatabaseError) {
    var options = DatabaseOptions()
    options.isReadOnly = isReadOnly
    options.createsIfMissing = createsIfMissing
    self.path = path
    database = try Database.open(at: path, options)
    session = try database.makeSession()
    name = path.split(separator: "/").last.map(String.init) ?? path
  }

  package func execute(_ sql: String, into sink: any ShellSink) throws(DatabaseError) {
    try session.execute(sql, into: Adapter(sink))
  }

  package var description: String { "the database in \(path), in this process" }
  package var isLost: Bool { false }
  package func cancel() { session.cancel() }
  package var transactionStatus: TransactionState { session.transactionState }
  package var isolation: IsolationLevel {
    get { session.isolation }
    set { session.isolation = newValue }
  }
  package func schemaObjects() throws(DatabaseError) -> [SchemaObject] { try session.schemaObjects() }

  package func statistics() -> [(String, String)] {
    let statistics = database.statistics
    return [
      ("commits", "\(statistics.commits)"), ("read-only commits", "\(statistics.readOnlyCommits)"),
      ("rollbacks", "\(statistics.rollbacks)"), ("serialization failures", "\(statistics.serializationFailures)"),
      ("deadlocks", "\(statistics.deadlocks)"), ("lock waits", "\(statistics.lockWaits)"),
      ("log bytes written", "\(statistics.logBytesWritten)"), ("flushes", "\(statistics.flushes)"),
      ("compactions", "\(statistics.compactions)"), ("compaction bytes", "\(statistics.compactionBytesWritten)"),
      ("table bytes", "\(statistics.tableBytes)"),
    ]
  }

  package func conflicts() throws(DatabaseError) -> [[String?]] {
    try database.query(ObservationQueries.conflicts).map { row in row.map(\.text) }
  }
  package func locks() throws(DatabaseError) -> [[String?]] {
    try database.query(ObservationQueries.locks).map { row in row.map(\.text) }
  }

  package func backup(to path: String, linksTables: Bool) throws(DatabaseError) -> String {
    try database.backup(to: path, linksTables: linksTables).text
  }

  package func close() throws(DatabaseError) {
    session.close()
    try database.close()
  }

  private final class Adapter: ResultHandler {
    private let sink: any ShellSink
    init(_ sink: any ShellSink) { self.sink = sink }
    func columns(_ columns: [Column]) { sink.columns(columns) }
    func row(_ fields: [String?]) { sink.row(fields) }
    func completed(_ tag: String) { sink.completed(tag) }
    func notice(_ severity: String, _ notice: DatabaseError) { sink.notice(severity, notice) }
    func copyOut(_ bytes: [UInt8]) { sink.copyOut(bytes) }
    func copyIn() throws(DatabaseError) -> [UInt8]? { try sink.copyIn() }
  }
}
