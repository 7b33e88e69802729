/// A column of a result.
public struct Column: Hashable, Sendable {
  /// What kind of value it holds, for those who format it.
  public enum Kind: Hashable, Sendable { case boolean, integer, float, numeric, text, bytes, timestamp, json, other }
  /// Its name.
  public var name: String
  /// The type as SQL writes it: `integer`, `numeric(10,2)`, `character varying(20)`.
  public var typeName: String
  /// What it is.
  public var kind: Kind

  /// Makes one from its parts.
  public init(name: String, typeName: String, kind: Kind) {
    self.name = name
    self.typeName = typeName
    self.kind = kind
  }
}

/// One row of a result, owned by whoever holds it.
public struct Row: Sendable, RandomAccessCollection {
  /// The columns, in the order of the fields.
  public let columns: [Column]
  let values: [SQLValue]

  init(columns: [Column], values: [SQLValue]) {
    self.columns = columns
    self.values = values
  }

  /// 0.
  public var startIndex: Int { 0 }
  /// One past the last index.
  public var endIndex: Int { values.count }

  /// The value of column `index`, counted from 0.
  public subscript(index: Int) -> SQLValue { values[index] }

  /// The value of the first column named `name`, or nil where there is none.
  public subscript(name: String) -> SQLValue? {
    columns.firstIndex { $0.name == name }.map { values[$0] }
  }
}

/// What a statement gave back.
public struct Result: Sendable, RandomAccessCollection {
  /// The columns, in the order of the fields.
  public internal(set) var columns: [Column] = []
  /// The rows, in order.
  public internal(set) var rows: [Row] = []
  /// PostgreSQL's command tag: `INSERT 0 1`, `SELECT 3`, `CREATE TABLE`.
  public internal(set) var tag = ""

  /// 0.
  public var startIndex: Int { 0 }
  /// One past the last index.
  public var endIndex: Int { rows.count }
  /// The element at `index`, counted from 0.
  public subscript(index: Int) -> Row { rows[index] }

  /// The rows that an INSERT, UPDATE or DELETE changed, or a SELECT returned; 0 for other statements.
  public var affectedRows: Int { tag.split(separator: " ").last.flatMap { Int($0) } ?? 0 }
}
