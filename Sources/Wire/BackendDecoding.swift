/// What a server says, out of frames.
extension MessageDecoder {
  /// Decodes a frame of `nextFrame` on a client.
  package func decodeBackend(_ frame: Frame) throws(WireError) -> BackendMessage {
    try buffer.withBytes { (bytes) throws(WireError) -> BackendMessage in
      var reader = BodyReader(frame.body)
      let message = try backend(frame.type, &reader, bytes)
      try reader.finish()
      return message
    }
  }

  private func backend(
    _ type: UInt8, _ reader: inout BodyReader, _ bytes: RawSpan
  ) throws(WireError) -> BackendMessage {
    switch UnicodeScalar(type) {
    case "R": return .authentication(try Self.authentication(&reader, bytes))
    case "v": return try Self.negotiation(&reader, bytes)
    case "S": return .parameterStatus(name: try reader.text(bytes), value: try reader.text(bytes))
    case "K":
      guard (8...260).contains(reader.remaining) else { throw .malformed("A cancel key has 4 to 256 bytes.") }
      let process = try reader.integer(UInt32.self, bytes)
      return .keyData(CancelKey(process: process, secret: buffer.array(of: reader.rest())))
    case "Z":
      guard let status = TransactionStatus(rawValue: try reader.integer(UInt8.self, bytes)) else { throw .malformed() }
      return .readyForQuery(status)
    case "T": return .rowDescription(try Self.fields(&reader, bytes))
    case "D": return .dataRow(try reader.values(bytes))
    case "C": return .commandComplete(try reader.text(bytes))
    case "I": return .emptyQuery
    case "n": return .noData
    case "t":
      let count = try reader.count(itemSize: 4, bytes)
      var types: [UInt32] = []
      types.reserveCapacity(count)
      for _ in 0..<count { types.append(try reader.integer(UInt32.self, bytes)) }
      return .parameterDescription(types)
    case "1": return .parseComplete
    case "2": return .bindComplete
    case "3": return .closeComplete
    case "s": return .portalSuspended
    case "E": return .error(try Self.report(&reader, bytes))
    case "N": return .notice(try Self.report(&reader, bytes))
    case "G": return .copyIn(try Self.copyFormats(&reader, bytes))
    case "H": return .copyOut(try Self.copyFormats(&reader, bytes))
    case "W": return .copyBoth(try Self.copyFormats(&reader, bytes))
    case "d": return .copyData(reader.rest())
    case "c": return .copyDone
    case "A":
      let process = try reader.integer(UInt32.self, bytes)
      return .notification(process: process, channel: try reader.text(bytes), payload: try reader.text(bytes))
    case "V":
      let length = Int(try reader.integer(Int32.self, bytes))
      return .functionCallResponse(length == -1 ? .null : .bytes(try reader.slice(length)))
    default: throw WireError(.connection, "invalid backend message type \(type)")
    }
  }

  private static func authentication(
    _ reader: inout BodyReader, _ bytes: RawSpan
  ) throws(WireError) -> AuthenticationRequest {
    let code = try reader.integer(UInt32.self, bytes)
    switch code {
    case 0: return .ok
    case 3: return .cleartext
    case 10:
      var mechanisms: [String] = []
      while true {
        let name = try reader.text(bytes)
        if name.isEmpty { return .sasl(mechanisms) }
        mechanisms.append(name)
      }
    case 11: return .saslContinue(reader.rest())
    case 12: return .saslFinal(reader.rest())
    default:
      _ = reader.rest()
      return .other(code)
    }
  }

  private static func negotiation(
    _ reader: inout BodyReader, _ bytes: RawSpan
  ) throws(WireError) -> BackendMessage {
    // Servers send the version as it stands in a startup message, so the minor is its lower half.
    let minor = try reader.integer(UInt32.self, bytes) & 0xFFFF
    let count = Int(try reader.integer(Int32.self, bytes))
    guard count >= 0, count <= reader.remaining else { throw .truncated }
    var options: [String] = []
    for _ in 0..<count { options.append(try reader.text(bytes)) }
    return .negotiateVersion(newestMinor: minor, unknownOptions: options)
  }

  private static func fields(_ reader: inout BodyReader, _ bytes: RawSpan) throws(WireError) -> [FieldDescription] {
    let count = try reader.count(itemSize: 19, bytes)
    var fields: [FieldDescription] = []
    fields.reserveCapacity(count)
    for _ in 0..<count {
      fields.append(
        FieldDescription(
          name: try reader.text(bytes),
          table: try reader.integer(UInt32.self, bytes),
          column: try reader.integer(Int16.self, bytes),
          type: try reader.integer(UInt32.self, bytes),
          typeSize: try reader.integer(Int16.self, bytes),
          typeModifier: try reader.integer(Int32.self, bytes),
          format: try reader.format(bytes)))
    }
    return fields
  }

  private static func copyFormats(_ reader: inout BodyReader, _ bytes: RawSpan) throws(WireError) -> CopyFormats {
    let code = try reader.integer(UInt8.self, bytes)
    guard let format = WireFormat(rawValue: UInt16(code)) else { throw .malformed() }
    let count = try reader.count(itemSize: 2, bytes)
    var columns: [WireFormat] = []
    columns.reserveCapacity(count)
    for _ in 0..<count { columns.append(try reader.format(bytes)) }
    return CopyFormats(format: format, columns: columns)
  }

  private static func report(_ reader: inout BodyReader, _ bytes: RawSpan) throws(WireError) -> WireReport {
    var report = WireReport(severity: .error, sqlState: "XX000", message: "")
    while true {
      let field = try reader.integer(UInt8.self, bytes)
      if field == 0 { return report }
      let text = try reader.text(bytes)
      switch UnicodeScalar(field) {
      // S may be in another language; V, which newer servers add, is not.
      case "S", "V": report.severity = .init(rawValue: text) ?? report.severity
      case "C": report.sqlState = text
      case "M": report.message = text
      case "D": report.detail = text
      case "H": report.hint = text
      case "P": report.position = Int(text)
      case "p": report.internalPosition = Int(text)
      case "q": report.internalQuery = text
      case "W": report.context = text
      case "s": report.schema = text
      case "t": report.table = text
      case "c": report.column = text
      case "d": report.dataType = text
      case "n": report.constraint = text
      case "F": report.file = text
      case "L": report.line = Int(text)
      case "R": report.routine = text
      default: break  // A field of a newer version: to be ignored, says the protocol.
      }
    }
  }
}
