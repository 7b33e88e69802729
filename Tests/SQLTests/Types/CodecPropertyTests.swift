import SQL
import Testing

/// Round trips and orders of every type, from seeds that failures print.
@Suite struct CodecPropertyTests {
  @Test(arguments: RandomValues.types) func textAndBinaryRoundTrip(_ type: SQLType) throws {
    let seed: UInt64 = 11
    let arena = Arena()
    var values = RandomValues(random: SeededGenerator(seed: seed), arena: arena)
    for round in 0..<300 {
      let value = try values.value(type)
      let text = try TypeCodec.string(value, type.id)
      let read = try Bytes.with(text) { try TypeCodec.parse($0, type, arena, TextFormat()) }
      #expect(identical(value, read, type), "text of \(type.description), seed \(seed), round \(round): \(text)")
      var buffer = ByteBuffer()
      try TypeCodec.encodeBinary(value, type.id, into: &buffer)
      let decoded = try Bytes.with(buffer.array) { try TypeCodec.decodeBinary($0, type.id, arena) }
      #expect(identical(value, decoded, type), "binary of \(type.description), seed \(seed), round \(round): \(text)")
      #expect(Datum(Datum(value).value(in: arena)) == Datum(value))
    }
  }

  @Test(arguments: RandomValues.types) func keysOrderAsValues(_ type: SQLType) throws {
    let seed: UInt64 = 12
    let arena = Arena()
    var values = RandomValues(random: SeededGenerator(seed: seed), arena: arena)
    let order = try #require(ValueOrder(type.id))
    let list = try (0..<90).map { _ in try values.nullable(type) }
    for descending in [false, true] {
      for nullsFirst in [false, true] {
        let column = KeyColumn(type, descending: descending, nullsFirst: nullsFirst)
        let keys = list.map { value in
          var buffer = ByteBuffer()
          KeyCodec.append(value, column, to: &buffer)
          return buffer.array
        }
        for i in list.indices {
          for j in list.indices {
            let expected: Int
            if list[i].isNull || list[j].isNull {
              expected = list[i].isNull == list[j].isNull ? 0 : (list[i].isNull == nullsFirst ? -1 : 1)
            } else {
              expected = order.compare(list[i], list[j]) * (descending ? -1 : 1)
            }
            let actual = Bytes.with(keys[i]) { a in Bytes.with(keys[j]) { a.compare($0) } }
            try #require(
              actual == expected,
              "\(column), seed \(seed): \(Datum(list[i])) and \(Datum(list[j])): keys say \(actual), values \(expected)"
            )
            if expected == 0, !list[i].isNull, !list[j].isNull {
              try #require(
                order.hash(list[i]) == order.hash(list[j]),
                "equal values hash alike: \(Datum(list[i])) \(Datum(list[j]))")
            }
          }
        }
      }
    }
  }

  @Test func compositeKeysDecode() throws {
    let seed: UInt64 = 13
    let arena = Arena()
    var values = RandomValues(random: SeededGenerator(seed: seed), arena: arena)
    for round in 0..<1500 {
      var columns: [KeyColumn] = []
      var row: [Value] = []
      for _ in 0..<4 {
        let type = RandomValues.types.randomElement(using: &values.random)!
        columns.append(
          KeyColumn(
            type, descending: Bool.random(using: &values.random), nullsFirst: Bool.random(using: &values.random)))
        row.append(try values.nullable(type))
      }
      var buffer = ByteBuffer()
      for (value, column) in zip(row, columns) { KeyCodec.append(value, column, to: &buffer) }
      let key = buffer.array
      try Bytes.with(key) { bytes in
        var offset = 0
        for (value, column) in zip(row, columns) {
          let decoded = try KeyCodec.decode(bytes, &offset, column, arena)
          if column.isDecodable {
            try #require(
              identical(value, decoded, column.type), "seed \(seed), round \(round), \(column): \(Datum(value))")
          } else if !value.isNull {
            try #require(ValueOrder(column.type.id)!.equal(value, decoded), "seed \(seed), round \(round), \(column)")
          }
        }
        try #require(offset == key.count)
      }
    }
  }

  @Test func rowsRoundTripWithFewerColumnsThanTheTable() throws {
    let seed: UInt64 = 14
    let arena = Arena()
    var values = RandomValues(random: SeededGenerator(seed: seed), arena: arena)
    for round in 0..<600 {
      let types = (0..<Int.random(in: 0...12, using: &values.random)).map { _ in
        RandomValues.types.randomElement(using: &values.random)!
      }
      let row = try types.map { try values.nullable($0) }
      let written = RowLayout(types: types)
      var buffer = ByteBuffer()
      try written.encode(row, into: &buffer)
      // The table has got two more columns since, one with a default.
      let missing = types.map { _ in Datum.null } + [.int(42), .null]
      let now = RowLayout(types: types + [.int4, .text], missing: missing)
      let view = try now.row(buffer.bytes)
      for (index, value) in row.enumerated() {
        try #require(
          identical(value, try view.value(index, now), types[index]), "seed \(seed), round \(round), column \(index)")
      }
      #expect(try view.value(types.count, now).int == 42)
      #expect(try view.value(types.count + 1, now).isNull)
    }
  }

  @Test func wideRowsKeepTheirBytes() throws {
    let arena = Arena()
    let layout = RowLayout(types: [.text, .int4, .bytea])
    let long = Value(arena.copy([UInt8](repeating: 0x61, count: 70_000)))
    var buffer = ByteBuffer()
    try layout.encode([long, Value(7), Value(arena.copy([1, 2]))], into: &buffer)
    let view = try layout.row(buffer.bytes)
    #expect(try view.value(0, layout).bytes.count == 70_000)
    #expect(try view.value(1, layout).int == 7)
    #expect(try view.value(2, layout).bytes.array == [1, 2])
  }

  /// Damaged bytes give errors, never traps.
  @Test func noiseNeverTraps() throws {
    let seed: UInt64 = 15
    let arena = Arena()
    var values = RandomValues(random: SeededGenerator(seed: seed), arena: arena)
    let layout = RowLayout(types: RandomValues.types)
    for _ in 0..<1000 {
      let row = try RandomValues.types.map { try values.nullable($0) }
      var buffer = ByteBuffer()
      try layout.encode(row, into: &buffer)
      var bytes = buffer.array
      for _ in 0..<Int.random(in: 1...4, using: &values.random) {
        bytes[Int.random(in: 0..<bytes.count, using: &values.random)] = UInt8(truncatingIfNeeded: values.random.next())
      }
      bytes.removeLast(Int.random(in: 0..<min(4, bytes.count), using: &values.random))
      Bytes.with(bytes) { noise in
        guard let view = try? layout.row(noise) else { return }
        for (index, type) in RandomValues.types.enumerated() {
          guard let value = try? view.value(index, layout), !value.isNull else { continue }
          var out = ByteBuffer()
          try? TypeCodec.format(value, type.id, into: &out, TextFormat())
          KeyCodec.append(value, KeyColumn(type), to: &out)
          _ = ValueOrder(type.id)!.hash(value)
        }
      }
      for type in RandomValues.types {
        let start = Int.random(in: 0..<bytes.count, using: &values.random)
        let slice = Array(bytes[start..<min(bytes.count, start + 24)])
        Bytes.with(slice) { noise in
          _ = try? TypeCodec.decodeBinary(noise, type.id, arena)
          _ = try? TypeCodec.parse(noise, type, arena, TextFormat())
          var offset = 0
          _ = try? KeyCodec.decode(noise, &offset, KeyColumn(type, descending: slice.count % 2 == 0), arena)
        }
      }
      arena.reset()
    }
  }
}
