internal import Storage
internal import Transactions

// INSERT, UPDATE and DELETE.
//
// A row to be changed is locked first. If it changed since the snapshot (read committed), its newest version is read in
// its place, and it must still satisfy the whole condition, with the other tables' rows as they were: PostgreSQL's
// EvalPlanQual. At higher levels the lock itself reports the conflict.

/// Runs one INSERT, UPDATE or DELETE.
final class ModificationRunner {
  private enum Kind { case insert, update, delete }
  private let planned: PlannedModification
  private let kind: Kind
  private let conflict: BoundInsert.Conflict?
  // Unsafe: the statement's runner keeps both.
  private unowned(unsafe) let owningState: ExecutionState
  private var state: ExecutionState { unsafe owningState }
  private let source: RowSource
  private let writer: TableWriter
  private let evaluator: EvaluatingSource
  private let returning: [CompiledExpression]
  private let output: ValueBuffer
  private let new: ValueBuffer
  private let old: ValueBuffer
  private let oldArena = Arena(initialBytes: 512)
  private let values: [CompiledExpression]
  private let updatePlaces: [Int]
  private let updateValues: [CompiledExpression]
  private let recheck: CompiledExpression?
  private let conflictCondition: CompiledExpression?
  private let lockStrength: LockStrength
  @exclusivity(unchecked) private var key = ByteBuffer(capacity: 64)
  private let base: FrameSlot
  /// Whether other parts of the statement change rows as well.
  private var isPart = false

  init(_ planned: PlannedModification, _ state: ExecutionState) throws(SQLError) {
    self.planned = planned
    unsafe owningState = state
    isJoined = ModificationRunner.isJoined(planned.source)
    state.takesLocks = true
    let bound = planned.bound
    base = bound.base
    source = try SourceBuilder(state).build(planned.source)
    writer = try state.services.writer(bound.table)
    evaluator = EvaluatingSource(state)
    returning = try compile(bound.returning.map(\.expression))
    output = ValueBuffer(returning.count)
    new = ValueBuffer(bound.table.columns.count)
    old = ValueBuffer(bound.table.columns.count)
    recheck = try bound.recheck.map { (e) throws(SQLError) in try CompiledExpression(e, asCondition: true) }
    var update: BoundUpdate?
    var conflict: BoundInsert.Conflict?
    switch bound.kind {
    case .insert(let insert):
      kind = .insert
      conflict = insert.conflict
      values = try compile(insert.values)
      update = insert.conflict?.update
      conflictCondition = try insert.conflict?.condition.map { (e) throws(SQLError) in
        try CompiledExpression(e, asCondition: true)
      }
    case .update(let given):
      kind = .update
      values = []
      update = given
      conflictCondition = nil
    case .delete:
      kind = .delete
      values = []
      conflictCondition = nil
    }
    self.conflict = conflict
    updatePlaces = update?.assignments.map(\.place) ?? []
    updateValues = try compile(update?.assignments.map(\.value) ?? [])
    if case .update = bound.kind, !writer.changesKey(Set(updatePlaces)) {
      lockStrength = .noKeyUpdate
    } else {
      lockStrength = .update
    }
  }

  /// Runs to the end and returns how many rows were inserted, updated or deleted. `row` gets the RETURNING list of each.
  func run(
    _ row: (UnsafeBufferPointer<Value>) throws(SQLError) -> Void
  ) throws(SQLError) -> Int {
    evaluator.refresh()
    isPart = unsafe state.hasModifyingParts
    writer.pending.removeAll()
    var count = 0
    try source.open()
    defer { source.close() }
    if planned.mustMaterialize {
      let found = KeptRows(width: planned.saved.count, limitBytes: state.services.workMemoryBytes) {
        [unowned state] () throws(SQLError) in try state.services.temporaryFile()
      }
      while try source.next() { try found.append(state.frame, planned.saved) }
      source.close()
      let reader = KeptReader(found)
      for index in 0..<found.count {
        try reader.load(index, state.frame, planned.saved)
        if try change() {
          count += 1
          unsafe try give(row)
        }
      }
    } else {
      while try source.next() {
        if try change() {
          count += 1
          unsafe try give(row)
        }
      }
    }
    let pending = writer.pending
    writer.pending = []
    state.services.statistics.changed(planned.bound.table.storage, by: writer.takeDelta())
    if !pending.isEmpty {
      try writing { () throws(SQLError) in unsafe try state.services.check(pending, state.transaction) }
    }
    return count
  }

