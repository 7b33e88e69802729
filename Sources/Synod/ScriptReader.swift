/// Takes a script line by line and hands out whole statements.
public struct ScriptReader: Sendable {
  public init() {}
  public var isEmpty: Bool { true }
  public var openMark: String { "" }
  public mutating func feed(_ line: String) -> [String] { [] }
  public mutating func finish() -> String? { nil }
  public static var keywords: [String] { [] }
}
