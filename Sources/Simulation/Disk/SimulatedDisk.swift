// A disk in memory, driven by one seed. What it promises is exactly what Platform's `Disk` promises and no more:
//
//   lost         what no sync covered is lost in a crash: wholly, from some write on, or sector by sector (512 bytes) in
//                any combination; a sector written twice may hold any of the older contents
//   names        create, rename, link, remove and mkdir are lost in a crash unless their directory was synced; either a
//                prefix of them survives or any subset; a rename is atomic. A file whose name is lost is lost.
//   failed sync  part of the unsynced data is durable, the rest is marked clean: readers still see it, a retry succeeds,
//                and a crash loses it
//   faults       EIO, ENOSPC, flipped bits and misdirected writes by chance (`DiskFaults`) or by plan
//   crash        at any operation that changes something: `crash(atOperation:)`; from then on every call throws. What
//                the machine finds afterwards is `survivor(seed:)`; different seeds lose different things.
//
// Slow and stuck disks are the caller's to simulate: the plan of `DiskFaults` sees every operation.
//
// Directories: "/" exists; relative paths start there. Symbolic links, permissions and times do not exist.

package import Platform
internal import Synchronization

/// A seeded disk. Thread-safe; every call is one atomic step.
package final class SimulatedDisk: Disk {
  private let state: Mutex<DiskState>
  private let faults: Mutex<DiskFaults>
  private let capacity: Mutex<UInt64?>

  package init(seed: UInt64, faults: DiskFaults = .none, capacitySizeBytes: UInt64? = nil) {
    state = Mutex(DiskState(seed: seed))
    self.faults = Mutex(faults)
    capacity = Mutex(capacitySizeBytes)
  }

  private init(_ state: DiskState, faults: DiskFaults, capacity: UInt64?) {
    self.state = Mutex(state)
    self.faults = Mutex(faults)
    self.capacity = Mutex(capacity)
  }

  // MARK: Control

  /// The number of operations so far that changed something or made it durable: each is a place to crash at.
  package var operationCount: Int { state.withLock { $0.operationCount } }

  /// Whether the power is off: every call throws.
  package var isCrashed: Bool { state.withLock { $0.isCrashed } }

  /// Turns the power off now.
  package func crash() { state.withLock { $0.isCrashed = true } }

  /// Turns the power off in the middle of the operation that changes something for the `index`-th time from now on
  /// counted as `operationCount` counts (0 = the very first of the disk's life).
  package func crash(atOperation index: Int) { state.withLock { $0.crashAtOperation = index } }

  /// The disk as a machine finds it whose power failed now (or when this disk crashed). May be asked again and again,
  /// with the same seed for the same answer.
  package func survivor(seed: UInt64, faults: DiskFaults = .none) -> SimulatedDisk {
    let tears = self.faults.withLock { $0.tearsSectors } || faults.tearsSectors
    let next = state.withLock { $0.afterPowerCut(seed: seed, tearsSectors: tears) }
    return SimulatedDisk(next, faults: faults, capacity: capacity.withLock { $0 })
  }

  /// The disk as it is, unsynced data included, with nothing locked: a process that was killed and starts again.
  package func copy(faults: DiskFaults = .none) -> SimulatedDisk {
    var next = state.withLock { $0 }
    next.locked = []
    next.isCrashed = false
    next.crashAtOperation = nil
    return SimulatedDisk(next, faults: faults, capacity: capacity.withLock { $0 })
  }

  package func setFaults(_ new: DiskFaults) { faults.withLock { $0 = new } }

  /// The size of the file system, or nil for no limit.
  package func setCapacity(sizeBytes: UInt64?) { capacity.withLock { $0 = sizeBytes } }

  /// Starts to record operations, or stops.
  package func setTracing(_ isOn: Bool) { state.withLock { $0.trace = isOn ? [] : nil } }

  /// The operations since tracing began.
  package var trace: [DiskOperation] { state.withLock { $0.trace ?? [] } }

  // MARK: Damage at rest

  /// Every file's path, sorted.
  package var paths: [String] {
    state.withLock { state in
      var found: [String] = []
      var queue: [(path: String, inode: Int)] = [("", DiskState.root)]
      while let (path, inode) = queue.popLast() {
        for (name, child) in state.inodes[inode].entries {
          if state.inodes[child].isDirectory {
            queue.append((path + "/" + name, child))
          } else {
            found.append(path + "/" + name)
          }
        }
      }
      return found.sorted()
    }
  }

  /// The content of a file as readers see it, or nil where there is none.
  package func bytes(of path: String) -> [UInt8]? {
    state.withLock { state in
      guard let inode = state.lookUp(path), !state.inodes[inode].isDirectory else { return nil }
      return state.inodes[inode].content.bytes(0..<state.inodes[inode].content.count)
    }
  }

  /// Overwrites bytes behind everyone's back, durably. The file must exist.
  package func damage(_ path: String, at offset: Int, with bytes: [UInt8]) {
    state.withLock { state in
      guard let inode = state.lookUp(path) else { preconditionFailure("no file \(path)") }
      state.inodes[inode].content.write(bytes, at: offset)
      state.inodes[inode].durable.write(bytes, at: offset)
    }
  }

  /// Inverts bits of one byte behind everyone's back, durably.
  package func flip(_ path: String, at offset: Int, mask: UInt8 = 1) {
    guard
      let byte = state.withLock({ state in
        state.lookUp(path).map { state.inodes[$0].content.bytes(offset..<offset + 1)[0] }
      })
    else { preconditionFailure("no file \(path)") }
    damage(path, at: offset, with: [byte ^ mask])
  }

  // MARK: The steps

  /// Runs one operation: counts it, asks the faults, crashes where told.
  ///
  /// `body` gets the state and the fault that it must act out itself (partial effects, flipped bits, misdirection); an
  /// `.error` is thrown before it. At a `.crash` it runs once more, must make nothing durable, and throws: what it left
  /// unsynced is for the survivor's seed to decide.
  func step<T>(
    _ kind: DiskOperation.Kind, _ path: String, offset: UInt64 = 0, sizeBytes: Int = 0,
    _ body: (inout DiskState, DiskFault?) throws(DiskError) -> T
  ) throws(DiskError) -> T {
    let faults = self.faults.withLock { $0 }
    let result: Result<T, DiskError> = state.withLock { state in
      guard !state.isCrashed else {
        return .failure(DiskError(.other, operation: "\(kind.rawValue) (the power is off)", path: path))
      }
      let operation = DiskOperation(
        index: state.operationCount, kind: kind, path: path, offset: offset, sizeBytes: sizeBytes)
      if state.trace != nil { state.trace?.append(operation) }
      var fault = faults.plan?(operation) ?? Self.chance(operation, faults, &state.randomness)
      if operation.changesSomething {
        if state.operationCount == state.crashAtOperation { fault = .crash }
        state.operationCount += 1
      }
      if case .error(let kind) = fault { return .failure(Self.error(kind, operation)) }
      defer { if fault == .crash { state.isCrashed = true } }
      do throws(DiskError) {
        let value = try body(&state, fault)
        if case .errorWithPartialEffect(let kind) = fault { return .failure(Self.error(kind, operation)) }
        if fault == .crash { return .failure(Self.error(.other, operation)) }
        return .success(value)
      } catch { return .failure(error) }
    }
    return try result.get()
  }

  private static func error(_ kind: DiskError.Kind, _ operation: DiskOperation) -> DiskError {
    let code: Int32 =
      switch kind {
      case .io: 5
      case .noSpace: 28
      default: 0
      }
    return DiskError(kind, operation: operation.kind.rawValue, path: operation.path, code: code)
  }

  private static func chance(_ operation: DiskOperation, _ faults: DiskFaults, _ randomness: inout SeededRandomness)
    -> DiskFault?
  {
    func happens(_ n: Int) -> Bool { n > 0 && randomness.oneIn(n) }
    switch operation.kind {
    case .read:
      if happens(faults.readErrorOneIn) { return .error(.io) }
      if happens(faults.readFlipsBitOneIn) { return .flipBit(randomness.below(1 << 20)) }
    case .write, .writeDurably:
      if happens(faults.noSpaceOneIn) { return .errorWithPartialEffect(.noSpace) }
      if happens(operation.kind == .write ? faults.writeErrorOneIn : faults.syncErrorOneIn) {
        return .errorWithPartialEffect(.io)
      }
      if happens(faults.writeFlipsBitOneIn) { return .flipBit(randomness.below(1 << 20)) }
      if happens(faults.misdirectedWriteOneIn) { return .misdirect(by: (1 + randomness.below(8)) * 4096) }
    case .sync, .syncDirectory:
      if happens(faults.syncErrorOneIn) { return .errorWithPartialEffect(.io) }
    case .create, .link, .createDirectory:
      if happens(faults.noSpaceOneIn) { return .error(.noSpace) }
    default: break
    }
    return nil
  }

  /// Throws where growing `inode` to `newCount` exceeds the capacity.
  func checkCapacity(_ state: DiskState, _ inode: Int, newCount: Int, _ path: String) throws(DiskError) {
    guard let capacity = capacity.withLock({ $0 }) else { return }
    let growth = newCount - state.inodes[inode].content.count
    guard growth > 0, state.usedSizeBytes + UInt64(growth) > capacity else { return }
    throw DiskError(.noSpace, operation: "write", path: path, code: 28)
  }

  // MARK: Disk

  package func open(_ path: String, _ mode: FileMode) throws(DiskError) -> any DiskFile {
    let inode = try step(mode == .create ? .create : .open, path) { (state, fault) throws(DiskError) in
      let (directory, name) = try state.place(path, "open")
      if let inode = state.inodes[directory].entries[name] {
        guard mode != .create else { throw DiskError(.exists, operation: "open", path: path, code: 17) }
        guard !state.inodes[inode].isDirectory else { throw DiskError(.other, operation: "open", path: path, code: 21) }
        return inode
      }
      guard mode == .create else { throw DiskError(.notFound, operation: "open", path: path, code: 2) }
      return Self.make(&state, directory, name, isDirectory: false)
    }
    return SimulatedFile(self, inode, path: path, mode: mode)
  }

  private static func make(_ state: inout DiskState, _ directory: Int, _ name: String, isDirectory: Bool) -> Int {
    state.inodes.append(Inode(isDirectory: isDirectory))
    let inode = state.inodes.count - 1
    state.change([(directory, name, inode)])
    return inode
  }

  package func createDirectory(_ path: String) throws(DiskError) {
    if DiskState.components(path).isEmpty { return }
    try step(.createDirectory, path) { (state, fault) throws(DiskError) in
      let (directory, name) = try state.place(path, "create directory")
      if let inode = state.inodes[directory].entries[name] {
        guard state.inodes[inode].isDirectory else {
          throw DiskError(.exists, operation: "create directory", path: path, code: 17)
        }
      } else {
        _ = Self.make(&state, directory, name, isDirectory: true)
      }
    }
  }

  package func list(_ directory: String) throws(DiskError) -> [String] {
    try step(.list, directory) { (state, fault) throws(DiskError) in
      guard let inode = state.lookUp(directory) else {
        throw DiskError(.notFound, operation: "list", path: directory, code: 2)
      }
      guard state.inodes[inode].isDirectory else {
        throw DiskError(.notADirectory, operation: "list", path: directory, code: 20)
      }
      return state.inodes[inode].entries.keys.sorted()
    }
  }

  package func status(_ path: String) throws(DiskError) -> FileStatus? {
    try step(.status, path) { (state, fault) throws(DiskError) in
      guard let inode = state.lookUp(path) else { return nil }
      return FileStatus(
        isDirectory: state.inodes[inode].isDirectory, sizeBytes: UInt64(state.inodes[inode].content.count))
    }
  }

  package func rename(_ old: String, to new: String) throws(DiskError) {
    try step(.rename, old) { (state, fault) throws(DiskError) in
      let from = try state.place(old, "rename")
      let to = try state.place(new, "rename")
      guard let inode = state.inodes[from.directory].entries[from.name] else {
        throw DiskError(.notFound, operation: "rename", path: old, code: 2)
      }
      guard from != to else { return }
      if let target = state.inodes[to.directory].entries[to.name], target == inode { return }
      state.change([(from.directory, from.name, nil), (to.directory, to.name, inode)])
    }
  }

  package func remove(_ path: String) throws(DiskError) {
    try step(.remove, path) { (state, fault) throws(DiskError) in
      let (directory, name) = try state.place(path, "remove")
      guard let inode = state.inodes[directory].entries[name] else {
        throw DiskError(.notFound, operation: "remove", path: path, code: 2)
      }
      guard state.inodes[inode].entries.isEmpty else {
        throw DiskError(.other, operation: "remove", path: path, code: 39)
      }
      state.change([(directory, name, nil)])
    }
  }

  package func link(_ existing: String, to new: String) throws(DiskError) {
    try step(.link, existing) { (state, fault) throws(DiskError) in
      let (directory, name) = try state.place(new, "link")
      guard let inode = state.lookUp(existing) else {
        throw DiskError(.notFound, operation: "link", path: existing, code: 2)
      }
      guard state.inodes[directory].entries[name] == nil else {
        throw DiskError(.exists, operation: "link", path: new, code: 17)
      }
      state.change([(directory, name, inode)])
    }
  }

  package func syncDirectory(_ directory: String) throws(DiskError) {
    try step(.syncDirectory, directory) { (state, fault) throws(DiskError) in
      guard let inode = state.lookUp(directory), state.inodes[inode].isDirectory else {
        throw DiskError(.notFound, operation: "sync", path: directory, code: 2)
      }
      if fault == .crash { return }
      if case .errorWithPartialEffect = fault, state.randomness.oneIn(2) { return }
      state.syncNames(of: inode)
    }
  }

  package func lock(_ path: String) throws(DiskError) -> any DiskFile {
    let inode = try step(.lock, path) { (state, fault) throws(DiskError) in
      let (directory, name) = try state.place(path, "lock")
      let inode =
        state.inodes[directory].entries[name] ?? Self.make(&state, directory, name, isDirectory: false)
      guard state.locked.insert(inode).inserted else { throw DiskError(.locked, operation: "lock", path: path) }
      return inode
    }
    return SimulatedFile(self, inode, path: path, mode: .readWrite, holdsLock: true)
  }

  func unlock(_ inode: Int) { state.withLock { _ = $0.locked.remove(inode) } }

  package func freeSizeBytes(_ path: String) throws(DiskError) -> UInt64 {
    let capacity = capacity.withLock { $0 }
    return try step(.status, path) { (state, fault) throws(DiskError) in
      guard let capacity else { return 1 << 40 }
      let used = state.usedSizeBytes
      return used < capacity ? capacity - used : 0
    }
  }

  /// Whether a crash may leave a sector half written.
  var tearsSectors: Bool { faults.withLock { $0.tearsSectors } }
}