  /// Runs `body`, which writes. Under a WITH that changes rows all that the statement reads is what was before it
  /// (`StatementRunner`); to write, and to find conflicts, is to see everything.
  @inline(__always)
  private func writing<T>(_ body: () throws(SQLError) -> T) throws(SQLError) -> T {
    guard isPart else { return try body() }
    return unsafe try state.transaction.outsideView(body)
  }

  /// Under a WITH that changes rows: notes that a row is changed; false if another part has changed it already.
  private func claim(_ key: [UInt8]) -> Bool { unsafe state.touched.insert(key).inserted }

  private func give(_ row: (UnsafeBufferPointer<Value>) throws(SQLError) -> Void) throws(SQLError) {
    guard !returning.isEmpty else { return }
    for index in returning.indices {
      output[index] = unsafe try returning[index].value(state.frame, &evaluator.context)
    }
    try unsafe row(output.buffer)
  }

  /// Changes what stands in the frame; false if nothing was to be done.
  private func change() throws(SQLError) -> Bool {
    evaluator.arena.reset()
    switch kind {
    case .insert: return try insert()
    case .update: return try update()
    case .delete: return try delete()
    }
  }

  private func show(_ row: ValueBuffer, at base: FrameSlot) {
    for place in 0..<row.count { state.frame[base + place] = row[place] }
  }

  // MARK: Insert

  private func insert() throws(SQLError) -> Bool {
    for place in values.indices { new[place] = unsafe try values[place].value(state.frame, &evaluator.context) }
    guard let conflict else {
      try writing { () throws(SQLError) in unsafe try writer.insert(new, state.transaction, &evaluator.context) }
      if isPart { _ = claim(writer.lastKey.array) }
      if !returning.isEmpty { show(new, at: base) }
      return true
    }
    let existing = try writing { () throws(SQLError) in
      unsafe try writer.conflicting(
        new, conflict.arbiters, lockRow: conflict.update != nil, state.transaction, &evaluator.context)
    }
    guard let existing else {
      try writing { () throws(SQLError) in unsafe try writer.insert(new, state.transaction, &evaluator.context) }
      if conflict.update != nil {
        changed.insert(writer.lastKey.array)
        if isPart { _ = claim(writer.lastKey.array) }
      }
      show(new, at: base)
      return true
    }
    guard conflict.update != nil else { return false }
    unsafe key.removeAll()
    unsafe key.append(existing)
    // The row must be one that this statement has not touched: PostgreSQL refuses to change a row twice.
    guard unsafe changed.insert(key.array).inserted, unsafe !isPart || claim(key.array) else {
      throw SQLError(
        .cardinalityViolation, "ON CONFLICT DO UPDATE command cannot affect row a second time",
        hint: "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
    }
    let transaction = unsafe state.transaction!
    let latest = unsafe try sqlErrors { () throws(TransactionError) in
      _ = unsafe try transaction.lock(key.bytes.buffer, .update, .wait)
      return unsafe try transaction.getLatest(key.bytes.buffer)
    }
    guard let latest = unsafe latest else { return try insert() }
    try loadOld(unsafe Bytes(latest))
    show(old, at: base)
    show(new, at: conflict.excluded)
    if let conflictCondition, unsafe !(try conflictCondition.holds(state.frame, &evaluator.context)) { return false }
    try assign()
    try writing { () throws(SQLError) in
      unsafe try writer.update(key.bytes, old: old, new: new, transaction, &evaluator.context)
    }
    show(new, at: base)
    return true
  }
  private var changed: Set<[UInt8]> = []

  private func loadOld(_ row: Bytes) throws(SQLError) {
    oldArena.reset()
    let copy = oldArena.copy(row)
    let view = try RowView(copy, layout: writer.layout)
    for place in 0..<old.count { old[place] = try view.value(place, writer.layout) }
  }

  /// `new` becomes `old` with the assignments.
  private func assign() throws(SQLError) {
    // All values are computed over the old row before any is set.
    for (index, place) in updatePlaces.enumerated() {
      assigned[place] = unsafe try updateValues[index].value(state.frame, &evaluator.context)
    }
    for place in 0..<old.count { new[place] = old[place] }
    for place in updatePlaces { new[place] = assigned[place] }
  }
  private lazy var assigned = ValueBuffer(planned.bound.table.columns.count)

  // MARK: Update and delete

  /// Locks the row in the frame and leaves its newest version in `old`; false if it is gone or does not match any more.
  private func lockRow() throws(SQLError) -> Bool {
    unsafe key.removeAll()
    unsafe key.append(state.frame[planned.bound.keySlot].bytes)
    let transaction = unsafe state.transaction!
    let outcome = try sqlErrors { () throws(TransactionError) in
      unsafe try transaction.lock(key.bytes.buffer, lockStrength, .wait)
    }
    if isPart, unsafe !claim(key.array) { return false }
    if outcome == .unchanged {
      for place in planned.rowPlaces { old[place] = state.frame[base + place] }
      guard planned.mustMaterialize || isJoined else { return true }
      // The statement itself may have changed the row already: an update changes it once.
      return unsafe visited.insert(key.array).inserted
    }
    guard
      let latest = unsafe try sqlErrors({ () throws(TransactionError) in
        unsafe try transaction.getLatest(key.bytes.buffer)
      })
    else { return false }
    try loadOld(unsafe Bytes(latest))
    show(old, at: base)
    if let recheck, unsafe !(try recheck.holds(state.frame, &evaluator.context)) { return false }
    return unsafe !isJoined || visited.insert(key.array).inserted
  }
  private var visited: Set<[UInt8]> = []
  /// Whether the same row may come more than once.
  private let isJoined: Bool

  private static func isJoined(_ source: PlanNode) -> Bool {
    if case .scan = source.kind { return false }
    if case .filter(let inner, _) = source.kind, case .scan = inner.kind { return false }
    return true
  }

  private func update() throws(SQLError) -> Bool {
    guard try lockRow() else { return false }
    try assign()
    try writing { () throws(SQLError) in
      unsafe try writer.update(key.bytes, old: old, new: new, state.transaction, &evaluator.context)
    }
    show(new, at: base)
    return true
  }

  private func delete() throws(SQLError) -> Bool {
    guard try lockRow() else { return false }
    try writing { () throws(SQLError) in
      unsafe try writer.delete(key.bytes, old: old, state.transaction, &evaluator.context)
    }
    return true
  }

  /// Forgets which rows were changed; called before every execution.
  func forget() {
    visited.removeAll()
    changed.removeAll()
    _ = writer.takeDelta()
  }
}

/// FOR UPDATE and its kin.
final class LockSource: EvaluatingSource {
  private let node: LockNode
  private let input: RowSource
  private let recheck: CompiledExpression?
  private var key = ByteBuffer(capacity: 64)

