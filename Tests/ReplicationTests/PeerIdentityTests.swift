import Glibc
import Paxos
import Platform
import Replication
import Synchronization
import Testing

/// Who is let in by the network of peers, over real sockets.
@Suite struct PeerIdentityTests {
  /// One process of a node: an identity with the secret of this start.
  private final class Process: Sendable {
    let network: PeerNetwork
    private let notes = Notes()

    init(node: UInt64, secret: String, join: [String] = []) throws {
      var options = PeerNetwork.Options(listen: try SocketAddress(literal: "127.0.0.1", port: 0))
      options.join = join
      var hello = PeerHello(members: Members(node: NodeID(node)))
      hello.relaySecret = secret
      let notes = notes
      network = try PeerNetwork(options, hello: hello, log: { text in notes.list.withLock { $0.append(text) } })
      let address = "\(try network.listen())"
      network.changeHello { $0.peerAddress = address }
      network.start()
    }

    var said: [String] { notes.list.withLock { $0 } }
    var address: String { network.hello.peerAddress }
  }

  private final class Notes: Sendable {
    let list = Mutex<[String]>([])
  }

  /// Looks again every millisecond for at most ten seconds.
  private func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<10_000 {
      if condition() { return true }
      usleep(1000)
    }
    return condition()
  }

  @Test func aCopyOfANodeThatIsConnectedIsRefused() throws {
    let first = try Process(node: 1, secret: "a")
    defer { first.network.stop() }
    let second = try Process(node: 2, secret: "b", join: [first.address])
    var isRunning = true
    defer { if isRunning { second.network.stop() } }
    #expect(eventually { first.network.connectedNodes == [NodeID(2)] })

    let copy = try Process(node: 2, secret: "c", join: [first.address, second.address])
    defer { copy.network.stop() }
    #expect(eventually { first.said.contains { $0.contains("refused a process at \(copy.address)") } })
    #expect(eventually { second.said.contains { $0.contains("says to be this node (2)") } })
    #expect(copy.network.connectedNodes.isEmpty)
    #expect(first.network.connectedNodes == [NodeID(2)])
    #expect(first.network.heardNodes.map(\.relaySecret) == ["b"])

    // The same node, started again elsewhere when the other process is gone, is welcome.
    second.network.stop()
    isRunning = false
    #expect(eventually { first.network.heardNodes.map(\.relaySecret) == ["c"] })
    #expect(eventually { copy.network.connectedNodes == [NodeID(1)] })
  }

  private func connected(_ port: UInt16) throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var limit = timeval(tv_sec: 5, tv_usec: 0)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    unsafe inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
    let isConnected = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    try #require(isConnected)
    return descriptor
  }

  /// Whoever reaches the port can send anything; what is kept of it before a hello is a hello's worth.
  @Test func aStrangerIsNotListenedToForLong() throws {
    let node = try Process(node: 1, secret: "a")
    defer { node.network.stop() }
    let port = try #require(node.address.split(separator: ":").last.flatMap { UInt16($0) })
    func frame(kind: UInt8, head: UInt32, records: UInt32) -> [UInt8] {
      var bytes: [UInt8] = [0x53, 0x59, 0x50, 1]
      for word in [head, records, 0] {
        for shift in stride(from: 0, to: 32, by: 8) { bytes.append(UInt8(word >> UInt32(shift) & 255)) }
      }
      return bytes + [kind, 0, 0, 0, 0, 0, 0, 0]
    }
    let attempts: [(bytes: [UInt8], says: String)] = [
      (Array("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".utf8), "no frame"),
      (frame(kind: 2, head: 100, records: 100 << 20), "something before a hello"),
      (frame(kind: 4, head: 100, records: 1 << 10), "something before a hello"),
      (frame(kind: 3, head: 0, records: 0), "something before a hello"),
      (frame(kind: 1, head: 100, records: 100 << 20), "no frame"),
      (frame(kind: 1, head: 256 << 20, records: 0), "no frame"),
      (frame(kind: 9, head: 0, records: 0), "no frame"),
      (frame(kind: 1, head: 40, records: 0) + [UInt8](repeating: 7, count: 40), "a frame with a wrong checksum"),
    ]
    for (number, attempt) in attempts.enumerated() {
      let descriptor = try connected(port)
      defer { close(descriptor) }
      _ = unsafe send(descriptor, attempt.bytes, attempt.bytes.count, Int32(MSG_NOSIGNAL))
      #expect(
        eventually { node.said.count > number && node.said.last?.hasSuffix(attempt.says) == true },
        "attempt \(number): \(node.said)")
    }
    #expect(node.said.count == attempts.count && node.network.heardNodes.isEmpty)
    // Nor does he fill the log.
    for _ in 0..<40 {
      let descriptor = try connected(port)
      defer { close(descriptor) }
      _ = unsafe send(descriptor, attempts[0].bytes, attempts[0].bytes.count, Int32(MSG_NOSIGNAL))
      var byte: UInt8 = 0
      // Until the node has closed it.
      while unsafe recv(descriptor, &byte, 1, 0) > 0 {}
    }
    #expect(node.said.count == 16, "\(node.said.count)")
  }

  @Test func aFounderThatBeganAgainCountsOnce() throws {
    let first = try Process(node: 1, secret: "a")
    defer { first.network.stop() }
    var second: Process? = try Process(node: 2, secret: "b", join: [first.address])
    #expect(eventually { first.network.heardNodes.map(\.node) == [NodeID(2)] })
    let address = second?.address ?? ""
    second?.network.stop()
    second = nil
    #expect(eventually { first.network.connectedNodes.isEmpty })
    let again = try Process(node: 3, secret: "c", join: [first.address])
    defer { again.network.stop() }
    again.network.changeHello { $0.peerAddress = address }
    #expect(eventually { first.network.heardNodes.map(\.node) == [NodeID(3)] }, "\(first.network.heardNodes)")
  }

  /// A directory, or an address, of another cluster is said on both sides.
  @Test func nodesOfTwoClustersSaySo() throws {
    let first = try Process(node: 1, secret: "a")
    defer { first.network.stop() }
    first.network.changeHello { try? $0.members.found(by: [.init(node: NodeID(1), isWitness: false)]) }
    let second = try Process(node: 2, secret: "b", join: [first.address])
    defer { second.network.stop() }
    second.network.changeHello { try? $0.members.found(by: [.init(node: NodeID(2), isWitness: false)]) }
    #expect(
      eventually { first.said.contains { $0.contains("node 2") && $0.contains("is of cluster") } }, "\(first.said)")
  }
}
