/// The messages of PostgreSQL's protocol, version 3, as values.
///
/// Every message but the first of a client has the form
///
/// ```
/// offset  size  content
///      0     1  type, an ASCII letter
///      1     4  length in bytes, itself included, the type not; big endian, signed, ≥ 4
///      5     –  body
/// ```
///
/// The first messages of a client have no type: `length, code, body`. The code is 3 << 16 | minor for a startup, and
/// 1234 << 16 | 5678, 5679 or 5680 for a cancellation, a wish for TLS and a wish for GSSAPI. Integers are big endian,
/// texts end with a zero byte and are UTF-8 here.
///
/// Reference: PostgreSQL documentation, "Frontend/Backend Protocol", Message Formats.

/// The version that a client asks for.
@frozen
package struct ProtocolVersion: Equatable, Comparable, Sendable {
  package var major: UInt16
  package var minor: UInt16

  package init(major: UInt16, minor: UInt16) {
    self.major = major
    self.minor = minor
  }

  package static let v3_0 = ProtocolVersion(major: 3, minor: 0)
  /// Cancel keys of up to 256 bytes (PostgreSQL 18).
  package static let v3_2 = ProtocolVersion(major: 3, minor: 2)

  package var code: UInt32 { UInt32(major) << 16 | UInt32(minor) }

  package static func < (a: ProtocolVersion, b: ProtocolVersion) -> Bool { a.code < b.code }
}

/// What names a connection to those who may cancel its statement: nobody else knows the secret.
package struct CancelKey: Equatable, Sendable {
  package var process: UInt32
  /// Four bytes in version 3.0; 4 to 256 from 3.2 on.
  package var secret: [UInt8]

  package init(process: UInt32, secret: [UInt8]) {
    self.process = process
    self.secret = secret
  }

  /// Whether a stranger's key is this one, in a time that does not tell how much of it was right.
  package func matches(_ other: CancelKey) -> Bool {
    process == other.process && equalInConstantTime(secret, other.secret)
  }
}

/// Compares in a time that depends on the lengths alone.
package func equalInConstantTime(_ a: [UInt8], _ b: [UInt8]) -> Bool {
  guard a.count == b.count else { return false }
  var difference: UInt8 = 0
  for index in a.indices { difference |= a[index] ^ b[index] }
  return difference == 0
}

/// A client's first words.
package struct StartupMessage: Equatable, Sendable {
  package struct Parameter: Equatable, Sendable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  package var version: ProtocolVersion
  package var parameters: [Parameter]

  package init(version: ProtocolVersion = .v3_0, parameters: [Parameter]) {
    self.version = version
    self.parameters = parameters
  }

  /// The last value given for a name.
  package subscript(name: String) -> String? { parameters.last { $0.name == name }?.value }
}

/// What a client sends before messages have types.
package enum OpeningMessage: Equatable, Sendable {
  case startup(StartupMessage)
  case tlsRequest
  case gssRequest
  case cancel(CancelKey)
}

/// A prepared statement or a portal, by name; the empty name is the unnamed one.
package enum WireTarget: Equatable, Sendable {
  case statement(String)
  case portal(String)
}

/// Text or binary.
package enum WireFormat: UInt16, Equatable, Sendable {
  case text = 0
  case binary = 1
}

/// The formats of a list of values as Bind gives them: none (all text), one for all, or one each.
package struct WireFormats: Equatable, Sendable {
  package var count: Int
  var offset: Int

  /// All text.
  package static let text = WireFormats(count: 0, offset: 0)

  /// The format of value `index`; text beyond the end of a list.
  package func format(_ index: Int, in buffer: borrowing WireBuffer) -> WireFormat {
    if count == 0 { return .text }
    let place = count == 1 ? 0 : index
    guard place < count else { return .text }
    let at = offset + 2 * place
    let code = buffer.withBytes { span in UInt16(bigEndian: span.integer(at: at)) }
    return code == 1 ? .binary : .text
  }

  /// The one format that all have, or nil if they differ.
  package func common(in buffer: borrowing WireBuffer) -> WireFormat? {
    let first = format(0, in: buffer)
    for index in 0..<max(1, count) where format(index, in: buffer) != first { return nil }
    return first
  }
}

