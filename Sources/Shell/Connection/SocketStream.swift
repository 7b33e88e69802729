internal import COpenSSL
internal import Glibc

/// Why bytes could not be moved, in words.
struct StreamProblem: Error {
  var message: String
  init(_ message: String) { self.message = message }
  static func system(_ what: String, _ code: Int32 = errno) -> StreamProblem {
    StreamProblem("\(what): \(unsafe String(cString: strerror(code)))")
  }
}

/// A connected socket that blocks, with TLS once `startTLS` has been called. Belongs to one thread.
@safe
final class SocketStream {
  private let descriptor: Int32
  private var tls: OpaquePointer?
  private var context: OpaquePointer?

  private init(descriptor: Int32) { self.descriptor = descriptor }

  deinit {
    if let tls = unsafe tls { unsafe SSL_free(tls) }
    if let context = unsafe context { unsafe SSL_CTX_free(context) }
    Glibc.close(descriptor)
  }

  // MARK: Connecting

  /// Connects to the first of the host's addresses that answers.
  static func connect(
    to host: ConnectionSettings.Host, timeoutSeconds: Int
  ) throws(StreamProblem) -> SocketStream {
    if host.isLocalSocket { return try connectLocally(host.description, timeoutSeconds) }
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let status = unsafe getaddrinfo(host.name, String(host.port), &hints, &list)
    guard status == 0 else {
      throw StreamProblem(
        "could not translate host name \"\(host.name)\": \(unsafe String(cString: gai_strerror(status)))")
    }
    defer { unsafe freeaddrinfo(list) }
    var problem = StreamProblem("host \"\(host.name)\" has no address")
    var next = unsafe list
    while let entry = unsafe next {
      let address = unsafe entry.pointee
      unsafe next = address.ai_next
      do throws(StreamProblem) {
        return unsafe try open(address.ai_family, address.ai_addr, address.ai_addrlen, timeoutSeconds, host.description)
      } catch { problem = error }
    }
    throw problem
  }

