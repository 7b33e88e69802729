/// Cuts a stream of bytes into messages, whatever pieces it comes in.
///
/// ```
/// bytes ─▶ append ─▶ [ frame │ frame │ fra…   ] ─▶ nextFrame ─▶ decode… ─▶ a message, slices into the buffer
/// ```
///
/// 1. A length is judged as soon as its four bytes are there, before any memory is taken for what it announces:
///    4 (8 for an opening message) to 10,000 for an opening message; to 65,535 for a password; to 10,000 for messages
///    that carry names alone; to `maximumMessageSize` for the others.
/// 2. A type that this side never receives is refused at its first byte. So garbage costs a few bytes.
/// 3. Every count inside a body is checked against the bytes that are left before an array is made for it.
/// 4. An error of scope `connection` leaves the decoder where it is: it gives the same error for ever.
/// 5. A frame and its slices live until the next call of `nextFrame` (or `nextOpeningFrame`).
///
/// Cost: O(1) for each call while a message is incomplete; linear in the message to decode it.
package struct MessageDecoder: ~Copyable {
  /// Whose messages come.
  package enum Side: Sendable { case frontend, backend }

  package static let maximumOpeningSize = 10_000
  static let maximumPasswordSize = 65_535
  static let maximumSmallSize = 10_000

  package let side: Side
  /// In bytes, the length field included.
  package let maximumMessageSize: Int
  package private(set) var buffer = WireBuffer()
  /// While the peer is a stranger: only the answer to what it was asked may come, and it is short.
  package var expectsPassword = false
  private var current = 0

  /// A message may have up to `maximumMessageSize` bytes (at most 1 GiB − 1).
  package init(side: Side, maximumMessageSize: Int) {
    self.side = side
    self.maximumMessageSize = min(max(maximumMessageSize, Self.maximumPasswordSize), (1 << 30) - 1)
  }

  /// One whole message: its type (0 before messages have types) and where its body lies.
  package struct Frame: Equatable, Sendable {
    package var type: UInt8
    package var body: WireSlice
  }

  package mutating func append(_ bytes: RawSpan) { buffer.append(bytes) }
  package mutating func append(_ bytes: [UInt8]) { buffer.append(bytes) }

  /// How many bytes have come beyond the frame that was given last.
  package var unread: Int { buffer.count - current }

  /// The type of the message behind the frame that was given last, if its first byte has come.
  package var nextType: UInt8? {
    guard unread > 0 else { return nil }
    return buffer.withBytes { span in span.integer(at: current) as UInt8 }
  }

  /// Ends the life of the frame that was given last.
  package mutating func discardFrame() {
    guard current > 0 else { return }
    buffer.consume(current)
    current = 0
  }

  /// Forgets everything that has come.
  package mutating func removeAll() {
    buffer.removeAll()
    current = 0
  }

  /// Gives memory back while nothing waits in it.
  package mutating func releaseIfEmpty() { buffer.releaseIfEmpty() }

  /// Takes one byte: the answer to a wish for TLS, which is no message.
  mutating func nextByte() -> UInt8? {
    discardFrame()
    guard !buffer.isEmpty else { return nil }
    let byte = buffer.withBytes { span in span.integer(at: 0) as UInt8 }
    buffer.consume(1)
    return byte
  }

  /// The next whole message without a type, or nil until it is there.
  package mutating func nextOpeningFrame() throws(WireError) -> Frame? {
    discardFrame()
    guard buffer.count >= 4 else { return nil }
    let length = buffer.withBytes { span in Int(Int32(bigEndian: span.integer(at: 0))) }
    guard length >= 8, length <= Self.maximumOpeningSize else {
      throw WireError(.connection, "invalid length of startup packet")
    }
    guard buffer.count >= length else { return nil }
    current = length
    return Frame(type: 0, body: WireSlice(offset: 4, count: length - 4))
  }

  /// The next whole message with a type, or nil until it is there.
  package mutating func nextFrame() throws(WireError) -> Frame? {
    discardFrame()
    guard !buffer.isEmpty else { return nil }
    let type = buffer.withBytes { span in span.integer(at: 0) as UInt8 }
    guard let limit = limit(type) else {
      let who = side == .frontend ? "frontend" : "backend"
      throw WireError(.connection, "invalid \(who) message type \(type)")
    }
    if expectsPassword, type != UInt8(ascii: "p"), type != UInt8(ascii: "X") {
      throw WireError(.connection, "expected password response, got message type \(type)")
    }
    guard buffer.count >= 5 else { return nil }
    let length = buffer.withBytes { span in Int(Int32(bigEndian: span.integer(at: 1))) }
    guard length >= 4, length <= limit else {
      throw WireError(
        .connection, "invalid message length",
        detail:
          "A message of type \"\(Character(UnicodeScalar(type)))\" announces \(length) bytes; 4 to \(limit) are allowed."
      )
    }
    guard buffer.count > length else { return nil }
    current = length + 1
    return Frame(type: type, body: WireSlice(offset: 5, count: length - 4))
  }

  /// How long a message of a type may be, or nil if there is no such type.
  private func limit(_ type: UInt8) -> Int? {
    switch (side, UnicodeScalar(type)) {
    case (.frontend, "Q"), (.frontend, "P"), (.frontend, "B"), (.frontend, "d"), (.frontend, "F"): maximumMessageSize
    case (.frontend, "p"): Self.maximumPasswordSize
    case (.frontend, "D"), (.frontend, "E"), (.frontend, "C"), (.frontend, "H"), (.frontend, "S"), (.frontend, "c"),
      (.frontend, "f"), (.frontend, "X"):
      Self.maximumSmallSize
    case (.backend, "R"), (.backend, "v"), (.backend, "S"), (.backend, "K"), (.backend, "Z"), (.backend, "T"),
      (.backend, "D"), (.backend, "C"), (.backend, "I"), (.backend, "n"), (.backend, "t"), (.backend, "1"),
      (.backend, "2"), (.backend, "3"), (.backend, "s"), (.backend, "E"), (.backend, "N"), (.backend, "G"),
      (.backend, "H"), (.backend, "W"), (.backend, "d"), (.backend, "c"), (.backend, "A"), (.backend, "V"):
      maximumMessageSize
    default: nil
    }
  }
}

