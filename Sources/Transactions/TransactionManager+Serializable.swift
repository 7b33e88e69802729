internal import Encoding
internal import Platform
internal import Storage
internal import Synchronization

// Serializable transactions: their snapshots, their certification, and the right of way.
//
// The right of way. A long transaction can fail again and again because shorter ones overtake it. From the third repetition
// on (`rightOfWayAttempts`) it takes the right of way before its snapshot: an exclusive lock on the empty key, which no
// user's key is. While it runs, whoever wants to commit writes, at any level, first takes that lock shared, that is: waits.
// Nothing commits after its snapshot, so neither first-updater-wins nor a cycle can fail it. Who holds a row that it
// needs waits for it in turn: a deadlock, whose victim is never the holder of the right of way.
//
// It has a price: everybody else stands still. So it is given at most a share of the time (`rightOfWayShare`, a tenth):
// after a transaction that had it for a time d nobody has it for another 9 d. Whoever asks meanwhile, or while another
// one has it, is tried once more like everybody else. Short transactions on a hot row, which fail by chance and soon get
// through, would otherwise stop the database several times in a hundred commits.
//
// It is a courtesy, never needed for correctness. So nobody waits for it longer than `rightOfWayNanoseconds`: a program
// whose one thread holds the right of way in one transaction and commits another would wait for itself. Transactions that
// the system makes on behalf of another (a sequence's reservation) do not wait at all.

