import Testing

@Suite struct SQLSkeleton {
  @Test func builds() {}
}
