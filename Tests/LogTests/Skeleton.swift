import Testing

@Suite struct LogSkeleton {
  @Test func builds() {}
}
