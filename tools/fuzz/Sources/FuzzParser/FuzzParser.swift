import Syntax

/// Feeds the parser, the splitter and completion with what libFuzzer makes up.
///
/// Nothing may trap, and what the parser takes must come back equal from the text that the writer makes of it.
@main
enum FuzzParser {
  @_silgen_name("LLVMFuzzerRunDriver")
  private static func run(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CommandLineArguments?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
  ) -> Int32

  private typealias CommandLineArguments = UnsafeMutablePointer<CChar>

  static func main() {
    var count = CommandLine.argc
    var arguments = UnsafeMutableRawPointer(CommandLine.unsafeArgv)
      .assumingMemoryBound(to: CommandLineArguments?.self)
    _ = run(&count, &arguments) { bytes, count in
      FuzzParser.test(Array(UnsafeBufferPointer(start: bytes, count: count)))
      return 0
    }
  }

  private static func test(_ bytes: [UInt8]) {
    if let statements = try? SQLParser.parse(utf8: bytes) {
      for parsed in statements { check(parsed, bytes) }
    }
    let text = String(decoding: bytes, as: UTF8.self)
    var splitter = StatementSplitter()
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      splitter.append(line: line)
      while splitter.next() != nil {}
    }
    _ = splitter.finish()
    _ = SQLCompletion(text, cursor: Int(bytes.first ?? 0))
  }

  private static func check(_ parsed: Syntax.ParsedStatement, _ bytes: [UInt8]) {
    precondition(parsed.range.lowerBound >= 0 && parsed.range.upperBound <= bytes.count, "the range is in the text")
    for style in [SQLWriter.Parentheses.needed, .always] {
      var writer = SQLWriter(parentheses: style)
      writer.statement(parsed.statement)
      do throws(SQLError) {
        let again = try SQLParser.parse(writer.text)
        precondition(again.map(\.statement) == [parsed.statement], "another tree: \(writer.text)")
      } catch {
        // What was as deep as can be may be deeper with parentheses around every operator.
        precondition(error.state == .tooComplex, "refused: \(writer.text): \(error)")
      }
    }
  }
}
