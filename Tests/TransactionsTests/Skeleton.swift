import Testing

@Suite struct TransactionsSkeleton {
  @Test func builds() {}
}
