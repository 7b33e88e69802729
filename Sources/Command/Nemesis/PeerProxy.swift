import Foundation
internal import Synchronization

// The network between the nodes of a cluster on one machine, as the harness has it in hand.
//
// Each node advertises a port of this proxy instead of its own. A node that dials it says hello first (PeerFrame.swift), by
// which the proxy knows who dials; the answer tells who is behind the port. From then on what passes from node a to node b,
// on whichever of the two streams between them, obeys the rule for (a, b):
//
//   cut      nothing passes; what was sent waits, as in a kernel whose packets are lost, and passes when the rule ends;
//            new streams are taken but their hello goes nowhere
//   delay    everything passes so much later, in order
//   reset    streams end at once (once)
//
// A hello is 24 bytes of frame, then the cluster (16 bytes), then the node's number (8 bytes, little endian).
//
// One thread, one `poll` over all streams; no root, no packet filter.

/// Carries the streams between peers, and breaks them.
///
/// `@unchecked Sendable`: rules are behind the lock; the rest belongs to the proxy's thread.
final class PeerProxy: @unchecked Sendable {
  struct Rule: Equatable, Sendable {
    var isCut = false
    var delayMilliseconds = 0
    var isNormal: Bool { self == Rule() }
  }

  /// From one node to another, by their numbers in the cluster of processes.
  struct Pair: Hashable, Sendable {
    var from: Int
    var to: Int
  }

  private struct Orders {
    var rules: [Pair: Rule] = [:]
    var resets: Set<Pair> = []
    var isStopping = false
  }

  private final class Half {
    var queue: [(due: UInt64, bytes: [UInt8])] = []
    var queuedBytes = 0
    /// The beginning of what was said, until it is known who says it.
    var head: [UInt8] = []
    var isIdentified = false
    var hasEnded = false
  }

  /// Two sockets, and what is on its way between them: `[0]` from the dialler, `[1]` back.
  private final class Stream {
    let sockets: [Int32]
    let target: Int
    var dialler: Int?
    let halves = [Half(), Half()]
    init(dialler: Int32, target: Int32, node: Int) {
      sockets = [dialler, target]
      self.target = node
    }
    func pair(_ side: Int) -> Pair? {
      dialler.map { side == 0 ? Pair(from: $0, to: target) : Pair(from: target, to: $0) }
    }
  }

  private static let helloEnd = 48
  private static let queueLimitBytes = 4 << 20

  private let orders = Mutex(Orders())
  private let wakeRead: Int32
  private let wakeWrite: Int32
  private var listeners: [(socket: Int32, node: Int, port: UInt16)] = []
  private var streams: [Stream] = []
  /// The nodes' own numbers, as their hellos tell.
  private var names: [UInt64: Int] = [:]
  /// Where nodes are reached, by index.
  let ports: [Int: UInt16]

  /// - Parameter nodes: the index and the true peer port of each node.
  init(_ nodes: [(index: Int, peerPort: UInt16)]) throws {
    var ends: [Int32] = [0, 0]
    guard unsafe pipe(&ends) == 0 else { throw CommandFailure("no pipe for the proxy") }
    wakeRead = ends[0]
    wakeWrite = ends[1]
    var ports: [Int: UInt16] = [:]
    for node in nodes {
      guard let (descriptor, port) = LoopbackSocket.listen() else { throw CommandFailure("the proxy cannot listen") }
      listeners.append((descriptor, node.index, node.peerPort))
      ports[node.index] = port
    }
    self.ports = ports
    Thread.detachNewThread { [self] in
      while turn() {}
    }
  }

  // MARK: Orders, from any thread

  func set(_ rules: [Pair: Rule]) {
    orders.withLock { $0.rules = rules }
    wake()
  }

  /// Ends the streams between these at once.
  func reset(_ pairs: Set<Pair>) {
    orders.withLock { $0.resets.formUnion(pairs) }
    wake()
  }

  func stop() {
    orders.withLock { $0.isStopping = true }
    wake()
  }

  private func wake() {
    var byte: UInt8 = 1
    _ = unsafe write(wakeWrite, &byte, 1)
  }

  // MARK: The thread

  private func turn() -> Bool {
    let (rules, resets, isStopping) = orders.withLock { orders in
      defer { orders.resets = [] }
      return (orders.rules, orders.resets, orders.isStopping)
    }
    if isStopping {
      for stream in streams { close(stream) }
      for listener in listeners { Glibc.close(listener.socket) }
      return false
    }
    for stream in streams {
      if let pair = stream.pair(0), resets.contains(pair) || resets.contains(Pair(from: pair.to, to: pair.from)) {
        close(stream)
      }
    }
    streams.removeAll { $0.halves[0].hasEnded && $0.halves[1].hasEnded }
    let now = Self.now()
    var polls: [pollfd] = [pollfd(fd: wakeRead, events: Int16(POLLIN), revents: 0)]
    for listener in listeners { polls.append(pollfd(fd: listener.socket, events: Int16(POLLIN), revents: 0)) }
    var next = now + 1_000_000_000
    for stream in streams {
      for side in 0...1 {
        let events = interest(stream, side, rules, now, &next)
        // Nothing of a way that is cut, not even its end.
        polls.append(pollfd(fd: events == 0 ? -1 : stream.sockets[side], events: events, revents: 0))
      }
    }
    let timeout = Int32(min(1000, (max(next, now) - now) / 1_000_000 + 1))
    guard unsafe poll(&polls, nfds_t(polls.count), timeout) >= 0 else { return errno == EINTR }
    if polls[0].revents != 0 {
      var bytes = [UInt8](repeating: 0, count: 256)
      _ = unsafe read(wakeRead, &bytes, 256)
    }
    for (place, stream) in streams.enumerated() {
      for side in 0...1 {
        let happened = Int32(polls[1 + listeners.count + 2 * place + side].revents)
        if happened & (POLLIN | POLLHUP | POLLERR) != 0 { receive(stream, side, rules) }
      }
      for side in 0...1 { pass(stream, side, rules) }
    }
    for (place, listener) in listeners.enumerated() where polls[1 + place].revents != 0 {
      accept(listener.socket, listener.node, listener.port)
    }
    return true
  }

