import Testing

@Suite struct StorageSkeleton {
  @Test func builds() {}
}
