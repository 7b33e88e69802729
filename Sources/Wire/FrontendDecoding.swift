/// What a client says, out of frames.
extension MessageDecoder {
  private static let tlsCode: UInt32 = 1234 << 16 | 5679
  private static let gssCode: UInt32 = 1234 << 16 | 5680
  private static let cancelCode: UInt32 = 1234 << 16 | 5678

  /// Decodes a frame of `nextOpeningFrame`. Every error ends the connection.
  package func decodeOpening(_ frame: Frame) throws(WireError) -> OpeningMessage {
    try buffer.withBytes { (bytes) throws(WireError) -> OpeningMessage in
      var reader = BodyReader(frame.body)
      let code = try reader.integer(UInt32.self, bytes)
      switch code {
      case Self.tlsCode where reader.remaining == 0: return .tlsRequest
      case Self.gssCode where reader.remaining == 0: return .gssRequest
      case Self.cancelCode:
        guard (8...260).contains(reader.remaining) else {
          throw WireError(.connection, "invalid length of query cancel packet")
        }
        let process = try reader.integer(UInt32.self, bytes)
        return .cancel(CancelKey(process: process, secret: buffer.array(of: reader.rest())))
      default: return .startup(try Self.startup(code, &reader, bytes))
      }
    }
  }

  private static func startup(
    _ code: UInt32, _ reader: inout BodyReader, _ bytes: RawSpan
  ) throws(WireError) -> StartupMessage {
    let version = ProtocolVersion(major: UInt16(code >> 16), minor: UInt16(truncatingIfNeeded: code))
    guard version.major == 3 else {
      throw WireError(
        .connection,
        "unsupported frontend protocol \(version.major).\(version.minor): server supports 3.0 to 3.2",
        sqlState: "0A000")
    }
    var message = StartupMessage(version: version, parameters: [])
    do throws(WireError) {
      while true {
        let name = try reader.text(bytes)
        if name.isEmpty { break }
        message.parameters.append(.init(name, try reader.text(bytes)))
      }
      try reader.finish()
    } catch {
      if error == .notText { throw WireError(.connection, error.message, sqlState: error.sqlState, hint: error.hint) }
      throw WireError(.connection, "invalid startup packet layout: expected terminator as last byte")
    }
    return message
  }

  /// Decodes a frame of `nextFrame` on a server.
  package func decodeFrontend(_ frame: Frame) throws(WireError) -> FrontendMessage {
    try buffer.withBytes { (bytes) throws(WireError) -> FrontendMessage in
      var reader = BodyReader(frame.body)
      let message = try Self.frontend(frame.type, &reader, bytes)
      try reader.finish()
      return message
    }
  }

  private static func frontend(
    _ type: UInt8, _ reader: inout BodyReader, _ bytes: RawSpan
  ) throws(WireError) -> FrontendMessage {
    switch UnicodeScalar(type) {
    case "Q": return .query(try reader.text(bytes))
    case "P": return .parse(try parse(&reader, bytes))
    case "B": return .bind(try bind(&reader, bytes))
    case "D": return .describe(try target("DESCRIBE", &reader, bytes))
    case "C": return .close(try target("CLOSE", &reader, bytes))
    case "E":
      let portal = try reader.text(bytes)
      return .execute(portal: portal, rowLimit: max(0, Int(try reader.integer(Int32.self, bytes))))
    case "H": return .flush
    case "S": return .sync
    case "d": return .copyData(reader.rest())
    case "c": return .copyDone
    case "f": return .copyFail(try reader.text(bytes))
    case "p": return .password(reader.rest())
    case "F":
      _ = reader.rest()
      return .functionCall
    case "X": return .terminate
    default: throw WireError(.connection, "invalid frontend message type \(type)")
    }
  }

  private static func parse(_ reader: inout BodyReader, _ bytes: RawSpan) throws(WireError) -> ParseMessage {
    var message = ParseMessage(name: try reader.text(bytes), query: try reader.text(bytes))
    let count = try reader.count(itemSize: 4, bytes)
    message.parameterTypes.reserveCapacity(count)
    for _ in 0..<count { message.parameterTypes.append(try reader.integer(UInt32.self, bytes)) }
    return message
  }

  private static func bind(_ reader: inout BodyReader, _ bytes: RawSpan) throws(WireError) -> BindMessage {
    let portal = try reader.text(bytes)
    let statement = try reader.text(bytes)
    let parameterFormats = try reader.formats(bytes)
    let parameters = try reader.values(bytes)
    guard parameterFormats.count <= 1 || parameterFormats.count == parameters.remaining else {
      throw WireError(
        .message,
        "bind message has \(parameterFormats.count) parameter formats but \(parameters.remaining) parameters")
    }
    return BindMessage(
      portal: portal, statement: statement, parameterFormats: parameterFormats, parameters: parameters,
      resultFormats: try reader.formats(bytes))
  }

  private static func target(
    _ verb: String, _ reader: inout BodyReader, _ bytes: RawSpan
  ) throws(WireError) -> WireTarget {
    let kind = try reader.integer(UInt8.self, bytes)
    let name = try reader.text(bytes)
    switch UnicodeScalar(kind) {
    case "S": return .statement(name)
    case "P": return .portal(name)
    default: throw WireError(.message, "invalid \(verb) message subtype \(kind)")
    }
  }

  /// A password as the body of a `p` message.
  func decodePassword(_ body: WireSlice) throws(WireError) -> String {
    try buffer.withBytes { (bytes) throws(WireError) -> String in
      var reader = BodyReader(body)
      let password = try reader.text(bytes)
      guard reader.remaining == 0 else { throw WireError(.connection, "invalid password packet size") }
      return password
    }
  }

  /// The first step of SASL as the body of a `p` message: the mechanism, and what the client begins with.
  func decodeSASLInitial(_ body: WireSlice) throws(WireError) -> (mechanism: String, response: [UInt8]?) {
    try buffer.withBytes { (bytes) throws(WireError) -> (mechanism: String, response: [UInt8]?) in
      var reader = BodyReader(body)
      let mechanism = try reader.text(bytes)
      let length = Int(try reader.integer(Int32.self, bytes))
      guard length >= -1 else { throw .malformed() }
      if length == -1 {
        try reader.finish()
        return (mechanism, nil)
      }
      let response = buffer.array(of: try reader.slice(length))
      try reader.finish()
      return (mechanism, response)
    }
  }
}