/// Reads the body of a message in order; every step is checked against the body's end.
///
/// The bytes are given to each step rather than kept, so that the reader is an ordinary value.
struct BodyReader {
  private(set) var position: Int
  let end: Int

  init(_ body: WireSlice) {
    position = body.offset
    end = body.offset + body.count
  }

  var remaining: Int { end - position }

  mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, _ bytes: RawSpan
  ) throws(WireError) -> T {
    guard remaining >= MemoryLayout<T>.size else { throw .truncated }
    defer { position += MemoryLayout<T>.size }
    return T(bigEndian: bytes.integer(at: position))
  }

  /// A text up to its zero byte, which is passed.
  mutating func text(_ bytes: RawSpan) throws(WireError) -> String {
    var zero = position
    var union: UInt8 = 0
    while zero < end {
      let byte: UInt8 = bytes.integer(at: zero)
      if byte == 0 { break }
      union |= byte
      zero += 1
    }
    guard zero < end else { throw .malformed("A text has no end.") }
    defer { position = zero + 1 }
    if zero == position { return "" }
    let slice = bytes.extracting(position..<zero)
    // ASCII needs no second look, and nearly every name and statement is.
    if union < 0x80 { return unsafe slice.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) } }
    guard let text = unsafe slice.withUnsafeBytes({ unsafe String(validating: $0, as: UTF8.self) }) else {
      throw .notText
    }
    return text
  }

  /// The next `count` bytes, as a slice of the buffer.
  mutating func slice(_ count: Int) throws(WireError) -> WireSlice {
    guard count >= 0, remaining >= count else { throw .truncated }
    defer { position += count }
    return WireSlice(offset: position, count: count)
  }

  /// What is left, as a slice of the buffer.
  mutating func rest() -> WireSlice {
    defer { position = end }
    return WireSlice(offset: position, count: remaining)
  }

  /// A count of items of at least `itemSize` bytes each, which must fit into what is left.
  mutating func count(itemSize: Int, _ bytes: RawSpan) throws(WireError) -> Int {
    let count = Int(try integer(UInt16.self, bytes))
    guard count * itemSize <= remaining else { throw .truncated }
    return count
  }

  /// Values behind their lengths, each checked.
  mutating func values(_ bytes: RawSpan) throws(WireError) -> WireValues {
    let count = try count(itemSize: 4, bytes)
    let values = WireValues(remaining: count, offset: position)
    for _ in 0..<count {
      let length = Int(try integer(Int32.self, bytes))
      guard length >= -1 else { throw .malformed("A value announces \(length) bytes.") }
      _ = try slice(max(0, length))
    }
    return values
  }

  /// A list of format codes, each checked.
  mutating func formats(_ bytes: RawSpan) throws(WireError) -> WireFormats {
    let count = try count(itemSize: 2, bytes)
    let formats = WireFormats(count: count, offset: position)
    for _ in 0..<count { _ = try format(bytes) }
    return formats
  }

  mutating func format(_ bytes: RawSpan) throws(WireError) -> WireFormat {
    let code = try integer(UInt16.self, bytes)
    guard let format = WireFormat(rawValue: code) else {
      throw WireError(.message, "unsupported format code: \(Int16(bitPattern: code))", sqlState: "22023")
    }
    return format
  }

  /// Nothing may be left.
  func finish() throws(WireError) {
    guard remaining == 0 else { throw .malformed("\(remaining) bytes are left after its end.") }
  }
}
