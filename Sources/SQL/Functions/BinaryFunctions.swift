internal import COpenSSL

// Digests, encodings, identifiers.

extension FunctionRegistry {
  mutating func addBinary() {
    for type in [TypeID.text, .bytea] {
      scalar("md5", [type], .text) { (a, c) throws(SQLError) in
        try BinaryFunctions.hexText(try BinaryFunctions.digest(a[0].bytes, "MD5"), c.arena)
      }
    }
    for (name, algorithm) in [("sha224", "SHA224"), ("sha256", "SHA256"), ("sha384", "SHA384"), ("sha512", "SHA512")] {
      scalar(name, [.bytea], .bytea) { (a, c) throws(SQLError) in
        Value(c.arena.copy(try BinaryFunctions.digest(a[0].bytes, algorithm)))
      }
    }
    scalar("encode", [.bytea, .text], .text) { (a, c) throws(SQLError) in
      try BinaryFunctions.encode(a[0].bytes, a[1].string, c.arena)
    }
    scalar("decode", [.text, .text], .bytea) { (a, c) throws(SQLError) in
      try BinaryFunctions.decode(a[0].bytes, a[1].string, c.arena)
    }
    scalar("convert_to", [.text, .name], .bytea) { (a, _) throws(SQLError) in
      try BinaryFunctions.checkEncoding(a[1].string)
      return Value(a[0].bytes)
    }
    scalar("convert_from", [.bytea, .name], .text) { (a, _) throws(SQLError) in
      try BinaryFunctions.checkEncoding(a[1].string)
      try TextScan.checkUTF8(a[0].bytes)
      return Value(a[0].bytes)
    }
    scalar("get_byte", [.bytea, .int4], .int4) { (a, _) throws(SQLError) in
      Value(Int(a[0].bytes[try BinaryFunctions.index(a[1].int, a[0].bytes.count)]))
    }
    scalar("set_byte", [.bytea, .int4, .int4], .bytea) { (a, c) throws(SQLError) in
      var bytes = a[0].bytes.array
      bytes[try BinaryFunctions.index(a[1].int, bytes.count)] = UInt8(truncatingIfNeeded: a[2].int)
      return Value(c.arena.copy(bytes))
    }
    scalar("gen_random_uuid", [], .uuid, .volatile) { (_, c) throws(SQLError) in
      var bytes = [UInt8](repeating: 0, count: 16)
      let status = unsafe bytes.withUnsafeMutableBufferPointer { unsafe RAND_bytes($0.baseAddress, 16) }
      guard status == 1 else { throw SQLError(.internalError, "could not generate random values") }
      bytes[6] = bytes[6] & 0x0f | 0x40
      bytes[8] = bytes[8] & 0x3f | 0x80
      return Value(c.arena.copy(bytes))
    }
    scalar("hashtext", [.text], .int4) { (a, _) throws(SQLError) in
      Value(Int64(Int32(truncatingIfNeeded: ValueOrder.hash(a[0].bytes))))
    }
  }
}

enum BinaryFunctions {
  static func digest(_ bytes: Bytes, _ name: String) throws(SQLError) -> [UInt8] {
    var output = [UInt8](repeating: 0, count: 64)
    var length: UInt32 = 0
    let status = unsafe output.withUnsafeMutableBufferPointer { buffer in
      unsafe EVP_Digest(bytes.start, bytes.count, buffer.baseAddress, &length, EVP_get_digestbyname(name), nil)
    }
    guard status == 1 else {
      throw SQLError(
        .internalError, "could not compute \(name) hash",
        hint: "The system's OpenSSL does not offer the digest (FIPS mode?).")
    }
    return Array(output.prefix(Int(length)))
  }

  static func hexText(_ bytes: [UInt8], _ arena: Arena) throws(SQLError) -> Value {
    var buffer = ByteBuffer(capacity: bytes.count * 2)
    for byte in bytes {
      buffer.append(TypeCodec.hexDigits[Int(byte >> 4)])
      buffer.append(TypeCodec.hexDigits[Int(byte & 15)])
    }
    return Value(buffer.copied(into: arena))
  }

  static func index(_ n: Int64, _ count: Int) throws(SQLError) -> Int {
    guard n >= 0, n < Int64(count) else {
      throw SQLError(SQLState(rawValue: "2202E"), "index \(n) out of valid range, 0..\(count - 1)")
    }
    return Int(n)
  }

