import Foundation
import Platform
import Synchronization
import Testing

@Suite struct StreamTests {
  @Test(arguments: ["127.0.0.1", "::1", "unix"])
  func whatIsSentComesBack(_ where: String) throws {
    try withGroup { group in
      let path = NSTemporaryDirectory() + "/synod-\(UUID().uuidString.prefix(8)).sock"
      let address =
        `where` == "unix" ? try SocketAddress(path: path) : try SocketAddress(literal: `where`, port: 0)
      let listener = try Listener.listen(on: address, group: group, permissions: 0o700, handler: echo)
      #expect(listener.address.port != 0 || `where` == "unix")
      let collector = Collector()
      let connection = try client(listener.address, on: group.next(), sending: Array("hello".utf8), into: collector)
      collector.wait { $0.count == 5 }
      #expect(collector.bytes == Array("hello".utf8))
      connection.execute { connection.close() }
      #expect(collector.waitForEnd() == .closed)
    }
  }

  /// What a handler leaves to be done behind it may block: the connection goes on meanwhile.
  @Test func aConnectionIsReadWhileWhatItsHandlerLeftBlocks() throws {
    try withGroup(loops: 1) { group in
      let second = Tally()
      let done = Tally()
      let listener = try Listener.listen(on: loopback(), group: group) { _ in
        TestHandler {
          $0.onReceived = { bytes, connection in
            // The first byte's work needs the second one.
            guard bytes.first == 1 else { return second.add() }
            EventLoop.afterHandler {
              connection.execute { connection.send([9]) }
              second.wait(for: 1)
              done.add()
            }
          }
        }
      }
      let collector = Collector()
      let connection = try client(listener.address, on: group.next(), sending: [1], into: collector)
      collector.wait { $0.count == 1 }
      connection.execute { connection.send([2]) }
      done.wait(for: 1)
      connection.execute { connection.close() }
    }
  }

  /// Wherever their packets come in, and whoever went before them.
  @Test func connectionsAreSpreadEvenly() throws {
    try withGroup(loops: 4) { group in
      let opened = Tally()
      let ended = Tally()
      let places = Mutex<[Int]>([])
      let listener = try Listener.listen(on: loopback(), group: group) { _ in
        TestHandler {
          $0.onOpened = { connection in
            places.withLock { $0.append(connection.loop.index) }
            opened.add()
          }
          $0.onClosed = { _, _ in ended.add() }
        }
      }
      let first = try (0..<8).map { _ in try RawClient(listener.address) }
      opened.wait(for: 8)
      #expect(places.withLock { $0.sorted() } == [0, 0, 1, 1, 2, 2, 3, 3])
      for client in first { client.close() }
      ended.wait(for: 8)
    }
  }

  @Test func aStaleSocketFileIsReplacedAndALiveOneIsNot() throws {
    let path = NSTemporaryDirectory() + "/synod-\(UUID().uuidString.prefix(8)).sock"
    let address = try SocketAddress(path: path)
    try withGroup { group in
      _ = try Listener.listen(on: address, group: group, handler: echo)
      #expect(throws: NetworkError.self) { try Listener.listen(on: address, group: group, handler: echo) }
    }
    #expect(!FileManager.default.fileExists(atPath: path))
    // As a killed process leaves it.
    let abandoned = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var raw = sockaddr_un()
    raw.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &raw.sun_path) { $0.copyBytes(from: path.utf8) }
    let bound = withUnsafePointer(to: &raw) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(abandoned, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    #expect(bound == 0)
    close(abandoned)
    try withGroup { group in _ = try Listener.listen(on: address, group: group, handler: echo) }
  }

