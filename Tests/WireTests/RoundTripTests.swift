import Testing
import Wire

/// What one side writes, the other reads: every message, random content, random pieces.
@Suite struct RoundTripTests {
  @Test(arguments: 1...20)
  func clientToServer(_ seed: UInt64) throws {
    var dice = Dice(seed: seed)
    var pen = WireBuffer()
    var sent: [String] = []
    for _ in 0..<60 { sent.append(try writeFrontend(&pen, &dice)) }
    var decoder = MessageDecoder(side: .frontend, maximumMessageSize: 1 << 20)
    var got: [String] = []
    for piece in pieces(pen.array, &dice) {
      decoder.append(piece)
      while let frame = try decoder.nextFrame() {
        got.append(render(try decoder.decodeFrontend(frame), decoder.buffer))
      }
    }
    #expect(got == sent, "seed \(seed)")
    #expect(decoder.unread == 0)
  }

  private func writeFrontend(_ pen: inout WireBuffer, _ dice: inout Dice) throws -> String {
    func target(_ dice: inout Dice) -> WireTarget { dice.chance(50) ? .statement(dice.text()) : .portal(dice.text()) }
    switch dice.below(12) {
    case 0:
      let text = dice.text()
      try pen.query(text)
      return "query \(text)"
    case 1:
      let message = ParseMessage(
        name: dice.text(), query: dice.text(),
        parameterTypes: (0..<dice.below(5)).map { _ in UInt32(dice.below(1 << 31)) })
      try pen.parse(message)
      return "\(message)"
    case 2, 3, 4:
      let values: [[UInt8]?] = (0..<dice.below(6)).map { _ in dice.chance(20) ? nil : dice.bytes(dice.below(40)) }
      let formats: [WireFormat] = (0..<[0, 1, values.count][dice.below(3)]).map { _ in
        dice.chance(50) ? .text : .binary
      }
      let results: [WireFormat] = (0..<dice.below(4)).map { _ in dice.chance(50) ? .text : .binary }
      let (portal, statement) = (dice.text(), dice.text())
      try pen.bind(
        portal: portal, statement: statement, parameterFormats: formats, parameters: values, resultFormats: results)
      let each = values.indices.map { formats.isEmpty ? .text : formats.count == 1 ? formats[0] : formats[$0] }
      return "bind \(portal) \(statement) \(each) \(values) \(results)"
    case 5:
      let target = target(&dice)
      pen.describe(target)
      return "describe \(target)"
    case 6:
      let target = target(&dice)
      pen.close(target)
      return "close \(target)"
    case 7:
      let (portal, limit) = (dice.text(), dice.below(1000))
      pen.execute(portal: portal, rowLimit: Int32(limit))
      return "execute \(portal) \(limit)"
    case 8:
      let bytes = dice.bytes(dice.below(3000))
      try pen.copyData(bytes.span.bytes)
      return "copyData \(bytes)"
    case 9:
      let text = dice.text()
      pen.copyFail(text)
      return "copyFail \(text)"
    case 10:
      pen.sync()
      return "sync"
    default:
      pen.flush()
      return "flush"
    }
  }

  private func render(_ message: FrontendMessage, _ buffer: borrowing WireBuffer) -> String {
    switch message {
    case .query(let text): "query \(text)"
    case .parse(let message): "\(message)"
    case .bind(let message):
      "bind \(message.portal) \(message.statement) "
        + "\((0..<message.parameters.remaining).map { message.parameterFormats.format($0, in: buffer) }) "
        + "\(list(message.parameters, buffer)) "
        + "\((0..<message.resultFormats.count).map { message.resultFormats.format($0, in: buffer) })"
    case .describe(let target): "describe \(target)"
    case .close(let target): "close \(target)"
    case .execute(let portal, let limit): "execute \(portal) \(limit)"
    case .copyData(let slice): "copyData \(buffer.array(of: slice))"
    case .copyFail(let text): "copyFail \(text)"
    default: "\(message)"
    }
  }

  private func list(_ values: WireValues, _ buffer: borrowing WireBuffer) -> [[UInt8]?] {
    var values = values
    var list: [[UInt8]?] = []
    while let value = values.next(in: buffer) {
      if case .bytes(let slice) = value { list.append(buffer.array(of: slice)) } else { list.append(nil) }
    }
    return list
  }

  @Test(arguments: 1...20)
  func serverToClient(_ seed: UInt64) throws {
    var dice = Dice(seed: seed)
    var pen = WireBuffer()
    var sent: [String] = []
    for _ in 0..<60 { sent.append(try writeBackend(&pen, &dice)) }
    var decoder = MessageDecoder(side: .backend, maximumMessageSize: 1 << 20)
    var got: [String] = []
    for piece in pieces(pen.array, &dice) {
      decoder.append(piece)
      while let frame = try decoder.nextFrame() {
        let message = try decoder.decodeBackend(frame)
        switch message {
        case .dataRow(let values): got.append("row \(list(values, decoder.buffer))")
        case .copyData(let slice): got.append("copyData \(decoder.buffer.array(of: slice))")
        default: got.append("\(message)")
        }
      }
    }
    #expect(got == sent, "seed \(seed)")
  }

