package import Synod
internal import Wire

/// A connection to a server for programs that run prepared statements: what measurements need of a client. One thread.
package final class StatementClient {
  private let link: ServerLink
  private var count = 0

  /// Connects as `synod URL` does, to the first host that answers; without a prompt for passwords.
  package init(_ settings: ConnectionSettings) throws(DatabaseError) {
    var failure = DatabaseError(sqlState: "08001", message: "no host was named")
    for host in settings.hosts {
      do throws(ServerLink.Refusal) {
        link = try ServerLink.attempt(settings, host, tls: settings.tls.wish)
        return
      } catch { failure = error.error }
    }
    throw failure
  }

  /// Plans a statement; the number by which it is run.
  package func prepare(_ text: String) throws(DatabaseError) -> Int {
    let name = "s\(count)"
    try Conversation(link, Collector()).run { (session) throws(WireError) in try session.prepare(name, text) }
    count += 1
    return count - 1
  }

  /// Runs a prepared statement; its rows as text.
  package func run(_ statement: Int, _ parameters: [Int]) throws(DatabaseError) -> [[String?]] {
    let sink = Collector()
    try Conversation(link, sink).run { (session) throws(WireError) in
      try session.execute(prepared: "s\(statement)", parameters: parameters.map { Array(String($0).utf8) })
    }
    return sink.rows
  }

  /// Runs statements as they are.
  package func query(_ text: String) throws(DatabaseError) -> [[String?]] {
    let sink = Collector()
    try Conversation(link, sink).run(text)
    return sink.rows
  }

  package func close() { link.close() }
}

extension ConnectionSettings.TLSMode {
  /// What the first words of a connection ask for.
  fileprivate var wish: ClientSession.Options.TLS {
    switch self {
    case .disable, .allow: .off
    case .prefer: .preferred
    case .require, .verifyCA, .verifyFull: .required
    }
  }
}
