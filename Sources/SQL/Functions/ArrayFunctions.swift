// Construction and subscripts of arrays, and rows as text: what expressions do with arrays by themselves.

enum ArrayFunctions {
  /// ARRAY[…]: of elements, or of arrays of equal dimensions.
  static func construct(
    _ items: Arguments, _ itemType: SQLType, _ type: SQLType, _ arena: Arena
  ) throws(SQLError) -> Value {
    guard let element = type.element else { throw ArrayView.damaged() }
    var values: [Value] = []
    guard itemType.isArray, items.count > 0 else {
      values.reserveCapacity(items.count)
      for index in 0..<items.count { values.append(items[index]) }
      return try ArrayBuilder.make(values, element: element, arena)
    }
    var dimensions: [(length: Int, lowerBound: Int)]? = nil
    func mismatch() -> SQLError {
      SQLError(
        SQLState(rawValue: "2202E"), "multidimensional arrays must have array expressions with matching dimensions")
    }
    for index in 0..<items.count {
      guard !items[index].isNull else {
        throw SQLError(SQLState(rawValue: "22004"), "null array element not allowed in this context")
      }
      let view = try ArrayView(items[index].bytes)
      let own = (0..<view.dimensions).map { (length: view.length($0), lowerBound: view.lowerBound($0)) }
      if let known = dimensions {
        guard known.count == own.count, zip(known, own).allSatisfy({ $0.length == $1.length }) else { throw mismatch() }
      } else {
        dimensions = own
      }
      values += try view.values
    }
    guard let inner = dimensions, !inner.isEmpty else { return try ArrayBuilder.make([], element: element, arena) }
    return try ArrayBuilder.make(values, element: element, dimensions: [(items.count, 1)] + inner, arena)
  }

  /// a[i][j]: null outside the array's bounds or for another number of subscripts.
  static func element(_ arguments: Arguments) throws(SQLError) -> Value {
    if arguments[0].isNull { return .null }
    let view = try ArrayView(arguments[0].bytes)
    if arguments.count == 2, view.dimensions == 1 {
      if arguments[1].isNull { return .null }
      return try view.value(Int(arguments[1].int) - view.lowerBound(0))
    }
    var subscripts: [Int] = []
    for index in 1..<arguments.count {
      if arguments[index].isNull { return .null }
      subscripts.append(Int(arguments[index].int))
    }
    guard let offset = view.offset(subscripts) else { return .null }
    return try view.value(offset)
  }

  /// a[i:j, …]: the elements within the bounds, with lower bounds 1.
  static func slice(
    _ arguments: Arguments, _ bounds: [(lower: Bool, upper: Bool)], _ arena: Arena
  ) throws(SQLError) -> Value {
    for index in 0..<arguments.count where arguments[index].isNull { return .null }
    let view = try ArrayView(arguments[0].bytes)
    let empty = try ArrayBuilder.make([], element: view.element, arena)
    guard view.dimensions >= bounds.count, view.count > 0 else { return empty }
    var next = 1
    var ranges: [Range<Int>] = []
    for d in 0..<view.dimensions {
      var low = view.lowerBound(d)
      var high = low + view.length(d) - 1
      if d < bounds.count {
        if bounds[d].lower {
          low = max(low, Int(arguments[next].int))
          next += 1
        }
        if bounds[d].upper {
          high = min(high, Int(arguments[next].int))
          next += 1
        }
      }
      guard low <= high else { return empty }
      ranges.append(low - view.lowerBound(d)..<high - view.lowerBound(d) + 1)
    }
    var values: [Value] = []
    func collect(_ d: Int, _ offset: Int) throws(SQLError) {
      for at in ranges[d] {
        let place = offset * view.length(d) + at
        if d + 1 == view.dimensions { values.append(try view.value(place)) } else { try collect(d + 1, place) }
      }
    }
    try collect(0, 0)
    return try ArrayBuilder.make(
      values, element: view.element, dimensions: ranges.map { (length: $0.count, lowerBound: 1) }, arena)
  }
}
