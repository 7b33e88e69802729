internal import Transactions

extension SQLSession {
  var isInSubtransaction: Bool { !savepoints.isEmpty }

  func savepoint(_ name: String) {
    guard let transaction else { return }
    savepoints.append((name, transaction.savepoint(), localCatalog, settings.values))
  }

  private func find(_ name: Syntax.Name) throws(SQLError) -> Int {
    guard let index = savepoints.lastIndex(where: { $0.name == name.text }) else {
      throw SQLError(
        .invalidSavepoint, "savepoint \"\(name.text)\" does not exist", position: place(name.position))
    }
    return index
  }
  func release(_ name: Syntax.Name) throws(SQLError) {
    let index = try find(name)
    transaction?.release(savepoints[index].savepoint)
    for (_, cursor) in cursors where cursor.depth > index { cursor.depth = index }
    for (_, portal) in portals where portal.depth > index { portal.depth = index }
    savepoints.removeSubrange(index...)
  }
  func rollback(to name: Syntax.Name) throws(SQLError) {
    let index = try find(name)
    dropCursors(after: index)
    transaction?.rollback(to: savepoints[index].savepoint)
    localCatalog = savepoints[index].catalog
    catalogAtSnapshot = nil
    settings.restore(savepoints[index].settings)
    savepoints.removeSubrange((index + 1)...)
    if block == .failed { block = .explicit }
  }

  /// A statement of the block failed: nothing since the last savepoint will be committed, so its locks are given back now
  /// rather than when the client says ROLLBACK.
  func giveUpWork() {
    // A transaction that was begun below SQL is its owner's to end.
    guard let transaction, !isAdopted else { return }
    if transaction.state == .failed { failures += 1 }
    if let last = savepoints.last {
      dropCursors(after: savepoints.count - 1)
      transaction.rollback(to: last.savepoint)
    } else {
      endStreams()
      transaction.rollback()
    }
  }
}
