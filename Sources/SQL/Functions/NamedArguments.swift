/// `f(name => value)`: the names of the parameters of those functions that are called so.
enum NamedArguments {
  private static let names: [String: [String]] = [
    "make_interval": ["years", "months", "weeks", "days", "hours", "mins", "secs"],
    "make_date": ["year", "month", "day"],
    "make_time": ["hour", "min", "sec"],
    "make_timestamp": ["year", "month", "mday", "hour", "min", "sec"],
    "make_timestamptz": ["year", "month", "mday", "hour", "min", "sec", "timezone"],
    "jsonb_set": ["jsonb_in", "path", "replacement", "create_if_missing"],
    "jsonb_insert": ["jsonb_in", "path", "replacement", "insert_after"],
  ]

  /// The arguments in the order of the parameters. Those that are left out before the last that is given must have a
  /// default of nought, as those of make_interval have.
  static func ordered(
    _ arguments: [Syntax.FunctionCall.Argument], of function: String, at position: Int?
  ) throws(SQLError) -> [Syntax.FunctionCall.Argument] {
    guard let names = names[function] else {
      throw SQLError(
        .featureNotSupported, "named arguments of \(function) are not supported", position: position)
    }
    var places: [Syntax.FunctionCall.Argument?] = Array(repeating: nil, count: names.count)
    for (index, argument) in arguments.enumerated() {
      let place = argument.name.map { names.firstIndex(of: $0) } ?? index
      guard let place, place < names.count, places[place] == nil else {
        throw SQLError(
          .undefinedFunction,
          "function \(function) has no argument named \"\(argument.name ?? "")\", or it is given twice",
          position: position)
      }
      places[place] = Syntax.FunctionCall.Argument(name: nil, value: argument.value)
    }
    let count = (places.lastIndex { $0 != nil } ?? -1) + 1
    var result: [Syntax.FunctionCall.Argument] = []
    for place in places.prefix(count) {
      guard let place else {
        guard function == "make_interval" else {
          throw SQLError(
            .undefinedFunction, "function \(function) needs the arguments before the last that is given",
            position: position)
        }
        result.append(Syntax.FunctionCall.Argument(name: nil, value: Syntax.Expression(.number("0"))))
        continue
      }
      result.append(place)
    }
    return result
  }
}
