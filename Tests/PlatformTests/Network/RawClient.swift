import Foundation
import Platform

/// A blocking socket without anything in between, which can also misbehave.
final class RawClient {
  let descriptor: Int32
  private var isOpen = true

  private init(_ descriptor: Int32) { self.descriptor = descriptor }

  static func unconnected() -> RawClient { RawClient(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)) }

  convenience init(_ address: SocketAddress) throws {
    self.init(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    try connect(address)
  }

  deinit { close() }

  func connect(_ address: SocketAddress) throws {
    var raw = sockaddr_in()
    raw.sin_family = sa_family_t(AF_INET)
    raw.sin_port = address.port.bigEndian
    raw.sin_addr.s_addr = inet_addr(address.host)
    let code = withUnsafePointer(to: &raw) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    if code != 0 { throw NetworkError(errno: errno, operation: "connect to", address: "\(address)") }
  }

  func write(_ bytes: [UInt8]) { _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

  func read(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65536)
    while bytes.count < count {
      let got = Glibc.recv(descriptor, &piece, min(piece.count, count - bytes.count), 0)
      if got <= 0 { break }
      bytes += piece[..<got]
    }
    return bytes
  }

  func readToEnd() -> [UInt8] { read(.max) }
  func shutWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

  func reset() {
    var now = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
    close()
  }

  func close() {
    guard isOpen else { return }
    isOpen = false
    Glibc.close(descriptor)
  }
}
