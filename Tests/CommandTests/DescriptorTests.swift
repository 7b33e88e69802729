import Foundation
import Testing

/// Clients may take all descriptors that they can get: the files' stay free, those who are in go on, and those who could
/// not come in do so when others leave.
@Suite struct DescriptorTests {
  /// A connection of PostgreSQL's protocol, by hand.
  final class Client {
    private let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)

    init(port: UInt16) throws {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
      let code = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
      try #require(code == 0)
      let body = Array("user\0synod\0database\0synod\0\0".utf8)
      write(Self.number(body.count + 8) + Self.number(196_608) + body)
    }

    deinit { close(descriptor) }

    private static func number(_ value: Int) -> [UInt8] { withUnsafeBytes(of: Int32(value).bigEndian) { Array($0) } }

    private func write(_ bytes: [UInt8]) {
      _ = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress!, $0.count, 0) }
    }

    /// What came up to ReadyForQuery; nil if it did not come in time.
    func answer(milliseconds: Int = 60_000) -> [UInt8]? {
      var limit = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
      setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
      var bytes: [UInt8] = []
      var piece = [UInt8](repeating: 0, count: 65_536)
      while bytes.suffix(6).prefix(5) != [0x5A, 0, 0, 0, 5] {
        let count = recv(descriptor, &piece, piece.count, 0)
        guard count > 0 else { return nil }
        bytes += piece[..<count]
      }
      return bytes
    }

    func query(_ text: String) -> String? {
      write([0x51] + Self.number(text.utf8.count + 5) + Array(text.utf8) + [0])
      return answer().map { String(decoding: $0, as: UTF8.self) }
    }
  }

  @Test func clientsLeaveDescriptorsToTheFiles() throws {
    let scratch = Scratch()
    let server = try ServedShellTests.Server(scratch, descriptors: 80)
    defer { _ = server.stop() }
    let port = try #require(UInt16(server.url.split(separator: ":").last?.prefix { $0.isNumber } ?? ""))
    let first = try Client(port: port)
    _ = try #require(first.answer())
    #expect(try #require(first.query("CREATE TABLE t (a int PRIMARY KEY, b text)")).contains("CREATE TABLE"))
    var inside: [Client] = []
    var outside: [Client] = []
    while outside.count < 3, inside.count < 200 {
      let client = try Client(port: port)
      if client.answer(milliseconds: 1000) != nil { inside.append(client) } else { outside.append(client) }
    }
    #expect(outside.count == 3 && inside.count > 10, "\(inside.count) are in")
    // Beyond the first segment of the log, and so that the memtable is flushed when the server ends.
    for part in 0..<4 {
      let rows = "generate_series(\(part * 1000), \(part * 1000 + 999))"
      let said = try #require(first.query("INSERT INTO t SELECT g, repeat('x', 1000) FROM \(rows) g"))
      #expect(said.contains("INSERT 0 1000"), "\(said)")
    }
    inside = []
    for client in outside { #expect(client.answer() != nil, "it comes in when others have left") }
    #expect(try #require(first.query("SELECT count(*) FROM t")).contains("4000"))
  }
}
