internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Synchronization

/// The stream to one address: we send, the peer listens.
///
/// `@unchecked Sendable`: what is not behind a lock is used on the network's loop only.
final class PeerLink: StreamHandler, @unchecked Sendable {
  private struct Queue {
    var frames: [Frame] = []
    var sizeBytes = 0
    var sender = Sender.nobody
    /// The end of a frame of which the kernel took the beginning.
    var rest: [UInt8] = []
    var connection: StreamConnection?
    var isSecure = false
    var isStopping = false
  }

  private typealias Frame = (head: [UInt8], records: [StoredRecord])

  /// Who hands frames to the kernel: the thread that queued them, which needs no wake; or the loop, from when the kernel takes
  /// no more (or within TLS) until everything has left. One at a time, so that frames stay in order and whole.
  private enum Sender { case nobody, thread, loop }

  private unowned let network: PeerNetwork
  let address: String
  private let queue = Mutex(Queue())
  private var parser = PeerFrameParser()
  private var node: NodeID?
  private var isOpen = false
  private var attempts: UInt64 = 0
  private var lastHeard: UInt64 = 0
  /// Its own address, or another cluster's: not tried again for long.
  private var isUseless = false
  private var outgoing: [UInt8] = []
  private static let gatherSizeBytes = 64 << 10

  init(_ network: PeerNetwork, _ address: String) {
    self.network = network
    self.address = address
  }

  // MARK: From any thread

  func enqueue(_ head: [UInt8], _ records: [StoredRecord], _ recordsSizeBytes: Int) {
    queue.withLock { queue in
      guard queue.connection != nil, queue.sizeBytes < network.options.queueSizeBytes else { return }
      queue.frames.append((head, records))
      queue.sizeBytes += head.count + recordsSizeBytes
    }
  }

  /// Sends what is queued, or has the loop do it.
  func flush() {
    var buffer: [UInt8] = []
    while true {
      let (connection, frames) = queue.withLock { queue -> (StreamConnection?, [Frame]) in
        guard let connection = queue.connection, !queue.frames.isEmpty, queue.sender == .nobody else {
          return (nil, [])
        }
        guard !queue.isSecure else {
          queue.sender = .loop
          return (connection, [])
        }
        queue.sender = .thread
        return (connection, Self.take(&queue))
      }
      guard let connection else { return }
      if frames.isEmpty { return connection.wake() }
      let isSent = sendHere(frames, connection, &buffer)
      let wakes = queue.withLock { queue in
        let isSame = queue.connection === connection
        queue.sender = isSent || !isSame ? .nobody : .loop
        return queue.sender == .loop
      }
      if wakes { return connection.wake() }
    }
  }

  /// False: the kernel took a part, and the loop is to send the rest.
  private func sendHere(_ frames: [Frame], _ connection: StreamConnection, _ buffer: inout [UInt8]) -> Bool {
    var next = 0
    while next < frames.count {
      buffer.removeAll(keepingCapacity: true)
      var end = next
      while end < frames.count, end == next || buffer.count < Self.gatherSizeBytes {
        buffer += frames[end].head
        for record in frames[end].records { unsafe buffer.append(contentsOf: record.bytes) }
        end += 1
      }
      let sent = unsafe buffer.withUnsafeBytes { unsafe connection.sendPastHolder($0) }
      next = end
      if sent < buffer.count {
        queue.withLock { queue in
          // A new connection begins with whole frames of its own; what was meant for the old one is lost with it.
          guard queue.connection === connection else { return }
          queue.rest = Array(buffer[sent...])
          queue.frames.insert(contentsOf: frames[next...], at: 0)
          queue.sizeBytes += frames[next...].reduce(0) { $0 + Self.sizeBytes($1) }
        }
        return false
      }
    }
    return true
  }

  private static func sizeBytes(_ frame: Frame) -> Int {
    frame.records.reduce(frame.head.count) { $0 + $1.header.recordSizeBytes }
  }

  /// A few at a time, so that memory is bounded by the queue and not by the kernel's patience.
  private static func take(_ queue: inout Queue) -> [Frame] {
    let count = min(queue.frames.count, 32)
    let taken = Array(queue.frames[..<count])
    queue.frames.removeFirst(count)
    for frame in taken { queue.sizeBytes -= sizeBytes(frame) }
    return taken
  }

  func sayHello() {
    let hello = network.hello.encoded()
    enqueue(PeerFrameHeader.frame(.hello, head: hello, recordsSizeBytes: 0), [], 0)
    flush()
  }

  func stop() {
    let connection = queue.withLock { queue in
      queue.isStopping = true
      return queue.connection
    }
    connection?.abort()
  }

  func connect() { network.loop.execute { self.dial() } }

  // MARK: On the loop

  private func dial() {
    guard !queue.withLock({ $0.isStopping }) else { return }
    do throws(NetworkError) {
      let target = try Self.resolve(address, attempt: attempts)
      // This side only sends; the pulses that say it is heard must be read while the peer is slow to take what is sent, or
      // a node that is far behind would be given up every two seconds.
      var options = StreamOptions()
      options.pauseReadingAboveBytes = .max
      _ = try StreamConnection.connect(
        to: target, on: network.loop, timeoutNanoseconds: 1_000_000_000, options: options
      ) { _ in self }
    } catch { again() }
  }

