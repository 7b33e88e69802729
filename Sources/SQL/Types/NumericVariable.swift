// Decimal arithmetic of any size: the slow path of `numeric`, with PostgreSQL's scale rules (its numeric.c).
//
//   value = ± Σ digits[i] · 10000^(weight - i)
//
// Invariants after `normalize`: no leading and no trailing zero digit; zero has no digits, weight 0 and no sign.
// `displayScale` is how many decimals are shown, whatever the digits; it is not part of equality.
// Limits: weight ≤ 32767 (131,072 digits before the point), display scale ≤ 16,383. Results are bounded before memory is
// taken for them.

/// A decimal number under computation. Finite; the special numerics are handled by `Numeric`.
struct NumericVariable: Sendable {
  var digits: [Int16] = []
  var weight = 0
  var isNegative = false
  var displayScale = 0

  static let base = 10000
  static let maximumWeight = 0x7fff
  static let maximumDisplayScale = 0x3fff
  static let minimumSignificantDigits = 16
  static let maximumResultScale = 2000
  /// The most decimals that division, roots and logarithms choose by themselves.
  static let maximumChosenScale = 1000

  static let zero = NumericVariable()
  static let one = NumericVariable(Int64(1))

  init() {}

  init(_ value: Int64) { self.init(magnitude: UInt128(value.magnitude), isNegative: value < 0, scale: 0) }

  /// ± magnitude · 10^-scale.
  init(magnitude: UInt128, isNegative: Bool, scale: Int) {
    displayScale = scale
    if magnitude == 0 { return }
    self.isNegative = isNegative
    // Shift so that the point falls between digits: the last digit holds 4 decimals.
    let fraction = (scale + 3) / 4
    let shift = fraction * 4 - scale
    var reversed: [Int16] = []
    reversed.reserveCapacity(11)
    let power = NumericVariable.smallPowers[shift]
    // The first (lowest) digit absorbs the shift so that the magnitude need not be multiplied (which could overflow).
    let lowBase = UInt128(10000 / power)
    reversed.append(Int16(magnitude % lowBase) * Int16(power))
    var rest = magnitude / lowBase
    while rest != 0 {
      reversed.append(Int16(truncatingIfNeeded: rest % 10000))
      rest /= 10000
    }
    weight = reversed.count - 1 - fraction
    digits = reversed.reversed()
    normalize()
  }

  static let smallPowers = [1, 10, 100, 1000, 10000]

  /// From the packed large form (see `NumericCodec`).
  init(packed bytes: Bytes) {
    guard bytes.count >= 7 else { return }
    isNegative = bytes[0] == 0x41
    weight = Int(bytes.load(1, as: Int16.self))
    displayScale = Int(bytes.load(3, as: UInt16.self)) & NumericVariable.maximumDisplayScale
    let count = (bytes.count - 5) / 2
    digits.reserveCapacity(count)
    for index in 0..<count { digits.append(min(9999, max(0, bytes.load(5 + 2 * index, as: Int16.self)))) }
    normalize()
  }

  /// A finite numeric value.
  init(_ value: Value) {
    if value.kind == .bigNumeric {
      self.init(packed: value.bytes)
    } else {
      self.init(
        magnitude: UInt128(value.mantissa.magnitude), isNegative: value.mantissa < 0, scale: value.displayScale)
    }
  }

  var isZero: Bool { digits.isEmpty }

  mutating func normalize() {
    var leading = 0
    while leading < digits.count, digits[leading] == 0 { leading += 1 }
    if leading > 0 {
      digits.removeFirst(leading)
      weight -= leading
    }
    while let last = digits.last, last == 0 { digits.removeLast() }
    if digits.isEmpty {
      weight = 0
      isNegative = false
    }
  }

  @inline(__always) func digit(atWeight w: Int) -> Int {
    let index = weight - w
    return index >= 0 && index < digits.count ? Int(digits[index]) : 0
  }

  // MARK: Comparison

