// From syntax to meaning: every name is resolved, every expression typed, every implicit coercion made explicit.
//
// One binder serves one statement. It allots the frame's slots (see LogicalPlan), collects subqueries and common tables,
// and infers the parameters' types through the resolver. It reads the catalog and nothing else: no data, no clock.

/// Binds one statement against one catalog.
package final class Binder {
  package let catalog: CatalogSnapshot
  package let resolver: Resolver
  /// The schemas in which unqualified names are looked up, in order.
  var searchPath: [String]
  /// The type of every slot; its count is the frame's size.
  private(set) var slotTypes: [SQLType] = []
  var subqueries: [BoundSubquery] = []
  var commonTables: [BoundCommonTable] = []
  /// Recursive common tables whose step is being bound, by their index.
  var workingTables: [Int: (id: Int, references: Int)] = [:]
  var recursions = 0
  /// Where the columns of every scanned or changed table begin.
  var scannedTables: [(base: FrameSlot, table: TableDescriptor)] = []
  /// What the slots of FROM are called, for messages.
  var slotNames: [FrameSlot: String] = [:]
  /// Names of the columns of records that lie in slots; fields of records that a subquery put into one slot
  /// (Binder+Records.swift).
  var recordNames: [[FrameSlot]: [String]] = [:]
  var recordFields: [FrameSlot: [(name: String, value: TypedExpression)]] = [:]
  /// Relations that the statement names: for locks, and for the dependencies of views.
  var relationsUsed: Set<ObjectID> = []
  /// If set, what `*` and `t.*` in lists stand for, by their positions in the text.
  var starNames: [Int: [[String]]]?
  /// If set, the columns that the statement names, by relation.
  var columnsUsed: [ObjectID: Set<Int>]?
  /// Views being expanded, against endless recursion.
  var expanding: Set<ObjectID> = []
  /// Whose rights the statement needs; nil: nobody's.
  var rights: Rights?
  var uses = RelationUses()
  /// Whether data-modifying common tables may stand here: only at the statement's top.
  var allowsModifyingCommonTables = true

  package init(
    catalog: CatalogSnapshot, registry: FunctionRegistry, searchPath: [String], format: TextFormat,
    parameterTypes: [SQLType] = []
  ) {
    self.catalog = catalog
    self.searchPath = searchPath
    resolver = Resolver(registry: registry, format: format, parameterTypes: parameterTypes)
  }

  // MARK: Slots

  func newSlot(_ type: SQLType) -> FrameSlot {
    slotTypes.append(type)
    return slotTypes.count - 1
  }
  func newSlots(_ types: [SQLType]) -> FrameSlot {
    let base = slotTypes.count
    slotTypes += types
    return base
  }
  var slotCount: Int { slotTypes.count }
  /// A slot's name as messages show it.
  func describe(_ slot: FrameSlot) -> String { slotNames[slot] ?? "?column?" }

  /// An expression's value in a slot of its own: the slot itself if it is one already.
  func slot(for expression: TypedExpression, _ computed: inout [(slot: FrameSlot, expression: TypedExpression)])
    -> FrameSlot
  {
    if case .column(let slot) = expression.node { return slot }
    let slot = newSlot(expression.type)
    computed.append((slot, expression))
    return slot
  }

  // MARK: Relations

  /// The relation that `name` means.
  ///
  /// - Throws: undefined_table (42P01), invalid_schema_name (3F000).
  func relation(_ name: Syntax.QualifiedName) throws(SQLError) -> Relation {
    try checkSchema(name)
    if let relation = try catalog.relation(name, searchPath: searchPath) { return relation }
    throw Binder.undefinedRelation(name)
  }

  static func undefinedRelation(_ name: Syntax.QualifiedName) -> SQLError {
    SQLError(
      .undefinedTable, "relation \"\(name.parts.suffix(2).joined(separator: "."))\" does not exist",
      position: name.position == 0 ? nil : name.position)
  }

  /// The table that `name` means, for INSERT, UPDATE, DELETE and DDL; `verb` says what is done to it.
  func table(_ name: Syntax.QualifiedName, for verb: String) throws(SQLError) -> TableDescriptor {
    switch try relation(name) {
    case .table(let table):
      relationsUsed.insert(table.id)
      return table
    case .view(let view):
      throw SQLError(
        .featureNotSupported, "cannot \(verb) view \"\(view.name)\"",
        detail: "Views are read-only here.", position: name.position)
    case .sequence(let sequence):
      throw SQLError(.wrongObjectType, "cannot \(verb) sequence \"\(sequence.name)\"", position: name.position)
    case .index(let index):
      throw SQLError(.wrongObjectType, "cannot \(verb) index \"\(index.name)\"", position: name.position)
    case .system(let system):
      throw SQLError(
        .insufficientPrivilege, "permission denied: \"\(system.name)\" is a system catalog", position: name.position)
    }
  }

  // MARK: Types

  /// The type that `name` means.
  ///
  /// - Throws: undefined_object (42704) and what wrong modifiers raise (22023, 42601).
  func type(_ name: Syntax.TypeName) throws(SQLError) -> SQLType { try TypeBinding.type(name) }
}

/// A position for an error: nil where the syntax has none.
func place(_ position: Int) -> Int? { position == 0 ? nil : position }
