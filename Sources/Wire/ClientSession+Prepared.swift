// Statements that are planned once and run often. The session must be ready, as for a query.
extension ClientSession {
  /// Parses a statement under a name; ends with `.ready`.
  package mutating func prepare(_ name: String, _ text: String) throws(WireError) {
    precondition(isReady)
    try output.parse(ParseMessage(name: name, query: text))
    output.sync()
    state = .busy
  }

  /// Runs a prepared statement, its parameters and results as text; ends with `.ready`.
  package mutating func execute(prepared name: String, parameters: [[UInt8]?]) throws(WireError) {
    precondition(isReady)
    try output.bind(portal: "", statement: name, parameters: parameters)
    output.execute(portal: "")
    output.sync()
    state = .busy
  }
}