  private func rule(_ stream: Stream, _ side: Int, _ rules: [Pair: Rule]) -> Rule {
    stream.pair(side).flatMap { rules[$0] } ?? Rule()
  }

  /// What is waited for on a socket: bytes from it, unless its way is cut; room for what is due to it.
  private func interest(
    _ stream: Stream, _ side: Int, _ rules: [Pair: Rule], _ now: UInt64, _ next: inout UInt64
  ) -> Int16 {
    guard !(stream.halves[0].hasEnded && stream.halves[1].hasEnded) else { return 0 }
    var events: Int32 = 0
    let half = stream.halves[side]
    if !rule(stream, side, rules).isCut, !half.hasEnded, half.queuedBytes < Self.queueLimitBytes { events |= POLLIN }
    let other = stream.halves[1 - side]
    if let first = other.queue.first, !rule(stream, 1 - side, rules).isCut {
      if first.due <= now { events |= POLLOUT } else { next = min(next, first.due) }
    }
    return Int16(events)
  }

  private func receive(_ stream: Stream, _ side: Int, _ rules: [Pair: Rule]) {
    let half = stream.halves[side]
    guard !half.hasEnded, !rule(stream, side, rules).isCut else { return }
    var bytes = [UInt8](repeating: 0, count: 64 << 10)
    let count = unsafe recv(stream.sockets[side], &bytes, bytes.count, Int32(MSG_DONTWAIT))
    guard count > 0 else {
      if count < 0, errno == EAGAIN || errno == EINTR { return }
      return close(stream)
    }
    bytes.removeSubrange(count...)
    if !half.isIdentified { identify(stream, side, bytes) }
    let due = Self.now() + UInt64(rule(stream, side, rules).delayMilliseconds) * 1_000_000
    half.queue.append((due, bytes))
    half.queuedBytes += count
  }

  private func identify(_ stream: Stream, _ side: Int, _ bytes: [UInt8]) {
    let half = stream.halves[side]
    half.head += bytes.prefix(Self.helloEnd - half.head.count)
    guard half.head.count == Self.helloEnd else { return }
    half.isIdentified = true
    let name = half.head[40..<48].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    if side == 1 { names[name] = stream.target } else { stream.dialler = names[name] }
  }

  private func pass(_ stream: Stream, _ side: Int, _ rules: [Pair: Rule]) {
    let half = stream.halves[side]
    if stream.dialler == nil, half.isIdentified, side == 0 {
      // Who dials may have become known since.
      let name = half.head[40..<48].reversed().reduce(0) { $0 << 8 | UInt64($1) }
      stream.dialler = names[name]
    }
    guard !half.queue.isEmpty, !rule(stream, side, rules).isCut else { return }
    let now = Self.now()
    while let first = half.queue.first, first.due <= now {
      let sent = unsafe first.bytes.withUnsafeBytes {
        unsafe send(stream.sockets[1 - side], $0.baseAddress!, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
      }
      if sent < 0, errno == EAGAIN || errno == EINTR || errno == ENOTCONN { return }
      guard sent > 0 else { return close(stream) }
      half.queuedBytes -= sent
      if sent == first.bytes.count {
        half.queue.removeFirst()
      } else {
        half.queue[0].bytes.removeFirst(sent)
        return
      }
    }
  }

  private func accept(_ listener: Int32, _ node: Int, _ port: UInt16) {
    let descriptor = Glibc.accept(listener, nil, nil)
    guard descriptor >= 0 else { return }
    guard let target = LoopbackSocket.connect(port) else {
      // Nobody listens there now.
      Glibc.close(descriptor)
      return
    }
    streams.append(Stream(dialler: descriptor, target: target, node: node))
  }

  private func close(_ stream: Stream) {
    guard !stream.halves[0].hasEnded else { return }
    for socket in stream.sockets { Glibc.close(socket) }
    for half in stream.halves {
      half.hasEnded = true
      half.queue = []
    }
  }

  private static func now() -> UInt64 { MonotonicTime.nanoseconds }
}

/// The clock by which everything that is judged later is timed.
enum MonotonicTime {
  static var nanoseconds: UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

/// Sockets on 127.0.0.1.
enum LoopbackSocket {
  private static func address(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    unsafe inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
    return address
  }

  private static func make() -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var yes: Int32 = 1
    unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    return descriptor
  }

  /// Listens on a port of the kernel's choice.
  static func listen() -> (descriptor: Int32, port: UInt16)? {
    let descriptor = make()
    guard descriptor >= 0 else { return nil }
    var place = address(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = unsafe withUnsafeMutablePointer(to: &place) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(descriptor, $0, size) == 0 && Glibc.listen(descriptor, 64) == 0
          && getsockname(descriptor, $0, &size) == 0
      }
    }
    guard isBound else {
      close(descriptor)
      return nil
    }
    return (descriptor, UInt16(bigEndian: place.sin_port))
  }

  /// Begins to connect, and does not wait: who listens may be stopped. Nil: nobody does.
  static func connect(_ port: UInt16) -> Int32? {
    let descriptor = make()
    guard descriptor >= 0 else { return nil }
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    var place = address(port)
    let code = unsafe withUnsafePointer(to: &place) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard code == 0 || errno == EINPROGRESS else {
      close(descriptor)
      return nil
    }
    return descriptor
  }
}
