internal import CSynod

/// Time as the machine has it. Simulation's clock runs from a seed.
package protocol Clock: Sendable {
  /// Nanoseconds since an arbitrary start, never running backwards, counting time that the machine was suspended:
  /// a resumed virtual machine must not believe that its lease still holds.
  var bootNanoseconds: UInt64 { get }
  /// Nanoseconds since 1970-01-01 UTC as the wall clock has it; may jump. For people only.
  var wallNanoseconds: UInt64 { get }
}

/// CLOCK_BOOTTIME and CLOCK_REALTIME.
package struct LinuxClock: Clock {
  package init() {}
  package var bootNanoseconds: UInt64 { synod_boot_nanoseconds() }
  package var wallNanoseconds: UInt64 { synod_wall_nanoseconds() }
  /// Nanoseconds of processor time that this process has used.
  package static var processNanoseconds: UInt64 { synod_cpu_nanoseconds() }
}