  static func compareMagnitude(_ a: NumericVariable, _ b: NumericVariable) -> Int {
    if a.isZero || b.isZero { return a.isZero ? (b.isZero ? 0 : -1) : 1 }
    if a.weight != b.weight { return a.weight < b.weight ? -1 : 1 }
    let common = min(a.digits.count, b.digits.count)
    for index in 0..<common where a.digits[index] != b.digits[index] {
      return a.digits[index] < b.digits[index] ? -1 : 1
    }
    return a.digits.count == b.digits.count ? 0 : (a.digits.count < b.digits.count ? -1 : 1)
  }

  static func compare(_ a: NumericVariable, _ b: NumericVariable) -> Int {
    if a.isNegative != b.isNegative { return a.isNegative ? -1 : 1 }
    let order = compareMagnitude(a, b)
    return a.isNegative ? -order : order
  }

  // MARK: Addition, subtraction, multiplication

  static func + (a: NumericVariable, b: NumericVariable) -> NumericVariable {
    var result: NumericVariable
    if a.isNegative == b.isNegative {
      result = addMagnitudes(a, b)
      result.isNegative = a.isNegative
    } else {
      let order = compareMagnitude(a, b)
      if order == 0 {
        result = zero
      } else if order > 0 {
        result = subtractMagnitudes(a, b)
        result.isNegative = a.isNegative
      } else {
        result = subtractMagnitudes(b, a)
        result.isNegative = b.isNegative
      }
    }
    result.displayScale = max(a.displayScale, b.displayScale)
    result.normalize()
    return result
  }
  static func - (a: NumericVariable, b: NumericVariable) -> NumericVariable { a + (-b) }
  static prefix func - (a: NumericVariable) -> NumericVariable {
    var result = a
    result.isNegative = !a.isNegative && !a.isZero
    return result
  }

  private static func addMagnitudes(_ a: NumericVariable, _ b: NumericVariable) -> NumericVariable {
    if a.isZero { return b }
    if b.isZero { return a }
    let top = max(a.weight, b.weight) + 1
    let bottom = min(a.weight - a.digits.count, b.weight - b.digits.count) + 1
    var result = NumericVariable()
    result.weight = top
    result.digits = [Int16](repeating: 0, count: top - bottom + 1)
    var carry = 0
    var w = bottom
    while w <= top {
      var sum = a.digit(atWeight: w) + b.digit(atWeight: w) + carry
      carry = sum >= base ? 1 : 0
      sum -= carry * base
      result.digits[top - w] = Int16(sum)
      w += 1
    }
    return result
  }

  /// |a| - |b| for |a| > |b|.
  private static func subtractMagnitudes(_ a: NumericVariable, _ b: NumericVariable) -> NumericVariable {
    if b.isZero { return a }
    let top = a.weight
    let bottom = min(a.weight - a.digits.count, b.weight - b.digits.count) + 1
    var result = NumericVariable()
    result.weight = top
    result.digits = [Int16](repeating: 0, count: top - bottom + 1)
    var borrow = 0
    var w = bottom
    while w <= top {
      var difference = a.digit(atWeight: w) - b.digit(atWeight: w) - borrow
      borrow = difference < 0 ? 1 : 0
      difference += borrow * base
      result.digits[top - w] = Int16(difference)
      w += 1
    }
    return result
  }

  /// a · b rounded to `scale` decimals; exact when `scale` is the sum of theirs or more.
  static func multiply(_ a: NumericVariable, _ b: NumericVariable, scale: Int) -> NumericVariable {
    var result = NumericVariable()
    result.displayScale = scale
    if a.isZero || b.isZero { return result }
    var sums = [Int](repeating: 0, count: a.digits.count + b.digits.count)
    // A product is below 10^8 and at most 40,000 of them meet in one place, so an Int holds the sum without carries.
    for i in a.digits.indices {
      let x = Int(a.digits[i])
      if x == 0 { continue }
      for j in b.digits.indices { sums[i + j + 1] += x * Int(b.digits[j]) }
    }
    result.digits = [Int16](repeating: 0, count: sums.count)
    var carry = 0
    for index in sums.indices.reversed() {
      let sum = sums[index] + carry
      carry = sum / base
      result.digits[index] = Int16(sum - carry * base)
    }
    result.weight = a.weight + b.weight + 1
    result.isNegative = a.isNegative != b.isNegative
    result.round(to: scale)
    return result
  }

  // MARK: Rounding

