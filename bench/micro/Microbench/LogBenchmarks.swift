import Encoding
import Foundation
import Log
import Platform
import Replication
import Synchronization

/// From a transaction's writes to a record that is chosen.
let logBenchmarks = [
  Benchmark(name: "write batch encode, 4 operations") { _ in
    var builder = WriteBatchBuilder()
    var output = ByteWriter(capacity: 4096)
    let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)
    let value = [UInt8](repeating: 0x76, count: 100)
    return { count in
      for index in 0..<count {
        builder.removeAll()
        output.removeAll()
        for part in 0..<4 {
          fill(key, UInt64(index * 4 + part))
          value.withUnsafeBytes { builder.put(UnsafeRawBufferPointer(key), $0) }
        }
        builder.encode(into: &output)
      }
      consume(output.count)
      return nil
    }
  },
  Benchmark(name: "record encode, 32 transactions of a row each", operations: 500) { _ in
    let payload = rowsPayload(32)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: RecordBuilder.bound(payload.count), alignment: 4096)
    var builder = RecordBuilder()
    var chain = Hash128.zero
    var slot = Slot(1)
    return { count in
      for _ in 0..<count {
        var header = RecordHeader(
          type: .transactionGroup, slot: slot, origin: LogBallot(epoch: 1, round: 1, priority: 0, node: 1),
          firstVersion: Version(slot.rawValue * 32), transactionCount: 32, leaderTime: 1, safeVersion: .zero,
          chosenAtBuild: .zero, previousChain: chain)
        chain = payload.withUnsafeBytes { builder.build(&header, payload: $0, into: memory) }
        slot = Slot(slot.rawValue + 1)
      }
      consume(chain)
      return nil
    }
  },
  Benchmark(name: "group commit, written by the committing thread", operations: 500, countsAllThreads: true) { work in
    let (pipeline, batch) = try openPipeline(work)
    return { count in
      for _ in 0..<count {
        let version = pipeline.nextVersion
        try pipeline.append(batch, version: version)
        try pipeline.commit(through: version)
      }
      return nil
    }
  },
  Benchmark(name: "group commit, handed to the log thread and back", operations: 512, countsAllThreads: true) { work in
    let (pipeline, batch) = try openPipeline(work)
    let done = Completions()
    return { count in
      // 32 at a time, as the sessions of an event loop would.
      for _ in 0..<max(1, count / 32) {
        done.expect(32)
        for _ in 0..<32 {
          let version = pipeline.nextVersion
          try pipeline.append(batch, version: version)
          pipeline.whenDelivered(version) { _ in done.one() }
        }
        done.wait()
      }
      return nil
    }
  },
]

/// Counts completions down, and wakes who waits for the last.
private final class Completions: Sendable {
  private let left = Atomic<Int>(0)
  private let word = FutexWord()

  func expect(_ count: Int) { left.store(count, ordering: .releasing) }

  func one() {
    if left.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
      word.increment()
      word.wake()
    }
  }

  func wait() {
    while true {
      let seen = word.load()
      if left.load(ordering: .acquiring) == 0 { return }
      word.wait(while: seen)
    }
  }
}

private func openPipeline(_ work: Workspace) throws -> (CommitPipeline, UnsafeRawBufferPointer) {
  let log = try Log.open(try work.directory(), disk: LinuxDisk())
  let pipeline = CommitPipeline(log: log, clock: LinuxClock()) { _ throws(DeliveryError) in }
  return (pipeline, kept(Array(rowsPayload(1).dropFirst(4))))
}

/// `u32 length | batch` for each of so many transactions, each of which puts a row as pgbench has them.
func rowsPayload(_ transactions: Int, firstKey: UInt64 = 0) -> [UInt8] {
  var random = Seeded(7)
  var payload = ByteWriter()
  let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)
  defer { key.deallocate() }
  for index in 0..<transactions {
    fill(key, firstKey + UInt64(index))
    let value = Array("\(random.next() % 100_000) \(random.next() % 10) \(String(repeating: " ", count: 84))".utf8)
    var builder = WriteBatchBuilder()
    value.withUnsafeBytes { builder.put(UnsafeRawBufferPointer(key), $0) }
    var batch = ByteWriter()
    builder.encode(into: &batch)
    payload.append(integer: UInt32(batch.count))
    payload.append(batch.bytes)
  }
  return payload.bytes
}
