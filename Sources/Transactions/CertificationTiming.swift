internal import Glibc

// How long the sequencer is kept by certification: one commit in 16 of tracked transactions is timed (the check, and the
// graph taking it in), and the last 4,096 samples are kept. Guarded by the sequencer's latch.

@unsafe
struct CertificationTiming {
  static let period: UInt64 = 16
  static let capacity = 4096
  private var count: UInt64 = 0
  private var samples = unsafe RawList<UInt32>()
  private var next = 0

  /// What reading the clock takes: the least of some readings. Each of a sample's two stretches contains it once.
  static let clockNanoseconds: UInt64 = {
    var least = UInt64.max
    for _ in 0..<256 {
      let start = now
      least = min(least, now - start)
    }
    return least
  }()

  static var now: UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// The time, or 0 if this one is not timed.
  @inline(__always)
  mutating func start() -> UInt64 {
    unsafe count &+= 1
    return unsafe count % CertificationTiming.period == 0 ? CertificationTiming.now : 0
  }

  /// A sample of two stretches, by the clock: its own time is taken off.
  mutating func add(_ nanoseconds: UInt64) {
    let overhead = unsafe 2 * CertificationTiming.clockNanoseconds
    let sample = UInt32(truncatingIfNeeded: min(nanoseconds - min(nanoseconds, overhead), UInt64(UInt32.max)))
    if unsafe samples.count < CertificationTiming.capacity {
      unsafe samples.append(sample)
    } else {
      unsafe samples[next] = sample
      unsafe next = unsafe (next + 1) % CertificationTiming.capacity
    }
  }

  var all: [UInt32] { unsafe (0..<samples.count).map { unsafe samples[$0] } }

  mutating func free() { unsafe samples.free() }
}
