internal import Storage
internal import Transactions

extension SQLSession {
  /// Counts a table's rows, and estimates each column's nulls and distinct values from all of them.
  ///
  /// Distinct values are estimated by linear counting over 2^16 bits (Whang, Vander-Zanden and Taylor, 1990): beyond some
  /// hundred thousand different values the estimate becomes "as many as rows", which is what the planner makes of it.
  func analyze(_ table: TableDescriptor) throws(SQLError) {
    let bits = 1 << 16
    var maps = table.columns.map { _ in [UInt64](repeating: 0, count: bits / 64) }
    var nulls = table.columns.map { _ in 0 }
    let orders = table.columns.map { $0.isDropped ? nil : ValueOrder($0.type.id) }
    var rows = 0
    guard let transaction else { return }
    let cursor = try sqlErrors { () throws(TransactionError) in
      try transaction.cursor(KeySpace.range(table.storage))
    }
    defer { cursor.close() }
    let row = ValueBuffer(table.columns.count)
    let decoder = RowDecoder(table.layout, columns: Array(table.columns.indices))
    let batch = RowBatch()
    while true {
      try checkInterrupt()
      let count = try sqlErrors { () throws(TransactionError) in try cursor.nextRows(into: batch, withKeys: false) }
      guard count > 0 else { break }
      for index in 0..<count {
        unsafe try decoder.decode(Bytes(batch.value(index)), into: row.base)
        for place in table.columns.indices {
          guard let order = orders[place] else { continue }
          let value = row[place]
          if value.isNull {
            nulls[place] += 1
          } else {
            let hash = Int(order.hash(value) & UInt64(bits - 1))
            maps[place][hash >> 6] |= 1 << UInt64(hash & 63)
          }
        }
      }
      rows += count
    }
    var statistics = TableStatistics(rows: Double(rows))
    for place in table.columns.indices where orders[place] != nil {
      let empty = bits - maps[place].reduce(0) { $0 + $1.nonzeroBitCount }
      let filled = Double(rows - nulls[place])
      var distinct = empty == 0 ? filled : Double(bits) * -naturalLogarithm(Double(empty) / Double(bits))
      if distinct > 0.2 * Double(bits) * 5 { distinct = filled }
      statistics.columns[place] = .init(
        nulls: rows == 0 ? 0 : Double(nulls[place]) / Double(rows), distinct: min(max(distinct, 1), max(filled, 1)))
    }
    database.statistics.set(table.storage, statistics)
  }

  private func naturalLogarithm(_ x: Double) -> Double {
    // atanh series over the mantissa; estimates need no more.
    let y = (x.significand - 1) / (x.significand + 1)
    var term = y
    var sum = 0.0
    for n in stride(from: 1, through: 15, by: 2) {
      sum += term / Double(n)
      term *= y * y
    }
    return 2 * sum + Double(x.exponent) * 0.693_147_180_559_945
  }
}
