import Glibc
import Synchronization

/// A server on loopback that answers what a test tells it to, message by message.
final class ScriptedServer: Sendable {
  /// What to send for a query; nil hangs up.
  typealias Answer = @Sendable (_ query: String) -> [UInt8]?

  let port: UInt16
  private let listener: Int32
  private let answer: Answer
  private let isStandby: Bool
  /// The cancel requests that came, as process and secret.
  let cancelled = Mutex<[[UInt8]]>([])
  /// The bytes of COPY that came.
  let copied = Mutex<[UInt8]>([])
  /// Connections that got as far as a startup message.
  let startups = Mutex(0)

  init(isStandby: Bool = false, _ answer: @escaping Answer) {
    self.answer = answer
    self.isStandby = isStandby
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listener = listener
    withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        precondition(bind(listener, pointer, size) == 0 && listen(listener, 16) == 0)
        getsockname(listener, pointer, &size)
      }
    }
    port = UInt16(bigEndian: address.sin_port)
    Self.thread { [weak self] in
      while true {
        let peer = accept(listener, nil, nil)
        guard peer >= 0, let self else { return }
        Self.thread { [weak self] in
          self?.serve(peer)
          Glibc.close(peer)
        }
      }
    }
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    Glibc.close(listener)
  }

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  private static func thread(_ run: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { data in
        Unmanaged<Body>.fromOpaque(data!).takeRetainedValue().run()
        return nil
      }, Unmanaged.passRetained(Body(run)).toOpaque())
    pthread_detach(thread)
  }

  // MARK: One connection

  private func serve(_ peer: Int32) {
    while true {
      guard let head = read(peer, 8) else { return }
      let length = Self.integer(head, 0)
      switch Self.integer(head, 4) {
      case 80_877_103: Self.write(peer, Array("N".utf8))
      case 80_877_102:
        let key = read(peer, length - 8) ?? []
        return cancelled.withLock { $0.append(key) }
      default:
        guard read(peer, length - 8) != nil else { return }
        startups.withLock { $0 += 1 }
        Self.write(
          peer,
          Self.message("R", [0, 0, 0, 0])
            + Self.message("S", Array("in_hot_standby\0\(isStandby ? "on" : "off")\0".utf8))
            + Self.message("K", [0, 0, 0, 7, 1, 2, 3, 4]) + Self.ready("I"))
        return converse(peer)
      }
    }
  }

  private func converse(_ peer: Int32) {
    while let head = read(peer, 5), let body = read(peer, Self.integer(head, 1) - 4) {
      switch UnicodeScalar(head[0]) {
      case "Q":
        let query = String(decoding: body.dropLast(), as: UTF8.self)
        let isShow = query.hasPrefix("SHOW ")
        guard let reply = isShow ? Self.rows([["read committed"]]) + Self.ready("I") : answer(query) else { return }
        Self.write(peer, reply)
      case "d": copied.withLock { $0 += body }
      case "c": Self.write(peer, Self.message("C", Array("COPY 1\0".utf8)) + Self.ready("I"))
      case "f": Self.write(peer, Self.error("ERROR", "57014", "COPY failed") + Self.ready("I"))
      default: return
      }
    }
  }

  private func read(_ peer: Int32, _ count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let got = bytes.withUnsafeMutableBytes { recv(peer, $0.baseAddress! + done, count - done, 0) }
      guard got > 0 else { return nil }
      done += got
    }
    return bytes
  }

  private static func write(_ peer: Int32, _ bytes: [UInt8]) {
    _ = bytes.withUnsafeBytes { send(peer, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
  }

  // MARK: Messages

  private static func integer(_ bytes: [UInt8], _ at: Int) -> Int {
    bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }
  }

  private static func bytes(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  static func message(_ type: Character, _ body: [UInt8]) -> [UInt8] {
    [type.asciiValue!] + bytes(body.count + 4, 4) + body
  }

  static func ready(_ status: Character) -> [UInt8] { message("Z", [status.asciiValue!]) }

  /// A result of text columns.
  static func rows(_ rows: [[String?]]) -> [UInt8] {
    let count = rows.first?.count ?? 1
    var description = bytes(count, 2)
    for index in 0..<count {
      description += Array("c\(index)\0".utf8) + bytes(0, 6) + bytes(25, 4) + bytes(-1, 2) + bytes(-1, 4) + bytes(0, 2)
    }
    var reply = message("T", description)
    for row in rows {
      var body = bytes(count, 2)
      for field in row {
        body += field.map { bytes($0.utf8.count, 4) + Array($0.utf8) } ?? bytes(-1, 4)
      }
      reply += message("D", body)
    }
    return reply + message("C", Array("SELECT \(rows.count)\0".utf8))
  }

  static func error(_ severity: String, _ code: String, _ text: String) -> [UInt8] {
    message("E", Array("S\(severity)\0V\(severity)\0C\(code)\0M\(text)\0\0".utf8))
  }

  static func notice(_ text: String) -> [UInt8] {
    message("N", Array("SNOTICE\0VNOTICE\0C00000\0M\(text)\0\0".utf8))
  }

  static let copyIn = message("G", [0, 0, 1, 0, 0])
  static let copyOut = message("H", [0, 0, 1, 0, 0])
}
