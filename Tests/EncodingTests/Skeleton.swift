import Testing

@Suite struct EncodingSkeleton {
  @Test func builds() {}
}
