// What a Bind message carries, read straight into values: the server hands over raw bytes and format codes, and neither
// a String nor an intermediate array is made for what has a fixed size.
//
//   let statement = try session.statement(name)
//   var reader = try session.parameters(for: statement, count: message.parameters.count)
//   … for each: try reader.append(span, .binary) or reader.appendNull()
//   let portal = try reader.bind(portalName)
//
// A failure leaves the transaction failed, as any other of the statement does.

/// How a value travels: the format codes of the protocol.
package enum ValueFormat: UInt16, Hashable, Sendable {
  case text = 0
  case binary = 1
}

/// The formats of a list of values as the protocol gives them: none (all text), one for all, or one each.
package struct ValueFormats: Hashable, Sendable {
  private let codes: [ValueFormat]
  package init(_ codes: [ValueFormat] = []) { self.codes = codes }
  /// True is binary.
  package init(binary: [Bool]) { codes = binary.map { $0 ? .binary : .text } }
  package var areBinary: [Bool] { codes.map { $0 == .binary } }
  package static let text = ValueFormats([])
  package static let binary = ValueFormats([.binary])

  package var count: Int { codes.count }

  /// The format of value `index`; text beyond the end of the list.
  package subscript(_ index: Int) -> ValueFormat {
    switch codes.count {
    case 0: .text
    case 1: codes[0]
    default: index < codes.count ? codes[index] : .text
    }
  }

  /// - Throws: 08P01 if the list fits no result of `columns` columns.
  func check(columns: Int) throws(SQLError) {
    guard codes.count <= 1 || codes.count == columns else {
      throw SQLError(
        .protocolViolation, "bind message has \(codes.count) result formats but query has \(columns) columns")
    }
  }
}

extension SQLSession {
  /// Begins a Bind of `count` parameters.
  ///
  /// - Throws: 08P01 for a wrong number of parameters; 25P02 in a failed transaction.
  package func parameters(for statement: PreparedStatement, count: Int) throws(SQLError) -> ParameterReader {
    do throws(SQLError) {
      if block == .failed, let syntax = statement.statement, !SQLSession.endsBlock(syntax) {
        throw SQLError(
          .failedTransaction, "current transaction is aborted, commands ignored until end of transaction block")
      }
      guard count == statement.parameterTypes.count else {
        throw SQLError(
          .protocolViolation,
          "bind message supplies \(count) parameters, but prepared statement requires \(statement.parameterTypes.count)"
        )
      }
    } catch {
      statementFailed()
      throw error
    }
    return ParameterReader(self, statement)
  }
}

/// Reads the parameters of one Bind, in order.
package struct ParameterReader {
  private let session: SQLSession
  private let statement: PreparedStatement
  private var values: [Datum] = []
  private var arena: Arena?

  fileprivate init(_ session: SQLSession, _ statement: PreparedStatement) {
    self.session = session
    self.statement = statement
    values.reserveCapacity(statement.parameterTypes.count)
  }

  package mutating func appendNull() { values.append(.null) }

  /// Reads the next parameter.
  ///
  /// - Throws: 22P02, 22P03 and what else the type's input raises; the transaction is failed then.
  package mutating func append(_ bytes: RawSpan, _ format: ValueFormat) throws(SQLError) {
    precondition(values.count < statement.parameterTypes.count, "more parameters than were announced")
    let type = statement.parameterTypes[values.count].id
    do throws(SQLError) {
      // Typed throws do not pass through withUnsafeBytes on every standard library, hence the Result.
      let read: Result<Datum, SQLError> = unsafe bytes.withUnsafeBytes { buffer in
        let raw = unsafe Bytes(buffer)
        do throws(SQLError) { return .success(try datum(raw, type, format)) } catch { return .failure(error) }
      }
      values.append(try read.get())
    } catch {
      session.statementFailed()
      throw error
    }
  }

  private mutating func datum(_ bytes: Bytes, _ type: TypeID, _ format: ValueFormat) throws(SQLError) -> Datum {
    switch (format, type) {
    case (.binary, .int4) where bytes.count == 4:
      return .int(Int64(Int32(bitPattern: bytes.load(0, as: UInt32.self).byteSwapped)))
    case (.binary, .int8) where bytes.count == 8:
      return .int(Int64(bitPattern: bytes.load(0, as: UInt64.self).byteSwapped))
    case (_, .text), (_, .varchar), (_, .unknown):
      try TextScan.checkUTF8(bytes)
      return .bytes(bytes.array)
    case (.binary, .bytea): return .bytes(bytes.array)
    default: break
    }
    let arena = self.arena ?? Arena(initialBytes: 256)
    self.arena = arena
    defer { arena.reset() }
    if format == .text {
      try TextScan.checkUTF8(bytes)
      return Datum(try TypeCodec.parse(bytes, SQLType(type), arena, session.textFormat))
    }
    do throws(SQLError) {
      return Datum(try TypeCodec.decodeBinary(bytes, type, arena))
    } catch {
      guard error.state == .invalidBinary, error.message.hasPrefix("incorrect binary data format") else { throw error }
      throw SQLError(.invalidBinary, "incorrect binary data format in bind parameter \(values.count + 1)")
    }
  }

  /// Makes the portal; `portal` empty is the unnamed one, which is replaced.
  ///
  /// - Throws: 08P01 for result formats that fit no row of the statement; 42P03 for a portal that exists.
  @discardableResult
  package consuming func bind(_ portal: String, results: ValueFormats = .text) throws(SQLError) -> Portal {
    precondition(values.count == statement.parameterTypes.count, "fewer parameters than were announced")
    do throws(SQLError) {
      guard portal.isEmpty || session.portals[portal] == nil else {
        throw SQLError(.duplicateCursor, "cursor \"\(portal)\" already exists")
      }
      if let columns = statement.columns { try results.check(columns: columns.count) }
    } catch {
      session.statementFailed()
      throw error
    }
    let bound = try session.bind(portal, statement, values)
    bound.resultFormats = results.areBinary
    return bound
  }
}
