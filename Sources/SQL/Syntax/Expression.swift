extension Syntax {
  /// A value expression, or a boolean one: PostgreSQL's `a_expr`.
  package struct Expression: Hashable, Sendable {
    package var kind: Kind
    /// Where PostgreSQL points when it blames this node: the operator of a binary operation, else the first token.
    @SourcePosition package var position: Int = 0

    init(_ kind: Kind, _ position: Int = 0) {
      self.kind = kind
      self._position = SourcePosition(wrappedValue: position)
    }

    package indirect enum Kind: Hashable, Sendable {
      case null
      case boolean(Bool)
      /// An integer or decimal constant as written, possibly with a leading minus (`-5` is one constant, as in
      /// PostgreSQL, so that the least integers can be written). Digits, at most one point, at most one exponent.
      case number(String)
      /// A string constant, decoded; its type is unknown until the binder finds it.
      case string(String)
      /// `$n`, 1-based.
      case parameter(Int)
      /// `a`, `t.a`, `s.t.a`, `d.s.t.a`; possibly fields of a composite.
      case column([String])
      /// `*` or `t.*` in a select list, a RETURNING list, a row or a function's arguments.
      case star([String])
      /// `(expression).field`.
      case field(Expression, String)
      /// `(expression).*`.
      case fieldStar(Expression)
      /// `expression[1]`, `expression[1:2]`.
      case subscripted(Expression, [Subscript])
      /// A prefix operator; `position` is the operator's.
      case unary(OperatorName, Expression)
      /// An infix operator; `position` is the operator's.
      case binary(OperatorName, Expression, Expression)
      /// Two or more operands; a chain of ANDs is one node.
      case and([Expression])
      /// Two or more operands; a chain of ORs is one node.
      case or([Expression])
      case not(Expression)
      case like(Like)
      case between(Between)
      /// `IS [NOT] NULL | TRUE | FALSE | UNKNOWN` (and ISNULL, NOTNULL).
      case isTest(Expression, IsTest, negated: Bool)
      /// `a IS [NOT] DISTINCT FROM b`; `negated` with the NOT.
      case isDistinct(Expression, Expression, negated: Bool)
      case inList(Expression, [Expression], negated: Bool)
      case inQuery(Expression, Query, negated: Bool)
      /// `a op ANY | ALL (query or array)`.
      case quantified(Quantified)
      case exists(Query)
      case subquery(Query)
      case arrayQuery(Query)
      /// `ARRAY[…]`; the inner brackets of `ARRAY[[1,2],[3,4]]` are nodes of this kind as well.
      case array([Expression])
      /// `ROW(…)` or `(a, b)`.
      case row([Expression], explicit: Bool)
      case cast(Expression, TypeName, CastForm)
      case collate(Expression, QualifiedName)
      /// `a AT TIME ZONE b`.
      case atTimeZone(Expression, Expression)
      case caseWhen(Case)
      case function(FunctionCall)
      case coalesce([Expression])
      case greatest([Expression])
      case least([Expression])
      case nullif(Expression, Expression)
      case extract(String, Expression)
      case substring(Substring)
      case position(Expression, in: Expression)
      case overlay(Overlay)
      case trim(Trim)
      /// `current_timestamp(3)` and its kin.
      case sqlValue(SQLValueFunction, precision: Int?)
      /// `GROUPING(a, b)`.
      case grouping([Expression])
      /// `(a, b) OVERLAPS (c, d)`: two operands each.
      case overlaps([Expression], [Expression])
      /// `DEFAULT` as the value of a column in INSERT and UPDATE.
      case defaultValue
      /// `WHERE CURRENT OF cursor`.
      case currentOf(String)
    }
  }

  /// An operator, possibly written `OPERATOR(schema.op)`.
  package struct OperatorName: Hashable, Sendable {
    /// `+`, `||`, `->>`; `!=` is kept as `<>`, as in PostgreSQL.
    package var symbol: String
    /// Empty unless written with `OPERATOR(…)` and a schema.
    package var schema: [String] = []
  }

  /// One `[i]` or `[lower:upper]`, either bound possibly absent.
  package struct Subscript: Hashable, Sendable {
    package var isSlice: Bool
    /// The lower bound of a slice.
    package var lower: Expression?
    /// The upper bound of a slice, or the index.
    package var upper: Expression?
  }

  package struct Like: Hashable, Sendable {
    package enum Kind: Hashable, Sendable { case like, ilike, similar }
    package var kind: Kind
    package var operand: Expression
    package var pattern: Expression
    package var escape: Expression?
    package var negated: Bool
  }

  package struct Between: Hashable, Sendable {
    package var operand: Expression
    package var low: Expression
    package var high: Expression
    package var symmetric: Bool
    package var negated: Bool
  }

  package enum IsTest: Hashable, Sendable { case null, isTrue, isFalse, unknown }

  package struct Quantified: Hashable, Sendable {
    package enum Quantifier: Hashable, Sendable { case any, all }
    package enum Source: Hashable, Sendable {
      case query(Query)
      case array(Expression)
    }
    /// How the comparison is written.
    package enum Comparison: Hashable, Sendable {
      case op(OperatorName)
      case like(Like.Kind, negated: Bool)
    }
    package var left: Expression
    package var comparison: Comparison
    package var quantifier: Quantifier
    package var source: Source
  }

  /// How a cast was written. The meaning differs for literals alone: `DATE '2020-01-01'` must be a constant.
  package enum CastForm: Hashable, Sendable {
    /// `CAST(x AS t)`
    case function
    /// `x::t`
    case op
    /// `t 'x'`
    case literal
  }

  package struct Case: Hashable, Sendable {
    package struct Branch: Hashable, Sendable {
      package var condition: Expression
      package var result: Expression
    }
    package var operand: Expression?
    package var branches: [Branch]
    package var otherwise: Expression?
  }

  package struct FunctionCall: Hashable, Sendable {
    package struct Argument: Hashable, Sendable {
      /// `name => value` (or `name := value`).
      package var name: String?
      package var value: Expression
    }
    package var name: QualifiedName
    package var arguments: [Argument] = []
    /// `count(*)`.
    package var isStar = false
    /// `f(DISTINCT a)`.
    package var distinct = false
    /// `f(VARIADIC array)`: of the last argument.
    package var variadic = false
    /// `array_agg(a ORDER BY b)`, or the list of WITHIN GROUP.
    package var orderBy: [SortItem] = []
    package var withinGroup = false
    package var filter: Expression?
    package var over: WindowReference?
  }

  package struct Substring: Hashable, Sendable {
    package var operand: Expression
    package var from: Expression?
    package var count: Expression?
    /// `SUBSTRING(s SIMILAR p ESCAPE e)`; then the others are nil.
    package var similar: Expression?
    package var escape: Expression?
  }

  package struct Overlay: Hashable, Sendable {
    package var operand: Expression
    package var placing: Expression
    package var from: Expression
    package var count: Expression?
  }

  package struct Trim: Hashable, Sendable {
    package enum Side: Hashable, Sendable { case both, leading, trailing }
    package var side: Side
    /// The string, then (optionally) the characters to trim: in the order of the function `btrim(string, characters)`.
    package var arguments: [Expression]
  }

  /// Functions that the standard writes without parentheses.
  package enum SQLValueFunction: String, Hashable, Sendable {
    case currentDate = "current_date"
    case currentTime = "current_time"
    case currentTimestamp = "current_timestamp"
    case localTime = "localtime"
    case localTimestamp = "localtimestamp"
    case currentRole = "current_role"
    case currentUser = "current_user"
    case sessionUser = "session_user"
    case user = "user"
    case currentCatalog = "current_catalog"
    case currentSchema = "current_schema"
  }

  /// A type as written: `numeric(10,2)[]`, `timestamp(3) with time zone`, `s.t`.
  package struct TypeName: Hashable, Sendable {
    /// The standard's spellings are resolved here as PostgreSQL's grammar does: `INTEGER` is `pg_catalog.int4`,
    /// `CHARACTER VARYING` is `pg_catalog.varchar`, `TIMESTAMP WITH TIME ZONE` is `pg_catalog.timestamptz`; a plain
    /// identifier such as `text` or `"int"` stays as it is.
    package var name: QualifiedName
    /// `(10, 2)`: constants, nearly always.
    package var modifiers: [Expression] = []
    /// `INTERVAL DAY TO SECOND`.
    package var intervalFields: IntervalFields?
    /// `[]` is nil, `[3]` is 3; one entry a dimension.
    package var arrayBounds: [Int?] = []
    /// `SETOF`.
    package var isSet = false
    package var position: Int { name.position }
  }

  package enum IntervalFields: String, Hashable, Sendable {
    case year, month, day, hour, minute, second
    case yearToMonth = "year to month"
    case dayToHour = "day to hour"
    case dayToMinute = "day to minute"
    case dayToSecond = "day to second"
    case hourToMinute = "hour to minute"
    case hourToSecond = "hour to second"
    case minuteToSecond = "minute to second"
  }
}
