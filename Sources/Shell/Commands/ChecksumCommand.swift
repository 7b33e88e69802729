internal import COpenSSL
import Synod

/// `.sha3sum`: one value for all that a database holds, the same wherever it is kept.
///
/// The SHA3-256 of each table's definition, its number of rows, and the sum modulo 2²⁵⁶ of its rows' SHA3-256, in the order
/// of tables' names. The sum makes it independent of the order in which rows come, which SQL leaves open; a row is its fields
/// as text, each behind its length, so that no two rows look alike. It finds differences; it is no proof against someone
/// who makes rows up to collide.
struct ChecksumCommand {
  var pattern: String?

  func run(_ shell: Shell) throws {
    let isOwn = shell.connection.transactionStatus == .idle
    if isOwn { try shell.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", into: Collector()) }
    defer { if isOwn { try? shell.connection.execute("ROLLBACK", into: Collector()) } }
    var whole: [UInt8] = []
    for table in try shell.objects([.table], matching: pattern) {
      let sink = ChecksumSink()
      let columns = table.columns.map(quotedIdentifier).joined(separator: ", ")
      try shell.connection.execute("SELECT \(columns) FROM \(table.qualifiedName)", into: sink)
      let head = "\(table.qualifiedName)(\(columns)) \(sink.rows) "
      whole += sha3([UInt8](head.utf8) + sink.sum)
    }
    shell.write(sha3(whole).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "\n")
  }
}

private func sha3(_ bytes: [UInt8]) -> [UInt8] {
  var digest = [UInt8](repeating: 0, count: 32)
  _ = unsafe EVP_Digest(bytes, bytes.count, &digest, nil, EVP_sha3_256(), nil)
  return digest
}

private final class ChecksumSink: ShellSink {
  private(set) var rows = 0
  /// Little endian.
  private(set) var sum = [UInt8](repeating: 0, count: 32)

  func columns(_ columns: [Column]) {}
  func row(_ fields: [String?]) {
    rows += 1
    var bytes: [UInt8] = []
    for field in fields {
      bytes += field.map { [UInt8]("\($0.utf8.count):\($0)".utf8) } ?? [UInt8(ascii: "-")]
    }
    var carry = 0
    for (index, byte) in sha3(bytes).enumerated() {
      carry += Int(sum[index]) + Int(byte)
      sum[index] = UInt8(truncatingIfNeeded: carry)
      carry >>= 8
    }
  }
  func completed(_ tag: String) {}
  func notice(_ severity: String, _ notice: DatabaseError) {}
  func copyOut(_ bytes: [UInt8]) {}
  func copyIn() throws(DatabaseError) -> [UInt8]? { nil }
}
