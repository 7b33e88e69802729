import Foundation

/// A blocking client of PostgreSQL's protocol for tools that torture servers: simple queries, trust, no TLS.
///
/// `@unchecked Sendable`: one thread at a time.
final class PlainClient: @unchecked Sendable {
  /// The connection broke: what was under way may have happened or not.
  struct Lost: Error { var reason: String }
  /// The server said no.
  struct Refused: Error {
    var state: String
    var message: String
    var isFatal: Bool
  }

  private var descriptor: Int32
  private var input: [UInt8] = []
  /// What the last statement called itself when it was done: `COMMIT`, `ROLLBACK`, `SELECT 1`.
  private(set) var lastTag = ""
  /// The last statements and how they were answered, for messages.
  private(set) var recent: [String] = []

  init(host: String, port: UInt16, parameters: [String: String] = [:], timeoutSeconds: Int = 5) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Lost(reason: "no descriptor") }
    var limit = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    unsafe inet_pton(AF_INET, host, &address.sin_addr)
    let code = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard code == 0 else {
      Glibc.close(descriptor)
      descriptor = -1
      throw Lost(reason: "cannot connect")
    }
    var body: [UInt8] = [0, 3, 0, 0]
    for (name, value) in ["user": "synod", "database": "synod"].merging(parameters, uniquingKeysWith: { $1 }) {
      body += Array(name.utf8) + [0] + Array(value.utf8) + [0]
    }
    body.append(0)
    try send(Self.word(UInt32(body.count + 4)) + body)
    _ = try readUntilReady()
  }

  deinit { close() }

  func close() {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }

  /// Runs statements; returns the rows of all of them as text.
  func query(_ sql: String) throws -> [[String?]] {
    let text = Array(sql.utf8) + [0]
    if recent.count >= 12 { recent.removeFirst(6) }
    recent.append(sql)
    try send([UInt8(ascii: "Q")] + Self.word(UInt32(text.count + 4)) + text)
    lastTag = ""
    let rows = try readUntilReady()
    recent.append("→ \(lastTag)")
    return rows
  }

  private static func word(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
  }

  private func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { raw in
        unsafe Glibc.send(descriptor, raw.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Lost(reason: "the connection broke") }
      sent += count
    }
  }

  private func receive(_ count: Int) throws -> [UInt8] {
    while input.count < count {
      var chunk = [UInt8](repeating: 0, count: 16 << 10)
      let size = chunk.count
      let got = unsafe chunk.withUnsafeMutableBytes { unsafe recv(descriptor, $0.baseAddress!, size, 0) }
      guard got > 0 else { throw Lost(reason: got == 0 ? "the server closed the connection" : "no answer") }
      input += chunk[..<got]
    }
    defer { input.removeFirst(count) }
    return Array(input[..<count])
  }

  private func readUntilReady() throws -> [[String?]] {
    var rows: [[String?]] = []
    var refusal: Refused?
    while true {
      let head: [UInt8]
      do { head = try receive(5) } catch {
        if let refusal { throw refusal }
        throw error
      }
      let count = head[1...4].reduce(0) { $0 << 8 | Int($1) }
      guard count >= 4, count < 1 << 30 else { throw Lost(reason: "not PostgreSQL's protocol") }
      let body = try receive(count - 4)
      switch head[0] {
      case UInt8(ascii: "D"): rows.append(Self.row(body))
      case UInt8(ascii: "C"): lastTag = String(decoding: body.dropLast(), as: UTF8.self)
      case UInt8(ascii: "E"): refusal = Self.refusal(body)
      case UInt8(ascii: "Z"):
        if let refusal { throw refusal }
        return rows
      default: break
      }
      if let refusal, refusal.isFatal { throw refusal }
    }
  }

  private static func row(_ body: [UInt8]) -> [String?] {
    var at = 2
    var values: [String?] = []
    while at + 4 <= body.count {
      let count = Int(Int32(bitPattern: body[at..<at + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }))
      at += 4
      guard count >= 0 else {
        values.append(nil)
        continue
      }
      values.append(String(decoding: body[at..<min(body.count, at + count)], as: UTF8.self))
      at += count
    }
    return values
  }

  private static func refusal(_ body: [UInt8]) -> Refused {
    var fields: [UInt8: String] = [:]
    for field in body.split(separator: 0) {
      fields[field[field.startIndex]] = String(decoding: field.dropFirst(), as: UTF8.self)
    }
    return Refused(
      state: fields[UInt8(ascii: "C")] ?? "", message: fields[UInt8(ascii: "M")] ?? "",
      isFatal: fields[UInt8(ascii: "S")] == "FATAL")
  }
}
