/// A time zone: UTC, a fixed offset, or a named zone of the system's database.
package struct TimeZone: Sendable, Hashable {
  package let name: String
  /// Seconds east of UTC for a fixed offset.
  let fixedOffset: Int
  package static let utc = TimeZone(name: "UTC", fixedOffset: 0)
}
