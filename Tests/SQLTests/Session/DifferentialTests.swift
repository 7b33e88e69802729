import Platform
import SQL
import Testing

/// Random queries answered in different ways must give the same rows: with indexes and without, prepared and not, and as
/// a plain evaluation in memory says.
@Suite struct DifferentialTests {
  private struct Row {
    var id: Int
    var a: Int?
    var b: Int
    var c: String
  }

  /// A condition as SQL and as a function; nil is unknown.
  private struct Condition {
    var sql: String
    var test: (Row) -> Bool?
  }

  private func condition(_ random: inout SeededRandomness, depth: Int = 0) -> Condition {
    switch random.below(depth > 2 ? 6 : 9) {
    case 0:
      let value = Int(random.below(12))
      return Condition(sql: "a = \(value)") { row in row.a.map { $0 == value } }
    case 1:
      let low = Int(random.below(40))
      let high = low + Int(random.below(20))
      return Condition(sql: "b BETWEEN \(low) AND \(high)") { row in row.b >= low && row.b <= high }
    case 2:
      let value = Int(random.below(200))
      let op = ["<", "<=", ">", ">="][Int(random.below(4))]
      return Condition(sql: "id \(op) \(value)") { row in
        switch op {
        case "<": row.id < value
        case "<=": row.id <= value
        case ">": row.id > value
        default: row.id >= value
        }
      }
    case 3: return Condition(sql: "a IS NULL") { $0.a == nil }
    case 4:
      let list = (0..<3).map { _ in Int(random.below(12)) }
      let text = list.map(String.init).joined(separator: ", ")
      return Condition(sql: "a IN (\(text))") { row in row.a.map { list.contains($0) } }
    case 5:
      let letter = String(UnicodeScalar(UInt8(97 + random.below(5))))
      return Condition(sql: "c LIKE '\(letter)%'") { $0.c.hasPrefix(letter) }
    case 6:
      let (x, y) = (condition(&random, depth: depth + 1), condition(&random, depth: depth + 1))
      return Condition(sql: "(\(x.sql) AND \(y.sql))") { row in
        let (p, q) = (x.test(row), y.test(row))
        return p == false || q == false ? false : p == nil || q == nil ? nil : true
      }
    case 7:
      let (x, y) = (condition(&random, depth: depth + 1), condition(&random, depth: depth + 1))
      return Condition(sql: "(\(x.sql) OR \(y.sql))") { row in
        let (p, q) = (x.test(row), y.test(row))
        return p == true || q == true ? true : p == nil || q == nil ? nil : false
      }
    default:
      let x = condition(&random, depth: depth + 1)
      return Condition(sql: "NOT \(x.sql)") { row in x.test(row).map { !$0 } }
    }
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func everyWayGivesTheSameRows(_ seed: UInt64) throws {
    var random = SeededRandomness(seed: seed)
    let test = try TestSQL()
    let session = test.session()
    var rows: [Row] = []
    for table in ["plain", "indexed"] {
      let key = table == "plain" ? "" : " PRIMARY KEY"
      #expect(session.lines("CREATE TABLE \(table) (id int\(key), a int, b int, c text)") == ["CREATE TABLE"])
    }
    _ = session.lines("CREATE INDEX ON indexed (a, b DESC); CREATE INDEX ON indexed (b); CREATE INDEX ON indexed (c)")
    for id in 0..<200 {
      let row = Row(
        id: id, a: random.below(6) == 0 ? nil : Int(random.below(12)), b: Int(random.below(50)),
        c: String(UnicodeScalar(UInt8(97 + random.below(5)))) + "\(random.below(30))")
      rows.append(row)
      let values = "(\(row.id), \(row.a.map(String.init) ?? "NULL"), \(row.b), '\(row.c)')"
      _ = session.lines("INSERT INTO plain VALUES \(values); INSERT INTO indexed VALUES \(values)")
    }
    _ = session.lines("ANALYZE")
    for round in 0..<150 {
      let condition = condition(&random)
      let order = ["id", "a, id", "b DESC, id", "c, id DESC", "a DESC NULLS LAST, b, id"][Int(random.below(5))]
      let limit = random.below(3) == 0 ? " LIMIT \(random.below(20))" : ""
      let tail = "WHERE \(condition.sql) ORDER BY \(order)\(limit)"
      let plain = session.lines("SELECT id, a, b, c FROM plain \(tail)")
      let indexed = session.lines("SELECT id, a, b, c FROM indexed \(tail)")
      #expect(plain == indexed, "seed \(seed), round \(round): \(tail)")
      let sink = TextSink(session)
      let statement = try session.prepare("", "SELECT id, a, b, c FROM indexed \(tail)")
      try session.execute(try session.bind("", statement, []), sink)
      #expect(sink.lines == plain, "seed \(seed), round \(round), prepared: \(tail)")
      if limit.isEmpty {
        let wanted = rows.filter { condition.test($0) == true }.map(\.id).sorted()
        let got = plain.dropFirst().compactMap { Int($0.prefix { $0 != " " }) }.sorted()
        #expect(wanted == got, "seed \(seed), round \(round): \(tail)")
      }
      let joined = session.lines(
        "SELECT count(*), sum(x.b) FROM indexed x JOIN indexed y ON y.a = x.b % 12 AND y.id < 50 WHERE x.\(condition.sql.hasPrefix("a =") ? condition.sql : "b > 10")"
      )
      let plainJoin = session.lines(
        "SELECT count(*), sum(x.b) FROM plain x, plain y WHERE y.a = x.b % 12 AND y.id < 50 AND x.\(condition.sql.hasPrefix("a =") ? condition.sql : "b > 10")"
      )
      #expect(joined == plainJoin, "seed \(seed), round \(round): join")
    }
  }

  /// Changes through indexes leave the indexes and the table agreeing.
  @Test(arguments: [11, 12] as [UInt64])
  func indexesFollowChanges(_ seed: UInt64) throws {
    var random = SeededRandomness(seed: seed)
    let test = try TestSQL()
    let session = test.session()
    _ = session.lines(
      "CREATE TABLE t (id int PRIMARY KEY, a int, b text); CREATE INDEX t_a ON t (a); CREATE INDEX t_b ON t (b) WHERE a > 3; CREATE UNIQUE INDEX t_u ON t ((a * 1000 + id))"
    )
    for round in 0..<300 {
      let id = random.below(60)
      let statement: String
      switch random.below(6) {
      case 0, 1:
        statement = "INSERT INTO t VALUES (\(id), \(random.below(8)), 'b\(random.below(9))') ON CONFLICT DO NOTHING"
      case 2: statement = "UPDATE t SET a = \(random.below(8)) WHERE id % 7 = \(random.below(7))"
      case 3: statement = "UPDATE t SET b = b || 'x' WHERE a = \(random.below(8))"
      case 4: statement = "DELETE FROM t WHERE id = \(id)"
      default: statement = "UPDATE t SET id = id + 100 WHERE id = \(id)"
      }
      let inBlock = random.below(4) == 0
      if inBlock { _ = session.lines("BEGIN; SAVEPOINT s") }
      _ = session.lines(statement)
      if inBlock { _ = session.lines(random.below(2) == 0 ? "ROLLBACK" : "COMMIT") }
      guard round % 10 == 0 else { continue }
      let table = session.lines(
        "SELECT count(*), sum(a), count(*) FILTER (WHERE a > 3 AND b > '') FROM t WHERE id + 0 > -1")
      let index = session.lines(
        "SELECT (SELECT count(*) FROM t WHERE a >= 0), (SELECT sum(a) FROM t WHERE a >= 0), (SELECT count(*) FROM t WHERE a > 3 AND b > '')"
      )
      #expect(table.last == index.last, "seed \(seed), round \(round): \(statement)")
    }
  }
}
