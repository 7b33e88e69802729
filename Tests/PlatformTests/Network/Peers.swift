import Foundation
import Platform
import Synchronization

/// A handler made of closures.
final class TestHandler: StreamHandler {
  var onOpened: (StreamConnection) -> Void = { _ in }
  var onReceived: ([UInt8], StreamConnection) -> Void = { _, _ in }
  var onSecured: (StreamConnection) -> Void = { _ in }
  var onDrained: (StreamConnection) -> Void = { _ in }
  var onWoken: (StreamConnection) -> Void = { _ in }
  var onInputEnded: (StreamConnection) -> Void = { $0.close() }
  var onClosed: (CloseReason, StreamConnection) -> Void = { _, _ in }

  init(_ set: (TestHandler) -> Void) { set(self) }

  func opened(_ connection: StreamConnection) { onOpened(connection) }
  func received(_ bytes: RawSpan, _ connection: StreamConnection) {
    onReceived(bytes.withUnsafeBytes { [UInt8]($0) }, connection)
  }
  func secured(_ connection: StreamConnection) { onSecured(connection) }
  func drained(_ connection: StreamConnection) { onDrained(connection) }
  func woken(_ connection: StreamConnection) { onWoken(connection) }
  func inputEnded(_ connection: StreamConnection) { onInputEnded(connection) }
  func closed(_ reason: CloseReason, _ connection: StreamConnection) { onClosed(reason, connection) }
}

/// Counts, and lets a test wait for a count.
final class Tally: Sendable {
  private let word = FutexWord(0)
  func add() {
    word.increment()
    word.wake()
  }
  var value: Int { Int(word.load()) }
  /// Waits until `count` is reached; a test that hangs ends by the runner's limit.
  func wait(for count: Int) {
    while true {
      let seen = word.load()
      if seen >= UInt32(count) { return }
      word.wait(while: seen)
    }
  }
}

/// What came, put together, with waiting for a length or the end.
final class Collector: Sendable {
  private let state = Mutex<(bytes: [UInt8], reason: CloseReason?)>(([], nil))
  private let changes = FutexWord(0)

  func append(_ bytes: [UInt8]) {
    state.withLock { $0.bytes += bytes }
    changes.increment()
    changes.wake()
  }
  func end(_ reason: CloseReason) {
    state.withLock { $0.reason = reason }
    changes.increment()
    changes.wake()
  }
  var bytes: [UInt8] { state.withLock { $0.bytes } }
  var count: Int { state.withLock { $0.bytes.count } }
  var reason: CloseReason? { state.withLock { $0.reason } }

  func wait(until condition: (Collector) -> Bool) {
    while true {
      let seen = changes.load()
      if condition(self) { return }
      changes.wait(while: seen)
    }
  }
  func waitForEnd() -> CloseReason {
    wait { $0.reason != nil }
    return reason!
  }
}

func loopback() -> SocketAddress { try! SocketAddress(literal: "127.0.0.1", port: 0) }

/// Runs a test with a group, and shuts it down.
func withGroup<T>(
  loops: Int = 2, maximumThreads: Int = 64, slice: UInt64 = 2_000_000, watchesOnRequest: Bool = false,
  _ body: (EventLoopGroup) throws -> T
) throws -> T {
  let group = try EventLoopGroup(
    .init(
      loops: loops, maximumThreads: maximumThreads, timeSliceNanoseconds: slice, watchesOnRequest: watchesOnRequest))
  defer { group.shutDown() }
  return try body(group)
}

let echo: @Sendable (StreamConnection) -> any StreamHandler = { _ in
  TestHandler { $0.onReceived = { bytes, connection in connection.send(bytes) } }
}

/// Connects, sends, and collects what comes back.
func client(
  _ address: SocketAddress, on loop: EventLoop, sending bytes: [UInt8] = [], into collector: Collector,
  options: StreamOptions = StreamOptions()
) throws -> StreamConnection {
  try StreamConnection.connect(to: address, on: loop, timeoutNanoseconds: 20_000_000_000, options: options) { _ in
    TestHandler {
      $0.onOpened = { $0.send(bytes) }
      $0.onReceived = { bytes, _ in collector.append(bytes) }
      $0.onClosed = { reason, _ in collector.end(reason) }
    }
  }
}