  init(_ state: ExecutionState, _ node: LockNode, _ input: RowSource) throws(SQLError) {
    self.node = node
    self.input = input
    recheck = try node.recheck.map { (e) throws(SQLError) in try CompiledExpression(e, asCondition: true) }
    state.takesLocks = true
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    try input.open()
  }

  override func next() throws(SQLError) -> Bool {
    rows: while try input.next() {
      arena.reset()
      var isChanged = false
      for target in node.targets {
        let value = frame[target.keySlot]
        if value.isNull { continue }
        key.removeAll()
        key.append(value.bytes)
        let transaction = unsafe state.transaction!
        let outcome = try sqlErrors { () throws(TransactionError) in
          unsafe try transaction.lock(key.bytes.buffer, target.lockStrength, target.waitPolicy)
        }
        switch outcome {
        case .unchanged: continue
        case .skipped: continue rows
        case .changed where transaction.isolation == .repeatableRead:
          // For key share: the row's key is locked and the same; what is shown is the snapshot's row. A row that is gone
          // could not be shown.
          let isThere = try sqlErrors { () throws(TransactionError) in
            unsafe try transaction.getLatest(key.bytes.buffer) != nil
          }
          guard !isThere else { continue }
          try sqlErrors { () throws(TransactionError) in try transaction.needNewerSnapshot(for: key.array) }
        case .changed:
          guard
            let latest = unsafe try sqlErrors({ () throws(TransactionError) in
              unsafe try transaction.getLatest(key.bytes.buffer)
            })
          else { continue rows }
          isChanged = true
          let row = arena.copy(unsafe Bytes(latest))
          let view = try RowView(row, layout: target.table.layout)
          for place in target.table.columns.indices {
            frame[target.base + place] = try view.value(place, target.table.layout)
          }
        }
      }
      if isChanged, let recheck, unsafe !(try recheck.holds(frame, &context)) { continue }
      return true
    }
    return false
  }
  override func close() { input.close() }
}

extension LockNode.Target {
  var lockStrength: LockStrength {
    switch strength {
    case .update: .update
    case .noKeyUpdate: .noKeyUpdate
    case .share: .share
    case .keyShare: .keyShare
    }
  }
  var waitPolicy: WaitPolicy {
    switch wait {
    case .block: .wait
    case .noWait: .noWait
    case .skipLocked: .skipLocked
    }
  }
}
