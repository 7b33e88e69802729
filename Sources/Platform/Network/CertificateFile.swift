internal import COpenSSL
internal import CSynod
internal import Glibc

/// An X.509 certificate that this object owns.
///
/// `@unchecked Sendable`: OpenSSL's certificates are not changed once they are read or signed.
@safe
package final class Certificate: @unchecked Sendable {
  let pointer: OpaquePointer
  init(_ pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }
  deinit { unsafe X509_free(pointer) }
}

/// A private key that this object owns.
///
/// `@unchecked Sendable`: OpenSSL's keys are not changed once they are read or made.
@safe
package final class PrivateKey: @unchecked Sendable {
  let pointer: OpaquePointer
  init(_ pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }
  deinit { unsafe EVP_PKEY_free(pointer) }
}

/// Reading and writing PEM.
enum CertificateFile {
  /// No certificate chain is longer.
  private static var largestBytes: Int { 1 << 20 }

  static func read(_ path: String, _ what: String) throws(TLSError) -> [UInt8] {
    let descriptor = unsafe synod_open(path, O_RDONLY | O_CLOEXEC, 0)
    guard descriptor >= 0 else {
      throw TLSError(.configuration, "cannot read the \(what) \(path): \(unsafe String(cString: strerror(errno)))")
    }
    defer { Glibc.close(descriptor) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 16 * 1024)
    while true {
      let count = unsafe Glibc.read(descriptor, &piece, piece.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else {
        throw TLSError(.configuration, "cannot read the \(what) \(path): \(unsafe String(cString: strerror(errno)))")
      }
      if count == 0 { return bytes }
      bytes += piece[..<count]
      guard bytes.count <= largestBytes else { throw TLSError(.configuration, "\(path) is too large for a \(what)") }
    }
  }

  /// A new file, synced; an error where there is one already.
  static func write(_ bytes: [UInt8], to path: String, isSecret: Bool) throws(TLSError) {
    let code = unsafe bytes.withUnsafeBytes {
      unsafe synod_write_new_file(path, $0.baseAddress, $0.count, isSecret ? 0o600 : 0o644)
    }
    guard code != 0 else { return }
    if code == EEXIST { throw TLSError(.configuration, "\(path) is there already, and is not replaced") }
    throw TLSError(.configuration, "cannot write \(path): \(unsafe String(cString: strerror(code)))")
  }

  /// A key that others can read is no secret.
  static func refuseIfOthersCanRead(_ path: String) throws(TLSError) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return }
    // Group access is fine where root owns the file, as distributions keep keys.
    let forbidden: mode_t = status.st_uid == 0 ? 0o007 : 0o077
    guard status.st_mode & forbidden == 0 else {
      throw TLSError(.configuration, "the private key \(path) can be read by others: chmod 600 \(path)")
    }
  }

  /// All certificates in PEM, at least one.
  static func certificates(_ bytes: [UInt8], _ place: String) throws(TLSError) -> [Certificate] {
    ERR_clear_error()
    let found = unsafe withBIO(bytes) { bio in
      var found: [Certificate] = []
      while let one = unsafe PEM_read_bio_X509(bio, nil, nil, nil) { unsafe found.append(Certificate(one)) }
      return found
    }
    // The end of the file ends the loop with an error of its own.
    ERR_clear_error()
    guard !found.isEmpty else { throw TLSError(.configuration, "there is no PEM certificate in \(place)") }
    return found
  }

  static func key(_ bytes: [UInt8], _ place: String) throws(TLSError) -> PrivateKey {
    ERR_clear_error()
    // Never ask at the terminal for a pass phrase.
    let refuse: @convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?) -> Int32 = {
      _, _, _, _ in -1
    }
    let key = unsafe withBIO(bytes) { bio in
      unsafe PEM_read_bio_PrivateKey(bio, nil, refuse, nil).map { unsafe PrivateKey($0) }
    }
    guard let key else {
      throw TLSError(.configuration, openSSL: "there is no private key that can be read in \(place)")
    }
    return key
  }

  /// What was written to a BIO of memory.
  static func content(_ bio: OpaquePointer) -> [UInt8] {
    var start: UnsafeMutablePointer<CChar>?
    let count = unsafe synod_bio_bytes(bio, &start)
    return unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: max(0, count)))
  }

  private static func withBIO<T>(_ bytes: [UInt8], _ body: (OpaquePointer) -> T?) -> T? {
    unsafe bytes.withUnsafeBytes { buffer -> T? in
      guard let bio = unsafe BIO_new_mem_buf(buffer.baseAddress, Int32(clamping: buffer.count)) else { return nil }
      defer { unsafe BIO_free(bio) }
      return unsafe body(bio)
    }
  }

  private static func withBIO(_ bytes: [UInt8], _ body: (OpaquePointer) -> [Certificate]) -> [Certificate] {
    unsafe withBIO(bytes) { unsafe Optional(body($0)) } ?? []
  }
}
