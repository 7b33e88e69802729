extension Syntax {
  /// SELECT, VALUES, TABLE or a set operation, with what may stand around it.
  package struct Query: Hashable, Sendable {
    package var with: With?
    package var body: QueryBody
    package var orderBy: [SortItem] = []
    package var limit: Limit?
    package var offset: Expression?
    package var locking: [Locking] = []
    @SourcePosition package var position: Int = 0
  }

  package indirect enum QueryBody: Hashable, Sendable {
    case select(Select)
    case values(ValueRows)
    /// `TABLE t`.
    case table(RelationName)
    case setOperation(SetOperation)
  }

  package struct Select: Hashable, Sendable {
    package var distinct: Distinct?
    package var targets: [Target] = []
    package var from: [TableReference] = []
    package var condition: Expression?
    package var groupBy: [GroupingElement] = []
    /// `GROUP BY DISTINCT`.
    package var groupByDistinct = false
    package var having: Expression?
    package var windows: [NamedWindow] = []
  }

  package enum Distinct: Hashable, Sendable {
    case rows
    case on([Expression])
  }

  /// An item of a select or RETURNING list. `*` and `t.*` are expressions of kind `star`.
  package struct Target: Hashable, Sendable {
    package var expression: Expression
    package var alias: String?
    @SourcePosition package var position: Int = 0
  }

  package struct SetOperation: Hashable, Sendable {
    package enum Kind: Hashable, Sendable { case union, intersect, except }
    package var kind: Kind
    package var all: Bool
    package var left: Query
    package var right: Query
    /// The operator's.
    @SourcePosition package var position: Int = 0
  }

  package struct Limit: Hashable, Sendable {
    /// Nil for `LIMIT ALL`.
    package var count: Expression?
    /// `FETCH FIRST … WITH TIES`.
    package var withTies = false
    @SourcePosition package var position: Int = 0
  }

  package struct SortItem: Hashable, Sendable {
    package enum Direction: Hashable, Sendable {
      case ascending, descending
      /// `USING <`.
      case using(OperatorName)
    }
    package enum Nulls: Hashable, Sendable { case first, last }
    package var expression: Expression
    /// Nil if not written.
    package var direction: Direction?
    /// Nil if not written: last for ascending order, first for descending.
    package var nulls: Nulls?
  }

  package enum GroupingElement: Hashable, Sendable {
    case expression(Expression)
    /// `()`.
    case empty
    case rollup([GroupingElement])
    case cube([GroupingElement])
    case sets([GroupingElement])
  }

  // MARK: FROM

  /// An item of FROM.
  package indirect enum TableReference: Hashable, Sendable {
    case relation(RelationReference)
    case subquery(SubqueryReference)
    case function(FunctionReference)
    case join(Join)
  }

  /// A table or view by name, `ONLY` or not (there is no inheritance, so that both mean the same).
  package struct RelationName: Hashable, Sendable {
    package var name: QualifiedName
    package var only = false
    package var position: Int { name.position }
  }

  package struct RelationReference: Hashable, Sendable {
    package var relation: RelationName
    package var asOf: AsOf?
    package var alias: Alias?
  }

  /// `AS OF VERSION n`, `AS OF TIMESTAMP t`: read an older snapshot.
  package struct AsOf: Hashable, Sendable {
    package enum Kind: Hashable, Sendable { case version, timestamp }
    package var kind: Kind
    package var value: Expression
    @SourcePosition package var position: Int = 0
  }

  package struct Alias: Hashable, Sendable {
    package var name: String
    package var columns: [Name] = []
    @SourcePosition package var position: Int = 0
  }

  package struct SubqueryReference: Hashable, Sendable {
    package var lateral: Bool
    package var query: Query
    package var alias: Alias?
    @SourcePosition package var position: Int = 0
  }

  package struct FunctionReference: Hashable, Sendable {
    /// A function, with its own column definitions inside `ROWS FROM (f() AS (a int))`.
    package struct Item: Hashable, Sendable {
      package var call: Expression
      package var columns: [ColumnType] = []
    }
    package var lateral: Bool
    /// One item unless `ROWS FROM`.
    package var items: [Item]
    package var isRowsFrom = false
    package var withOrdinality = false
    package var alias: Alias?
    /// `f() AS x (a int, b text)`.
    package var columns: [ColumnType] = []
    @SourcePosition package var position: Int = 0
  }

  /// `name type [COLLATE c]`.
  package struct ColumnType: Hashable, Sendable {
    package var name: Name
    package var type: TypeName
    package var collation: QualifiedName?
  }

  package struct Join: Hashable, Sendable {
    package enum Kind: Hashable, Sendable { case inner, left, right, full, cross }
    package enum Condition: Hashable, Sendable {
      case on(Expression)
      /// `USING (a, b) [AS alias]`.
      case using([Name], alias: Alias?)
      case natural
    }
    package var kind: Kind
    package var left: TableReference
    package var right: TableReference
    /// Nil for CROSS JOIN alone.
    package var condition: Condition?
    /// `(a JOIN b ON …) AS x`.
    package var alias: Alias?
    @SourcePosition package var position: Int = 0
  }

  // MARK: WITH, WINDOW, FOR UPDATE

  package struct With: Hashable, Sendable {
    package var recursive: Bool
    package var tables: [CommonTable]
    @SourcePosition package var position: Int = 0
  }

  package struct CommonTable: Hashable, Sendable {
    package var name: Name
    package var columns: [Name] = []
    /// `MATERIALIZED`, `NOT MATERIALIZED`, or unsaid.
    package var materialized: Bool?
    /// A query, an INSERT, an UPDATE or a DELETE.
    package var statement: Statement
  }

  package struct NamedWindow: Hashable, Sendable {
    package var name: Name
    package var window: Window
  }

  package indirect enum WindowReference: Hashable, Sendable {
    /// `OVER name`.
    case named(Name)
    /// `OVER (…)`.
    case inline(Window)
  }

  package struct Window: Hashable, Sendable {
    /// The window that this one refines: `OVER (w ORDER BY a)`.
    package var base: Name?
    package var partitionBy: [Expression] = []
    package var orderBy: [SortItem] = []
    package var frame: WindowFrame?
    @SourcePosition package var position: Int = 0
  }

  package struct WindowFrame: Hashable, Sendable {
    package enum Mode: Hashable, Sendable { case rows, range, groups }
    package enum Bound: Hashable, Sendable {
      case unboundedPreceding
      case preceding(Expression)
      case currentRow
      case following(Expression)
      case unboundedFollowing
    }
    package enum Exclusion: Hashable, Sendable { case currentRow, group, ties }
    package var mode: Mode
    package var start: Bound
    /// Nil if not written with BETWEEN: the current row.
    package var end: Bound?
    package var exclusion: Exclusion?
    @SourcePosition package var position: Int = 0
  }

  package struct Locking: Hashable, Sendable {
    package enum Strength: Hashable, Sendable { case update, noKeyUpdate, share, keyShare }
    package enum Wait: Hashable, Sendable { case block, noWait, skipLocked }
    package var strength: Strength
    /// `OF a, b`; empty for all.
    package var tables: [QualifiedName] = []
    package var wait: Wait = .block
    @SourcePosition package var position: Int = 0
  }
}
