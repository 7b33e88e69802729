import Foundation
import Platform
import Synchronization
import Testing

@Suite struct StreamTests {
  @Test func whatIsSentComesBack() throws {
    try withGroup { group in
      let listener = try Listener.listen(on: loopback(), group: group, handler: echo)
      let collector = Collector()
      let connection = try client(
        listener.address, on: group.next(), sending: Array("hello".utf8), into: collector)
      collector.wait { $0.count == 5 }
      #expect(collector.bytes == Array("hello".utf8))
      connection.execute { connection.close() }
      #expect(collector.waitForEnd() == .closed)
    }
  }
}
