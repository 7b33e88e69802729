extension Syntax {
  /// One SQL statement.
  package indirect enum Statement: Hashable, Sendable {
    // Queries and data.
    case query(Query)
    case insert(Insert)
    case update(Update)
    case delete(Delete)
    case copy(Copy)
    // Definitions.
    case createTable(CreateTable)
    case createTableAs(CreateTableAs)
    case createIndex(CreateIndex)
    case createView(CreateView)
    case createSequence(CreateSequence)
    case createSchema(CreateSchema)
    case createRole(CreateRole)
    case alterTable(AlterTable)
    case alterSequence(AlterSequence)
    case alterRole(AlterRole)
    case alterRoleSetting(AlterRoleSetting)
    case rename(Rename)
    case alterSchema(AlterSchema)
    case alterOwner(AlterOwner)
    case drop(Drop)
    case dropRole(DropRole)
    case truncate(Truncate)
    case comment(Comment)
    case grant(Grant)
    case grantRole(GrantRole)
    case alterDefaultPrivileges(AlterDefaultPrivileges)
    // Transactions and sessions.
    case transaction(TransactionStatement)
    case lock(LockTable)
    case set(SetSetting)
    case show(Show)
    case reset(Reset)
    case discard(Discard)
    case listen(Name)
    case unlisten(Name?)
    case notify(Notify)
    // Prepared statements and cursors.
    case prepare(Prepare)
    case execute(Execute)
    case deallocate(Name?)
    case declareCursor(DeclareCursor)
    case fetch(Fetch)
    case closeCursor(Name?)
    // Utilities.
    case explain(Explain)
    case vacuum(Vacuum)
    case reindex(Reindex)
    case checkpoint
  }
}
