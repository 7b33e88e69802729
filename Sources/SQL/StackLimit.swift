// Recursion over what a user wrote ends with an error, not with the stack.
//
// The parser bounds how deep one statement nests, but not what the statement refers to (common tables, views) nor what a
// level costs: a debug build needs tens of kilobytes for one, and a library's caller may have a small stack. So whatever
// recurses asks here, as PostgreSQL's check_stack_depth does.

internal import Platform

extension StackGuard {
  /// - Throws: statement_too_complex (54001), as PostgreSQL words it.
  @inline(__always)
  static func check(at position: Int? = nil) throws(SQLError) {
    if isLow { throw tooDeep(at: position) }
  }

  static func tooDeep(at position: Int? = nil) -> SQLError {
    SQLError(
      .tooComplex, "stack depth limit exceeded",
      hint: "The statement, or the views and common tables that it reads, nest too deeply: split it.",
      position: position)
  }
}
