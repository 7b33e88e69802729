extension Syntax {
  package struct Insert: Hashable, Sendable {
    package enum Source: Hashable, Sendable {
      case query(Query)
      case defaultValues
    }
    package enum Overriding: Hashable, Sendable { case system, user }
    package var with: With?
    package var table: QualifiedName
    package var alias: Name?
    /// Empty if not written.
    package var columns: [ColumnTarget] = []
    package var overriding: Overriding?
    package var source: Source
    package var onConflict: OnConflict?
    package var returning: [Target] = []
    @SourcePosition package var position: Int = 0
  }

  /// A column that is assigned to: `a`, `a[1]`, `a.field`.
  package struct ColumnTarget: Hashable, Sendable {
    package enum Step: Hashable, Sendable {
      case field(String)
      case subscripted(Subscript)
    }
    package var column: String
    package var path: [Step] = []
    @SourcePosition package var position: Int = 0
  }

  package struct OnConflict: Hashable, Sendable {
    package enum Target: Hashable, Sendable {
      /// `(a, lower(b)) WHERE …`
      case columns([IndexElement], condition: Expression?)
      /// `ON CONSTRAINT name`
      case constraint(Name)
    }
    package enum Action: Hashable, Sendable {
      case nothing
      case update([Assignment], condition: Expression?)
    }
    package var target: Target?
    package var action: Action
    @SourcePosition package var position: Int = 0
  }

  package enum Assignment: Hashable, Sendable {
    /// `a = expression`; DEFAULT is an expression of kind `defaultValue`.
    case single(ColumnTarget, Expression)
    /// `(a, b) = (1, 2)`, `(a, b) = (SELECT …)`, `(a, b) = ROW(…)`: the expression is a `row`, a `subquery`, or another.
    case multiple([ColumnTarget], Expression)
  }

  package struct Update: Hashable, Sendable {
    package var with: With?
    package var table: RelationName
    package var alias: Name?
    package var assignments: [Assignment]
    package var from: [TableReference] = []
    package var condition: Expression?
    package var returning: [Target] = []
    @SourcePosition package var position: Int = 0
  }

  package struct Delete: Hashable, Sendable {
    package var with: With?
    package var table: RelationName
    package var alias: Name?
    package var using: [TableReference] = []
    package var condition: Expression?
    package var returning: [Target] = []
    @SourcePosition package var position: Int = 0
  }

  package struct Copy: Hashable, Sendable {
    package enum Source: Hashable, Sendable {
      case table(QualifiedName, columns: [Name])
      /// A query, or INSERT, UPDATE, DELETE with RETURNING: `COPY (…) TO` only.
      case statement(Statement)
    }
    package enum Endpoint: Hashable, Sendable {
      /// STDIN or STDOUT.
      case client
      case file(String)
      case program(String)
    }
    package enum Direction: Hashable, Sendable { case from, to }
    package var source: Source
    package var direction: Direction
    package var endpoint: Endpoint
    /// The old syntax (`CSV HEADER DELIMITER ','`) is turned into these names: format, freeze, delimiter, null, header,
    /// quote, escape, force_quote, force_not_null, force_null, encoding.
    package var options: [Option] = []
    /// `COPY … FROM … WHERE`.
    package var condition: Expression?
    @SourcePosition package var position: Int = 0
  }
}
