import Foundation
import Platform
import SQL
import Testing

/// Statements with words cut out, doubled and exchanged: whatever they mean now, the answer is rows or an error, and the
/// session goes on.
@Suite struct MutatedStatementTests {
  @Test(arguments: [21, 22, 23] as [UInt64])
  func neverTrap(_ seed: UInt64) throws {
    var random = SeededRandomness(seed: seed)
    let test = try TestSQL()
    let session = test.session()
    var statements: [String] = []
    for name in GoldenScriptTests.scripts where name != "psql.golden" {
      let text = try String(contentsOf: GoldenScriptTests.folder.appending(path: name), encoding: .utf8)
      for line in text.split(separator: "\n")
      where line.hasPrefix("> ") && line.hasSuffix(";") && !line.hasPrefix("> @") {
        statements.append(String(line.dropFirst(2)))
      }
    }
    var words: [Substring] = []
    for statement in statements { words += statement.split(separator: " ") }
    _ = session.lines("SET statement_timeout = '2s'; SET work_mem = '16MB'")
    for _ in 0..<1500 {
      var parts = statements[Int(random.below(statements.count))].split(separator: " ")
      for _ in 0...random.below(3) where !parts.isEmpty {
        let at = Int(random.below(parts.count))
        switch random.below(4) {
        case 0: parts.remove(at: at)
        case 1: parts.insert(words[Int(random.below(words.count))], at: at)
        case 2: parts[at] = words[Int(random.below(words.count))]
        default: parts.swapAt(at, Int(random.below(parts.count)))
        }
      }
      _ = session.lines(parts.joined(separator: " "))
      if random.below(20) == 0 { _ = session.lines("ROLLBACK") }
    }
    _ = session.lines("ROLLBACK")
    #expect(session.lines("SELECT 1 AS one") == ["one", "1"])
  }

  /// The scripts in their order, with numbers and names exchanged for others: what is understood must not trap either.
  @Test(arguments: [31, 32] as [UInt64])
  func extremeNumbersNeverTrap(_ seed: UInt64) throws {
    var random = SeededRandomness(seed: seed)
    let extremes = [
      "0", "-1", "1", "2147483647", "-2147483648", "2147483648", "9223372036854775807", "-9223372036854775808", "1e400",
      "1e-400", "99999999999999999999999999", "0.000000000000000000001", "NULL", "'x'", "''", "'NaN'", "'infinity'",
    ]
    let names = [
      "a", "b", "id", "name", "count", "sum", "max", "repeat", "lpad", "generate_series", "substr", "t", "emp",
    ]
    for name in GoldenScriptTests.scripts where name != "psql.golden" {
      let session = try TestSQL().session()
      _ = session.lines("SET statement_timeout = '300ms'; SET work_mem = '8MB'")
      let text = try String(contentsOf: GoldenScriptTests.folder.appending(path: name), encoding: .utf8)
      for line in text.split(separator: "\n") where line.hasPrefix("> ") && line.hasSuffix(";") {
        var statement = ""
        var token = ""
        func flush() {
          if token.allSatisfy(\.isNumber), !token.isEmpty, random.oneIn(4) {
            statement += extremes[random.below(extremes.count)]
          } else if token.first?.isLetter == true, token == token.lowercased(), random.oneIn(25) {
            statement += names[random.below(names.count)]
          } else {
            statement += token
          }
          token = ""
        }
        for character in line.dropFirst(2) {
          if character.isLetter || character.isNumber || character == "_" {
            token.append(character)
          } else {
            flush()
            statement.append(character)
          }
        }
        flush()
        _ = session.lines(statement)
        // The unchanged statement keeps the script's tables coming.
        _ = session.lines(String(line.dropFirst(2)))
      }
      _ = session.lines("ROLLBACK")
      #expect(session.lines("SELECT 1 AS one") == ["one", "1"], "\(name)")
    }
  }
}
