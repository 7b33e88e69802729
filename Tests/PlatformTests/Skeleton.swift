import Testing

@Suite struct PlatformSkeleton {
  @Test func builds() {}
}
