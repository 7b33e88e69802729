internal import Glibc
internal import Synchronization
internal import Transactions

/// The time since some fixed moment, in nanoseconds.
func monotonicNanoseconds() -> Int64 {
  var time = timespec()
  _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// What a statement needs of its session and database while it runs.
protocol StatementServices: AnyObject {
  /// Names the session: pg_backend_pid().
  var sessionID: UInt64 { get }
  var sequences: SequenceStore { get }
  var statistics: StatisticsStore { get }
  /// What may be kept in memory by one operator, in bytes.
  var workMemoryBytes: Int { get }
  func setting(_ name: String) -> String?
  /// set_config(): returns the new value.
  func setSetting(_ name: String, _ value: String, local: Bool) throws(SQLError) -> String
  func systemContext() -> SystemContext
  /// Throws when the statement was cancelled or ran out of time.
  func checkInterrupt() throws(SQLError)
  /// nextval() and its kin, which remember what the session saw.
  func sequenceCall(_ call: SequenceCall) throws(SQLError) -> Int64?
  /// txid_status().
  func transactionStatus(_ number: Int64) throws(SQLError) -> String?
  func notice(_ notice: SQLNotice)
  /// pg_advisory_…: whether the lock was taken, or given back.
  func advisory(_ call: AdvisoryCall) throws(SQLError) -> Bool
  /// pg_sleep().
  func sleep(microseconds: Int64) throws(SQLError)
  /// What writes the rows of a table; kept between statements while the table does not change.
  func writer(_ table: TableDescriptor) throws(SQLError) -> TableWriter
  /// Runs the checks that waited for the end of the statement, and keeps the deferred ones for the commit.
  func check(_ pending: [PendingCheck], _ transaction: Transaction) throws(SQLError)
  /// A file for rows that do not fit into memory.
  func temporaryFile() throws(SQLError) -> TemporaryFile
  /// synod_backup().
  func beginBackup() throws(SQLError) -> any BackupStream
  /// A read-only transaction at an older version, to the end of the statement.
  func pastTransaction(_ version: UInt64) throws(SQLError) -> Transaction
}

enum SequenceCall {
  case next(UInt32)
  case current(UInt32)
  case last
  case transactionNumber(assigns: Bool)
  /// What this session is to remember, when it comes from another node.
  case recall(UInt32, Int64)
  case set(UInt32, Int64, isCalled: Bool)
}

/// One statement that runs, or is kept ready to run again: its frame, parameters, subqueries and common tables.
@safe
final class ExecutionState: EvaluationHost {
  let plan: PlannedStatement
  let frame: Frame
  private let frameBuffer: ValueBuffer
  let parameters: ValueBuffer
  /// Whether a part of it locks rows.
  var takesLocks = false
  private let parameterArena = Arena(initialBytes: 256)
  // Unsafe: the session owns its statements and their states. A checked reference would be counted at every use.
  private unowned(unsafe) let session: any StatementServices
  var services: any StatementServices { unsafe session }
  /// Set before every execution.
  @exclusivity(unchecked) var transaction: Transaction!
  @exclusivity(unchecked) var base: EvaluationContext
  private(set) var subplans: [SubplanRunner] = []
  private(set) var commons: [CommonTable] = []
  @exclusivity(unchecked) var working: [Int: KeptRows] = [:]
  /// Whether a WITH query changes rows.
  @exclusivity(unchecked) private(set) var hasModifyingParts = false
  /// Where parts of the statement change rows: the keys of the rows that were changed. A row is changed by one part, once.
  @exclusivity(unchecked) var touched: Set<[UInt8]> = []
  /// Executions so far: tells operators that are opened again whether it is the same one.
  @exclusivity(unchecked) private(set) var generation = 0
  /// The session's settings that `base` was made of.
  @exclusivity(unchecked) private(set) var settingsGeneration = UInt64.max
  /// Wraps every operator with a clock and counters, for EXPLAIN ANALYZE.
  let isInstrumented: Bool

  init(
    _ plan: PlannedStatement, services: any StatementServices, instrumented: Bool = false
  ) throws(SQLError) {
    self.plan = plan
    unsafe session = services
    isInstrumented = instrumented
    frameBuffer = ValueBuffer(plan.slotTypes.count)
    frame = frameBuffer.frame
    parameters = ValueBuffer(plan.parameterTypes.count)
    unsafe base = EvaluationContext(arena: Arena(initialBytes: 64))
    unsafe base.host = self
    unsafe base.setParameters(parameters.pointer, count: parameters.count)
  }

  /// Makes the subqueries and common tables ready; the transaction is set by then.
  func prepare() throws(SQLError) {
    for subquery in plan.subqueries { subplans.append(try SubplanRunner(subquery, self)) }
    for table in plan.commonTables { commons.append(try CommonTable(table, self)) }
    unsafe hasModifyingParts = commons.contains { $0.isModification }
  }

  /// Makes ready for an execution in the session's transaction.
  func begin(_ session: SQLSession, _ values: [Datum]) {
    unsafe transaction = session.transaction!
    unsafe generation &+= 1
    parameterArena.reset()
    for index in 0..<min(values.count, parameters.count) {
      parameters[index] = values[index].value(in: parameterArena)
    }
    if unsafe settingsGeneration != session.settings.generation {
      unsafe settingsGeneration = session.settings.generation
      unsafe base.format = session.textFormat
      unsafe base.user = session.user
      unsafe base.database = session.database.options.name
    }
    unsafe base.format.now = session.transactionStart
    unsafe base.statementTime = session.statementStart
    for subplan in subplans { subplan.forget() }
    for common in commons { common.forget() }
    if unsafe !working.isEmpty { unsafe working = [:] }
    if unsafe !touched.isEmpty { unsafe touched = [] }
  }

  /// A base for operators that run inside the evaluation of an expression (subqueries, common tables): their expressions'
  /// registers must not lie over those of the expression that is being evaluated.
  func nestedBase() -> EvaluationContext {
    var nested = EvaluationContext(arena: Arena(initialBytes: 64), format: unsafe base.format)
    unsafe nested.host = self
    unsafe nested.setParameters(parameters.pointer, count: parameters.count)
    nested.random = RandomState(seed: unsafe base.random.next())
    return nested
  }

  /// Runs `body`, whose operators take `nested` for their base.
  func building<R>(
    over nested: EvaluationContext, _ body: () throws(SQLError) -> R
  ) throws(SQLError) -> R {
    let own = unsafe base
    unsafe base = nested
    defer { unsafe base = own }
    return try body()
  }

  /// A context with an arena of its own, for one operator.
  func context(_ arena: Arena) -> EvaluationContext {
    var context = unsafe base
    context.arena = arena
    context.random = unsafe RandomState(seed: base.random.next())
    return context
  }

  func pastTransaction(_ version: UInt64) throws(SQLError) -> Transaction {
    try services.pastTransaction(version)
  }

  /// Puts a clock and counters around a source.
  func instrument(_ source: RowSource, _ node: PlanNode) -> RowSource {
    let wrapped = InstrumentedSource(self, source, node)
    instruments.append(wrapped)
    return wrapped
  }
  private(set) var instruments: [InstrumentedSource] = []

  // MARK: EvaluationHost

  func subplan(_ id: Int, _ arguments: Arguments, _ context: inout EvaluationContext) throws(SQLError) -> Value {
    try subplans[id].value(arguments, &context)
  }
  func setting(_ name: String) -> String? { services.setting(name) }
}

/// An operator that runs: pulled for one row at a time, which it leaves in the frame.
///
/// `open` may be called again at any time and starts over; slots that the operator reads of others are as they are then.
class RowSource {
  // Unsafe: operators are kept by the runner that keeps the state, or by the state itself, and end with it.
  private unowned(unsafe) let owningState: ExecutionState
  final var state: ExecutionState { unsafe owningState }
  let frame: Frame

  init(_ state: ExecutionState) {
    unsafe owningState = state
    frame = state.frame
  }

  func open() throws(SQLError) { fatalError("abstract") }
  /// Moves to the next row; false at the end.
  func next() throws(SQLError) -> Bool { fatalError("abstract") }
  /// Lets go of cursors and memory. The source can be opened again.
  func close() {}
  /// What EXPLAIN ANALYZE tells of the last execution beside rows and times.
  var told: [String] { [] }
}

/// A source that evaluates expressions: it has an arena, whose values last until its next row.
class EvaluatingSource: RowSource {
  let arena = Arena(initialBytes: 512)
  /// Set where the source is used apart from its statement: keeps the state alive.
  var owner: ExecutionState?
  @exclusivity(unchecked) final var context: EvaluationContext
  @exclusivity(unchecked) private var generation = -1
  @exclusivity(unchecked) private var settingsGeneration = UInt64.max

  override init(_ state: ExecutionState) {
    unsafe context = state.context(arena)
    super.init(state)
  }

  /// Takes over the settings of a new execution.
  @inline(__always)
  final func refresh() {
    let state = self.state
    if unsafe generation != state.generation {
      unsafe generation = unsafe state.generation
      if unsafe settingsGeneration != state.settingsGeneration {
        unsafe settingsGeneration = state.settingsGeneration
        unsafe context.format = unsafe state.base.format
        unsafe context.user = unsafe state.base.user
        unsafe context.database = unsafe state.base.database
      }
      unsafe context.format.now = unsafe state.base.format.now
      unsafe context.statementTime = unsafe state.base.statementTime
    }
  }
}
