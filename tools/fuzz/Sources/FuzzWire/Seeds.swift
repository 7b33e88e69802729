import Glibc
import Wire

/// Conversations that are sound: what the fuzzer begins with.
enum Seeds {
  static func write(to folder: String) throws {
    for (index, seed) in (try clients() + servers()).enumerated() {
      guard let file = fopen("\(folder)/wire-\(index)", "w") else { preconditionFailure("cannot write to \(folder)") }
      _ = seed.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
      fclose(file)
    }
  }

  /// What clients send, to a session that is open and to one that is not.
  private static func clients() throws -> [[UInt8]] {
    var seeds: [[UInt8]] = []
    var opening = WireBuffer()
    opening.startup(StartupMessage(parameters: [.init("user", "alice"), .init("options", "-c x=y")]))
    opening.saslInitial(mechanism: "SCRAM-SHA-256", Array("n,,n=,r=abc".utf8))
    opening.saslResponse(Array("c=biws,r=abcAQID,p=AAAA".utf8))
    var tls = WireBuffer()
    tls.tlsRequest()
    var talk = WireBuffer()
    try talk.query("SELECT 1")
    try talk.parse(ParseMessage(name: "s", query: "SELECT $1", parameterTypes: [23]))
    try talk.bind(
      portal: "p", statement: "s", parameterFormats: [.binary], parameters: [[0, 0, 0, 1], nil], resultFormats: [.text])
    talk.describe(.portal("p"))
    talk.execute(portal: "p", rowLimit: 5)
    talk.close(.statement("s"))
    try talk.copyData([1, 2, 3].span.bytes)
    talk.copyDone()
    talk.sync()
    for (mode, bytes) in [
      (0, opening.array), (4, tls.array + opening.array), (2, talk.array), (0, opening.array + talk.array),
    ] {
      for dice in 0..<6 { seeds.append([UInt8(mode), 255, UInt8(dice)] + bytes) }
      seeds.append([UInt8(mode), 2, 1] + bytes)
    }
    return seeds
  }

  /// What servers send.
  private static func servers() throws -> [[UInt8]] {
    func message(_ type: Character, _ body: [UInt8]) -> [UInt8] {
      [type.asciiValue!] + withUnsafeBytes(of: Int32(body.count + 4).bigEndian) { Array($0) } + body
    }
    let welcome = message("R", [0, 0, 0, 0]) + message("K", [0, 0, 0, 1, 1, 2, 3, 4]) + message("Z", [0x49])
    let scram =
      message("R", [0, 0, 0, 10] + Array("SCRAM-SHA-256\0\0".utf8))
      + message("R", [0, 0, 0, 11] + Array("r=abcdef,s=QUJD,i=4096".utf8))
      + message("R", [0, 0, 0, 12] + Array("v=AAAA".utf8))
    var result = WireBuffer()
    result.rowDescription([FieldDescription(name: "a", type: 23, typeSize: 4)])
    let row = result.beginRow(columns: 1)
    result.value(decimal: 4711)
    try result.endRow(row)
    result.commandComplete("SELECT 1")
    result.notice(WireReport(sqlState: "00000", message: "a notice"))
    result.parameterStatus(name: "TimeZone", value: "UTC")
    result.copyOutResponse(CopyFormats(format: .text, columns: []))
    let copied = result.beginCopyData()
    try result.endCopyData(copied)
    result.copyDone()
    let refused = message("E", Array("SERROR\0C42601\0Man error\0P7\0\0".utf8))
    let results = welcome + result.array + refused + message("Z", [0x49])
    let secured: [UInt8] = [0x4E] + scram + results
    var seeds: [[UInt8]] = []
    for dice: UInt8 in 0..<6 {
      seeds.append([1, 255, dice] + results)
      seeds.append([5, 3, dice] + secured)
    }
    return seeds
  }
}
