import SQL
import Testing

/// Parameters and rows as the wire protocol carries them, in text and in binary.
@Suite struct WireFormatTests {
  /// The fields of every row, as the client gets them.
  final class RowSink: ResultSink {
    let formats: ValueFormats
    let format: TextFormat
    private var encoder: DataRowEncoder?
    private(set) var rows: [[[UInt8]?]] = []
    private(set) var copied: [UInt8] = []
    var input: [[UInt8]] = []
    private(set) var tag = ""

    init(_ formats: ValueFormats, _ format: TextFormat) {
      self.formats = formats
      self.format = format
    }
    func columns(_ columns: [ColumnDescription]) throws(SQLError) {
      encoder = DataRowEncoder(columns, formats, format)
    }
    func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
      var buffer = ByteBuffer()
      try encoder?.append(values, to: &buffer)
      rows.append(Self.fields(buffer.array))
    }
    func completed(_ tag: String) { self.tag = tag }
    func copyOut(_ description: CopyDescription) throws(SQLError) {}
    func copyData(_ bytes: UnsafeRawBufferPointer) throws(SQLError) { copied += Array(bytes) }
    func copyIn(_ description: CopyDescription) throws(SQLError) {}
    func nextCopyData() throws(SQLError) -> [UInt8]? { input.isEmpty ? nil : input.removeFirst() }

    /// Takes one DataRow apart.
    static func fields(_ message: [UInt8]) -> [[UInt8]?] {
      func integer(_ at: Int, _ size: Int) -> Int { (0..<size).reduce(0) { $0 << 8 | Int(message[at + $1]) } }
      #expect(message[0] == UInt8(ascii: "D"))
      #expect(integer(1, 4) == message.count - 1)
      var at = 7
      var fields: [[UInt8]?] = []
      for _ in 0..<integer(5, 2) {
        let length = integer(at, 4)
        at += 4
        guard length != 0xffff_ffff else {
          fields.append(nil)
          continue
        }
        fields.append(Array(message[at..<at + length]))
        at += length
      }
      #expect(at == message.count)
      return fields
    }
  }

  private func bind(
    _ session: SQLSession, _ statement: PreparedStatement, _ values: [[UInt8]?], _ format: ValueFormat,
    results: ValueFormats
  ) throws -> Portal {
    var reader = try session.parameters(for: statement, count: values.count)
    for value in values {
      if let value { try reader.append(value.span.bytes, format) } else { reader.appendNull() }
    }
    return try reader.bind("", results: results)
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
      for (given, format) in [(binary.array, ValueFormat.binary), (text, .text)] {
        for results in [ValueFormats.text, .binary, ValueFormats([.binary, .text])] {
          let portal = try bind(session, statement, [given], format, results: results)
          let sink = RowSink(ValueFormats(binary: portal.resultFormats), session.textFormat)
          try session.execute(portal, sink)
          try session.sync()
          for column in 0..<2 {
            let wanted = results[column] == .binary ? binary.array : text
            #expect(
              sink.rows[0][column] == wanted,
              "\(type.description) as \(format) to \(results[column]), seed \(seed), round \(round)")
          }
        }
      }
    }
  }

  @Test func nullsAndCounts() throws {
    let session = try TestSQL().session()
    let statement = try session.prepare("", "SELECT $1::int, $2::text")
    let portal = try bind(session, statement, [nil, nil], .binary, results: .binary)
    let sink = RowSink(ValueFormats(binary: portal.resultFormats), session.textFormat)
    try session.execute(portal, sink)
    #expect(sink.rows == [[nil, nil]])
    try session.sync()
    #expect(throws: SQLError.self) { try session.parameters(for: statement, count: 1) }
    do {
      _ = try bind(session, statement, [nil, nil], .text, results: ValueFormats([.text, .text, .binary]))
      Issue.record("three formats for two columns")
    } catch let error as SQLError {
      #expect(error.state.rawValue == "08P01")
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
    let session = try TestSQL().session()
    let statement = try session.prepare("", "SELECT $1::\(type)")
    do {
      _ = try bind(session, statement, [bytes], .binary, results: .text)
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
    let out = RowSink(.text, session.textFormat)
    try session.execute("COPY t TO STDOUT (FORMAT binary)", out)
    #expect(out.tag == "COPY 201")
    for size in [1, 7, 64, 1000, 1 << 20] {
      let back = RowSink(.text, session.textFormat)
      back.input = stride(from: 0, to: out.copied.count, by: size).map {
        Array(out.copied[$0..<min($0 + size, out.copied.count)])
      }
      try session.execute("TRUNCATE u", RowSink(.text, session.textFormat))
      try session.execute("COPY u FROM STDIN WITH BINARY", back)
      #expect(back.tag == "COPY 201")
      #expect(session.lines("(TABLE t EXCEPT ALL TABLE u) UNION ALL (TABLE u EXCEPT ALL TABLE t)").count == 1)
    }
  }

  /// Cut and damaged data end in an error of COPY, never in a trap, and nothing is kept.
  @Test func damagedBinaryCopy() throws {
    let session = try TestSQL().session()
    _ = session.lines("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'one'), (2, null)")
    let out = RowSink(.text, session.textFormat)
    try session.execute("COPY t TO STDOUT BINARY", out)
    _ = session.lines("DELETE FROM t")
    for length in 0..<out.copied.count {
      let back = RowSink(.text, session.textFormat)
      back.input = [Array(out.copied[..<length])]
      #expect(throws: SQLError.self) { try session.execute("COPY t FROM STDIN BINARY", back) }
    }
    var generator = SeededGenerator(seed: 5)
    for _ in 0..<300 {
      var bytes = out.copied
      bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      let back = RowSink(.text, session.textFormat)
      back.input = [bytes]
      try? session.execute("BEGIN; COPY t FROM STDIN BINARY", back)
      _ = session.lines("ROLLBACK")
    }
    #expect(session.lines("SELECT count(*) FROM t") == ["count", "0"])
  }
}
