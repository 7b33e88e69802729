import Testing

@Suite struct SimulationSkeleton {
  @Test func builds() {}
}
