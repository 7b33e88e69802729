import Foundation

// The workloads of `synod bench ssi`, in SQL that PostgreSQL reads too. All parameters are integers.
//
//   tpcb        TPC-B as pgbench has it: three updates, a select, an insert; the branches (one in `scale`) are hot
//   sibench     Cahill, Röhm, Fekete (2008): half the transactions look for the smallest of 100 values, half increment one
//   smallbank   Alomari, Cahill, Fekete, Röhm (2008): a fifth each of balance, deposit, transact, amalgamate, write check
//   write-skew  who is on call in a shift of two? whoever is may leave if the other stays: each reads both, writes one
//   disjoint    looks for a key that is not there and inserts it: neighbouring keys, never the same one
//   long        one client reads all of 10,000 rows and notes their sum (every other time it only reads), the others
//               change one row each and look at the note now and then

/// Which client, of how many, in which slice of the run.
struct SSIPlace {
  var client: Int
  var clients: Int
  var slice: Int
}

/// A transaction with its values chosen: it may be run again as it is.
struct SSITransaction {
  var isReadOnly = false
  var body: (any SSIConnection) throws -> Void
}

struct SSIWorkload: Sendable {
  var name: String
  var summary: String
  /// What each connection prepares; transactions name them by place.
  var statements: [String]
  /// Makes the tables, or checks that they are there.
  var load: @Sendable (any SSIConnection) throws -> Void
  /// The next transaction of a client.
  var next: @Sendable (SSIPlace, _ index: UInt64, inout SSIRandom) -> SSITransaction

  static func all(scale: Int) -> [SSIWorkload] { [tpcb(scale), sibench, smallbank, writeSkew, disjoint, long] }

  /// Makes `table` again and fills it with 0 ..< count.
  private static func fill(
    _ connection: any SSIConnection, _ table: String, _ columns: String, _ values: String, _ count: Int
  ) throws {
    try connection.execute("DROP TABLE IF EXISTS \(table)")
    try connection.execute("CREATE TABLE \(table) (\(columns))")
    for start in stride(from: 0, to: count, by: 50_000) {
      try connection.execute(
        "INSERT INTO \(table) SELECT \(values) FROM generate_series(\(start), \(min(count, start + 50_000) - 1)) AS i")
    }
  }
}

extension SSIWorkload {
  static func tpcb(_ scale: Int) -> SSIWorkload {
    SSIWorkload(
      name: "tpcb", summary: "TPC-B at scale \(scale)",
      statements: [
        "UPDATE synod_ssi_accounts SET abalance = abalance + $2::int WHERE aid = $1::int",
        "SELECT abalance FROM synod_ssi_accounts WHERE aid = $1::int",
        "UPDATE synod_ssi_tellers SET tbalance = tbalance + $2::int WHERE tid = $1::int",
        "UPDATE synod_ssi_branches SET bbalance = bbalance + $2::int WHERE bid = $1::int",
        """
        INSERT INTO synod_ssi_history (tid, bid, aid, delta, mtime) \
        VALUES ($1::int, $2::int, $3::int, $4::int, CURRENT_TIMESTAMP)
        """,
      ],
      load: { connection in
        try connection.execute("CREATE TABLE IF NOT EXISTS synod_ssi_loaded (scale int)")
        let loaded = try connection.query("SELECT max(scale) FROM synod_ssi_loaded").first?[0]
        if loaded != scale {
          try fill(
            connection, "synod_ssi_accounts", "aid int PRIMARY KEY, bid int, abalance int, filler char(84)",
            "i + 1, i / 100000 + 1, 0, ''", scale * 100_000)
          try fill(
            connection, "synod_ssi_tellers", "tid int PRIMARY KEY, bid int, tbalance int, filler char(84)",
            "i + 1, i / 10 + 1, 0, ''", scale * 10)
          try fill(
            connection, "synod_ssi_branches", "bid int PRIMARY KEY, bbalance int, filler char(88)", "i + 1, 0, ''",
            scale)
          try connection.execute("DELETE FROM synod_ssi_loaded")
          try connection.execute("INSERT INTO synod_ssi_loaded VALUES (\(scale))")
        }
        try connection.execute("DROP TABLE IF EXISTS synod_ssi_history")
        try connection.execute(
          """
          CREATE TABLE synod_ssi_history \
          (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))
          """)
      },
      next: { _, _, random in
        let account = 1 + random.below(scale * 100_000)
        let teller = 1 + random.below(scale * 10)
        let branch = 1 + random.below(scale)
        let delta = random.below(10_001) - 5000
        return SSITransaction { connection in
          try connection.run(0, account, delta)
          try connection.run(1, account)
          try connection.run(2, teller, delta)
          try connection.run(3, branch, delta)
          try connection.run(4, teller, branch, account, delta)
        }
      })
  }

  static let sibench = SSIWorkload(
    name: "sibench", summary: "the smallest of 100 values, and increments",
    statements: [
      "SELECT id FROM synod_ssi_sibench ORDER BY value, id LIMIT 1",
      "UPDATE synod_ssi_sibench SET value = value + 1 WHERE id = $1::int",
    ],
    load: { connection in try fill(connection, "synod_ssi_sibench", "id int PRIMARY KEY, value int", "i, 0", 100) },
    next: { _, _, random in
      let id = random.below(100)
      if random.below(2) == 0 { return SSITransaction { try $0.run(0) } }
      return SSITransaction { try $0.run(1, id) }
    })

