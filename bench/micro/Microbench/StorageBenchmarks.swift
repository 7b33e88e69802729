import Encoding
import Foundation
import Platform
import Storage

/// Reading and writing the sorted store.
let storageBenchmarks = [
  Benchmark(name: "memtable insert, random keys", operations: 20_000) { _ in
    var memtable = Memtable(sizeBytes: 256 << 20)
    var random = Seeded()
    var version: UInt64 = 1
    let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)
    let value = [UInt8](repeating: 0x76, count: 100)
    return { count in
      if !memtable.hasRoom(operations: count, payloadSizeBytes: count * 116) {
        memtable = Memtable(sizeBytes: 256 << 20)
      }
      for _ in 0..<count {
        fill(key, random.next())
        value.withUnsafeBytes { memtable.insert(UnsafeRawBufferPointer(key), Version(version), .put, $0) }
        version += 1
      }
      return nil
    }
  },
  Benchmark(name: "memtable seek, random keys of 100 000") { _ in
    let memtable = Memtable(sizeBytes: 64 << 20)
    let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)
    let value = [UInt8](repeating: 0x76, count: 100)
    for index in 0..<100_000 {
      fill(key, UInt64(index) &* 7919 % 100_000)
      value.withUnsafeBytes { memtable.insert(UnsafeRawBufferPointer(key), Version(UInt64(index + 1)), .put, $0) }
    }
    let cursor = MemtableCursor(memtable)
    var random = Seeded()
    return { count in
      for _ in 0..<count {
        fill(key, random.next() % 100_000)
        cursor.seek(UnsafeRawBufferPointer(key), .latest)
        guard cursor.isValid else { throw MicrobenchFailure("a key is not there") }
      }
      return nil
    }
  },
  Benchmark(name: "table point read, cached, random keys of 100 000") { work in
    let engine = try openEngine(work)
    try apply(0..<100_000, step: 1, to: engine, slot: 1)
    try engine.flush()
    var pin = ReadPin()
    var random = Seeded()
    let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)
    let pins = PinBox(pin: ReadPin())
    swap(&pins.pin, &pin)
    // Every block is in the cache before anything is counted.
    for index in 0..<100_000 {
      fill(key, UInt64(index))
      _ = try engine.get(UnsafeRawBufferPointer(key), at: engine.visibleVersion, &pins.pin)
    }
    return { count in
      for _ in 0..<count {
        fill(key, random.next() % 100_000)
        guard try engine.get(UnsafeRawBufferPointer(key), at: engine.visibleVersion, &pins.pin) != nil else {
          throw MicrobenchFailure("a key is not there")
        }
      }
      return nil
    }
  },
  Benchmark(name: "merge iteration, a memtable and three runs, one entry", operations: 40_000) { work in
    let engine = try openEngine(work)
    // Interleaved, so that each source wins a quarter of the steps.
    for source in 0..<4 {
      try apply(0..<20_000, step: 4, offset: source, to: engine, slot: UInt64(source + 1))
      if source < 3 { try engine.flush() }
    }
    return { count in
      let hold = engine.retainVisible()
      defer { engine.release(hold) }
      var left = count
      while left > 0 {
        let cursor = try engine.makeCursor(.all, at: hold.version)
        while left > 0, try cursor.next() { left -= 1 }
      }
      return nil
    }
  },
]

/// A pin that a closure can hold.
private final class PinBox {
  var pin: ReadPin
  init(pin: consuming ReadPin) { self.pin = pin }
}

private func openEngine(_ work: Workspace) throws -> Engine {
  var options = EngineOptions()
  options.background = false
  return try Engine.open(try work.directory(), disk: LinuxDisk(), options: options)
}

/// Puts keys `offset`, `offset + step`, … as one group, and publishes it.
private func apply(_ numbers: Range<Int>, step: Int, offset: Int = 0, to engine: Engine, slot: UInt64) throws {
  let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)
  defer { key.deallocate() }
  let value = [UInt8](repeating: 0x76, count: 100)
  var builder = WriteBatchBuilder()
  for number in numbers {
    fill(key, UInt64(number * step + offset))
    value.withUnsafeBytes { builder.put(UnsafeRawBufferPointer(key), $0) }
  }
  var batch = ByteWriter()
  builder.encode(into: &batch)
  var payload = ByteWriter()
  payload.append(integer: UInt32(batch.count))
  payload.append(batch.bytes)
  let version = engine.visibleVersion.advanced(by: 1)
  try payload.bytes.withUnsafeBytes {
    try engine.apply(slot: Slot(slot), firstVersion: version, transactionCount: 1, payload: $0)
  }
  engine.publish(version)
}