  /// One of the addresses, each in its turn: a name may have some at which nobody listens.
  private static func resolve(_ address: String, attempt: UInt64) throws(NetworkError) -> SocketAddress {
    let (host, port) = try split(address)
    if let literal = try? SocketAddress(literal: host, port: port) { return literal }
    let found = try EventLoop.blocking { () throws(NetworkError) in try SocketAddress.resolve(host, port: port) }
    guard !found.isEmpty else {
      throw NetworkError(.badAddress, operation: "resolve", address: address, reason: "it has no address")
    }
    return found[Int(attempt % UInt64(found.count))]
  }

  /// "host:port", with an IPv6 address in brackets.
  static func split(_ address: String) throws(NetworkError) -> (host: String, port: UInt16) {
    guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]) else {
      throw NetworkError(.badAddress, operation: "connect to", address: address, reason: "host:port is expected")
    }
    var host = address[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    return (String(host), port)
  }

  private func again() {
    guard !queue.withLock({ $0.isStopping }) else { return }
    attempts += 1
    let limit: UInt64 = isUseless ? 30_000_000_000 : 1_000_000_000
    let pause = isUseless ? limit : min(limit, 20_000_000 << min(attempts, 6))
    var random = SystemRandomness()
    let jitter = random.next() % (pause / 2 + 1)
    network.loop.schedule(afterNanoseconds: pause / 2 + jitter) { self.dial() }
  }

  func opened(_ connection: StreamConnection) {
    parser = PeerFrameParser()
    lastHeard = LinuxClock().bootNanoseconds
    if let context = network.options.client {
      connection.startTLS(context, serverName: (try? Self.split(address))?.host)
    } else {
      greet(connection)
    }
    watch(connection)
  }

  func secured(_ connection: StreamConnection) { greet(connection) }

  private func greet(_ connection: StreamConnection) {
    isOpen = true
    connection.send(PeerFrameHeader.frame(.hello, head: network.hello.encoded(), recordsSizeBytes: 0))
  }

  /// Gives a silent stream up.
  private func watch(_ connection: StreamConnection) {
    let limit = network.options.silenceNanoseconds
    connection.schedule(afterNanoseconds: PeerNetwork.rest(of: limit / 4)) { [weak self] in
      guard let self, !connection.isClosed else { return }
      if LinuxClock().bootNanoseconds &- self.lastHeard > limit { return connection.abort() }
      self.watch(connection)
    }
  }

  func received(_ bytes: RawSpan, _ connection: StreamConnection) {
    lastHeard = LinuxClock().bootNanoseconds
    do throws(PeerFrameParser.Malformed) {
      try unsafe bytes.withUnsafeBytes { (raw) throws(PeerFrameParser.Malformed) in
        unsafe try parser.receive(raw) { frame in
          if case .hello(let hello) = frame { self.answered(hello, connection) }
        }
      }
    } catch { connection.abort() }
  }

  private func answered(_ hello: ReceivedHello, _ connection: StreamConnection) {
    EventLoop.mayRunLong()
    guard network.heard(hello, through: self) else {
      isUseless = true
      return connection.close()
    }
    isUseless = false
    attempts = 0
    node = hello.node
    queue.withLock { queue in
      guard !queue.isStopping else { return }
      queue.connection = connection
      queue.isSecure = network.options.client != nil
    }
  }

  func woken(_ connection: StreamConnection) { pass(connection) }

  func drained(_ connection: StreamConnection) { pass(connection) }

  /// Hands to the kernel what waits, as long as it takes it, where that is the loop's to do.
  private func pass(_ connection: StreamConnection) {
    guard isOpen, !connection.isClosed else { return }
    while connection.bufferedBytes == 0 {
      let (rest, frames) = queue.withLock { queue -> ([UInt8], [Frame]) in
        guard queue.sender == .loop, queue.connection === connection else { return ([], []) }
        if queue.frames.isEmpty, queue.rest.isEmpty {
          queue.sender = .nobody
          return ([], [])
        }
        defer { queue.rest = [] }
        return (queue.rest, Self.take(&queue))
      }
      if frames.isEmpty, rest.isEmpty { return }
      outgoing += rest
      for frame in frames { gather(frame, connection) }
      sendGathered(connection)
    }
  }

  /// Small pieces leave together.
  private func gather(_ frame: Frame, _ connection: StreamConnection) {
    outgoing += frame.head
    for record in frame.records {
      if record.header.recordSizeBytes > Self.gatherSizeBytes {
        sendGathered(connection)
        unsafe connection.send(record.bytes)
      } else {
        unsafe outgoing.append(contentsOf: record.bytes)
        if outgoing.count > Self.gatherSizeBytes { sendGathered(connection) }
      }
    }
  }

  private func sendGathered(_ connection: StreamConnection) {
    guard !outgoing.isEmpty else { return }
    connection.send(outgoing)
    outgoing.removeAll(keepingCapacity: true)
  }

  func closed(_ reason: CloseReason, _ connection: StreamConnection) {
    isOpen = false
    queue.withLock { queue in
      queue.connection = nil
      queue.frames = []
      queue.rest = []
      queue.sizeBytes = 0
      // A thread that is sending sees that the connection is another, or none.
      if queue.sender == .loop { queue.sender = .nobody }
    }
    network.lost(self, node)
    node = nil
    if case .tls(let error) = reason {
      network.note("cannot speak TLS with \(address): \(error)", of: "TLS \(address)")
    }
    again()
  }
}