  static let smallbank = SSIWorkload(
    name: "smallbank", summary: "SmallBank with write check, 1,000 customers",
    statements: [
      "SELECT balance FROM synod_ssi_savings WHERE id = $1::int",
      "SELECT balance FROM synod_ssi_checking WHERE id = $1::int",
      "UPDATE synod_ssi_savings SET balance = balance + $2::int WHERE id = $1::int",
      "UPDATE synod_ssi_checking SET balance = balance + $2::int WHERE id = $1::int",
      "UPDATE synod_ssi_savings SET balance = 0 WHERE id = $1::int",
      "UPDATE synod_ssi_checking SET balance = 0 WHERE id = $1::int",
    ],
    load: { connection in
      try fill(connection, "synod_ssi_savings", "id int PRIMARY KEY, balance bigint", "i, 10000", 1000)
      try fill(connection, "synod_ssi_checking", "id int PRIMARY KEY, balance bigint", "i, 10000", 1000)
    },
    next: { _, _, random in
      let customer = random.below(1000)
      let amount = 1 + random.below(100)
      switch random.below(5) {
      case 0:
        return SSITransaction { connection in
          try connection.run(0, customer)
          try connection.run(1, customer)
        }
      case 1: return SSITransaction { try $0.run(3, customer, amount) }
      case 2: return SSITransaction { try $0.run(2, customer, amount) }
      case 3:
        let other = (customer + 1 + random.below(999)) % 1000
        return SSITransaction { connection in
          let total = try connection.value(0, customer) + connection.value(1, customer)
          try connection.run(4, customer)
          try connection.run(5, customer)
          try connection.run(3, other, total)
        }
      default:
        return SSITransaction { connection in
          let total = try connection.value(0, customer) + connection.value(1, customer)
          try connection.run(3, customer, total < amount ? -amount - 1 : -amount)
        }
      }
    })

  static let writeSkew = SSIWorkload(
    name: "write-skew", summary: "read both of a pair, write one, 500 pairs",
    statements: [
      "SELECT sum(on_call) FROM synod_ssi_duty WHERE shift = $1::int",
      "UPDATE synod_ssi_duty SET on_call = $3::int WHERE shift = $1::int AND doctor = $2::int",
    ],
    load: { connection in
      try fill(
        connection, "synod_ssi_duty", "shift int, doctor int, on_call int, PRIMARY KEY (shift, doctor)",
        "i / 2, i % 2, 1", 1000)
    },
    next: { _, _, random in
      let shift = random.below(500)
      let doctor = random.below(2)
      return SSITransaction { connection in
        let present = try connection.value(0, shift)
        try connection.run(1, shift, doctor, present >= 2 ? 0 : 1)
      }
    })

  static let disjoint = SSIWorkload(
    name: "disjoint", summary: "look for a key, insert it; all keys different",
    statements: [
      "SELECT owner FROM synod_ssi_disjoint WHERE id = $1::bigint",
      "INSERT INTO synod_ssi_disjoint VALUES ($1::bigint, $2::int)",
    ],
    load: { connection in
      try connection.execute("DROP TABLE IF EXISTS synod_ssi_disjoint")
      try connection.execute("CREATE TABLE synod_ssi_disjoint (id bigint PRIMARY KEY, owner int)")
      try connection.execute("CREATE INDEX synod_ssi_disjoint_owner ON synod_ssi_disjoint (owner, id)")
    },
    next: { place, index, _ in
      // Neighbours in the index belong to different clients.
      let key = place.slice << 40 | Int(truncatingIfNeeded: index) * place.clients + place.client
      return SSITransaction { connection in
        try connection.run(0, key)
        try connection.run(1, key, place.client)
      }
    })

  static let long = SSIWorkload(
    name: "long", summary: "one client reads 10,000 rows at a time, the others change one",
    statements: [
      "SELECT sum(amount) FROM synod_ssi_ledger",
      "UPDATE synod_ssi_note SET total = $1::int WHERE id = 0",
      "UPDATE synod_ssi_ledger SET amount = amount + 1 WHERE id = $1::int",
      "SELECT total FROM synod_ssi_note WHERE id = 0",
    ],
    load: { connection in
      try fill(connection, "synod_ssi_ledger", "id int PRIMARY KEY, amount int", "i, 0", 10_000)
      try fill(connection, "synod_ssi_note", "id int PRIMARY KEY, total bigint", "i, 0", 1)
    },
    next: { place, index, random in
      if place.client == 0 && place.clients > 1 {
        if index % 2 == 0 { return SSITransaction(isReadOnly: true) { try $0.run(0) } }
        return SSITransaction { connection in
          let total = try connection.value(0)
          try connection.run(1, total)
        }
      }
      let row = random.below(10_000)
      let looks = random.below(10) == 0
      return SSITransaction { connection in
        if looks { try connection.run(3) }
        try connection.run(2, row)
      }
    })
}

/// Splitmix64: small, and the same everywhere.
struct SSIRandom {
  private var state: UInt64
  init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 }

  mutating func below(_ bound: Int) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return Int((mixed ^ mixed >> 31) % UInt64(bound))
  }
}
