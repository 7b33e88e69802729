internal import Synchronization

// How a query is computed: a tree of operators with estimates, as EXPLAIN prints it. A plain value; what runs is made of
// it by `OperatorBuilder`.
//
// Operators work on the statement's frame (see LogicalPlan). An operator that keeps rows is told which slots to save.

/// An operator with what the planner expects of it.
package struct PlanNode: Sendable {
  package var kind: PhysicalOperator
  /// Rows that come out.
  package var rows: Double
  /// Cost to the first row and to the last, in the unit of one row read in order.
  package var startup: Double
  package var cost: Double
  /// The order in which rows come, where it is known.
  package var order: [SortKey] = []
  /// Tells the nodes of one plan apart.
  let identity: Int

  init(_ kind: PhysicalOperator, rows: Double, startup: Double = 0, cost: Double, order: [SortKey] = []) {
    self.kind = kind
    self.rows = max(rows, 0)
    self.startup = startup
    self.cost = cost
    self.order = order
    identity = PlanNode.identities.add(1, ordering: .relaxed).newValue
  }
  private static let identities = Atomic<Int>(0)
}

/// A bound of an index column: what the column is compared with.
package enum KeyBound: Sendable {
  /// column = expression
  case equal(TypedExpression)
  /// column IN (list), each a key of its own; sorted and without duplicates when it runs
  case anyOf([TypedExpression])
  /// column = ANY (array)
  case anyElement(TypedExpression)
  case isNull
}

package struct RangeBound: Sendable {
  package var expression: TypedExpression
  package var inclusive: Bool
}

/// How a table is read.
package struct AccessPath: Sendable {
  /// Nil: the rows in the table's own order, which is the primary key's.
  package var index: IndexDescriptor?
  /// The key columns of `index`, or of the primary key.
  package var keyColumns: [KeyColumn] = []
  /// Conditions on the first columns.
  package var equal: [KeyBound] = []
  /// Conditions on the column after those.
  package var lower: RangeBound?
  package var upper: RangeBound?
  package var reverse = false
  /// Everything that is needed is in the index's key.
  package var isIndexOnly = false
  /// At most one row: every column of a unique key is given.
  package var isPoint = false
  /// The conditions that the bounds stand for, for EXPLAIN.
  package var conditions: [TypedExpression] = []
}

package struct ScanPlan: Sendable {
  package var scan: TableScan
  package var path: AccessPath
  /// Tested on each row.
  package var filter: TypedExpression?
  /// Places of the columns to decode, those of the filter first.
  package var filterPlaces: [Int]
  package var otherPlaces: [Int]
}

package struct HashKey: Sendable {
  package var probe: TypedExpression
  package var build: TypedExpression
  package var order: ValueOrder
}

package enum AggregateStrategy: Sendable { case plain, hashed, sorted }

package indirect enum PhysicalOperator: Sendable {
  case oneRow
  /// A condition that is false: no rows.
  case empty
  case scan(ScanPlan)
  case system(SystemRelation, slots: [FrameSlot], alias: String)
  case values([[TypedExpression]], slots: [FrameSlot])
  case constants(ConstantRows, slots: [FrameSlot])
  case function(FunctionScanNode)
  case filter(PlanNode, TypedExpression)
  case project(PlanNode, [(slot: FrameSlot, expression: TypedExpression)])
  case projectSet(PlanNode, FunctionScanNode)
  /// `inner` is opened again for every row of `outer`, whose slots it may read.
  case nestedLoop(JoinKind, outer: PlanNode, inner: PlanNode, condition: TypedExpression?, innerSlots: [FrameSlot])
  case hashJoin(
    JoinKind, probe: PlanNode, build: PlanNode, keys: [HashKey], condition: TypedExpression?, buildSlots: [FrameSlot],
    probeSlots: [FrameSlot])
  case materialize(PlanNode, slots: [FrameSlot])
  case aggregate(AggregateNode, PlanNode, AggregateStrategy)
  case window(WindowNode, PlanNode, saved: [FrameSlot])
  /// `saved` are kept only where the input is not in order, and too large for memory.
  case distinct(PlanNode, [TypedExpression], saved: [FrameSlot], sorted: Bool)
  case sort(PlanNode, [SortKey], saved: [FrameSlot], presorted: Int)
  /// The first `count + offset` rows of the order.
  case topN(PlanNode, [SortKey], saved: [FrameSlot], count: TypedExpression, offset: TypedExpression?)
  case limit(PlanNode, count: TypedExpression?, offset: TypedExpression?, withTies: [SortKey]?)
  case append([(plan: PlanNode, columns: [TypedExpression])], slots: [FrameSlot])
  case setOperation(SetOperationNode, PlanNode, PlanNode)
  case common(Int, slots: [FrameSlot], name: String)
  case recursive(RecursiveNode, PlanNode, PlanNode)
  case working(Int, slots: [FrameSlot])
  case lock(LockNode, PlanNode)
}