  /// Rounds half away from zero to `scale` decimals (negative: to tens, hundreds …).
  mutating func round(to scale: Int) {
    displayScale = max(scale, 0)
    // Decimal digits kept, counted from the first base-10000 digit.
    let kept = (weight + 1) * 4 + scale
    if kept < 0 || digits.isEmpty {
      digits = []
      normalize()
      return
    }
    let whole = (kept + 3) / 4
    if whole < digits.count || (whole == digits.count && kept % 4 != 0) {
      let partial = kept % 4
      let dropped = digits.count > whole ? Int(digits[whole]) : 0
      digits.removeLast(max(0, digits.count - whole))
      var carry = 0
      if partial == 0 {
        carry = dropped >= 5000 ? 1 : 0
      } else {
        let power = NumericVariable.smallPowers[4 - partial]
        let last = Int(digits[whole - 1])
        let extra = last % power
        var rounded = last - extra
        if extra >= power / 2 {
          rounded += power
          if rounded >= NumericVariable.base {
            rounded -= NumericVariable.base
            carry = 1
          }
        }
        digits[whole - 1] = Int16(rounded)
        if carry == 1 {
          var index = whole - 2
          while carry == 1, index >= 0 {
            let sum = Int(digits[index]) + 1
            carry = sum == NumericVariable.base ? 1 : 0
            digits[index] = Int16(carry == 1 ? 0 : sum)
            index -= 1
          }
          if carry == 1 {
            digits.insert(1, at: 0)
            weight += 1
          }
        }
        normalize()
        return
      }
      var index = whole - 1
      while carry == 1, index >= 0 {
        let sum = Int(digits[index]) + 1
        carry = sum == NumericVariable.base ? 1 : 0
        digits[index] = Int16(carry == 1 ? 0 : sum)
        index -= 1
      }
      if carry == 1 {
        digits.insert(1, at: 0)
        weight += 1
      }
    }
    normalize()
  }

  /// Drops what is beyond `scale` decimals.
  mutating func truncate(to scale: Int) {
    displayScale = max(scale, 0)
    let kept = (weight + 1) * 4 + scale
    if kept <= 0 {
      digits = []
    } else {
      let whole = (kept + 3) / 4
      if whole <= digits.count {
        digits.removeLast(digits.count - whole)
        let partial = kept % 4
        if partial != 0 {
          let power = Int16(NumericVariable.smallPowers[4 - partial])
          digits[whole - 1] -= digits[whole - 1] % power
        }
      }
    }
    normalize()
  }

  func rounded(to scale: Int) -> NumericVariable {
    var copy = self
    copy.round(to: scale)
    return copy
  }
  func truncated(to scale: Int) -> NumericVariable {
    var copy = self
    copy.truncate(to: scale)
    return copy
  }
  var floor: NumericVariable {
    let whole = truncated(to: 0)
    return isNegative && NumericVariable.compare(whole, self) != 0 ? whole - .one : whole
  }
  var ceiling: NumericVariable {
    let whole = truncated(to: 0)
    return !isNegative && NumericVariable.compare(whole, self) != 0 ? whole + .one : whole
  }
  var isInteger: Bool { digits.count <= weight + 1 }

  // MARK: Division

  /// a / b to `scale` decimals, rounded or cut; b is not zero.
  static func divide(_ a: NumericVariable, _ b: NumericVariable, scale: Int, rounding: Bool = true) -> NumericVariable {
    var result = NumericVariable()
    result.displayScale = max(scale, 0)
    if a.isZero { return result }
    result.weight = a.weight - b.weight
    // One digit more than asked for, for the rounding.
    let wanted = result.weight + 1 + (scale + 3) / 4 + (rounding ? 1 : 0)
    let count = max(wanted, 1)
    result.isNegative = a.isNegative != b.isNegative
    result.digits = b.digits.count == 1 ? shortQuotient(a, Int(b.digits[0]), count) : longQuotient(a, b, count)
    if rounding { result.round(to: scale) } else { result.truncate(to: scale) }
    return result
  }

  private static func shortQuotient(_ a: NumericVariable, _ divisor: Int, _ count: Int) -> [Int16] {
    var quotient = [Int16](repeating: 0, count: count)
    var remainder = 0
    for index in 0..<count {
      remainder = remainder * base + (index < a.digits.count ? Int(a.digits[index]) : 0)
      quotient[index] = Int16(remainder / divisor)
      remainder %= divisor
    }
    return quotient
  }

