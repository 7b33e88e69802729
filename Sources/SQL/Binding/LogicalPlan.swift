// What a query means, after names and types are settled and before it is decided how to compute it.
//
// **The frame.** Every column that exists anywhere in a statement — of a table in FROM, of a subquery, a group's key, an
// aggregate's result — is given a place of its own, a *slot*, in one array of values, the statement's frame. An operator
// writes the slots that it produces and reads any that are below it; `TypedExpression.column(n)` is slot n. Therefore:
//
// 1. A slot is written by one node of the tree. Moving a predicate or a join does not renumber anything: a predicate can
//    be computed wherever all its slots are produced.
// 2. No operator copies rows to build wider ones. What keeps rows (sort, hash, group) saves the slots that are needed
//    above it and puts them back into the same slots.
// 3. A correlated subquery, LATERAL, or the inner side of an index join reads the outer row where it lies.
// 4. Grouping by a plain column writes the key back to that column's slot.
//
// The tree is a plain value; `EXPLAIN (VERBOSE, LOGICAL)` has nothing to hide.

/// A place in the statement's frame.
package typealias FrameSlot = Int

/// A column that a query returns.
package struct OutputColumn: Sendable {
  package var name: String
  package var expression: TypedExpression
  /// The table's id and the column's number there, if the output is a plain column of a table.
  package var table: ObjectID?
  package var columnNumber: Int?

  package var description: ColumnDescription {
    ColumnDescription(
      name: name, type: expression.type, tableID: table?.rawValue ?? 0, columnNumber: columnNumber ?? 0)
  }
}

/// A query, bound.
package struct BoundQuery: Sendable {
  package var plan: LogicalPlan
  package var columns: [OutputColumn]
}

package struct TableScan: Sendable {
  package var table: TableDescriptor
  /// Column at place p is at slot `base + p`.
  package var base: FrameSlot
  package var alias: String
  /// Where the row's key goes, for what locks or changes the row.
  package var keySlot: FrameSlot?
  /// AS OF VERSION, constant or parameter.
  package var asOf: TypedExpression?
  package func slot(_ column: ColumnDescriptor) -> FrameSlot { base + column.place }
}

/// FOR UPDATE and its kin. A row that changed since the snapshot is read again and must still satisfy `recheck`.
package struct LockNode: Sendable {
  package struct Target: Sendable {
    package var table: TableDescriptor
    package var base: FrameSlot
    package var keySlot: FrameSlot
    package var strength: Syntax.Locking.Strength
    package var wait: Syntax.Locking.Wait
  }
  package var input: LogicalPlan
  package var targets: [Target]
  package var recheck: TypedExpression?
}

package enum JoinKind: String, Sendable { case inner, left, right, full, semi, anti }

package struct AggregateItem: Sendable {
  package var call: AggregateCall
  package var slot: FrameSlot
}

package struct GroupKey: Sendable {
  package var expression: TypedExpression
  /// The column's own slot for a plain column, a new one otherwise.
  package var slot: FrameSlot
}

package struct AggregateNode: Sendable {
  package var input: LogicalPlan
  package var keys: [GroupKey]
  /// Indexes into `keys`, one list a grouping set; one list of all keys for a plain GROUP BY.
  package var sets: [[Int]]
  package var aggregates: [AggregateItem]
  /// GROUPING(): the slot gets the bit mask of these keys in the set at hand.
  package var groupings: [(keys: [Int], slot: FrameSlot)] = []
  /// Planned: the slots of the input that keys and aggregates read.
  package var saved: [FrameSlot] = []
}

package struct WindowNode: Sendable {
  package struct Frame: Sendable {
    package enum Bound: Sendable {
      case unboundedPreceding
      case preceding(TypedExpression)
      case currentRow
      case following(TypedExpression)
      case unboundedFollowing
    }
    package var mode: Syntax.WindowFrame.Mode
    /// RANGE with an offset: the key of a row. The expressions of the bounds are then the keys at which the row's frame
    /// begins and ends.
    package var key: TypedExpression?
    package var start: Bound
    package var end: Bound
    package var exclusion: Syntax.WindowFrame.Exclusion?
    package static let standard = Frame(
      mode: .range, key: nil, start: .unboundedPreceding, end: .currentRow, exclusion: nil)
  }
  package struct Item: Sendable {
    package var call: WindowCall
    package var slot: FrameSlot
  }
  package var input: LogicalPlan
  package var partition: [TypedExpression]
  package var order: [SortKey]
  package var frame: Frame
  package var items: [Item]
}

