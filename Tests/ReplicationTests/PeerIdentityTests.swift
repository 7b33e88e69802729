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
}
