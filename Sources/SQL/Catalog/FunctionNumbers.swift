/// The numbers of built-in functions: `pg_proc.oid`, and what a `regproc` holds.
///
/// The functions that read and write values of types have PostgreSQL's numbers (`TypeFunctions`): drivers tell arrays from
/// other types by `typinput = 'array_in'::regproc`. All others are counted from 20 001 on, in the order of `pg_proc`; the
/// numbers change with the version.
enum FunctionNumbers {
  static let first = 20_001

  struct Entry: Sendable {
    var name: String
    var kind: String
    var arguments: [TypeID]
    var result: TypeID
    var isSet: Bool
  }

  /// Every built-in function; the number of the entry at an index is `first` more.
  static let all: [Entry] = {
    let registry = FunctionRegistry.builtin
    var entries: [Entry] = []
    for (name, list) in registry.scalars.sorted(by: { $0.key < $1.key }) {
      for f in list {
        entries.append(Entry(name: name, kind: "f", arguments: f.arguments, result: f.result, isSet: false))
      }
    }
    for (name, list) in registry.aggregates.sorted(by: { $0.key < $1.key }) {
      for f in list {
        entries.append(Entry(name: name, kind: "a", arguments: f.arguments, result: f.result, isSet: false))
      }
    }
    for (name, list) in registry.sets.sorted(by: { $0.key < $1.key }) {
      for f in list {
        let result = f.columns.count == 1 ? f.columns[0].type : .record
        entries.append(Entry(name: name, kind: "f", arguments: f.arguments, result: result, isSet: true))
      }
    }
    return entries
  }()

  /// - Throws: undefined_function (42883), ambiguous_function (42725).
  static func number(named name: String) throws(SQLError) -> Int {
    if let known = TypeFunctions.entries.first(where: { $0.name == name }) { return known.number }
    let found = all.indices.filter { all[$0].name == name }
    guard found.count <= 1 else { throw SQLError(.ambiguousFunction, "more than one function named \"\(name)\"") }
    guard let index = found.first else { throw SQLError(.undefinedFunction, "function \"\(name)\" does not exist") }
    return first + index
  }

  static func name(of number: Int) -> String? {
    if let known = TypeFunctions.entries.first(where: { $0.number == number }) { return known.name }
    let index = number - first
    return all.indices.contains(index) ? all[index].name : nil
  }
}
