internal import Glibc

// Roots, exponentials and logarithms of decimals, with the result scales that PostgreSQL's numeric.c chooses.
// Each is computed with guard digits and rounded once at the end.

extension NumericVariable {
  private static func clampScale(_ scale: Int) -> Int { min(max(scale, 0), maximumChosenScale) }

  static func overflow() -> SQLError { SQLError(.numericOutOfRange, "value overflows numeric format") }

  // MARK: Square root

  /// √self for a number that is not negative, to PostgreSQL's scale.
  func squareRoot() -> NumericVariable {
    let rootWeight = NumericVariable.floorDivide((weight + 1) * 4, 2) - 1
    var scale = NumericVariable.minimumSignificantDigits - rootWeight
    scale = NumericVariable.clampScale(max(scale, displayScale))
    return squareRoot(scale: scale)
  }

  private static func floorDivide(_ a: Int, _ b: Int) -> Int { a / b }

  /// √self rounded to `scale` decimals: Newton's iteration, doubling the digits each time, with eight to spare.
  func squareRoot(scale: Int) -> NumericVariable {
    if isZero {
      var result = NumericVariable.zero
      result.displayScale = max(scale, 0)
      return result
    }
    // As m · 10000^(2k): the root is √m · 10000^k. Over m, whose root has one or two digits before the point, every
    // iteration runs with as many decimals as it can make right, twice those of the one before: the last one costs as
    // much as all before it.
    let k = weight >= 0 ? weight / 2 : -((1 - weight) / 2)
    var leading = self
    leading.weight = weight - 2 * k
    leading.displayScale = max(displayScale + 8 * k, 0)
    let guardScale = max(scale + 8 + 4 * k, 8)
    var guess = NumericVariable.fromDouble(leading.approximate.squareRoot())
    guess.displayScale = 0
    var accurate = 10
    while accurate < guardScale {
      // x ← (x + a/x) / 2
      accurate = min(guardScale, accurate * 2)
      let quotient = NumericVariable.divide(leading, guess, scale: accurate)
      guess = NumericVariable.divide(guess + quotient, NumericVariable(Int64(2)), scale: accurate + 1)
      guess.round(to: accurate)
    }
    guess.weight += k
    guess.displayScale = max(guardScale - 4 * k, 0)
    return guess.rounded(to: scale)
  }

  static func fromDouble(_ value: Double) -> NumericVariable {
    if value == 0 || !value.isFinite { return .zero }
    // 17 significant decimal digits: value = m · 10^e.
    let exponent = Int(log10(abs(value)).rounded(.down)) - 16
    let mantissa = (abs(value) / Numeric.power(10.0, exponent)).rounded()
    guard mantissa.isFinite, mantissa < 9e18 else { return .zero }
    var result = NumericVariable(Int64(mantissa))
    result = result.shifted(decimals: exponent)
    result.isNegative = value < 0
    return result
  }

  /// self · 10^n.
  func shifted(decimals n: Int) -> NumericVariable {
    if isZero { return self }
    let whole = n >= 0 ? n / 4 : -((3 - n) / 4)
    let rest = n - whole * 4
    var result = self
    if rest != 0 {
      result = NumericVariable.multiply(
        self, NumericVariable(Int64(NumericVariable.smallPowers[rest])), scale: displayScale + 8)
    }
    result.weight += whole
    result.displayScale = max(0, displayScale - n)
    return result
  }

  // MARK: Exponential

  /// e^self, to PostgreSQL's scale.
  func exponential() throws(SQLError) -> NumericVariable {
    var magnitude = approximateNoOverflow * 0.434294481903252
    magnitude = max(
      min(magnitude, Double(NumericVariable.maximumResultScale)), -Double(NumericVariable.maximumResultScale))
    let scale = NumericVariable.minimumSignificantDigits - Int(magnitude)
    return try exponential(scale: NumericVariable.clampScale(max(scale, displayScale)))
  }

