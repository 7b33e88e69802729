extension Syntax {
  package enum Persistence: Hashable, Sendable { case permanent, temporary, unlogged }

  // MARK: Tables

  package struct CreateTable: Hashable, Sendable {
    package enum OnCommit: Hashable, Sendable { case preserveRows, deleteRows, drop }
    package enum Element: Hashable, Sendable {
      case column(ColumnDefinition)
      case constraint(TableConstraint)
      case like(LikeClause)
    }
    package var name: QualifiedName
    package var persistence: Persistence = .permanent
    package var ifNotExists = false
    package var elements: [Element] = []
    /// `WITH (…)`: storage hints.
    package var options: [Option] = []
    package var onCommit: OnCommit?
    @SourcePosition package var position: Int = 0
  }

  /// `LIKE table INCLUDING DEFAULTS EXCLUDING INDEXES`, in the order written.
  package struct LikeClause: Hashable, Sendable {
    package enum Feature: String, Hashable, Sendable {
      case comments, compression, constraints, defaults, generated, identity, indexes, statistics, storage, all
    }
    package struct Choice: Hashable, Sendable {
      package var feature: Feature
      package var including: Bool
    }
    package var table: QualifiedName
    package var choices: [Choice] = []
    @SourcePosition package var position: Int = 0
  }

  package struct ColumnDefinition: Hashable, Sendable {
    package var name: Name
    package var type: TypeName
    package var collation: QualifiedName?
    package var constraints: [ColumnConstraint] = []
    package var position: Int { name.position }
  }

  package struct ColumnConstraint: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
      case null
      case notNull
      case defaultValue(Expression)
      case check(Expression, noInherit: Bool)
      case unique(nullsNotDistinct: Bool, options: [Option])
      case primaryKey(options: [Option])
      case references(Reference)
      case generated(Expression)
      case identity(Identity)
    }
    package var name: Name?
    package var kind: Kind
    package var deferral = Deferral()
    @SourcePosition package var position: Int = 0
  }

  package struct Identity: Hashable, Sendable {
    /// GENERATED ALWAYS, or BY DEFAULT.
    package var always: Bool
    package var options: [SequenceOption] = []
  }

  package struct TableConstraint: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
      case check(Expression, noInherit: Bool)
      case unique([Name], including: [Name], nullsNotDistinct: Bool, options: [Option])
      case primaryKey([Name], including: [Name], options: [Option])
      case foreignKey([Name], Reference)
      /// `ADD UNIQUE USING INDEX name`, `ADD PRIMARY KEY USING INDEX name`.
      case uniqueUsingIndex(Name)
      case primaryKeyUsingIndex(Name)
    }
    package var name: Name?
    package var kind: Kind
    package var deferral = Deferral()
    package var notValid = false
    @SourcePosition package var position: Int = 0
  }

  /// `REFERENCES table (columns) MATCH … ON DELETE … ON UPDATE …`.
  package struct Reference: Hashable, Sendable {
    package enum Match: Hashable, Sendable { case simple, full }
    package enum Action: Hashable, Sendable {
      case noAction, restrict, cascade
      /// `SET NULL [(columns)]`.
      case setNull([Name])
      /// `SET DEFAULT [(columns)]`.
      case setDefault([Name])
    }
    package var table: QualifiedName
    /// Empty if not written: the primary key.
    package var columns: [Name] = []
    package var match: Match = .simple
    package var onDelete: Action = .noAction
    package var onUpdate: Action = .noAction
  }

  /// `CREATE TABLE t AS query`, and `SELECT … INTO t`.
  package struct CreateTableAs: Hashable, Sendable {
    package enum Source: Hashable, Sendable {
      case query(Query)
      case execute(Execute)
    }
    package var name: QualifiedName
    package var columns: [Name] = []
    package var persistence: Persistence = .permanent
    package var ifNotExists = false
    package var options: [Option] = []
    package var onCommit: CreateTable.OnCommit?
    package var source: Source
    package var withData = true
    @SourcePosition package var position: Int = 0
  }

  package struct AlterTable: Hashable, Sendable {
    package enum ObjectKind: Hashable, Sendable { case table, index, view, sequence }
    package var kind: ObjectKind
    package var ifExists = false
    package var relation: RelationName
    package var actions: [AlterAction]
    @SourcePosition package var position: Int = 0
  }

  package struct AlterAction: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
      case addColumn(ColumnDefinition, ifNotExists: Bool)
      case dropColumn(Name, ifExists: Bool, DropBehavior)
      case setDefault(Name, Expression)
      case dropDefault(Name)
      case setNotNull(Name)
      case dropNotNull(Name)
      case dropExpression(Name, ifExists: Bool)
      case setType(Name, TypeName, collation: QualifiedName?, using: Expression?)
      /// `ALTER c SET STATISTICS n`: a hint.
      case setStatistics(Name, Int)
      case addIdentity(Name, Identity)
      case setIdentity(Name, always: Bool?, [SequenceOption])
      case dropIdentity(Name, ifExists: Bool)
      case addConstraint(TableConstraint)
      case alterConstraint(Name, Deferral)
      case validateConstraint(Name)
      case dropConstraint(Name, ifExists: Bool, DropBehavior)
      case owner(RoleName)
      /// `SET (fillfactor = 70)`: storage hints.
      case setOptions([Option])
      /// `RESET (fillfactor)`.
      case resetOptions([Option])
      case setLogged(Bool)
      /// `CLUSTER ON index`, and `SET WITHOUT CLUSTER` (nil): hints.
      case clusterOn(Name?)
    }
    package var kind: Kind
    @SourcePosition package var position: Int = 0
  }

  // MARK: Indexes, views, sequences, schemas

  package struct CreateIndex: Hashable, Sendable {
    package var unique = false
    package var concurrently = false
    package var ifNotExists = false
    package var name: Name?
    package var table: RelationName
    /// `USING btree`; nil if not written.
    package var method: Name?
    package var elements: [IndexElement]
    package var including: [IndexElement] = []
    package var nullsNotDistinct = false
    package var options: [Option] = []
    package var condition: Expression?
    @SourcePosition package var position: Int = 0
  }

  package struct IndexElement: Hashable, Sendable {
    package enum Key: Hashable, Sendable {
      case column(String)
      case expression(Expression)
    }
    package var key: Key
    package var collation: QualifiedName?
    package var operatorClass: QualifiedName?
    package var operatorClassOptions: [Option] = []
    /// Nil if not written.
    package var descending: Bool?
    package var nulls: SortItem.Nulls?
    @SourcePosition package var position: Int = 0
  }

  package struct CreateView: Hashable, Sendable {
    package enum CheckOption: Hashable, Sendable { case local, cascaded }
    package var name: QualifiedName
    package var columns: [Name] = []
    package var orReplace = false
    package var temporary = false
    package var recursive = false
    package var options: [Option] = []
    package var query: Query
    package var checkOption: CheckOption?
    @SourcePosition package var position: Int = 0
  }

  package struct CreateSequence: Hashable, Sendable {
    package var name: QualifiedName
    package var persistence: Persistence = .permanent
    package var ifNotExists = false
    package var options: [SequenceOption] = []
    @SourcePosition package var position: Int = 0
  }

  package struct AlterSequence: Hashable, Sendable {
    package var name: QualifiedName
    package var ifExists = false
    package var options: [SequenceOption]
    @SourcePosition package var position: Int = 0
  }

  package struct SequenceOption: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
      case type(TypeName)
      /// Numbers are text with a sign, as constants are.
      case increment(String)
      /// Nil: `NO MINVALUE`.
      case minimum(String?)
      case maximum(String?)
      case start(String)
      /// Nil: at the start value.
      case restart(String?)
      case cache(String)
      case cycle(Bool)
      /// Nil: `OWNED BY NONE`.
      case ownedBy(QualifiedName?)
      /// `SEQUENCE NAME s`, as pg_dump writes it.
      case name(QualifiedName)
    }
    package var kind: Kind
    @SourcePosition package var position: Int = 0
  }

  package struct CreateSchema: Hashable, Sendable {
    /// Nil: named as the role.
    package var name: Name?
    package var authorization: RoleName?
    package var ifNotExists = false
    /// The tables, indexes, views, sequences and grants that follow.
    package var elements: [Statement] = []
    @SourcePosition package var position: Int = 0
  }

  // MARK: What concerns any object

  package enum ObjectKind: String, Hashable, Sendable {
    case table, view, sequence, index, schema, role, column, constraint, database, function, type, domain
  }

  package struct Rename: Hashable, Sendable {
    package enum Target: Hashable, Sendable {
      case object
      case column(Name)
      case constraint(Name)
    }
    /// The kind of `name`.
    package var kind: ObjectKind
    package var name: QualifiedName
    package var only = false
    package var ifExists = false
    package var target: Target
    package var newName: Name
    @SourcePosition package var position: Int = 0
  }

  /// `ALTER … SET SCHEMA`.
  package struct AlterSchema: Hashable, Sendable {
    package var kind: ObjectKind
    package var name: QualifiedName
    package var ifExists = false
    package var schema: Name
    @SourcePosition package var position: Int = 0
  }

  /// `ALTER SCHEMA | DATABASE … OWNER TO` (for relations it is an ``AlterAction``).
  package struct AlterOwner: Hashable, Sendable {
    package var kind: ObjectKind
    package var name: QualifiedName
    package var owner: RoleName
    @SourcePosition package var position: Int = 0
  }

  package struct Drop: Hashable, Sendable {
    /// One of table, view, sequence, index, schema.
    package var kind: ObjectKind
    package var names: [QualifiedName]
    package var ifExists = false
    package var concurrently = false
    package var behavior: DropBehavior = .restrict
    @SourcePosition package var position: Int = 0
  }

  package struct Truncate: Hashable, Sendable {
    package var tables: [RelationName]
    package var restartIdentity = false
    package var behavior: DropBehavior = .restrict
    @SourcePosition package var position: Int = 0
  }

  package struct Comment: Hashable, Sendable {
    package var kind: ObjectKind
    /// The object's name; a column's with its table's, as written; for a constraint, the table's.
    package var name: QualifiedName
    /// The constraint, where `kind` is constraint.
    package var constraint: Name?
    /// Nil removes the comment.
    package var text: String?
    @SourcePosition package var position: Int = 0
  }
}
