/// A value that goes into a statement as a parameter or comes out of it in a row.
///
/// Literals convert by themselves: `execute("INSERT INTO t VALUES ($1, $2)", 1, "one")`. A parameter takes the type that
/// the statement gives it; text is read as that type's text form, so numerics, dates and uuids are written as text.
public enum SQLValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case int(Int64)
  case double(Double)
  /// Text, and every type that has no case of its own, in PostgreSQL's text form.
  case text(String)
  case bytes([UInt8])

  /// True for `.null`.
  public var isNull: Bool { self == .null }

  /// The value as an integer, where it is one or its text reads as one.
  public var int: Int64? {
    switch self {
    case .int(let value): value
    case .text(let text): Int64(text)
    default: nil
    }
  }

  /// The value as a floating-point number, where it is a number or its text reads as one.
  public var double: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    case .text(let text): Double(text)
    default: nil
    }
  }

  /// The Boolean, where it is one.
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

  /// The bytes, where it is binary.
  public var bytes: [UInt8]? { if case .bytes(let value) = self { value } else { nil } }

  /// The text form; nil for NULL.
  public var text: String? {
    switch self {
    case .null: nil
    case .bool(let value): value ? "t" : "f"
    case .int(let value): String(value)
    case .double(let value): String(value)
    case .text(let value): value
    case .bytes(let value): "\\x" + value.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
  }
}

extension SQLValue: ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByStringLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByNilLiteral, ExpressibleByStringInterpolation
{
  /// Makes one from its parts.
  public init(integerLiteral value: Int64) { self = .int(value) }
  /// Makes one from its parts.
  public init(floatLiteral value: Double) { self = .double(value) }
  /// Makes one from its parts.
  public init(stringLiteral value: String) { self = .text(value) }
  /// Makes one from its parts.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// Makes one from its parts.
  public init(nilLiteral: ()) { self = .null }
}

/// What can stand as a parameter without being written as an `SQLValue`.
public protocol SQLValueConvertible {
  /// The value as SQL takes it.
  var sqlValue: SQLValue { get }
}

extension SQLValue: SQLValueConvertible {
  /// The value as SQL takes it.
  public var sqlValue: SQLValue { self }
}

extension Bool: SQLValueConvertible {
  /// The value as SQL takes it.
  public var sqlValue: SQLValue { .bool(self) }
}

extension Int: SQLValueConvertible {
  /// The value as SQL takes it.
  public var sqlValue: SQLValue { .int(Int64(self)) }
}

extension Int32: SQLValueConvertible {
  /// The value as SQL takes it.
  public var sqlValue: SQLValue { .int(Int64(self)) }
}

extension Int64: SQLValueConvertible {
  /// The value as SQL takes it.
  public var sqlValue: SQLValue { .int(self) }
}

extension Double: SQLValueConvertible {
  /// The value as SQL takes it.
  public var sqlValue: SQLValue { .double(self) }
}

extension String: SQLValueConvertible {
  /// The value as SQL takes it.
  public var sqlValue: SQLValue { .text(self) }
}

extension [UInt8]: SQLValueConvertible {
  /// The value as SQL takes it.
  public var sqlValue: SQLValue { .bytes(self) }
}

extension Optional: SQLValueConvertible where Wrapped: SQLValueConvertible {
  /// The value as SQL takes it: NULL for nil.
  public var sqlValue: SQLValue { self?.sqlValue ?? .null }
}