  @Test func aTakenPortIsNamed() throws {
    try withGroup { group in
      let first = try Listener.listen(on: loopback(), group: group, handler: echo)
      let failure = #expect(throws: NetworkError.self) {
        try Listener.listen(on: first.address, group: group, handler: echo)
      }
      #expect(failure?.kind == .addressInUse)
      #expect(failure?.description == "cannot listen on \(first.address): Address already in use")
    }
  }

  @Test func nobodyListensThere() throws {
    try withGroup { group in
      let listener = try Listener.listen(on: loopback(), group: group, handler: echo)
      let address = listener.address
      listener.stop()
      // The listener stops on its loop; whoever comes before that is accepted and dropped at the end.
      let stopped = Tally()
      listener.loop.execute { stopped.add() }
      stopped.wait(for: 1)
      let collector = Collector()
      _ = try client(address, on: group.next(), into: collector)
      guard case .failed(let error) = collector.waitForEnd() else {
        Issue.record("\(collector.reason!)")
        return
      }
      #expect(error.kind == .refused)
    }
  }

  /// 8 MiB each way, by a peer whose kernel buffers are small, in pieces of every size. The client does not read until the
  /// peer has something left that it could not send.
  @Test func muchDataArrivesWholeAndInOrder() throws {
    try withGroup { group in
      var options = StreamOptions()
      options.receiveBufferBytes = 32 * 1024
      options.sendBufferBytes = 32 * 1024
      let (drained, waiting) = (Tally(), Tally())
      let listener = try Listener.listen(on: loopback(), group: group, options: options) { _ in
        TestHandler {
          $0.onReceived = { bytes, connection in
            connection.send(bytes)
            if connection.bufferedBytes > 0 { waiting.add() }
          }
          $0.onDrained = { _ in drained.add() }
        }
      }
      var random = SeededRandomness(seed: 7)
      let sent = (0..<8 << 20).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let collector = Collector()
      var eager = StreamOptions()
      eager.pauseReadingAboveBytes = .max
      let connection = try client(listener.address, on: group.next(), into: collector, options: eager)
      connection.execute {
        connection.pauseReading()
        var random = SeededRandomness(seed: 8)
        var place = 0
        while place < sent.count {
          let size = min(sent.count - place, 1 + random.below(100_000))
          if random.oneIn(2), size > 2 {
            sent[place..<place + size].withUnsafeBytes { all in
              connection.send(
                UnsafeRawBufferPointer(rebasing: all[..<(size / 2)]),
                UnsafeRawBufferPointer(rebasing: all[(size / 2)...]))
            }
          } else {
            connection.send(Array(sent[place..<place + size]))
          }
          place += size
        }
      }
      waiting.wait(for: 1)
      connection.execute { connection.resumeReading() }
      collector.wait { $0.count >= sent.count }
      #expect(collector.bytes == sent)
      drained.wait(for: 1)
    }
  }

  /// A peer that writes and never reads stops being read, and costs bounded memory.
  @Test func aPeerThatDoesNotReadIsNotRead() throws {
    try withGroup(loops: 1) { group in
      var options = StreamOptions()
      options.sendBufferBytes = 4096
      options.pauseReadingAboveBytes = 64 * 1024
      let most = Mutex(0)
      let received = Mutex(0)
      let listener = try Listener.listen(on: loopback(), group: group, options: options) { _ in
        TestHandler {
          $0.onReceived = { bytes, connection in
            received.withLock { $0 += bytes.count }
            connection.send(bytes)
            most.withLock { $0 = max($0, connection.bufferedBytes) }
          }
        }
      }
      var small = StreamOptions()
      small.receiveBufferBytes = 4096
      small.pauseReadingAboveBytes = .max
      let collector = Collector()
      let connection = try client(listener.address, on: group.next(), into: collector, options: small)
      let size = 16 << 20
      connection.execute {
        connection.pauseReading()
        connection.send([UInt8](repeating: 1, count: size))
      }
      // What the kernel's buffers and one pause hold, and no more, gets through.
      let quiet = Tally()
      @Sendable func watch(_ last: Int, _ same: Int) {
        group.loops[0].schedule(afterNanoseconds: 20_000_000) {
          let now = received.withLock { $0 }
          if same == 5 { quiet.add() } else { watch(now, now == last ? same + 1 : 0) }
        }
      }
      watch(-1, 0)
      quiet.wait(for: 1)
      #expect(received.withLock { $0 } < size)
      #expect(most.withLock { $0 } <= 64 * 1024 + 64 * 1024)
      connection.execute { connection.resumeReading() }
      collector.wait { $0.count == size }
      #expect(most.withLock { $0 } <= 64 * 1024 + 64 * 1024)
    }
  }

  @Test func pausingStopsReceivingAndResumingLosesNothing() throws {
    try withGroup(loops: 1) { group in
      let collector = Collector()
      let server = Mutex<StreamConnection?>(nil)
      let listener = try Listener.listen(on: loopback(), group: group) { connection in
        server.withLock { $0 = connection }
        return TestHandler {
          $0.onReceived = { bytes, connection in
            collector.append(bytes)
            connection.pauseReading()
          }
        }
      }
      let replies = Collector()
      let connection = try client(listener.address, on: group.next(), sending: [1], into: replies)
      collector.wait { $0.count == 1 }
      let sent = Tally()
      connection.execute {
        connection.send([2, 3])
        sent.add()
      }
      sent.wait(for: 1)
      let turned = Tally()
      for _ in 0..<3 { group.loops[0].schedule(afterNanoseconds: 5_000_000) { turned.add() } }
      turned.wait(for: 3)
      #expect(collector.bytes == [1])
      let peer = server.withLock { $0! }
      peer.execute { peer.resumeReading() }
      collector.wait { $0.count == 3 }
      #expect(collector.bytes == [1, 2, 3])
    }
  }

  // MARK: Ends

  @Test func theLastBytesArriveBeforeTheEnd() throws {
    try withGroup { group in
      let size = 3 << 20
      let listener = try Listener.listen(on: loopback(), group: group) { _ in
        TestHandler {
          $0.onOpened = { connection in
            connection.send([UInt8](repeating: 9, count: size))
            connection.close()
            // After close nothing is sent.
            connection.send([1, 2, 3])
          }
        }
      }
      let collector = Collector()
      _ = try client(listener.address, on: group.next(), into: collector)
      #expect(collector.waitForEnd() == .closed)
      #expect(collector.count == size)
    }
  }

  @Test func aHalfClosedConnectionStillAnswers() throws {
    try withGroup { group in
      let listener = try Listener.listen(on: loopback(), group: group) { _ in
        let heard = Collector()
        return TestHandler {
          $0.onReceived = { bytes, _ in heard.append(bytes) }
          $0.onInputEnded = { connection in
            connection.send(heard.bytes.reversed())
            connection.close()
          }
        }
      }
      let stream = try RawClient(listener.address)
      stream.write([1, 2, 3])
      stream.shutWriting()
      #expect(stream.readToEnd() == [3, 2, 1])
    }
  }

  @Test func aResetIsToldAndCostsOneConnection() throws {
    try withGroup { group in
      let collector = Collector()
      let listener = try Listener.listen(on: loopback(), group: group) { _ in
        TestHandler {
          $0.onReceived = { bytes, connection in
            collector.append(bytes)
            if bytes == [0] { return }
            connection.send(bytes)
          }
          $0.onInputEnded = { connection in connection.send([1, 2, 3]) }
          $0.onClosed = { reason, _ in collector.end(reason) }
        }
      }
      let stream = try RawClient(listener.address)
      stream.write([0])
      collector.wait { $0.count == 1 }
      stream.reset()
      guard case .failed(let error) = collector.waitForEnd() else {
        Issue.record("\(collector.reason!)")
        return
      }
      #expect(error.kind == .reset)
      // SIGPIPE would have ended the process.
      let again = Collector()
      _ = try client(listener.address, on: group.next(), sending: [5, 6], into: again)
      again.wait { $0.bytes == [5, 6] }
    }
  }

  @Test func abortFromAnotherThreadEndsABlockedSend() throws {
    try withGroup(loops: 1) { group in
      let collector = Collector()
      let stuck = Tally()
      let server = Mutex<StreamConnection?>(nil)
      let sent = Atomic(true)
      let listener = try Listener.listen(on: loopback(), group: group) { connection in
        server.withLock { $0 = $0 ?? connection }
        return TestHandler {
          $0.onReceived = { _, connection in
            connection.send([UInt8](repeating: 0, count: 32 << 20))
            stuck.add()
            sent.store(connection.waitUntilSent(), ordering: .relaxed)
          }
          $0.onClosed = { reason, _ in collector.end(reason) }
        }
      }
      let stream = try RawClient(listener.address)
      stream.write([1])
      stuck.wait(for: 1)
      // The loop goes on meanwhile.
      let other = Collector()
      _ = try client(listener.address, on: group.next(), into: other)
      let turned = Tally()
      group.loops[0].execute { turned.add() }
      turned.wait(for: 1)
      server.withLock { $0 }!.abort()
      collector.wait { $0.reason != nil }
      #expect(collector.reason == .aborted)
      let wasSent = sent.load(ordering: .relaxed)
      #expect(!wasSent)
    }
  }

  @Test func shutdownTellsEveryConnection() throws {
    let collectors = (0..<10).map { _ in Collector() }
    let group = try EventLoopGroup(.init(loops: 2))
    let listener = try Listener.listen(on: loopback(), group: group, handler: echo)
    for collector in collectors { _ = try client(listener.address, on: group.next(), sending: [1], into: collector) }
    for collector in collectors { collector.wait { $0.count == 1 } }
    group.shutDown()
    for collector in collectors { #expect(collector.reason != nil) }
  }

  // MARK: Many

  @Test func twoThousandConnectionsAreServed() throws {
    ResourceLimits.raiseOpenFiles()
    try withGroup(loops: 3) { group in
      let listener = try Listener.listen(on: loopback(), group: group, backlog: 4096, handler: echo)
      let done = Tally()
      let failed = Tally()
      for number in 0..<2000 {
        let bytes = withUnsafeBytes(of: UInt32(number).bigEndian) { [UInt8]($0) }
        try StreamConnection.connect(to: listener.address, on: group.next(), timeoutNanoseconds: 60_000_000_000) { _ in
          let heard = Collector()
          return TestHandler {
            $0.onOpened = { $0.send(bytes) }
            $0.onReceived = { piece, _ in
              heard.append(piece)
              if heard.count == 4 {
                if heard.bytes != bytes { failed.add() }
                done.add()
              }
            }
            $0.onClosed = { reason, _ in
              if reason != .closed && reason != .shutDown { failed.add() }
            }
          }
        }
      }
      done.wait(for: 2000)
      #expect(failed.value == 0)
    }
  }

  /// Handlers that wait for what another connection of the same loop brings, as a row lock makes them.
  @Test func aHandlerMayWaitForAnotherConnection() throws {
    try withGroup(loops: 1) { group in
      let gate = Tally()
      let listener = try Listener.listen(on: loopback(), group: group) { _ in
        TestHandler {
          $0.onReceived = { bytes, connection in
            if bytes[0] == 1 { EventLoop.blocking { gate.wait(for: 1) } }
            if bytes[0] == 2 { gate.wait(for: 1) }  // Without saying so: the monitor sees it.
            if bytes[0] == 3 { gate.add() }
            connection.send(bytes)
          }
        }
      }
      let collectors = (0..<9).map { _ in Collector() }
      for (place, collector) in collectors.enumerated() {
        let first: UInt8 = place == 8 ? 3 : place % 2 == 0 ? 1 : 2
        _ = try client(listener.address, on: group.next(), sending: [first, UInt8(place)], into: collector)
      }
      for collector in collectors { collector.wait { $0.count == 2 } }
    }
  }

  /// What arrives, is asked for, or ends while the handler is elsewhere is not lost.
  @Test func eventsDuringABlockedHandlerAreRemembered() throws {
    try withGroup(loops: 1) { group in
      let gate = Tally()
      let inside = Tally()
      let order = Mutex<[String]>([])
      let collector = Collector()
      let server = Mutex<StreamConnection?>(nil)
      let listener = try Listener.listen(on: loopback(), group: group) { connection in
        server.withLock { $0 = connection }
        return TestHandler {
          $0.onReceived = { bytes, connection in
            order.withLock { $0.append("received \(bytes.count)") }
            guard bytes == [1] else { return }
            inside.add()
            EventLoop.blocking { gate.wait(for: 1) }
            order.withLock { $0.append("unblocked, peer gone: \(connection.peerHasHungUp)") }
          }
          $0.onWoken = { _ in order.withLock { $0.append("woken") } }
          $0.onInputEnded = { connection in
            order.withLock { $0.append("ended") }
            connection.close()
          }
          $0.onClosed = { reason, _ in
            order.withLock { $0.append("\(reason)") }
            collector.end(reason)
          }
        }
      }
      let stream = try RawClient(listener.address)
      stream.write([1])
      inside.wait(for: 1)
      let connection = server.withLock { $0! }
      connection.execute { order.withLock { $0.append("mail") } }
      connection.wake()
      stream.write([2, 3])
      stream.close()
      // Let the loop see all that.
      let turned = Tally()
      while !connection.peerHasHungUp {
        group.loops[0].execute { turned.add() }
        turned.wait(for: turned.value + 1)
      }
      gate.add()
      #expect(collector.waitForEnd() == .closed)
      #expect(
        order.withLock { $0 } == [
          "received 1", "unblocked, peer gone: true", "mail", "woken", "received 2", "ended", "closed",
        ])
    }
  }

  /// Every request blocks at random, is taken at random, and every answer must come, in order.
  @Test(arguments: [UInt64(1), 2])
  func randomlyBlockingHandlersAnswerEverything(_ seed: UInt64) throws {
    try withGroup(loops: 2, maximumThreads: 12, slice: 200_000) { group in
      let listener = try Listener.listen(on: loopback(), group: group) { connection in
        let random = Mutex(SeededRandomness(seed: seed &+ connection.id))
        return TestHandler {
          $0.onReceived = { bytes, connection in
            switch random.withLock({ $0.below(10) }) {
            case 0: _ = EventLoop.blocking { usleep(200) }
            case 1: usleep(1500)
            case 2: connection.wake()
            case 3: connection.execute {}
            default: break
            }
            connection.send(bytes)
          }
        }
      }
      let collectors = (0..<24).map { _ in Collector() }
      let rounds = 150
      for collector in collectors {
        try StreamConnection.connect(to: listener.address, on: group.next(), timeoutNanoseconds: 20_000_000_000) { _ in
          TestHandler {
            $0.onOpened = { $0.send([0]) }
            $0.onReceived = { bytes, connection in
              collector.append(bytes)
              if collector.count < rounds { connection.send([UInt8(truncatingIfNeeded: collector.count)]) }
            }
            $0.onClosed = { reason, _ in collector.end(reason) }
          }
        }
      }
      for collector in collectors {
        collector.wait { $0.count == rounds || $0.reason != nil }
        #expect(collector.bytes == (0..<rounds).map { UInt8(truncatingIfNeeded: $0) }, "seed \(seed)")
      }
    }
  }
}
