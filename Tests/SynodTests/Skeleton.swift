import Testing

@Suite struct SynodSkeleton {
  @Test func builds() {}
}
