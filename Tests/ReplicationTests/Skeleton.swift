import Testing

@Suite struct ReplicationSkeleton {
  @Test func builds() {}
}
