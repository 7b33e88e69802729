// `UPDATE t SET a[2] = x, a[3:4] = y`: an array with some of its elements replaced.
//
// As in PostgreSQL: an element may be put anywhere in an array of one dimension (what lies between becomes null), and within
// the bounds of others; a null array becomes one that has that element.

enum ArrayAssignment {
  /// A function of the array, the subscripts and the new element.
  static func element(_ array: TypeID, _ element: TypeID, subscripts: Int) -> ScalarFunction {
    let types = [array] + Array(repeating: TypeID.int4, count: subscripts) + [element]
    return ScalarFunction("array_set_element", types, returns: array, strict: false) { (a, c) throws(SQLError) in
      var places: [Int] = []
      for index in 1...subscripts {
        guard !a[index].isNull else { throw nullSubscript() }
        places.append(Int(a[index].int))
      }
      let value = a[subscripts + 1]
      let view = a[0].isNull ? nil : try ArrayView(a[0].bytes)
      guard let view, view.count > 0 else {
        return try ArrayBuilder.make(
          [value], element: element, dimensions: places.map { (length: 1, lowerBound: $0) }, c.arena)
      }
      var values = try view.values
      var dimensions = (0..<view.dimensions).map { (length: view.length($0), lowerBound: view.lowerBound($0)) }
      if view.dimensions == 1, subscripts == 1 {
        try extend(&values, &dimensions, places[0]...places[0])
        values[places[0] - dimensions[0].lowerBound] = value
      } else {
        guard let offset = view.offset(places) else { throw outOfRange() }
        values[offset] = value
      }
      return try ArrayBuilder.make(values, element: element, dimensions: dimensions, c.arena)
    }
  }

  /// A function of the array, the bounds and an array of new elements: one dimension.
  static func slice(_ array: TypeID, _ element: TypeID, hasLower: Bool, hasUpper: Bool) -> ScalarFunction {
    let bounds = Array(repeating: TypeID.int4, count: (hasLower ? 1 : 0) + (hasUpper ? 1 : 0))
    return ScalarFunction("array_set_slice", [array] + bounds + [array], returns: array, strict: false) {
      (a, c) throws(SQLError) in
      for index in 1..<a.count - 1 where a[index].isNull { throw nullSubscript() }
      // A null source changes nothing.
      guard !a[a.count - 1].isNull else { return a[0] }
      let source = try ArrayView(a[a.count - 1].bytes)
      let view = a[0].isNull ? nil : try ArrayView(a[0].bytes)
      guard source.dimensions <= 1, view.map({ $0.dimensions <= 1 }) ?? true else {
        throw SQLError(.featureNotSupported, "assignment to slices of multidimensional arrays is not supported")
      }
      var values = try view?.values ?? []
      var dimensions = [(length: values.count, lowerBound: view.map { $0.dimensions == 0 ? 1 : $0.lowerBound(0) } ?? 1)]
      guard !values.isEmpty || (hasLower && hasUpper) else {
        throw SQLError(
          SQLState(rawValue: "2202E"), "array slice subscript must provide both boundaries",
          detail: "When assigning to a slice of an empty array value, slice boundaries must be fully specified.")
      }
      let low = hasLower ? Int(a[1].int) : dimensions[0].lowerBound
      let high = hasUpper ? Int(a[hasLower ? 2 : 1].int) : dimensions[0].lowerBound + values.count - 1
      guard low <= high else { throw outOfRange() }
      guard source.count >= high - low + 1 else {
        throw SQLError(SQLState(rawValue: "2202E"), "source array too small")
      }
      if values.isEmpty { dimensions = [(length: 0, lowerBound: low)] }
      try extend(&values, &dimensions, low...high)
      let new = try source.values
      for place in low...high { values[place - dimensions[0].lowerBound] = new[place - low] }
      return try ArrayBuilder.make(values, element: element, dimensions: dimensions, c.arena)
    }
  }

  /// Makes room for the subscripts, with nulls.
  private static func extend(
    _ values: inout [Value], _ dimensions: inout [(length: Int, lowerBound: Int)], _ places: ClosedRange<Int>
  ) throws(SQLError) {
    let lower = dimensions[0].lowerBound
    let low = values.isEmpty ? places.lowerBound : min(lower, places.lowerBound)
    let high = max(lower + values.count - 1, places.upperBound)
    guard high - low < 1 << 27 else {
      throw SQLError(SQLState(rawValue: "54000"), "array size exceeds the maximum allowed (\(1 << 27))")
    }
    if low < lower { values.insert(contentsOf: repeatElement(.null, count: values.isEmpty ? 0 : lower - low), at: 0) }
    while values.count < high - low + 1 { values.append(.null) }
    dimensions[0] = (length: values.count, lowerBound: low)
  }

  private static func nullSubscript() -> SQLError {
    SQLError(SQLState(rawValue: "22004"), "array subscript in assignment must not be null")
  }
  private static func outOfRange() -> SQLError {
    SQLError(SQLState(rawValue: "2202E"), "array subscript out of range")
  }
}