  func exponential(scale: Int) throws(SQLError) -> NumericVariable {
    var value = approximateNoOverflow
    if abs(value) >= Double(NumericVariable.maximumResultScale * 3) {
      if value > 0 { throw NumericVariable.overflow() }
      var result = NumericVariable.zero
      result.displayScale = scale
      return result
    }
    let decimalWeight = Int(value * 0.434294481903252)
    var halvings = 0
    while abs(value) > 0.01 {
      halvings += 1
      value /= 2
    }
    var x = self
    if halvings > 0 {
      x = NumericVariable.divide(
        self, NumericVariable(Int64(1) << Int64(halvings)), scale: displayScale + halvings + 8)
    }
    let significant = max(1 + decimalWeight + scale + Int(Double(halvings) * 0.301029995663981), 0) + 8
    var workScale = significant - 1
    x.displayScale = max(x.displayScale, 0)
    // Taylor's series: 1 + x + x²/2! + …
    var term = x.rounded(to: workScale)
    var sum = NumericVariable.one + term
    var n: Int64 = 2
    while !term.isZero {
      term = NumericVariable.divide(
        NumericVariable.multiply(term, x, scale: workScale), NumericVariable(n), scale: workScale)
      sum = sum + term
      n += 1
    }
    for _ in 0..<halvings {
      workScale = max(significant - sum.weight * 2 * 4, 0)
      sum = NumericVariable.multiply(sum, sum, scale: workScale)
    }
    sum.round(to: scale)
    return sum
  }

  var approximateNoOverflow: Double {
    if weight > 75 { return isNegative ? -.infinity : .infinity }
    return approximate
  }

  // MARK: Logarithms

  /// The decimal weight of ln(self), estimated; PostgreSQL's estimate_ln_dweight.
  var logarithmWeight: Int {
    if isZero || isNegative { return 0 }
    if NumericVariable.compare(self, NumericVariable.pointNine) >= 0,
      NumericVariable.compare(self, NumericVariable.onePointOne) <= 0
    {
      let difference = self - .one
      if difference.isZero { return 0 }
      return difference.weight * 4 + Int(log10(Double(difference.digits[0])))
    }
    var leading = Double(digits[0])
    var decimal = weight * 4
    if digits.count > 1 {
      leading = leading * 10000 + Double(digits[1])
      decimal -= 4
    }
    let estimate = log(leading) + Double(decimal) * 2.302585092994046
    return Int(log10(abs(estimate)))
  }

  static let pointNine = NumericVariable(magnitude: 9, isNegative: false, scale: 1)
  static let onePointOne = NumericVariable(magnitude: 11, isNegative: false, scale: 1)

  /// ln(self) for a positive number, to PostgreSQL's scale.
  func naturalLogarithm() -> NumericVariable {
    let scale = NumericVariable.minimumSignificantDigits - logarithmWeight
    return naturalLogarithm(scale: NumericVariable.clampScale(max(scale, displayScale)))
  }

  /// ln(self) to `scale` decimals: roots until 0.9 < x < 1.1, then 2·(z + z³/3 + z⁵/5 …) with z = (x-1)/(x+1).
  func naturalLogarithm(scale: Int) -> NumericVariable {
    // A number with very many digits is taken as m · 10000^k: the roots would run over all its digits, of which the result
    // shows few. ln is then ln m + k · ln 10000, and of m no more digits count than the result has.
    if abs(weight) > 16 {
      var leading = self
      leading.weight = 0
      leading.round(to: scale + 16)
      let guardScale = scale + 12
      let exponent = NumericVariable.multiply(
        NumericVariable(Int64(10_000)).naturalLogarithm(scale: guardScale), NumericVariable(Int64(weight)),
        scale: guardScale)
      return (leading.naturalLogarithm(scale: guardScale) + exponent).rounded(to: scale)
    }
    var x = self
    var factor: Int64 = 2
    var roots = 0
    while NumericVariable.compare(x, NumericVariable.pointNine) <= 0 {
      let work = scale - x.weight * 4 / 2 + 8
      x = x.squareRoot(scale: max(work, 0))
      factor *= 2
      roots += 1
    }
    while NumericVariable.compare(x, NumericVariable.onePointOne) >= 0 {
      let work = scale - x.weight * 4 / 2 + 8
      x = x.squareRoot(scale: max(work, 0))
      factor *= 2
      roots += 1
    }
    let work = scale + Int(Double(roots + 1) * 0.301029995663981) + 8
    let z = NumericVariable.divide(x - .one, x + .one, scale: work)
    let square = NumericVariable.multiply(z, z, scale: work)
    var power = z
    var sum = z
    var n: Int64 = 1
    while true {
      n += 2
      power = NumericVariable.multiply(power, square, scale: work)
      let term = NumericVariable.divide(power, NumericVariable(n), scale: work)
      if term.isZero { break }
      sum = sum + term
      if term.weight < sum.weight - work * 2 / 4 { break }
    }
    return NumericVariable.multiply(sum, NumericVariable(factor), scale: scale)
  }

