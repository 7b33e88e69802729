internal import Transactions

// Functions that ask the session: sequences, settings, who and where.

/// What functions of the session can ask the running statement for.
extension ExecutionState {
  static func of(_ context: EvaluationContext) throws(SQLError) -> ExecutionState {
    guard let state = unsafe context.host as? ExecutionState else {
      throw SQLError(.featureNotSupported, "this function cannot be called here")
    }
    return state
  }
}

extension FunctionRegistry {
  /// Adds the functions that need a session, where the built-in ones have none of the name.
  mutating func addSessionFunctions() {
    @Sendable func text(_ string: String, _ context: EvaluationContext) -> Value { Value(context.arena.copy(string)) }
    @Sendable func optional(_ number: Int64?) -> Value { number.map { Value($0) } ?? .null }

    define("nextval", [.regclass], .int8) { arguments, context throws(SQLError) in
      let state = try ExecutionState.of(context)
      return optional(try state.services.sequenceCall(.next(UInt32(truncatingIfNeeded: arguments[0].int))))
    }
    define("currval", [.regclass], .int8) { arguments, context throws(SQLError) in
      let state = try ExecutionState.of(context)
      return optional(try state.services.sequenceCall(.current(UInt32(truncatingIfNeeded: arguments[0].int))))
    }
    define("lastval", [], .int8) { _, context throws(SQLError) in
      optional(try ExecutionState.of(context).services.sequenceCall(.last))
    }
    define("synod_recall_sequence", [.int8, .int8], .int8) { arguments, context throws(SQLError) in
      let id = UInt32(truncatingIfNeeded: arguments[0].int)
      return optional(try ExecutionState.of(context).services.sequenceCall(.recall(id, arguments[1].int)))
    }
    define("setval", [.regclass, .int8], .int8) { arguments, context throws(SQLError) in
      let id = UInt32(truncatingIfNeeded: arguments[0].int)
      let state = try ExecutionState.of(context)
      return optional(try state.services.sequenceCall(.set(id, arguments[1].int, isCalled: true)))
    }
    define("setval", [.regclass, .int8, .bool], .int8, again: true) { arguments, context throws(SQLError) in
      let id = UInt32(truncatingIfNeeded: arguments[0].int)
      let state = try ExecutionState.of(context)
      return optional(try state.services.sequenceCall(.set(id, arguments[1].int, isCalled: arguments[2].bool)))
    }
    define("current_schema", [], .name, .stable) { _, context throws(SQLError) in
      let system = try ExecutionState.of(context).services.systemContext()
      guard let name = system.searchPath.first(where: { system.catalog.schema(named: $0) != nil }) else { return .null }
      return text(name, context)
    }
    define("version", [], .text, .stable) { _, context throws(SQLError) in
      text("PostgreSQL 15.8 (SynodDB) on linux, 64-bit", context)
    }
    define("pg_backend_pid", [], .int4, .stable) { _, context throws(SQLError) in
      Value(Int64(try ExecutionState.of(context).services.sessionID))
    }
    for name in ["txid_current", "pg_current_xact_id"] {
      define(name, [], .int8, .stable) { _, context throws(SQLError) in
        optional(try ExecutionState.of(context).services.sequenceCall(.transactionNumber(assigns: true)))
      }
      define(name + "_if_assigned", [], .int8, .stable) { _, context throws(SQLError) in
        optional(try ExecutionState.of(context).services.sequenceCall(.transactionNumber(assigns: false)))
      }
    }
    for name in ["txid_status", "pg_xact_status"] {
      define(name, [.int8], .text, .volatile) { arguments, context throws(SQLError) in
        guard let status = try ExecutionState.of(context).services.transactionStatus(arguments[0].int) else {
          return .null
        }
        return text(status, context)
      }
    }
    addServerFunctions()
    addCatalogFunctions()
    addAdvisoryLocks()
    addBackup()
    define("pg_is_in_recovery", [], .bool, .volatile) { _, context throws(SQLError) in
      // True for a session that is kept on a node which does not lead.
      Value(unsafe context.host?.setting("in_hot_standby") == "on")
    }
  }

  /// Adds a scalar function unless the registry has one of the name already (`again`: one more of a name of ours).
  mutating func define(
    _ name: String, _ arguments: [TypeID], _ result: TypeID, _ volatility: Volatility = .volatile, strict: Bool = true,
    again: Bool = false, _ body: @escaping ScalarImplementation
  ) {
    if scalars[name]?.contains(where: { $0.arguments == arguments }) == true { return }
    if !again, scalars[name] != nil { return }
    add(ScalarFunction(name, arguments, returns: result, volatility, strict: strict, body: body))
  }
}