package struct SetOperationNode: Sendable {
  package var kind: Syntax.SetOperation.Kind
  package var all: Bool
  package var left: LogicalPlan
  package var leftColumns: [TypedExpression]
  package var right: LogicalPlan
  package var rightColumns: [TypedExpression]
  package var slots: [FrameSlot]
}

package struct FunctionScanNode: Sendable {
  package enum Call: Sendable {
    case set(SetFunction, [TypedExpression])
    /// A scalar function in FROM: one row.
    case scalar(TypedExpression)
  }
  package struct Item: Sendable {
    package var call: Call
    package var slots: [FrameSlot]
  }
  /// More than one for ROWS FROM: advanced side by side, the shorter ones padded with null.
  package var items: [Item]
  package var ordinality: FrameSlot?
  package var alias: String
}

package struct RecursiveNode: Sendable {
  package var id: Int
  package var initial: LogicalPlan
  package var initialColumns: [TypedExpression]
  package var step: LogicalPlan
  package var stepColumns: [TypedExpression]
  package var distinct: Bool
  package var slots: [FrameSlot]
}

/// The tree; see the head of the file.
package indirect enum LogicalPlan: Sendable {
  /// One row, no columns: a query without FROM.
  case oneRow
  case scan(TableScan)
  case system(SystemRelation, slots: [FrameSlot], alias: String)
  case values([[TypedExpression]], slots: [FrameSlot])
  /// Rows most of which are still text.
  case constants(ConstantRows, slots: [FrameSlot])
  case function(FunctionScanNode)
  case filter(LogicalPlan, TypedExpression)
  case project(LogicalPlan, [(slot: FrameSlot, expression: TypedExpression)])
  /// Set-returning functions of a select list, advanced side by side for each input row.
  case projectSet(LogicalPlan, FunctionScanNode)
  /// The right side may read slots of the left (LATERAL) when `lateral`.
  case join(JoinKind, LogicalPlan, LogicalPlan, condition: TypedExpression?, lateral: Bool)
  case aggregate(AggregateNode)
  case window(WindowNode)
  /// One row of each set of rows that are equal in `slots`: the first, if the input is ordered.
  case distinct(LogicalPlan, slots: [TypedExpression])
  case sort(LogicalPlan, [SortKey])
  case lock(LockNode)
  case limit(LogicalPlan, count: TypedExpression?, offset: TypedExpression?, withTies: [SortKey]?)
  case setOperation(SetOperationNode)
  /// The rows of a common table expression, computed once for the statement.
  case common(Int, slots: [FrameSlot], name: String)
  case recursive(RecursiveNode)
  /// The rows that the last round of recursion `id` added.
  case working(Int, slots: [FrameSlot])
}

/// A subquery inside an expression: `TypedExpression.subplan(id, …)`.
package struct BoundSubquery: Sendable {
  package enum Kind: Sendable {
    /// Its one value; more than one row is 21000.
    case scalar
    case exists
    /// The first argument(s) compared with each row: true if any (`all`: every) comparison is.
    case quantified(comparisons: [ScalarFunction], all: Bool, negated: Bool)
    /// ARRAY(SELECT …).
    case array
    /// `(a, b) = (SELECT x, y)` and multi-column assignment: column `index` of the one row.
    case column(Int)
  }
  package var kind: Kind
  package var query: BoundQuery
  package var type: SQLType
  /// Slots that the subquery reads and does not produce: empty if it is computed once for the statement.
  package var outer: [FrameSlot]
}

/// A common table expression of the statement.
package struct BoundCommonTable: Sendable {
  package enum Body: Sendable {
    case query(BoundQuery)
    case modification(BoundModification)
  }
  package var name: String
  package var body: Body
  package var columns: [(name: String, type: SQLType)]
  package var materialized: Bool?
  package var references = 0
}

