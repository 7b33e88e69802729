import Testing

@Suite struct HouseSkeleton {
  @Test func builds() {}
}
