import Platform
import Testing

@Suite struct LoopSoloTests {
  private func spins(_ solo: inout LoopSolo) -> Bool { solo.maySpin() }

  private func alone() -> LoopSolo {
    var solo = LoopSolo()
    for _ in 0...LoopSolo.turns { solo.note(7) }
    return solo
  }

  @Test func onlyALoopWithOneSourceSpins() {
    var solo = LoopSolo()
    #expect(!spins(&solo))
    for _ in 0..<LoopSolo.turns { solo.note(7) }
    #expect(!spins(&solo))
    solo.note(7)
    #expect(spins(&solo))
    solo.note(8)
    #expect(!spins(&solo))
  }

  @Test func whoFindsNothingSpinsSeldom() {
    var solo = alone()
    var spins = 0
    for _ in 0..<LoopSolo.pause * 10 where solo.maySpin() {
      spins += 1
      solo.hasSpun(found: false)
    }
    #expect((10...12).contains(spins))
  }

  @Test func everyThirdFindKeepsItSpinning() {
    var solo = alone()
    for time in 0..<300 {
      #expect(spins(&solo), "time \(time)")
      solo.hasSpun(found: time % 3 == 0)
    }
  }

  @Test func oneFindBringsItBack() {
    var solo = alone()
    while solo.maySpin() { solo.hasSpun(found: false) }
    var waits = 1
    while !solo.maySpin() { waits += 1 }
    #expect(waits < LoopSolo.pause)
    solo.hasSpun(found: true)
    #expect(spins(&solo))
  }
}