extension LogicalPlan {
  /// The inputs, left to right.
  package var inputs: [LogicalPlan] {
    switch self {
    case .oneRow, .scan, .system, .values, .constants, .function, .common, .working: []
    case .filter(let input, _), .project(let input, _), .projectSet(let input, _), .distinct(let input, _),
      .sort(let input, _), .limit(let input, _, _, _):
      [input]
    case .join(_, let left, let right, _, _): [left, right]
    case .aggregate(let node): [node.input]
    case .window(let node): [node.input]
    case .lock(let node): [node.input]
    case .setOperation(let node): [node.left, node.right]
    case .recursive(let node): [node.initial, node.step]
    }
  }

  /// The expressions of this node itself.
  package var expressions: [TypedExpression] {
    switch self {
    case .oneRow, .system, .common, .working: []
    case .scan(let scan): scan.asOf.map { [$0] } ?? []
    case .values(let rows, _): rows.flatMap { $0 }
    case .constants(let rows, _): rows.expressions
    case .function(let node): node.expressions
    case .filter(_, let condition): [condition]
    case .project(_, let items): items.map(\.expression)
    case .projectSet(_, let node): node.expressions
    case .join(_, _, _, let condition, _): condition.map { [$0] } ?? []
    case .aggregate(let node):
      node.keys.map(\.expression)
        + node.aggregates.flatMap { TypedExpression(.aggregate($0.call), .void).children }
    case .window(let node):
      node.partition + node.order.map(\.expression) + node.frame.expressions
        + node.items.flatMap { TypedExpression(.window($0.call), .void).children }
    case .distinct(_, let slots): slots
    case .sort(_, let keys): keys.map(\.expression)
    case .lock(let node): node.recheck.map { [$0] } ?? []
    case .limit(_, let count, let offset, let ties): [count, offset].compactMap { $0 } + (ties ?? []).map(\.expression)
    case .setOperation(let node): node.leftColumns + node.rightColumns
    case .recursive(let node): node.initialColumns + node.stepColumns
    }
  }

  /// The slots that this node itself writes.
  package var ownSlots: [FrameSlot] {
    switch self {
    case .oneRow, .filter, .join, .distinct, .sort, .limit, .lock: []
    case .scan(let scan): scan.table.columns.indices.map { scan.base + $0 } + (scan.keySlot.map { [$0] } ?? [])
    case .system(_, let slots, _), .values(_, let slots), .constants(_, let slots), .common(_, let slots, _),
      .working(_, let slots):
      slots
    case .function(let node), .projectSet(_, let node): node.slots
    case .project(_, let items): items.map(\.slot)
    case .aggregate(let node): node.keys.map(\.slot) + node.aggregates.map(\.slot) + node.groupings.map(\.slot)
    case .window(let node): node.items.map(\.slot)
    case .setOperation(let node): node.slots
    case .recursive(let node): node.slots
    }
  }

  /// The slots that may be read above this node.
  package var slots: Set<FrameSlot> {
    switch self {
    case .aggregate, .setOperation, .recursive: Set(ownSlots)
    case .join(.semi, let left, _, _, _), .join(.anti, let left, _, _, _): left.slots
    default: inputs.reduce(into: Set(ownSlots)) { $0.formUnion($1.slots) }
    }
  }

  /// Calls `body` with every node of the tree.
  package func forEachNode(_ body: (LogicalPlan) -> Void) {
    body(self)
    for input in inputs { input.forEachNode(body) }
  }
}

extension FunctionScanNode {
  package var expressions: [TypedExpression] {
    items.flatMap { item -> [TypedExpression] in
      switch item.call {
      case .set(_, let arguments): arguments
      case .scalar(let expression): [expression]
      }
    }
  }
  package var slots: [FrameSlot] { items.flatMap(\.slots) + (ordinality.map { [$0] } ?? []) }
}

extension WindowNode.Frame {
  package var expressions: [TypedExpression] {
    [start, end].compactMap {
      switch $0 {
      case .preceding(let offset), .following(let offset): offset
      default: nil
      }
    } + (key.map { [$0] } ?? [])
  }
}
