import SQL
import Testing

@Suite struct ResolutionTests {
  let e = Evaluator()

  @Test func arithmeticPicksTheWiderType() throws {
    #expect(try e.op(e.integer(1), "+", e.integer(2)) == "3")
    #expect(try e.op(e.typed("1.5", .numeric), "+", e.integer(2)) == "3.5")
    #expect(try e.op(e.typed("1.5", .float8), "*", e.integer(2)) == "3")
    #expect(try e.op(e.literal("1"), "+", e.integer(2)) == "3")
    #expect(try e.op(e.integer(7), "/", e.integer(2)) == "3")
    #expect(try e.op(e.literal("a"), "||", e.literal("b")) == "ab")
    #expect(try e.op(e.literal("a"), "||", e.integer(5)) == "a5")
  }

  @Test func missingOperatorsNameTheTypes() throws {
    let error = #expect(throws: SQLError.self) { try e.op(e.integer(1), "+", e.typed("a", .text)) }
    #expect(error?.state == .undefinedFunction)
    #expect(error?.message == "operator does not exist: integer + text")
    let function = #expect(throws: SQLError.self) { try e.call("nope", e.integer(1), e.literal("x")) }
    #expect(function?.message == "function nope(integer, unknown) does not exist")
  }

  @Test func ambiguousOperatorsAreReported() throws {
    let error = #expect(throws: SQLError.self) { try e.op(e.literal("1"), "+", e.literal("2")) }
    #expect(error?.state == .ambiguousFunction)
    #expect(error?.message == "operator is not unique: unknown + unknown")
  }

  @Test func integersOverflowWithTheirNames() throws {
    let error = #expect(throws: SQLError.self) { try e.op(e.integer(2_147_483_647), "+", e.integer(1)) }
    #expect(error?.message == "integer out of range")
  }

  @Test func commonFunctions() throws {
    #expect(try e.call("upper", e.literal("straße")) == "STRAßE")
    #expect(try e.call("round", e.typed("2.5", .numeric)) == "3")
    #expect(try e.call("round", e.typed("2.5", .float8)) == "2")
    #expect(try e.call("concat", e.literal("a"), e.integer(1), e.literal(nil)) == "a1")
    #expect(try e.call("substr", e.literal("hello"), e.integer(2), e.integer(3)) == "ell")
    #expect(try e.call("lpad", e.literal("7"), e.integer(3), e.literal("0")) == "007")
    #expect(try e.call("int4", e.literal("42")) == "42")
  }
}
