import Encoding
import Foundation
import Platform
import Storage
import Transactions

/// What a level of isolation costs: the same transactions at two levels, over a log that does nothing but deliver.
let transactionBenchmarks = [
  Benchmark(name: "point read, repeatable read") { work in try pointReads(work, .repeatableRead) },
  Benchmark(name: "point read with SIREAD registration, serializable") { work in try pointReads(work, .serializable) },
  Benchmark(name: "range of 10 keys, repeatable read", operations: 1000) { work in try ranges(work, .repeatableRead) },
  Benchmark(name: "range of 10 keys with SIREAD registration, serializable", operations: 1000) { work in
    try ranges(work, .serializable)
  },
  Benchmark(name: "transaction of 2 reads and 2 writes, repeatable read") { work in
    try commits(work, .repeatableRead, reportsCertification: false)
  },
  Benchmark(name: "transaction of 2 reads and 2 writes, serializable") { work in
    try commits(work, .serializable, reportsCertification: false)
  },
  Benchmark(name: "certification of 2 reads and 2 writes among 100 remembered") { work in
    try commits(work, .serializable, reportsCertification: true)
  },
]

private let keyCount: UInt64 = 100_000

private func pointReads(_ work: Workspace, _ isolation: IsolationLevel) throws -> (Int) throws -> Double? {
  let (manager, _) = try openManager(work)
  let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)
  var random = Seeded()
  return { count in
    // 16 reads to a transaction.
    for _ in 0..<max(1, count / 16) {
      let transaction = try manager.begin(TransactionOptions(isolation: isolation))
      for _ in 0..<16 {
        fill(key, random.next() % keyCount)
        guard try transaction.get(UnsafeRawBufferPointer(key)) != nil else {
          throw MicrobenchFailure("a key is not there")
        }
      }
      transaction.rollback()
    }
    return nil
  }
}

private func ranges(_ work: Workspace, _ isolation: IsolationLevel) throws -> (Int) throws -> Double? {
  let (manager, _) = try openManager(work)
  var random = Seeded()
  return { count in
    for _ in 0..<max(1, count / 4) {
      let transaction = try manager.begin(TransactionOptions(isolation: isolation))
      for _ in 0..<4 {
        let start = random.next() % (keyCount - 10)
        let cursor = try transaction.cursor(KeyRange(lower: keyBytes(start), upper: keyBytes(start + 10)))
        while try cursor.next() {}
        cursor.close()
      }
      transaction.rollback()
    }
    return nil
  }
}

private func commits(
  _ work: Workspace, _ isolation: IsolationLevel, reportsCertification: Bool
) throws -> (Int) throws -> Double? {
  let (manager, _) = try openManager(work)
  let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)
  let value = kept([UInt8](repeating: 0x77, count: 100))
  var random = Seeded()
  return { count in
    for _ in 0..<max(1, count / 100) {
      // An older snapshot, so that the certifier remembers those that commit meanwhile.
      let older = try manager.begin(TransactionOptions(isolation: isolation))
      fill(key, 1)
      _ = try older.get(UnsafeRawBufferPointer(key))
      for _ in 0..<100 {
        let transaction = try manager.begin(TransactionOptions(isolation: isolation))
        for part in 0..<4 {
          fill(key, 2 + random.next() % (keyCount - 2))
          if part < 2 {
            _ = try transaction.get(UnsafeRawBufferPointer(key))
          } else {
            try transaction.put(UnsafeRawBufferPointer(key), value)
          }
        }
        _ = try? transaction.commit()
      }
      older.rollback()
    }
    guard reportsCertification else { return nil }
    let all = manager.certificationNanoseconds.sorted()
    return all.isEmpty ? 0 : Double(all[all.count / 2])
  }
}

private func keyBytes(_ number: UInt64) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: 16) { memory, count in
    fill(UnsafeMutableRawBufferPointer(memory), number)
    count = 16
  }
}

private func openManager(_ work: Workspace) throws -> (TransactionManager, DirectLog) {
  var options = EngineOptions()
  options.background = false
  options.memtableSizeBytes = 256 << 20
  let engine = try Engine.open(try work.directory(), disk: LinuxDisk(), options: options)
  let log = DirectLog()
  let manager = TransactionManager(engine: engine, log: log)
  log.manager = manager
  let value = [UInt8](repeating: 0x76, count: 100)
  for start in stride(from: 0, to: keyCount, by: 10_000) {
    let transaction = try manager.begin()
    for number in start..<start + 10_000 { try transaction.put(keyBytes(number), value) }
    _ = try transaction.commit()
  }
  return (manager, log)
}

/// A log that forgets: what is committed is delivered at once, on the committing thread.
///
/// `@unchecked Sendable`: a benchmark commits on one thread.
private final class DirectLog: CommitLog, @unchecked Sendable {
  weak var manager: TransactionManager?
  private var payload = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 << 20, alignment: 16)
  private var count = 0
  private var first = Version.zero
  private var transactions = 0
  private var slot = Slot.zero

  func append(_ batch: UnsafeRawBufferPointer, version: Version) throws(CommitError) {
    guard count + 4 + batch.count <= payload.count else { throw .diskFull("a benchmark's transaction is too long") }
    if transactions == 0 { first = version }
    payload.storeBytes(of: UInt32(batch.count), toByteOffset: count, as: UInt32.self)
    UnsafeMutableRawBufferPointer(rebasing: payload[(count + 4)...]).copyMemory(from: batch)
    count += 4 + batch.count
    transactions += 1
  }

  func commit(through version: Version, durable: Bool) throws(CommitError) {
    slot = Slot(slot.rawValue + 1)
    do {
      try manager?.deliver(
        slot: slot, firstVersion: first, transactionCount: transactions,
        payload: UnsafeRawBufferPointer(rebasing: payload[..<count]))
    } catch { throw .failed("\(error)") }
    count = 0
    transactions = 0
  }

  func whenDelivered(_ version: Version, _ body: @escaping @Sendable (Result<Void, CommitError>) -> Void) {
    do throws(CommitError) {
      try commit(through: version, durable: true)
      body(.success(()))
    } catch { body(.failure(error)) }
  }
}
