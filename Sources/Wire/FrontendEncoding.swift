/// What a client says, into a buffer.
///
/// Lengths that a caller decides (a statement, a parameter) are refused beyond what a message can hold, with nothing
/// written.
extension WireBuffer {
  private mutating func opening(_ code: UInt32, _ body: (inout WireBuffer) -> Void) {
    let from = count
    append(bigEndian: 0 as Int32)
    append(bigEndian: code)
    body(&self)
    patch(Int32(count - from), at: from)
  }

  package mutating func startup(_ message: StartupMessage) {
    opening(message.version.code) { buffer in
      for parameter in message.parameters where !parameter.name.isEmpty {
        buffer.append(zeroTerminated: parameter.name)
        buffer.append(zeroTerminated: parameter.value)
      }
      buffer.append(0 as UInt8)
    }
  }

  package mutating func tlsRequest() { opening(1234 << 16 | 5679) { _ in } }
  package mutating func gssRequest() { opening(1234 << 16 | 5680) { _ in } }

  /// What is sent, alone, over a connection of its own, to cancel another's statement.
  package mutating func cancelRequest(_ key: CancelKey) {
    opening(1234 << 16 | 5678) { buffer in
      buffer.append(bigEndian: key.process)
      buffer.append(key.secret)
    }
  }

  package mutating func query(_ text: String) throws(WireError) {
    let mark = beginMessage(UInt8(ascii: "Q"))
    append(zeroTerminated: text)
    try endSizedMessage(mark)
  }

  package mutating func parse(_ message: ParseMessage) throws(WireError) {
    let mark = beginMessage(UInt8(ascii: "P"))
    append(zeroTerminated: message.name)
    append(zeroTerminated: message.query)
    try append(counted: message.parameterTypes, from: mark) { $0 }
    try endSizedMessage(mark)
  }

  package mutating func bind(
    portal: String, statement: String, parameterFormats: [WireFormat] = [], parameters: [[UInt8]?],
    resultFormats: [WireFormat] = []
  ) throws(WireError) {
    let mark = beginMessage(UInt8(ascii: "B"))
    append(zeroTerminated: portal)
    append(zeroTerminated: statement)
    try append(counted: parameterFormats, from: mark) { $0.rawValue }
    try append(count: parameters.count, from: mark)
    for parameter in parameters {
      if let parameter { value(bytes: parameter) } else { nullValue() }
    }
    try append(counted: resultFormats, from: mark) { $0.rawValue }
    try endSizedMessage(mark)
  }

  private mutating func append<Item, T: FixedWidthInteger & BitwiseCopyable>(
    counted items: [Item], from mark: Mark, _ code: (Item) -> T
  ) throws(WireError) {
    try append(count: items.count, from: mark)
    for item in items { append(bigEndian: code(item)) }
  }

  private mutating func append(count items: Int, from mark: Mark) throws(WireError) {
    guard let short = UInt16(exactly: items) else {
      truncate(to: mark.offset)
      throw WireError(.message, "\(items) parameters are too many: at most 65535 fit into a message", sqlState: "54000")
    }
    append(bigEndian: short)
  }

  package mutating func describe(_ target: WireTarget) { message(UInt8(ascii: "D"), target) }
  package mutating func close(_ target: WireTarget) { message(UInt8(ascii: "C"), target) }

  private mutating func message(_ type: UInt8, _ target: WireTarget) {
    let mark = beginMessage(type)
    switch target {
    case .statement(let name):
      append(UInt8(ascii: "S"))
      append(zeroTerminated: name)
    case .portal(let name):
      append(UInt8(ascii: "P"))
      append(zeroTerminated: name)
    }
    endMessage(mark)
  }

  /// `rowLimit` 0: all rows.
  package mutating func execute(portal: String, rowLimit: Int32 = 0) {
    let mark = beginMessage(UInt8(ascii: "E"))
    append(zeroTerminated: portal)
    append(bigEndian: rowLimit)
    endMessage(mark)
  }

  package mutating func flush() { bare(UInt8(ascii: "H")) }
  package mutating func sync() { bare(UInt8(ascii: "S")) }
  package mutating func terminate() { bare(UInt8(ascii: "X")) }

  package mutating func copyData(_ bytes: RawSpan) throws(WireError) {
    let mark = beginCopyData()
    append(bytes)
    try endCopyData(mark)
  }

  package mutating func copyFail(_ reason: String) {
    let mark = beginMessage(UInt8(ascii: "f"))
    append(zeroTerminated: reason)
    endMessage(mark)
  }

  package mutating func password(_ password: String) {
    let mark = beginMessage(UInt8(ascii: "p"))
    append(zeroTerminated: password)
    endMessage(mark)
  }

  package mutating func saslInitial(mechanism: String, _ response: [UInt8]) {
    let mark = beginMessage(UInt8(ascii: "p"))
    append(zeroTerminated: mechanism)
    value(bytes: response)
    endMessage(mark)
  }

  package mutating func saslResponse(_ response: [UInt8]) {
    let mark = beginMessage(UInt8(ascii: "p"))
    append(response)
    endMessage(mark)
  }
}
