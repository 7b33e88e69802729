// stddev, variance, corr and regression. Doubles by Youngs and Cramer's updating formulas, as PostgreSQL since version 12;
// integers and numerics exactly, as numeric.

/// n, Σx and Σ(x - mean)², kept up to date.
struct Moments: BitwiseCopyable {
  var n = 0.0
  var sum = 0.0
  var squares = 0.0
  mutating func add(_ x: Double) throws(SQLError) {
    let before = sum
    n += 1
    sum += x
    if n > 1 {
      let t = x * n - sum
      squares += t * t / (n * (n - 1))
      if squares.isInfinite || sum.isInfinite {
        // Only finite numbers overflow; an infinite one makes the squares undefined.
        if !before.isInfinite, !x.isInfinite { throw DoubleArithmetic.overflow() }
        squares = .nan
      }
    } else if x.isNaN || x.isInfinite {
      squares = .nan
    }
  }
  mutating func add(_ other: Moments) throws(SQLError) {
    if other.n == 0 { return }
    if n == 0 {
      self = other
      return
    }
    let t = sum / n - other.sum / other.n
    let isInfinite = sum.isInfinite || other.sum.isInfinite
    squares += other.squares + n * other.n * t * t / (n + other.n)
    n += other.n
    sum += other.sum
    if squares.isInfinite || sum.isInfinite {
      if !isInfinite { throw DoubleArithmetic.overflow() }
      squares = .nan
    }
  }
}

/// Σx and Σx² as numerics.
struct NumericMoments: BitwiseCopyable {
  var sum = NumericSum()
  var squares = NumericSum()
}

/// Moments of pairs (y, x), in the order of the regression functions' arguments.
struct PairMoments: BitwiseCopyable {
  var n = 0.0
  var sumX = 0.0
  var squaresX = 0.0
  var sumY = 0.0
  var squaresY = 0.0
  var products = 0.0
  mutating func add(_ y: Double, _ x: Double) {
    n += 1
    sumX += x
    sumY += y
    if n > 1 {
      let (p, q) = (x * n - sumX, y * n - sumY)
      let scale = 1 / (n * (n - 1))
      squaresX += p * p * scale
      squaresY += q * q * scale
      products += p * q * scale
    }
  }
}

extension FunctionRegistry {
  mutating func addStatistics() {
    let names: [(String, Bool, Bool)] = [
      ("variance", true, false), ("var_samp", true, false), ("var_pop", false, false), ("stddev", true, true),
      ("stddev_samp", true, true), ("stddev_pop", false, true),
    ]
    for (name, isSample, isRoot) in names {
      for type in [TypeID.float4, .float8] {
        aggregate(
          name, [type], .float8, start: Moments(), { (s, a, _) throws(SQLError) in try s.add(a[0].double) },
          combine: { (s, t, _) throws(SQLError) in try s.add(t) },
          finish: { (s, _) throws(SQLError) in
            guard s.n > (isSample ? 1 : 0) else { return .null }
            let variance = s.squares / (isSample ? s.n - 1 : s.n)
            return Value(isRoot ? variance.squareRoot() : variance)
          })
      }
      for type in [TypeID.int2, .int4, .int8, .numeric] {
        aggregate(
          name, [type], .numeric, start: NumericMoments(),
          { (s, a, c) throws(SQLError) in
            let x = type == .numeric ? a[0] : Numeric.fromInt(a[0].int, c.arena)
            try s.sum.add(x, c.stateArena)
            try s.squares.add(try Numeric.multiply(x, x, c.arena), c.stateArena)
          },
          combine: { (s, t, c) throws(SQLError) in
            try s.sum.add(t.sum, c.stateArena)
            try s.squares.add(t.squares, c.stateArena)
          },
          finish: { (s, c) throws(SQLError) in
            try Statistics.numericVariance(s, sample: isSample, root: isRoot, c.arena)
          })
      }
    }
    pair("corr") { $0.squaresX == 0 || $0.squaresY == 0 ? nil : $0.products / ($0.squaresX * $0.squaresY).squareRoot() }
    pair("covar_pop") { $0.products / $0.n }
    pair("covar_samp") { $0.n < 2 ? nil : $0.products / ($0.n - 1) }
    pair("regr_avgx") { $0.sumX / $0.n }
    pair("regr_avgy") { $0.sumY / $0.n }
    pair("regr_sxx") { $0.squaresX }
    pair("regr_syy") { $0.squaresY }
    pair("regr_sxy") { $0.products }
    pair("regr_slope") { $0.squaresX == 0 ? nil : $0.products / $0.squaresX }
    pair("regr_intercept") { $0.squaresX == 0 ? nil : ($0.sumY - $0.sumX * $0.products / $0.squaresX) / $0.n }
    pair("regr_r2") {
      $0.squaresX == 0 ? nil : $0.squaresY == 0 ? 1 : $0.products * $0.products / ($0.squaresX * $0.squaresY)
    }
    aggregate(
      "regr_count", [.float8, .float8], .int8, start: Int64(0), { (s, _, _) throws(SQLError) in s += 1 },
      combine: { (s, t, _) throws(SQLError) in s += t }, finish: { (s, _) throws(SQLError) in Value(s) })
  }

  private mutating func pair(_ name: String, _ finish: @escaping @Sendable (PairMoments) -> Double?) {
    aggregate(
      name, [.float8, .float8], .float8, start: PairMoments(),
      { (s, a, _) throws(SQLError) in s.add(a[0].double, a[1].double) },
      finish: { (s, _) throws(SQLError) in s.n == 0 ? .null : finish(s).map { Value($0) } ?? .null })
  }
}

enum Statistics {
  /// (n·Σx² - (Σx)²) / (n·(n-1) or n²), exactly, with the quotient's usual scale.
  static func numericVariance(
    _ s: NumericMoments, sample: Bool, root: Bool, _ arena: Arena
  ) throws(SQLError) -> Value {
    let n = s.sum.count
    guard n > (sample ? 1 : 0) else { return .null }
    let sum = try s.sum.total(arena)
    if sum.numericSpecial != nil { return .numericNaN }
    let count = NumericVariable(n)
    let x = NumericVariable(sum)
    let squares = NumericVariable(try s.squares.total(arena))
    let scaled = NumericVariable.multiply(squares, count, scale: squares.displayScale)
    let numerator = scaled - NumericVariable.multiply(x, x, scale: x.displayScale * 2)
    if numerator.isZero || numerator.isNegative { return Value(mantissa: 0, scale: 0) }
    let denominator = NumericVariable.multiply(count, sample ? NumericVariable(n - 1) : count, scale: 0)
    let scale = NumericVariable.divisionScale(numerator, denominator)
    let variance = NumericVariable.divide(numerator, denominator, scale: scale)
    return Numeric.make(root ? variance.squareRoot(scale: scale) : variance, arena)
  }
}
