import Server
import Synchronization
import Testing

@Suite struct StandingTests {
  private final class Client: Sendable {}

  @Test func whoHasGoneIsForgotten() {
    let waiters = StandingWaiters()
    let told = Atomic(0)
    let patient = (0..<10).map { _ in Client() }
    for client in patient { waiters.whenChanged(client) { told.wrappingAdd(1, ordering: .relaxed) } }
    for _ in 0..<100_000 {
      let client = Client()
      waiters.whenChanged(client) {}
    }
    #expect(waiters.count <= 256)
    waiters.changed()
    #expect(told.load(ordering: .relaxed) == 10 && waiters.count == 0)
    waiters.changed()
    #expect(told.load(ordering: .relaxed) == 10)
    withExtendedLifetime(patient) {}
  }
}
