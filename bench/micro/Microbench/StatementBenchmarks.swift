import Foundation
import SQL
import Synod
import Wire

/// Expressions, rows on the wire, and whole statements in the process.
let statementBenchmarks = [
  Benchmark(name: "expression a + 1 > b AND c = 'x', one row", operations: 20_000) { _ in
    let resolver = Resolver(registry: .builtin)
    let one = TypedExpression.constant(.int(1), .int4)
    let sum = try resolver.operatorCall("+", .column(0, .int4), one, at: nil)
    let compared = try resolver.operatorCall(">", sum, .column(1, .int4), at: nil)
    let equal = try resolver.operatorCall("=", .column(2, .text), .constant(.text("x"), .text), at: nil)
    let condition = try CompiledExpression(try resolver.settle(try resolver.and([compared, equal])), asCondition: true)
    return rows(condition)
  },
  Benchmark(name: "expression a * 2 + b, one row", operations: 20_000) { _ in
    let resolver = Resolver(registry: .builtin)
    let product = try resolver.operatorCall("*", .column(0, .int4), .constant(.int(2), .int4), at: nil)
    let sum = try resolver.operatorCall("+", product, .column(1, .int4), at: nil)
    return rows(try CompiledExpression(try resolver.settle(sum)))
  },
  Benchmark(name: "wire encode, a row of an integer and two texts", operations: 20_000) { _ in
    let buffers = BufferBox()
    let text = [UInt8]("customer 4711".utf8)
    let filler = [UInt8](repeating: 0x20, count: 84)
    return { count in
      for index in 0..<count {
        let row = buffers.output.beginRow(columns: 3)
        buffers.output.value(decimal: Int64(index))
        buffers.output.value(bytes: text)
        buffers.output.value(bytes: filler)
        try buffers.output.endRow(row)
        if buffers.output.count > 16_000 { buffers.output.removeAll() }
      }
      return nil
    }
  },
  Benchmark(name: "prepared SELECT by primary key, in the process") { work in
    let session = try openTable(work)
    let select = try session.prepare("SELECT value FROM r WHERE id = $1")
    var random = Seeded()
    return { count in
      for _ in 0..<count {
        let found = try select.query(.int(Int64(random.next() % 10_000)))
        guard found.count == 1 else { throw MicrobenchFailure("a row is not there") }
      }
      return nil
    }
  },
  Benchmark(name: "prepared UPDATE by primary key, not durable, in the process", countsAllThreads: true) { work in
    let session = try openTable(work)
    try session.execute("SET synchronous_commit = off")
    let update = try session.prepare("UPDATE r SET value = $2 WHERE id = $1")
    var random = Seeded()
    return { count in
      for _ in 0..<count {
        try update.execute(Int64(random.next() % 10_000), "another value of some length, not of much")
      }
      return nil
    }
  },
]

/// A buffer that a closure can hold.
private final class BufferBox {
  var output = WireBuffer()
}

private func rows(_ expression: CompiledExpression) -> (Int) throws -> Double? {
  let arena = Arena()
  var context = EvaluationContext(arena: arena)
  let row = UnsafeMutablePointer<Value>.allocate(capacity: 3)
  row[2] = Value(arena.copy("x"))
  var truths = 0
  return { count in
    for index in 0..<count {
      row[0] = Value(index & 1023)
      row[1] = Value(512)
      if try expression.evaluate(row: row, &context).isNull { truths += 1 }
    }
    consume(truths)
    return nil
  }
}

private func openTable(_ work: Workspace) throws -> Session {
  let database = try Database.open(at: try work.directory() + "/db")
  try database.execute("CREATE TABLE r (id bigint PRIMARY KEY, value text)")
  try database.execute("INSERT INTO r SELECT g, repeat('v', 100) FROM generate_series(0, 9999) g")
  let session = try database.makeSession()
  keptOpen.databases.append(database)
  return session
}

/// Databases stay open until the end.
///
/// `@unchecked Sendable`: benchmarks run on the main thread.
private final class KeptOpen: @unchecked Sendable {
  var databases: [Database] = []
}
private let keptOpen = KeptOpen()