  private static func connectLocally(_ path: String, _ timeout: Int) throws(StreamProblem) -> SocketStream {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw StreamProblem("the path of the Unix socket \"\(path)\" is too long")
    }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    return unsafe try withUnsafePointer(to: &address) { (pointer) throws(StreamProblem) in
      unsafe try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { (pointer) throws(StreamProblem) in
        unsafe try open(AF_UNIX, pointer, socklen_t(MemoryLayout<sockaddr_un>.size), timeout, path)
      }
    }
  }

  private static func open(
    _ family: Int32, _ address: UnsafePointer<sockaddr>?, _ length: socklen_t, _ timeoutSeconds: Int, _ name: String
  ) throws(StreamProblem) -> SocketStream {
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw .system("cannot make a socket") }
    let stream = SocketStream(descriptor: descriptor)
    var on: Int32 = 1
    if family != AF_UNIX {
      unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
      unsafe setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, socklen_t(MemoryLayout<Int32>.size))
    }
    // Without blocking only while the connection is made, so that it can be given up.
    let flags = fcntl(descriptor, F_GETFL)
    _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
    if unsafe Glibc.connect(descriptor, address, length) != 0 {
      guard errno == EINPROGRESS || errno == EAGAIN else { throw .system("connection to \(name) failed") }
      guard stream.waits(for: POLLOUT, milliseconds: timeoutSeconds > 0 ? Int32(timeoutSeconds) * 1000 : -1) else {
        throw StreamProblem("connection to \(name) failed: timeout expired")
      }
      var code: Int32 = 0
      var size = socklen_t(MemoryLayout<Int32>.size)
      unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
      guard code == 0 else { throw .system("connection to \(name) failed", code) }
    }
    _ = fcntl(descriptor, F_SETFL, flags)
    return stream
  }

  /// True once the descriptor is ready, false when the time is up. A signal does not end the wait.
  private func waits(for events: Int32, milliseconds: Int32) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
    while true {
      let count = unsafe poll(&entry, 1, milliseconds)
      if count < 0 && errno == EINTR { continue }
      return count > 0
    }
  }

  /// Whether the other side has closed the connection; what it said before may still be unread.
  var hasEnded: Bool {
    var entry = pollfd(fd: descriptor, events: Self.closedByPeer, revents: 0)
    return unsafe poll(&entry, 1, 0) > 0
  }

  /// POLLRDHUP, which is hidden behind _GNU_SOURCE; the same number on all of Linux's machines but SPARC.
  private static let closedByPeer: Int16 = 0x2000

  /// How long one read or write may take from now on; 0: as long as it likes.
  func limitWaits(seconds: Int) {
    var time = timeval(tv_sec: seconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size)
  }

  // MARK: TLS

  /// Shakes hands as a client. `settings.tls` says what is believed of the server's certificate.
  func startTLS(_ settings: ConnectionSettings, host: ConnectionSettings.Host) throws(StreamProblem) {
    guard let context = unsafe SSL_CTX_new(TLS_client_method()) else { throw .openSSL("cannot start TLS") }
    unsafe self.context = context
    // SSL_CTX_set_min_proto_version is a macro in C.
    _ = unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
    let verifies = try unsafe trust(context, settings)
    if let certificate = settings.certificate {
      guard unsafe SSL_CTX_use_certificate_chain_file(context, certificate) == 1 else {
        throw .openSSL("cannot load the certificate \"\(certificate)\"")
      }
      guard unsafe SSL_CTX_use_PrivateKey_file(context, settings.key ?? certificate, SSL_FILETYPE_PEM) == 1 else {
        throw .openSSL("cannot load the private key \"\(settings.key ?? certificate)\"")
      }
    }
    guard let tls = unsafe SSL_new(context) else { throw .openSSL("cannot start TLS") }
    unsafe self.tls = tls
    unsafe SSL_set_verify(tls, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
    if verifies && settings.tls == .verifyFull {
      let parameters = unsafe SSL_get0_param(tls)
      if unsafe X509_VERIFY_PARAM_set1_ip_asc(parameters, host.name) != 1,
        unsafe X509_VERIFY_PARAM_set1_host(parameters, host.name, 0) != 1
      {
        throw .openSSL("cannot check the host's name")
      }
    }
    if !host.name.allSatisfy({ $0.isHexDigit || $0 == "." || $0 == ":" }) {
      // The server's name indication, which is a macro in C; addresses have no place in it.
      _ = unsafe host.name.withCString { name in
        unsafe SSL_ctrl(
          tls, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name), UnsafeMutableRawPointer(mutating: name))
      }
    }
    guard unsafe SSL_set_fd(tls, descriptor) == 1 else { throw .openSSL("cannot start TLS") }
    ERR_clear_error()
    guard unsafe SSL_connect(tls) == 1 else {
      let verdict = unsafe SSL_get_verify_result(tls)
      if verifies && verdict != Int(X509_V_OK) {
        throw StreamProblem(
          "the server's certificate is not trusted: \(unsafe String(cString: X509_verify_cert_error_string(verdict)))")
      }
      throw .openSSL("TLS handshake failed")
    }
  }

  /// Loads the root certificates; whether the server's certificate is to be checked at all.
  private func trust(_ context: OpaquePointer, _ settings: ConnectionSettings) throws(StreamProblem) -> Bool {
    switch settings.tls {
    case .disable, .allow, .prefer: return false
    case .require where settings.rootCertificate == nil: return false
    case .require, .verifyCA, .verifyFull: break
    }
    guard let root = settings.rootCertificate else { return false }
    if root == "system" {
      guard unsafe SSL_CTX_set_default_verify_paths(context) == 1 else {
        throw .openSSL("the system has no certificates")
      }
    } else if unsafe SSL_CTX_load_verify_locations(context, root, nil) != 1 {
      throw .openSSL("cannot load the root certificate \"\(root)\"")
    }
    return true
  }

  /// The hash of the server's certificate, as SCRAM's tls-server-end-point wants it (RFC 5929); empty without TLS.
  var certificateHash: [UInt8] {
    guard let tls = unsafe tls, let certificate = unsafe SSL_get1_peer_certificate(tls) else { return [] }
    defer { unsafe X509_free(certificate) }
    var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    guard unsafe X509_digest(certificate, synod_x509_signature_digest(certificate), &bytes, &count) == 1 else {
      return []
    }
    return Array(bytes[..<Int(count)])
  }

  /// The protocol and the cipher, for `\conninfo`; nil without TLS.
  var tlsDescription: String? {
    guard let tls = unsafe tls, let version = unsafe SSL_get_version(tls),
      let cipher = unsafe SSL_CIPHER_get_name(SSL_get_current_cipher(tls))
    else { return nil }
    return unsafe "\(String(cString: version)), \(String(cString: cipher))"
  }

  // MARK: Bytes

  /// Reads what is there, waiting for at least one byte; 0 at the end.
  func read(into buffer: inout [UInt8]) throws(StreamProblem) -> Int {
    if let tls = unsafe tls {
      ERR_clear_error()
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe SSL_read(tls, $0.baseAddress, Int32($0.count)) }
      if count > 0 { return Int(count) }
      switch unsafe SSL_get_error(tls, count) {
      case SSL_ERROR_ZERO_RETURN: return 0
      case SSL_ERROR_SYSCALL where errno == 0: return 0
      case SSL_ERROR_SYSCALL: throw .system("could not receive data from server")
      default: throw .openSSL("could not receive data from server")
      }
    }
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe recv(descriptor, $0.baseAddress, $0.count, 0) }
      if count >= 0 { return count }
      if errno == EAGAIN { throw StreamProblem("could not receive data from server: timeout expired") }
      if errno != EINTR { throw .system("could not receive data from server") }
    }
  }

  /// Whether something can be read without waiting.
  var hasInput: Bool {
    if let tls = unsafe tls, unsafe SSL_pending(tls) > 0 { return true }
    return waits(for: POLLIN, milliseconds: 0)
  }

  /// Writes everything.
  func write(_ bytes: RawSpan) throws(StreamProblem) {
    var done = 0
    while done < bytes.byteCount {
      let rest = bytes.extracting(done..<bytes.byteCount)
      let count: Int
      if let tls = unsafe tls {
        ERR_clear_error()
        // OpenSSL writes with write(2): a server that has gone must be an error here, not a signal.
        let before = signal(SIGPIPE, SIG_IGN)
        defer { _ = signal(SIGPIPE, before) }
        count = unsafe rest.withUnsafeBytes {
          unsafe Int(SSL_write(tls, $0.baseAddress, Int32(min($0.count, 1 << 30))))
        }
        if count <= 0 { throw .openSSL("could not send data to server") }
      } else {
        count = unsafe rest.withUnsafeBytes {
          unsafe send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        if count < 0 && errno == EINTR { continue }
        if count < 0 { throw .system("could not send data to server") }
      }
      done += count
    }
  }

  /// Says goodbye to TLS, without waiting for the answer.
  func shutdownTLS() { if let tls = unsafe tls { _ = unsafe SSL_shutdown(tls) } }
}

extension StreamProblem {
  /// With OpenSSL's own words, and without its numbers.
  fileprivate static func openSSL(_ what: String) -> StreamProblem {
    let code = ERR_get_error()
    guard code != 0, let reason = unsafe ERR_reason_error_string(code) else { return StreamProblem(what) }
    return StreamProblem("\(what): \(unsafe String(cString: reason))")
  }
}
