import SQL
import Testing

/// Parameters and rows as the wire protocol carries them, in text and in binary.
@Suite struct WireFormatTests {
  /// The fields of every row, as the client gets them: true is binary.
  final class RowSink: ResultSink {
    let formats: [Bool]
    let format: TextFormat
    private var types: [TypeID] = []
    private(set) var rows: [[[UInt8]?]] = []
    private(set) var copied: [UInt8] = []
    var input: [[UInt8]] = []
    private(set) var tag = ""

    init(_ session: SQLSession, _ formats: [Bool] = [false]) {
      self.formats = formats
      format = session.textFormat
    }
    func columns(_ columns: [ColumnDescription]) throws(SQLError) { types = columns.map(\.type.id) }
    func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
      var row: [[UInt8]?] = []
      for (index, value) in values.enumerated() {
        var buffer = ByteBuffer()
        if value.isNull {
          row.append(nil)
          continue
        }
        if formats[index % formats.count] {
          try TypeCodec.encodeBinary(value, types[index], into: &buffer)
        } else {
          try TypeCodec.format(value, types[index], into: &buffer, format)
        }
        row.append(buffer.array)
      }
      rows.append(row)
    }
    func completed(_ tag: String) { self.tag = tag }
    func copyOut(_ description: CopyDescription) throws(SQLError) {}
    func copyData(_ bytes: UnsafeRawBufferPointer) throws(SQLError) { copied += Array(bytes) }
    func copyIn(_ description: CopyDescription) throws(SQLError) {}
    func nextCopyData() throws(SQLError) -> [UInt8]? { input.isEmpty ? nil : input.removeFirst() }
  }

  /// A parameter as a server reads it.
  private func datum(_ bytes: [UInt8], _ type: SQLType, binary: Bool) throws -> Datum {
    let arena = Arena()
    defer { withExtendedLifetime(arena) {} }
    return try Bytes.with(bytes) { raw in
      Datum(
        try binary
          ? TypeCodec.decodeBinary(raw, type.id, arena) : TypeCodec.parse(raw, SQLType(type.id), arena, TextFormat()))
    }
  }

  /// What is sent comes back, whatever way it travels.
  @Test(arguments: RandomValues.types) func parametersComeBack(_ type: SQLType) throws {
    let seed: UInt64 = 21
    let session = try TestSQL().session()
    let arena = Arena()
    var values = RandomValues(random: SeededGenerator(seed: seed), arena: arena)
    let statement = try session.prepare("", "SELECT $1, $1", parameterTypes: [type])
    for round in 0..<25 {
      let value = try values.value(type)
      var binary = ByteBuffer()
      try TypeCodec.encodeBinary(value, type.id, into: &binary)
      let text = Array(try TypeCodec.string(value, type.id, session.textFormat).utf8)
      for (given, isBinary) in [(binary.array, true), (text, false)] {
        let parameter = try datum(given, type, binary: isBinary)
        for results in [[false], [true], [true, false]] {
          let sink = RowSink(session, results)
          try session.execute(try session.bind("", statement, [parameter]), sink)
          try session.sync()
          for column in 0..<2 {
            let wanted = results[column % results.count] ? binary.array : text
            #expect(
              sink.rows[0][column] == wanted,
              "\(type.description), binary \(isBinary) to \(results), seed \(seed), round \(round)")
          }
        }
      }
    }
  }

  @Test(
    arguments: [
      ("int4", [0, 0, 1], "08P01"), ("int4", [0, 0, 0, 0, 1], "22P03"),
      ("numeric", [0, 1, 0, 0, 0x12, 0, 0, 0, 0, 1], "22P03"),
      ("int4[]", [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1], "22P03"),
      ("text", [0xc3, 0x28], "22021"), ("uuid", [1, 2, 3], "08P01"), ("jsonb", [2, 0x31], "XX000"),
      ("date", [0x7f, 0xff, 0xff, 0xf0], "22008"),
    ] as [(String, [UInt8], String)])
  func badBytesAreErrors(_ type: String, _ bytes: [UInt8], _ state: String) throws {
    let id = try #require(TypeTable.named(type.hasSuffix("[]") ? "_" + type.dropLast(2) : type))
    do {
      _ = try datum(bytes, SQLType(id), binary: true)
      Issue.record("\(bytes) was taken for a \(type)")
    } catch let error as SQLError {
      #expect(error.state.rawValue == state, "\(type): \(error)")
    }
  }

  /// COPY out and in, in binary, cut into pieces of every size.
  @Test func binaryCopyRoundTrip() throws {
    let session = try TestSQL().session()
    _ = session.lines(
      """
      CREATE TABLE t (a int PRIMARY KEY, b text, c numeric(10,2), d timestamptz, e int[], f bytea, g jsonb, h varchar(5));
      CREATE TABLE u (LIKE t);
      INSERT INTO t SELECT i, repeat('x', i * 7), i / 3.0, to_timestamp(i * 1e6), ARRAY[i, null, -i],
        decode(md5(i::text), 'hex'), json_build_object('i', i)::jsonb, 'v' || i FROM generate_series(1, 200) AS i;
      INSERT INTO t VALUES (0);
      """)
    let out = RowSink(session)
    try session.execute("COPY t TO STDOUT (FORMAT binary)", out)
    #expect(out.tag == "COPY 201")
    for size in [1, 7, 64, 1000, 1 << 20] {
      let back = RowSink(session)
      back.input = stride(from: 0, to: out.copied.count, by: size).map {
        Array(out.copied[$0..<min($0 + size, out.copied.count)])
      }
      try session.execute("TRUNCATE u", RowSink(session))
      try session.execute("COPY u FROM STDIN WITH BINARY", back)
      #expect(back.tag == "COPY 201")
      #expect(session.lines("(TABLE t EXCEPT ALL TABLE u) UNION ALL (TABLE u EXCEPT ALL TABLE t)").count == 1)
    }
  }

  /// Cut and damaged data end in an error of COPY, never in a trap, and nothing is kept. Only the trailer may be missing.
  @Test func damagedBinaryCopy() throws {
    let session = try TestSQL().session()
    _ = session.lines("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'one'), (2, null)")
    let out = RowSink(session)
    try session.execute("COPY t TO STDOUT BINARY", out)
    _ = session.lines("DELETE FROM t")
    for length in 0..<out.copied.count {
      let back = RowSink(session)
      back.input = [Array(out.copied[..<length])]
      // Behind the header and each row, and one byte further.
      if let rows = [19: 0, 20: 0, 36: 1, 37: 1, 50: 2, 51: 2][length] {
        try session.execute("COPY t FROM STDIN BINARY", back)
        #expect(back.tag == "COPY \(rows)")
        _ = session.lines("DELETE FROM t")
      } else {
        #expect(throws: SQLError.self, "\(length)") { try session.execute("COPY t FROM STDIN BINARY", back) }
      }
    }
    var generator = SeededGenerator(seed: 5)
    for _ in 0..<300 {
      var bytes = out.copied
      bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      let back = RowSink(session)
      back.input = [bytes]
      try? session.execute("BEGIN; COPY t FROM STDIN BINARY", back)
      _ = session.lines("ROLLBACK")
    }
    #expect(session.lines("SELECT count(*) FROM t") == ["count", "0"])
  }
}