  /// log of `self` to `base`, both positive.
  func logarithm(base: NumericVariable) throws(SQLError) -> NumericVariable {
    let baseWeight = base.logarithmWeight
    let numberWeight = logarithmWeight
    let resultWeight = numberWeight - baseWeight
    var scale = NumericVariable.minimumSignificantDigits - resultWeight
    scale = NumericVariable.clampScale(max(scale, base.displayScale, displayScale))
    let lnBase = base.naturalLogarithm(scale: max(scale + resultWeight - baseWeight + 8, 0))
    let lnNumber = naturalLogarithm(scale: max(scale + resultWeight - numberWeight + 8, 0))
    guard !lnBase.isZero else { throw SQLError(.divisionByZero, "division by zero") }
    return NumericVariable.divide(lnNumber, lnBase, scale: scale)
  }

  // MARK: Power

  /// self^exponent; the caller has handled 0^negative and negative^fraction.
  func power(_ exponent: NumericVariable) throws(SQLError) -> NumericVariable {
    if exponent.isInteger, let n = exponent.int64, let small = Int32(exactly: n) {
      let scale = NumericVariable.clampScale(max(NumericVariable.minimumSignificantDigits, displayScale))
      return try power(Int(small), scale: scale)
    }
    if isZero {
      var result = NumericVariable.zero
      result.displayScale = NumericVariable.minimumSignificantDigits
      return result
    }
    var magnitude = self
    magnitude.isNegative = false
    let isOdd = exponent.isInteger && exponent.digit(atWeight: 0) & 1 == 1
    let lnWeight = magnitude.logarithmWeight
    let roughScale = max(8 - lnWeight, 0)
    let rough = NumericVariable.multiply(
      magnitude.naturalLogarithm(scale: roughScale), exponent, scale: roughScale)
    var value = rough.approximateNoOverflow
    if abs(value) > Double(NumericVariable.maximumResultScale) * 3.01 {
      if value > 0 { throw NumericVariable.overflow() }
      var result = NumericVariable.zero
      result.displayScale = NumericVariable.maximumChosenScale
      return result
    }
    value *= 0.434294481903252
    var scale = NumericVariable.minimumSignificantDigits - Int(value)
    scale = NumericVariable.clampScale(max(scale, displayScale, exponent.displayScale))
    let significant = max(scale + Int(value), 0) + 8
    let workScale = max(significant - lnWeight + 8, 0)
    let product = NumericVariable.multiply(
      magnitude.naturalLogarithm(scale: workScale), exponent, scale: workScale)
    var result = try product.exponential(scale: scale)
    result.isNegative = isNegative && isOdd && !result.isZero
    return result
  }

  private func power(_ exponent: Int, scale: Int) throws(SQLError) -> NumericVariable {
    switch exponent {
    case 0:
      var result = NumericVariable.one
      result.displayScale = scale
      return result
    case 1: return rounded(to: scale)
    case -1:
      guard !isZero else { throw SQLError(.divisionByZero, "division by zero") }
      return NumericVariable.divide(.one, self, scale: scale)
    case 2: return NumericVariable.multiply(self, self, scale: scale)
    default: break
    }
    if isZero {
      guard exponent > 0 else { throw SQLError(.divisionByZero, "division by zero") }
      var result = NumericVariable.zero
      result.displayScale = scale
      return result
    }
    var leading = Double(digits[0])
    var decimal = Double(weight * 4)
    for digit in digits.dropFirst().prefix(3) {
      leading = leading * 10000 + Double(digit)
      decimal -= 4
    }
    let logarithm = Double(exponent) * (log10(leading) + decimal)
    if logarithm > Double((NumericVariable.maximumWeight + 1) * 4) { throw NumericVariable.overflow() }
    if logarithm + 1 < Double(-scale) {
      var result = NumericVariable.zero
      result.displayScale = scale
      return result
    }
    let significant = 1 + scale + Int(logarithm) + Int(log(Double(abs(exponent)))) + 8
    var mask = exponent.magnitude
    var square = self
    var result = mask & 1 == 1 ? self : NumericVariable.one
    mask >>= 1
    while mask > 0 {
      var work = min(significant - 2 * square.weight * 4, 2 * square.displayScale)
      square = NumericVariable.multiply(square, square, scale: max(work, 0))
      if mask & 1 == 1 {
        work = min(significant - (square.weight + result.weight) * 4, square.displayScale + result.displayScale)
        result = NumericVariable.multiply(square, result, scale: max(work, 0))
      }
      if square.weight > NumericVariable.maximumWeight || result.weight > NumericVariable.maximumWeight {
        if exponent > 0 { throw NumericVariable.overflow() }
        var zero = NumericVariable.zero
        zero.displayScale = scale
        return zero
      }
      mask >>= 1
    }
    return exponent < 0 ? NumericVariable.divide(.one, result, scale: scale) : result.rounded(to: scale)
  }
}