  /// Knuth's algorithm D in base 10000: `count` quotient digits, the first of weight a.weight - b.weight.
  private static func longQuotient(_ a: NumericVariable, _ b: NumericVariable, _ count: Int) -> [Int16] {
    let n = b.digits.count
    let scaling = base / (Int(b.digits[0]) + 1)
    var divisor = [Int](repeating: 0, count: n)
    var carry = 0
    for index in (0..<n).reversed() {
      let product = Int(b.digits[index]) * scaling + carry
      carry = product / base
      divisor[index] = product - carry * base
    }
    var dividend = [Int](repeating: 0, count: count + n + 1)
    carry = 0
    for index in (1..<dividend.count).reversed() {
      let digit = index - 1 < a.digits.count ? Int(a.digits[index - 1]) : 0
      let product = digit * scaling + carry
      carry = product / base
      dividend[index] = product - carry * base
    }
    // A carry out of digits beyond the window cannot occur: they are zero or cut below the quotient's last digit.
    dividend[0] = carry
    var quotient = [Int16](repeating: 0, count: count)
    for j in 0..<count {
      let top = dividend[j] * base + dividend[j + 1]
      var guess = top / divisor[0]
      var rest = top - guess * divisor[0]
      while guess >= base || guess * divisor[1] > rest * base + dividend[j + 2] {
        guess -= 1
        rest += divisor[0]
        if rest >= base { break }
      }
      if guess == 0 { continue }
      var borrow = 0
      for index in (0..<n).reversed() {
        let difference = dividend[j + 1 + index] - guess * divisor[index] - borrow
        // Floor division by the base, for a negative difference too.
        borrow = difference >= 0 ? -(difference / base) : (base - 1 - difference) / base
        dividend[j + 1 + index] = difference + borrow * base
      }
      dividend[j] -= borrow
      if dividend[j] < 0 {
        guess -= 1
        var add = 0
        for index in (0..<n).reversed() {
          let sum = dividend[j + 1 + index] + divisor[index] + add
          add = sum >= base ? 1 : 0
          dividend[j + 1 + index] = sum - add * base
        }
        dividend[j] += add
      }
      quotient[j] = Int16(guess)
    }
    return quotient
  }

  /// The scale PostgreSQL gives a quotient: at least 16 significant digits, no fewer decimals than either operand.
  static func divisionScale(_ a: NumericVariable, _ b: NumericVariable) -> Int {
    let first1 = Int(a.digits.first ?? 0)
    let first2 = Int(b.digits.first ?? 0)
    var quotientWeight = (a.isZero ? 0 : a.weight) - (b.isZero ? 0 : b.weight)
    if first1 <= first2 { quotientWeight -= 1 }
    var scale = minimumSignificantDigits - quotientWeight * 4
    scale = max(scale, a.displayScale, b.displayScale, 0)
    return min(scale, maximumChosenScale)
  }

  /// a mod b, with the sign of a; b is not zero.
  static func remainder(_ a: NumericVariable, _ b: NumericVariable) -> NumericVariable {
    let quotient = divide(a, b, scale: 0, rounding: false)
    return a - multiply(b, quotient, scale: b.displayScale)
  }

  // MARK: Conversions

  /// The integer, rounded half away from zero; nil if it does not fit.
  var int64: Int64? {
    let whole = rounded(to: 0)
    if whole.weight > 4 { return nil }
    var magnitude: UInt128 = 0
    for w in stride(from: whole.weight, through: 0, by: -1) {
      magnitude = magnitude * 10000 + UInt128(whole.digit(atWeight: w))
    }
    if whole.isNegative { return magnitude <= 1 << 63 ? Int64(truncatingIfNeeded: 0 &- Int128(magnitude)) : nil }
    return magnitude < 1 << 63 ? Int64(magnitude) : nil
  }

  /// Within a few units of the last place; for estimates.
  var approximate: Double {
    var result = 0.0
    for (index, digit) in digits.prefix(6).enumerated() {
      result += Double(digit) * Numeric.power(10.0, (weight - index) * 4)
    }
    return isNegative ? -result : result
  }
}
