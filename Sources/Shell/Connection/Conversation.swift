internal import Synod
internal import Wire

/// One statement's conversation with a server: sends it, hands on what comes back until the server is ready again.
final class Conversation {
  private let link: ServerLink
  private let sink: any ShellSink
  private var failure: DatabaseError?

  init(_ link: ServerLink, _ sink: any ShellSink) {
    self.link = link
    self.sink = sink
  }

  /// Runs statements.
  ///
  /// - Throws: the server's error once it is ready again; 08006 where it is gone.
  func run(_ sql: String) throws(DatabaseError) {
    try run { (session) throws(WireError) in try session.query(sql) }
  }

  /// Says what `speak` has the session say, and takes what comes.
  func run(_ speak: (inout ClientSession) throws(WireError) -> Void) throws(DatabaseError) {
    do throws(WireError) { try speak(&link.session) } catch { throw DatabaseError(error) }
    do throws(StreamProblem) {
      while try turn() {}
    } catch {
      link.isOver = true
      // What the server said last, if it said something, tells more than how the socket ended.
      throw failure ?? Self.gone(error.message)
    }
    if let failure { throw failure }
  }

  private static let ended = StreamProblem("It was stopped, or it failed, before or while it worked on this.")

  private static func gone(_ detail: String) -> DatabaseError {
    DatabaseError(sqlState: "08006", message: "the server closed the connection unexpectedly", detail: detail)
  }

  /// Takes one event; false once the server is ready for more.
  private func turn() throws(StreamProblem) -> Bool {
    switch link.session.next() {
    case .read:
      // Where sending fails, there may still be the server's last words to read.
      try? link.send()
      guard try link.receive() else { throw Self.ended }
    case .ready: return false
    case .columns(let fields): sink.columns(fields.map(Column.init))
    case .row(let values): sink.row(texts(values))
    case .complete(let tag): sink.completed(tag)
    case .error(let report): failure = failure ?? DatabaseError(report)
    case .notice(let report): sink.notice(report.severity.rawValue, DatabaseError(report))
    case .parameter(let name, let value): link.note(parameter: name, value)
    case .notification(let process, let channel, let payload):
      let text = payload.isEmpty ? "" : " with payload \"\(payload)\""
      sink.notice(
        "NOTIFY",
        DatabaseError(sqlState: "00000", message: "\"\(channel)\"\(text) received from process \(process)"))
    case .copyIn: feed()
    case .copyData(let slice): sink.copyOut(link.session.input.buffer.array(of: slice))
    case .disconnect(let report):
      failure = failure ?? report.map { DatabaseError($0) }
      throw Self.ended
    case .empty, .suspended, .parameterTypes, .copyOut, .copyDone, .startTLS: break
    }
    return true
  }

  /// Sends COPY's data in pieces, and stops early where the server has already refused it.
  private func feed() {
    do throws(DatabaseError) {
      while let piece = try sink.copyIn() {
        do throws(WireError) {
          var rest = piece[...]
          while !rest.isEmpty {
            let part = Array(rest.prefix(1 << 20))
            unsafe try link.session.copyData(part.span.bytes)
            rest = rest.dropFirst(part.count)
          }
        } catch { throw DatabaseError(error) }
        if link.session.output.count >= 1 << 16 {
          try? link.send()
          guard !link.stream.hasInput else {
            // Refused already. What is left of the data is passed over: it is not the next statement.
            while try sink.copyIn() != nil {}
            break
          }
        }
      }
      link.session.copyDone()
    } catch {
      link.session.copyFail(error.message)
      failure = failure ?? error
    }
    try? link.send()
  }

  private func texts(_ values: WireValues) -> [String?] {
    var values = values
    var fields: [String?] = []
    fields.reserveCapacity(values.remaining)
    while let value = values.next(in: link.session.input.buffer) {
      switch value {
      case .null: fields.append(nil)
      case .bytes(let slice):
        fields.append(
          link.session.input.buffer.withBytes(of: slice) { span in
            unsafe span.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
          })
      }
    }
    return fields
  }
}

extension Column {
  /// A column by its type's oid, of which the shell needs to know how it is aligned and quoted.
  fileprivate init(_ field: FieldDescription) {
    let (kind, name): (Kind, String) =
      switch field.type {
      case 16: (.boolean, "boolean")
      case 17: (.bytes, "bytea")
      case 20: (.integer, "bigint")
      case 21: (.integer, "smallint")
      case 23: (.integer, "integer")
      case 26: (.integer, "oid")
      case 700: (.float, "real")
      case 701: (.float, "double precision")
      case 1700: (.numeric, "numeric")
      case 114: (.json, "json")
      case 3802: (.json, "jsonb")
      case 1082: (.timestamp, "date")
      case 1114: (.timestamp, "timestamp without time zone")
      case 1184: (.timestamp, "timestamp with time zone")
      case 18, 19, 25, 1042, 1043: (.text, "text")
      default: (.other, "oid \(field.type)")
      }
    self.init(name: field.name, typeName: name, kind: kind)
  }
}