package struct ParseMessage: Equatable, Sendable {
  package var name: String
  package var query: String
  /// Type oids of the first parameters; 0 leaves one to the server.
  package var parameterTypes: [UInt32]

  package init(name: String, query: String, parameterTypes: [UInt32] = []) {
    self.name = name
    self.query = query
    self.parameterTypes = parameterTypes
  }
}

/// A Bind, its lists left where they are: the slices hold until the next message is asked for.
package struct BindMessage: Equatable, Sendable {
  package var portal: String
  package var statement: String
  package var parameterFormats: WireFormats
  package var parameters: WireValues
  package var resultFormats: WireFormats
}

/// What a client sends once messages have types.
package enum FrontendMessage: Equatable, Sendable {
  case query(String)
  case parse(ParseMessage)
  case bind(BindMessage)
  case describe(WireTarget)
  /// `rowLimit` 0: all rows.
  case execute(portal: String, rowLimit: Int)
  case close(WireTarget)
  case flush
  case sync
  case copyData(WireSlice)
  case copyDone
  case copyFail(String)
  /// A password, or a step of SASL: what it is depends on what was asked.
  case password(WireSlice)
  case functionCall
  case terminate
}

/// Whether a session is in a transaction, as ReadyForQuery tells it.
package enum TransactionStatus: UInt8, Equatable, Sendable {
  case idle = 0x49
  case active = 0x54
  case failed = 0x45
}

/// A column of a result.
package struct FieldDescription: Equatable, Sendable {
  package var name: String
  /// Oid of the table that it comes from, and the column's number there; 0 for an expression.
  package var table: UInt32
  package var column: Int16
  package var type: UInt32
  /// In bytes; negative for types of variable width.
  package var typeSize: Int16
  package var typeModifier: Int32
  package var format: WireFormat

  package init(
    name: String, table: UInt32 = 0, column: Int16 = 0, type: UInt32, typeSize: Int16, typeModifier: Int32 = -1,
    format: WireFormat = .text
  ) {
    self.name = name
    self.table = table
    self.column = column
    self.type = type
    self.typeSize = typeSize
    self.typeModifier = typeModifier
    self.format = format
  }
}

/// What a server asks of a client before it lets it in.
package enum AuthenticationRequest: Equatable, Sendable {
  case ok
  case cleartext
  case sasl([String])
  case saslContinue(WireSlice)
  case saslFinal(WireSlice)
  /// One that we do not speak, by its code.
  case other(UInt32)
}

/// The formats of a COPY: of the whole, and of each column.
package struct CopyFormats: Equatable, Sendable {
  package var format: WireFormat
  package var columns: [WireFormat]

  package init(format: WireFormat, columns: [WireFormat]) {
    self.format = format
    self.columns = columns
  }
}

/// What a server sends.
package enum BackendMessage: Equatable, Sendable {
  case authentication(AuthenticationRequest)
  case negotiateVersion(newestMinor: UInt32, unknownOptions: [String])
  case parameterStatus(name: String, value: String)
  case keyData(CancelKey)
  case readyForQuery(TransactionStatus)
  case rowDescription([FieldDescription])
  case dataRow(WireValues)
  case commandComplete(String)
  case emptyQuery
  case noData
  case parameterDescription([UInt32])
  case parseComplete
  case bindComplete
  case closeComplete
  case portalSuspended
  indirect case error(WireReport)
  indirect case notice(WireReport)
  case copyIn(CopyFormats)
  case copyOut(CopyFormats)
  case copyBoth(CopyFormats)
  case copyData(WireSlice)
  case copyDone
  case notification(process: UInt32, channel: String, payload: String)
  case functionCallResponse(WireValue)
}