/// A subquery, planned.
package struct PlannedSubquery: Sendable {
  package var bound: BoundSubquery
  package var plan: PlanNode
  package var columns: [TypedExpression]
  /// Computed once for the statement.
  package var isConstant: Bool
}

package struct PlannedCommonTable: Sendable {
  package enum Body: Sendable {
    case query(PlanNode, columns: [TypedExpression])
    case modification(PlannedModification)
  }
  package var name: String
  package var body: Body
  package var references: Int
}

package struct PlannedModification: Sendable {
  package var bound: BoundModification
  package var source: PlanNode
  /// Whether all rows must be found before the first is changed: the statement must not see its own changes.
  package var mustMaterialize: Bool
  /// What is saved of each row then.
  package var saved: [FrameSlot]
  /// The columns of the old row that are needed, by place (UPDATE and DELETE).
  package var rowPlaces: [Int]
}

/// A statement that reads or changes rows, planned.
package struct PlannedStatement: Sendable {
  package enum Body: Sendable {
    case query(PlanNode)
    case modification(PlannedModification)
  }
  package var body: Body
  package var columns: [OutputColumn]
  package var slotTypes: [SQLType]
  package var parameterTypes: [SQLType]
  package var subqueries: [PlannedSubquery]
  package var commonTables: [PlannedCommonTable]
  package var relations: Set<ObjectID>
  package var catalogVersion: UInt64
}

extension PhysicalOperator {
  package var inputs: [PlanNode] {
    switch self {
    case .oneRow, .empty, .scan, .system, .values, .constants, .function, .common, .working: []
    case .filter(let input, _), .project(let input, _), .projectSet(let input, _), .materialize(let input, _),
      .aggregate(_, let input, _), .window(_, let input, _), .distinct(let input, _, _, _), .sort(let input, _, _, _),
      .topN(let input, _, _, _, _), .limit(let input, _, _, _), .lock(_, let input):
      [input]
    case .nestedLoop(_, let outer, let inner, _, _): [outer, inner]
    case .hashJoin(_, let probe, let build, _, _, _, _): [probe, build]
    case .append(let parts, _): parts.map(\.plan)
    case .setOperation(_, let left, let right), .recursive(_, let left, let right): [left, right]
    }
  }
}

extension PlanNode {
  /// Calls `body` with the node and all below it.
  func visit(_ body: (PlanNode) -> Void) {
    body(self)
    for input in kind.inputs { input.visit(body) }
  }
}

extension PlannedStatement {
  /// Whether a table is read AS OF a version of its own.
  var readsOlderVersions: Bool {
    var found = false
    func look(_ node: PlanNode) {
      node.visit { if case .scan(let plan) = $0.kind, plan.scan.asOf != nil { found = true } }
    }
    if case .query(let node) = body { look(node) }
    for subquery in subqueries { look(subquery.plan) }
    for table in commonTables {
      if case .query(let node, _) = table.body { look(node) }
    }
    return found
  }
}