extension TransactionManager {
  /// The key that stands for the right of way.
  private static var rightOfWayKey: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: nil, count: 0) }
  private static let rightOfWayHash: UInt64 = 0x9e37_79b9_7f4a_7c15
  /// No entry of a write set.
  static let noEntry = UInt32.max

  // MARK: Beginning

  func takeSerializableSnapshot(_ transaction: Transaction) throws(TransactionError) {
    if transaction.attempts >= options.rightOfWayAttempts && !transaction.isReadOnly {
      try takeRightOfWay(transaction)
    }
    while true {
      registerSnapshot(transaction)
      guard transaction.options.isDeferrable, let safety = transaction.safety else { return }
      deferred.withLock { $0.append((transaction.session, safety)) }
      defer { deferred.withLock { list in list.removeAll { $0.safety === safety } } }
      while safety.outcome.load() == SnapshotSafety.unknown {
        if transaction.isCancelled.load(ordering: .acquiring) { throw .cancelled }
        // Woken by the outcome; looks up for cancellation now and then.
        EventLoop.blocking {
          safety.outcome.wait(while: SnapshotSafety.unknown, timeoutNanoseconds: 50_000_000)
        }
      }
      if safety.outcome.load() == SnapshotSafety.safe {
        transaction.track(forCertifier: false)
        return
      }
      forgetSnapshot(transaction)
      releaseSnapshot(transaction)
    }
  }

  private func registerSnapshot(_ transaction: Transaction) {
    sequencer.latch.lock()
    let hold = engine.retainVisible()
    unsafe transaction.hold = hold
    if transaction.isReadOnly {
      transaction.safety = unsafe sequencer.certifier.beginReader(snapshot: hold.version.rawValue)
      transaction.certifierPlace = transaction.safety?.place ?? -1
      transaction.track(forCertifier: transaction.safety != nil)
    } else {
      transaction.certifierPlace = unsafe sequencer.certifier.begin(snapshot: hold.version.rawValue)
      transaction.track(forCertifier: true)
    }
    sequencer.latch.unlock()
  }

  /// The transaction ends, or gives up its snapshot, without committing anything that the certifier should know.
  func forgetSnapshot(_ transaction: Transaction) {
    guard transaction.certifierPlace >= 0 else { return }
    sequencer.latch.lock()
    unsafe sequencer.certifier.end(transaction.certifierPlace, committedWrites: false)
    prune()
    sequencer.latch.unlock()
    transaction.certifierPlace = -1
    transaction.safety = nil
  }

  /// Step 1: what was read and written is complete.
  func seal(_ transaction: Transaction) {
    guard let snapshot = unsafe transaction.hold?.version else { return }
    unsafe transaction.footprint.seal(transaction.writes) { key in
      do throws(StorageError) {
        return unsafe try engine.get(key, at: snapshot, &transaction.lockPin) == nil
      } catch { return false }
    }
  }

  // MARK: Certifying: under the sequencer's latch

  /// Step 4 of the commit. Nil: it may commit.
  func certify(_ transaction: Transaction) -> SerializationFailure? {
    let snapshot = unsafe transaction.hold.unsafelyUnwrapped.version.rawValue
    switch unsafe sequencer.certifier.certify(
      transaction.footprint, snapshot: snapshot, visible: engine.visibleVersion.rawValue)
    {
    case .pass: return nil
    case .undecided:
      return SerializationFailure(reason: .undecided, keys: KeyRange())
    case .cycle(let edges):
      return unsafe failure(transaction, edges)
    }
  }

  /// The graph takes the transaction in. `version` is 0 for a reader.
  func enterGraph(_ transaction: Transaction, _ version: UInt64) {
    let snapshot = unsafe transaction.hold.unsafelyUnwrapped.version.rawValue
    unsafe sequencer.certifier.end(transaction.certifierPlace, committedWrites: version > 0)
    unsafe sequencer.certifier.commit(
      id: transaction.id, session: transaction.session, snapshot: snapshot, version: version,
      footprint: &transaction.footprint)
    // Who has written prunes when it is delivered, with its whole group.
    if version == 0 { prune() }
    transaction.certifierPlace = -1
  }

  func prune() {
    guard unsafe sequencer.certifier.keptCount > 0 else { return }
    let visible = engine.visibleVersion.rawValue
    unsafe sequencer.certifier.prune(oldest: sequencer.certifier.oldestSnapshot(visible: visible))
  }

  private func failure(
    _ transaction: Transaction, _ edges: [(from: Int, to: Int, edge: CertifierEdge)]
  ) -> SerializationFailure {
    func reference(_ node: Int) -> TransactionReference {
      guard node >= 0 else { return transaction.reference }
      return unsafe sequencer.certifier.reference(node)
    }
    let kinds: [Dependency.Kind] = [.writeRead, .writeWrite, .readWrite, .realTime]
    var cycle: [Dependency] = []
    var others: [TransactionReference] = []
    var isCoarse = false
    for position in 0..<(unsafe edges.count) {
      let step = unsafe edges[position]
      let bytes = unsafe UnsafeRawBufferPointer(start: step.edge.key, count: Int(step.edge.keyCount))
      var dependency = unsafe Dependency(
        from: reference(step.from), to: reference(step.to), kind: kinds[Int(step.edge.kind)],
        keys: bytes.isEmpty ? KeyRange() : KeyRange(key: Array(bytes)))
      if unsafe dependency.kind != .writeWrite && !bytes.isEmpty {
        let reader = unsafe dependency.kind == .readWrite ? step.from : step.to
        dependency.read = unsafe interval(readBy: reader, transaction, around: bytes)
      }
      cycle.append(dependency)
      if unsafe step.to >= 0 { unsafe others.append(reference(step.to)) }
      if unsafe step.to >= 0 && sequencer.certifier.nodes[step.to].isContracted { isCoarse = true }
    }
    return SerializationFailure(
      reason: isCoarse ? .undecided : .cycle, keys: cycle.first?.keys ?? KeyRange(), others: others, cycle: cycle)
  }

  /// In which interval a node of the graph (-1: the transaction itself) has read `key`.
  private func interval(readBy node: Int, _ transaction: Transaction, around key: UnsafeRawBufferPointer) -> KeyRange? {
    let found =
      unsafe node < 0
      ? transaction.footprint.interval(around: key) : sequencer.certifier.nodes[node].footprint.interval(around: key)
    return unsafe found.map { unsafe KeyRange($0) }
  }

  // MARK: The right of way

  private func takeRightOfWay(_ transaction: Transaction) throws(TransactionError) {
    let isFree = sequencer.latch.withLock {
      unsafe sequencer.rightOfWay == 0 && LinuxClock().bootNanoseconds >= sequencer.rightOfWayRestsUntil
    }
    guard isFree, try lockRightOfWay(transaction, LockStrength.update.rawValue) else { return }
    transaction.attempts = .max
    sequencer.latch.lock()
    unsafe sequencer.rightOfWay = transaction.id
    unsafe sequencer.rightOfWayBegan = LinuxClock().bootNanoseconds
    let last = unsafe Version(sequencer.nextVersion.rawValue - 1)
    let isInFlight = unsafe sequencer.firstInFlight < sequencer.nextVersion
    sequencer.latch.unlock()
    // What was sequenced before must be in the snapshot.
    guard isInFlight else { return }
    do throws(CommitError) { try log.commit(through: last, durable: false) } catch { throw TransactionError(error) }
  }

  /// Under the sequencer's latch: whether the transaction must let another one through first.
  @inline(__always)
  func mustGiveWay(_ transaction: Transaction) -> Bool {
    unsafe sequencer.rightOfWay != 0 && sequencer.rightOfWay != transaction.id && !transaction.hasPass
      && transaction.options.givesWay
  }

  /// Waits until nobody has the right of way, or long enough.
  @inline(never)
  func giveWay(_ transaction: Transaction) throws(TransactionError) {
    do throws(TransactionError) {
      _ = try lockRightOfWay(transaction, LockStrength.keyShare.rawValue)
      transaction.hasPass = true
    } catch {
      guard case .deadlock(let deadlock) = error else { throw error }
      throw .serializationFailure(
        SerializationFailure(
          reason: .rightOfWay, keys: deadlock.waits.last?.keys ?? KeyRange(),
          others: deadlock.waits.dropFirst().map(\.transaction)))
    }
  }

  /// Under the sequencer's latch: the transaction is sequenced, or over.
  @inline(__always)
  func giveUpRightOfWay(_ transaction: Transaction) {
    guard unsafe sequencer.rightOfWay == transaction.id else { return }
    let now = LinuxClock().bootNanoseconds
    // Nobody waits longer than that, so it costs no more.
    let taken = unsafe min(now &- sequencer.rightOfWayBegan, options.rightOfWayNanoseconds)
    unsafe sequencer.rightOfWay = 0
    unsafe sequencer.rightOfWayRestsUntil = now &+ taken &* (options.rightOfWayShare - 1)
  }

  /// False if it was waited for in vain.
  private func lockRightOfWay(_ transaction: Transaction, _ strength: UInt8) throws(TransactionError) -> Bool {
    let key = unsafe TransactionManager.rightOfWayKey
    let hash = TransactionManager.rightOfWayHash
    let entry = TransactionManager.noEntry
    if unsafe lockTable.tryLock(transaction, key, hash, strength, own: 0, entry: entry) { return true }
    let outcome = unsafe try lockTable.lockSlowly(
      transaction, key, hash, strength, own: 0, entry: entry, .wait, whenGranted: nil)
    guard outcome == .waiting else { return true }
    do throws(TransactionError) {
      try lockTable.awaitGrant(transaction, timeoutNanoseconds: options.rightOfWayNanoseconds)
      return true
    } catch {
      if case .lockTimeout = error { return false }
      throw error
    }
  }
}

extension Certifier {
  /// The oldest snapshot that an open transaction has or a new one could get.
  func oldestSnapshot(visible: UInt64) -> UInt64 {
    if unsafe mutant == .prunesByNewestSnapshot { return visible }
    return unsafe min(active.oldest ?? visible, visible)
  }

  func reference(_ node: Int) -> TransactionReference {
    unsafe TransactionReference(
      id: nodes[node].id, session: nodes[node].session,
      version: nodes[node].version > 0 ? Version(nodes[node].version) : nil)
  }
}