  private func writeBackend(_ pen: inout WireBuffer, _ dice: inout Dice) throws -> String {
    switch dice.below(8) {
    case 0:
      let fields = (0..<dice.below(5)).map { _ in
        FieldDescription(
          name: dice.text(), table: UInt32(dice.below(1 << 31)), column: Int16(dice.below(100)), type: 25,
          typeSize: Int16(dice.below(16)) - 2, typeModifier: Int32(dice.below(9)) - 1,
          format: dice.chance(50) ? .text : .binary)
      }
      pen.rowDescription(fields)
      return "\(BackendMessage.rowDescription(fields))"
    case 1, 2, 3: return try writeRow(&pen, &dice)
    case 4:
      var report = WireReport(
        severity: WireReport.Severity.allCases[dice.below(8)], sqlState: "4200\(dice.below(9))", message: dice.text())
      if dice.chance(50) { report.detail = dice.text() }
      if dice.chance(50) { report.hint = dice.text() }
      if dice.chance(50) { report.position = dice.below(100) }
      if dice.chance(50) { (report.schema, report.table, report.column) = (dice.text(), dice.text(), dice.text()) }
      if dice.chance(50) { (report.dataType, report.constraint) = (dice.text(), dice.text()) }
      if dice.chance(50) { (report.file, report.line, report.routine) = (dice.text(), dice.below(99), dice.text()) }
      if dice.chance(50) { (report.internalQuery, report.internalPosition) = (dice.text(), dice.below(9)) }
      if dice.chance(50) { report.context = dice.text() }
      pen.notice(report)
      return "\(BackendMessage.notice(report))"
    case 5:
      let (name, value) = (dice.text(), dice.text())
      pen.parameterStatus(name: name, value: value)
      return "\(BackendMessage.parameterStatus(name: name, value: value))"
    case 6:
      let (channel, payload) = (dice.text(), dice.text())
      pen.notification(process: 9, channel: channel, payload: payload)
      return "\(BackendMessage.notification(process: 9, channel: channel, payload: payload))"
    default:
      let rows = Int(Int64(bitPattern: dice.next()) >> Int64(dice.below(64)))
      pen.commandComplete("SELECT", rows: rows)
      return "\(BackendMessage.commandComplete("SELECT \(rows)"))"
    }
  }

  private func writeRow(_ pen: inout WireBuffer, _ dice: inout Dice) throws -> String {
    let count = dice.below(6)
    let row = pen.beginRow(columns: count)
    var values: [[UInt8]?] = []
    for _ in 0..<count {
      switch dice.below(5) {
      case 0:
        pen.nullValue()
        values.append(nil)
      case 1:
        let number = Int64(bitPattern: dice.next()) >> Int64(dice.below(64))
        pen.value(decimal: number)
        values.append(Array("\(number)".utf8))
      case 2:
        let number = Int32(truncatingIfNeeded: dice.next())
        pen.value(binary: number)
        values.append(withUnsafeBytes(of: number.bigEndian) { Array($0) })
      case 3:
        let text = dice.text()
        pen.value(text: text)
        values.append(Array(text.utf8))
      default:
        let bytes = dice.bytes(dice.below(50))
        let mark = pen.beginValue()
        for byte in bytes { pen.append(byte) }
        pen.endValue(mark)
        values.append(bytes)
      }
    }
    try pen.endRow(row)
    return "row \(values)"
  }

  @Test func theLeastAndTheLargestIntegers() {
    for number in [Int64.min, -10, -9, -1, 0, 1, 9, 10, 99, 100, Int64.max] {
      var buffer = WireBuffer()
      buffer.append(decimal: number)
      #expect(String(decoding: buffer.array, as: UTF8.self) == "\(number)")
    }
  }

  /// A zero byte in a name would end the text and let its rest be read as something else.
  @Test func zeroBytesEndATextAndNoMore() throws {
    var pen = WireBuffer()
    pen.notice(WireReport(sqlState: "00000", message: "a\0Mb"))
    pen.parameterStatus(name: "a\0b\0c", value: "d")
    var decoder = MessageDecoder(side: .backend, maximumMessageSize: 1 << 20)
    decoder.append(pen.array)
    var frame = try #require(try decoder.nextFrame())
    #expect(try decoder.decodeBackend(frame) == .notice(WireReport(sqlState: "00000", message: "a")))
    frame = try #require(try decoder.nextFrame())
    #expect(try decoder.decodeBackend(frame) == .parameterStatus(name: "a", value: "d"))
  }

  @Test func aReusedBufferTakesNoMemory() throws {
    var output = WireBuffer()
    var capacity = 0
    for round in 0..<50 {
      for number in 0..<100 {
        let row = output.beginRow(columns: 2)
        output.value(decimal: Int64(number))
        output.value(text: "a text that is longer than fifteen bytes")
        try output.endRow(row)
      }
      if round == 0 { capacity = output.capacity }
      #expect(output.capacity == capacity)
      output.removeAll()
    }
    output.append([UInt8](repeating: 0, count: 100_000))
    output.consume(100_000)
    #expect(output.capacity == 0, "a buffer that had grown gives its memory back")
  }

  @Test(arguments: 1...10)
  func buffersAreQueues(_ seed: UInt64) {
    var dice = Dice(seed: seed)
    var buffer = WireBuffer()
    var model: [UInt8] = []
    for _ in 0..<500 {
      if dice.chance(60) {
        let bytes = dice.bytes(dice.below(dice.chance(5) ? 5000 : 60))
        buffer.append(bytes)
        model += bytes
      } else {
        let size = dice.below(model.count + 1)
        buffer.consume(size)
        model.removeFirst(size)
      }
      #expect(buffer.count == model.count)
      #expect(buffer.capacity <= max(WireBuffer.keptCapacity, 4 * model.count + 20_000))
    }
    #expect(buffer.array == model, "seed \(seed)")
  }
}
