internal import COpenSSL
internal import Glibc

/// Who is at the other end of TLS, and how it is protected.
package struct TLSInformation: Sendable, Hashable {
  /// "TLSv1.3".
  package var version: String
  package var cipher: String
  /// The peer's verified certificate; nil where it gave none, or where nobody verified it.
  package var peer: CertificateNames?
  /// The hash of the server's certificate, as SCRAM's tls-server-end-point wants it (RFC 5929).
  package var serverEndPoint: [UInt8]
  /// What the two agreed to speak (ALPN): "postgresql", or nothing.
  package var applicationProtocol: String
}

/// TLS as a filter without I/O: ciphertext in, clear bytes out, and the other way.
///
/// OpenSSL reads from and writes to a channel of memory through a BIO of our own, so there is no copy into a BIO's buffer, and
/// an idle session keeps none.
///
/// `@unchecked Sendable`: belongs to its connection, which one thread at a time has checked out.
@safe
final class TLSSession: @unchecked Sendable {
  private let session: OpaquePointer
  private let channel: UnsafeMutablePointer<synod_tls_channel>
  let isServer: Bool
  private(set) var isEstablished = false
  private(set) var information: TLSInformation?
  private var isClosing = false

  // `nonisolated(unsafe)`: made once, never changed.
  private nonisolated(unsafe) static let method = unsafe synod_channel_method()

  init(_ session: OpaquePointer, isServer: Bool) throws(TLSError) {
    unsafe self.session = unsafe session
    self.isServer = isServer
    unsafe channel = .allocate(capacity: 1)
    unsafe channel.initialize(to: synod_tls_channel())
    guard let method = unsafe Self.method, unsafe synod_tls_attach(session, method, channel) == 1 else {
      throw TLSError(.configuration, openSSL: "cannot start TLS")
    }
  }

  deinit {
    unsafe SSL_free(session)
    dropOutput()
    unsafe channel.deallocate()
  }

  // MARK: Ciphertext to send

  var outputCount: Int { unsafe channel.pointee.out_end - channel.pointee.out_start }

  /// Valid until the next call.
  var output: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(
      start: channel.pointee.out.map { unsafe $0 + channel.pointee.out_start }, count: outputCount)
  }

  func consumeOutput(_ count: Int) { unsafe synod_tls_consume(channel, count) }
  func dropOutput() { unsafe synod_tls_consume(channel, outputCount) }

  // MARK: Steps

  enum Progress {
    /// So many clear bytes are at the start of the memory; the ciphertext is used up.
    case clear(Int)
    /// The same, and the peer says that no more will come.
    case ended(Int)
    case failed(TLSError)
  }

  /// A client's first step: makes the greeting.
  func begin() -> TLSError? { shakeHands() }

  /// Takes ciphertext, goes on with the handshake as far as it carries, and decrypts.
  /// - Parameter clear: room for as many bytes as `ciphertext` has, and one record.
  func receive(_ ciphertext: UnsafeRawBufferPointer, into clear: UnsafeMutableRawBufferPointer) -> Progress {
    unsafe channel.pointee.in = unsafe ciphertext.baseAddress?.assumingMemoryBound(to: UInt8.self)
    unsafe channel.pointee.in_count = ciphertext.count
    defer {
      unsafe channel.pointee.in = nil
      unsafe channel.pointee.in_count = 0
    }
    if !isEstablished {
      if let failure = shakeHands() { return .failed(failure) }
      guard isEstablished else { return .clear(0) }
    }
    var count = 0
    ERR_clear_error()
    while count < clear.count {
      var got = 0
      let result = unsafe SSL_read_ex(session, clear.baseAddress! + count, clear.count - count, &got)
      if result == 1 {
        count += got
        continue
      }
      switch unsafe SSL_get_error(session, result) {
      case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .clear(count)
      case SSL_ERROR_ZERO_RETURN: return .ended(count)
      default:
        return .failed(TLSError(.record, openSSL: "the TLS connection is broken"))
      }
    }
    preconditionFailure("ciphertext decrypts to fewer bytes")
  }

  /// Encrypts bytes into the output. Before the end of the handshake there is nobody to encrypt for.
  func encrypt(_ bytes: UnsafeRawBufferPointer) -> TLSError? {
    guard isEstablished, !isClosing else {
      return TLSError(.handshake, "data was sent before the handshake was over")
    }
    ERR_clear_error()
    var done = 0
    while done < bytes.count {
      var some = 0
      guard unsafe SSL_write_ex(session, bytes.baseAddress! + done, bytes.count - done, &some) == 1 else {
        return TLSError(.record, openSSL: "cannot encrypt")
      }
      done += some
    }
    return nil
  }

  /// Says goodbye (close_notify), into the output.
  func close() {
    guard isEstablished, !isClosing else { return }
    isClosing = true
    ERR_clear_error()
    _ = unsafe SSL_shutdown(session)
    ERR_clear_error()
  }

  private func shakeHands() -> TLSError? {
    ERR_clear_error()
    let result = unsafe SSL_do_handshake(session)
    if result == 1 {
      isEstablished = true
      information = describe()
      return nil
    }
    switch unsafe SSL_get_error(session, result) {
    case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return nil
    default:
      let verification = unsafe SSL_get_verify_result(session)
      if verification != X509_V_OK {
        let reason = unsafe String(cString: synod_tls_verify_reason(verification))
        ERR_clear_error()
        return TLSError(.certificate, "the peer's certificate is not accepted: \(reason)")
      }
      return TLSError(.handshake, openSSL: "the TLS handshake failed")
    }
  }

  private func describe() -> TLSInformation {
    let version = unsafe String(cString: SSL_get_version(session))
    let cipher = unsafe String(cString: synod_tls_cipher(session))
    var peer: CertificateNames?
    var endPoint: [UInt8] = []
    if let theirs = unsafe SSL_get1_peer_certificate(session) {
      let certificate = unsafe Certificate(theirs)
      if unsafe SSL_get_verify_mode(session) & SSL_VERIFY_PEER != 0, unsafe SSL_get_verify_result(session) == X509_V_OK
      {
        peer = CertificateNames(certificate)
      }
      if !isServer { endPoint = certificate.endPointHash }
    }
    if isServer, let ours = unsafe SSL_get_certificate(session), unsafe X509_up_ref(ours) == 1 {
      endPoint = unsafe Certificate(ours).endPointHash
    }
    var chosen: UnsafePointer<UInt8>?
    var count: UInt32 = 0
    unsafe SSL_get0_alpn_selected(session, &chosen, &count)
    let spoken = unsafe String(decoding: UnsafeBufferPointer(start: chosen, count: Int(count)), as: UTF8.self)
    return TLSInformation(
      version: version, cipher: cipher, peer: peer, serverEndPoint: endPoint, applicationProtocol: spoken)
  }
}