  static func checkEncoding(_ name: String) throws(SQLError) {
    let plain = name.uppercased().filter { $0 != "-" && $0 != "_" }
    guard plain == "UTF8" || plain == "UNICODE" || plain == "SQLASCII" else {
      throw SQLError(.featureNotSupported, "encoding \"\(name)\" is not supported", hint: "Text is always UTF8.")
    }
  }

  static let alphabet = [UInt8]("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  static func unrecognized(_ format: String) -> SQLError {
    SQLError(.invalidParameterValue, "unrecognized encoding: \"\(format)\"")
  }

  static func encode(_ bytes: Bytes, _ format: String, _ arena: Arena) throws(SQLError) -> Value {
    try TextFunctions.checkLength(bytes.count * 4)
    var buffer = ByteBuffer(capacity: bytes.count * 2 + 4)
    switch format.lowercased() {
    case "hex": return try hexText(bytes.array, arena)
    case "base64":
      var line = 0
      var at = 0
      while at < bytes.count {
        let n = min(3, bytes.count - at)
        let group =
          UInt32(bytes[at]) << 16 | (n > 1 ? UInt32(bytes[at + 1]) << 8 : 0) | (n > 2 ? UInt32(bytes[at + 2]) : 0)
        for index in 0..<4 {
          buffer.append(index <= n ? alphabet[Int(group >> UInt32(18 - 6 * index)) & 63] : UInt8(ascii: "="))
        }
        at += 3
        line += 4
        // Lines of 76 characters, as RFC 2045 has them.
        if line == 76, at < bytes.count {
          buffer.append(10 as UInt8)
          line = 0
        }
      }
    case "escape":
      for byte in bytes {
        if byte == 0 || byte >= 0x80 {
          buffer.append(0x5c as UInt8)
          buffer.append(48 + (byte >> 6))
          buffer.append(48 + (byte >> 3 & 7))
          buffer.append(48 + (byte & 7))
        } else {
          if byte == 0x5c { buffer.append(byte) }
          buffer.append(byte)
        }
      }
    default: throw unrecognized(format)
    }
    return Value(buffer.copied(into: arena))
  }

  static func decode(_ text: Bytes, _ format: String, _ arena: Arena) throws(SQLError) -> Value {
    switch format.lowercased() {
    case "hex":
      return try Bytes.with([0x5c, UInt8(ascii: "x")] + text.array) { (bytes) throws(SQLError) in
        Value(try TypeCodec.parseBytea(bytes, arena))
      }
    case "escape":
      return Value(try TypeCodec.parseBytea(text, arena))
    case "base64":
      var buffer = ByteBuffer(capacity: text.count)
      var group: UInt32 = 0
      var count = 0
      var padding = 0
      for byte in text where !TextScan.isSpace(byte) {
        if byte == UInt8(ascii: "=") {
          guard count >= 2, count + padding < 4 else {
            throw SQLError(.invalidParameterValue, "unexpected \"=\" while decoding base64 sequence")
          }
          padding += 1
          continue
        }
        guard let digit = alphabet.firstIndex(of: byte), padding == 0 else {
          throw SQLError(
            .invalidParameterValue,
            "invalid symbol \"\(String(UnicodeScalar(byte)))\" found while decoding base64 sequence")
        }
        group = group << 6 | UInt32(digit)
        count += 1
        if count == 4 {
          for shift in [16, 8, 0] as [UInt32] { buffer.append(UInt8(truncatingIfNeeded: group >> shift)) }
          group = 0
          count = 0
        }
      }
      guard count == 0 || count + padding == 4 else {
        throw SQLError(
          .invalidParameterValue, "invalid base64 end sequence",
          hint: "Input data is missing padding, is truncated, or is otherwise corrupted.")
      }
      if count == 2 { buffer.append(UInt8(truncatingIfNeeded: group >> 4)) }
      if count == 3 {
        buffer.append(UInt8(truncatingIfNeeded: group >> 10))
        buffer.append(UInt8(truncatingIfNeeded: group >> 2))
      }
      return Value(buffer.copied(into: arena))
    default: throw unrecognized(format)
    }
  }
}
