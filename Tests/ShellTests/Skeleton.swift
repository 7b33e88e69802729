import Testing

@Suite struct ShellSkeleton {
  @Test func builds() {}
}
