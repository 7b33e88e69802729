internal import Platform

/// Makes operators of a plan.
struct SourceBuilder {
  let state: ExecutionState
  init(_ state: ExecutionState) { self.state = state }

  func build(_ node: PlanNode) throws(SQLError) -> RowSource {
    let source = try make(node)
    guard state.isInstrumented else { return source }
    return state.instrument(source, node)
  }

  private func make(_ node: PlanNode) throws(SQLError) -> RowSource {
    try StackGuard.check()
    switch node.kind {
    case .oneRow: return OneRowSource(state)
    case .empty: return EmptySource(state)
    case .scan(let plan):
      if plan.path.isPoint { return unsafe try PointSource(state, plan, transaction: state.transaction) }
      if plan.path.index != nil { return unsafe try IndexScanSource(state, plan, transaction: state.transaction) }
      return unsafe try TableScanSource(state, plan, transaction: state.transaction)
    case .system(let relation, let slots, _): return SystemSource(state, relation, slots)
    case .values(let rows, let slots): return try ValuesSource(state, rows, slots)
    case .constants(let rows, let slots): return ConstantRowsSource(state, rows, slots)
    case .function(let function): return try FunctionSource(state, function, input: nil)
    case .filter(let input, let condition): return try FilterSource(state, try build(input), condition)
    case .project(let input, let items): return try ProjectSource(state, try build(input), items)
    case .projectSet(let input, let function): return try FunctionSource(state, function, input: try build(input))
    case .nestedLoop(let kind, let outer, let inner, let condition, let innerSlots):
      return try NestedLoopSource(state, kind, try build(outer), try build(inner), condition, innerSlots)
    case .hashJoin(let kind, let probe, let build, let keys, let condition, let buildSlots, let probeSlots):
      return try HashJoinSource(
        state, kind, try self.build(probe), try self.build(build), keys, condition, buildSlots, probeSlots)
    case .materialize(let input, let slots): return MaterializeSource(state, try build(input), slots)
    case .aggregate(let aggregate, let input, let strategy):
      return try AggregateSource(state, aggregate, try build(input), strategy)
    case .window(let window, let input, let saved):
      return try WindowSource(state, window, try build(input), saved)
    case .distinct(let input, let keys, let saved, let sorted):
      return try DistinctSource(state, try build(input), keys, saved, isSorted: sorted)
    case .sort(let input, let keys, let saved, _): return try SortSource(state, try build(input), keys, saved)
    case .topN(let input, let keys, let saved, let count, let offset):
      return try TopNSource(state, try build(input), keys, saved, count: count, offset: offset)
    case .limit(let input, let count, let offset, let ties):
      return try LimitSource(state, try build(input), count: count, offset: offset, ties: ties)
    case .append(let parts, let slots):
      var inputs: [(input: RowSource, columns: [TypedExpression])] = []
      for part in parts { inputs.append((try build(part.plan), part.columns)) }
      return try AppendSource(state, inputs, slots)
    case .setOperation(let operation, let left, let right):
      return try SetOperationSource(state, operation, try build(left), try build(right))
    case .common(let id, let slots, _): return CommonSource(state, id, slots)
    case .recursive(let recursive, let initial, let step):
      return try RecursiveSource(state, recursive, try build(initial), try build(step))
    case .working(let id, let slots): return WorkingSource(state, id, slots)
    case .lock(let lock, let input): return try LockSource(state, lock, try build(input))
    }
  }
}

/// A source with a clock and counters around it, for EXPLAIN ANALYZE.
final class InstrumentedSource: RowSource {
  let inner: RowSource
  private(set) var rows = 0
  private(set) var loops = 0
  private(set) var nanoseconds: Int64 = 0
  /// To the first row, summed over the loops.
  private(set) var firstNanoseconds: Int64 = 0
  private var isFirst = true
  private let node: PlanNode

  init(_ state: ExecutionState, _ inner: RowSource, _ node: PlanNode) {
    self.inner = inner
    self.node = node
    super.init(state)
  }
  override func open() throws(SQLError) {
    let start = monotonicNanoseconds()
    defer { nanoseconds += monotonicNanoseconds() - start }
    loops += 1
    isFirst = true
    try inner.open()
  }
  override func next() throws(SQLError) -> Bool {
    let start = monotonicNanoseconds()
    let hasRow = try inner.next()
    nanoseconds += monotonicNanoseconds() - start
    if isFirst {
      firstNanoseconds = nanoseconds
      isFirst = false
    }
    if hasRow { rows += 1 }
    return hasRow
  }
  override func close() { inner.close() }
  override var told: [String] { inner.told }

  /// Whether this measures `other`: operators of one kind over the same slots are the same place of the plan.
  func describes(_ other: PlanNode) -> Bool { node.identity == other.identity }
}
