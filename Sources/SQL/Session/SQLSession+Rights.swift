internal import Transactions

// Who the session is, and what it may do.
//
//   login user      who authenticated; decides which SET SESSION AUTHORIZATION is allowed
//   session user    `session_authorization`: the login user, or whom a superuser became
//   current user    `role` if it is set, else the session user: whose rights count
//
// Both are settings, so that they go back with the transaction that set them.

extension SQLSession {
  /// The rights of the current user at the catalog that the transaction sees.
  func rights() throws(SQLError) -> Rights {
    let catalog = try catalog()
    let user = self.user
    if let knownRights, knownRights.catalog === catalog, knownRights.role?.name == user { return knownRights }
    let rights = Rights(catalog.role(named: user), catalog)
    knownRights = rights
    return rights
  }

  /// The schemas in which names are looked up: of those on the path the ones that may be used.
  func usableSearchPath() throws(SQLError) -> [String] {
    let rights = try rights()
    if rights.isSuperuser { return searchPath }
    let catalog = try catalog()
    return searchPath.filter { name in
      catalog.schema(named: name).map { rights.privileges(onSchema: $0.id).contains(.usage) } ?? true
    }
  }

  /// Checks SET ROLE and SET SESSION AUTHORIZATION; other settings are nobody's business.
  ///
  /// - Returns: the value to be set.
  func authorize(_ name: String, _ value: String) throws(SQLError) -> String {
    switch name.lowercased() {
    case "role":
      if value == "none" { return value }
      let catalog = try catalog()
      guard let role = catalog.role(named: value) else {
        throw SQLError(.invalidParameterValue, "role \"\(value)\" does not exist")
      }
      let own = catalog.role(named: sessionUser)
      guard let own, own.isSuperuser || catalog.memberships(own, inheritedOnly: false).contains(role.id) else {
        throw SQLError(.insufficientPrivilege, "permission denied to set role \"\(value)\"")
      }
      return value
    case "session_authorization":
      let catalog = try catalog()
      guard catalog.role(named: value) != nil else {
        throw SQLError(.invalidParameterValue, "role \"\(value)\" does not exist")
      }
      guard value == loginUser || catalog.role(named: loginUser)?.isSuperuser == true else {
        throw SQLError(.insufficientPrivilege, "permission denied to set session authorization")
      }
      return value
    default: return value
    }
  }

  /// After a change of the current user: `is_superuser` says what he is.
  func userChanged() throws(SQLError) {
    settings.set("is_superuser", try rights().isSuperuser ? "on" : "off")
  }

  // MARK: What is not planned

  /// - Throws: 42501 unless the current user has one of `privileges` on the whole of `relation`.
  func require(anyOf privileges: Privileges, on relation: Relation) throws(SQLError) {
    let rights = try rights()
    guard rights.isSuperuser || !rights.privileges(on: relation).isDisjoint(with: privileges) else {
      throw Rights.denied(Binder.word(relation), relation.name)
    }
  }

  /// The same for columns: on the table, or on each of `columns`.
  func require(
    _ privilege: Privileges, on table: TableDescriptor, columns: [Int]
  ) throws(SQLError) {
    let rights = try rights()
    if rights.isSuperuser || rights.privileges(on: .table(table)).contains(privilege) { return }
    guard !columns.isEmpty,
      columns.allSatisfy({ rights.privileges(onColumn: $0, of: table.id).contains(privilege) })
    else { throw Rights.denied("table", table.name) }
  }
}

extension SQLDatabase {
  /// Why `role` may not come in although it is who it says; nil if it may: LOGIN and CONNECT are asked.
  package func refusal(of role: RoleDescriptor) throws(SQLError) -> SQLError? {
    guard role.canLogin else {
      return SQLError(
        SQLState(rawValue: "28000"), "role \"\(role.name)\" is not permitted to log in")
    }
    // This node's own state: a follower lets clients in without its leader.
    var options = TransactionOptions(isReadOnly: true)
    options.isLocal = true
    let transaction = try sqlErrors { () throws(TransactionError) in try manager.begin(options) }
    defer { transaction.rollback() }
    let rights = Rights(role, try CatalogStore.load(transaction, catalogs))
    guard rights.onDatabase.contains(.connect) else {
      return SQLError(
        .insufficientPrivilege, "permission denied for database \"\(self.options.name)\"",
        detail: "User does not have CONNECT privilege.")
    }
    return nil
  }
}

extension RoleDescriptor {
  /// The verifier of the password, unless VALID UNTIL has passed: then no password is right.
  package func verifierNow() -> String? {
    guard let validUntil else { return verifier }
    let arena = Arena(initialBytes: 64)
    defer { withExtendedLifetime(arena) {} }
    let until = try? Bytes.with(validUntil) { (bytes) throws(SQLError) in
      try TypeCodec.parse(bytes, .timestamptz, arena, TextFormat()).int
    }
    guard let until, EvaluationContext.clock() < until else { return nil }
    return verifier
  }
}
