import Testing

@Suite struct PaxosSkeleton {
  @Test func builds() {}
}
