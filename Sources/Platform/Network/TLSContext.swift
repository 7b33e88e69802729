internal import COpenSSL
internal import Glibc
internal import Synchronization

/// How a side of TLS is set up: its certificate, whom it trusts, and how much it asks of the other side. TLS 1.3 unless
/// older drivers must be let in.
///
/// Certificates and keys are PEM. Connections made after `reload` use the files as they are then; those before go on.
///
/// `@unchecked Sendable`: OpenSSL's context is reference-counted and not changed once made; the pointer is under the lock.
@safe
package final class TLSContext: @unchecked Sendable {
  /// Where PEM comes from.
  package enum PEM: Sendable {
    case file(String)
    case bytes([UInt8])
  }

  /// A certificate (with those between it and the authority, in one file) and its private key.
  package struct Identity: Sendable {
    package var certificate: PEM
    package var key: PEM

    package init(certificate: PEM, key: PEM) {
      self.certificate = certificate
      self.key = key
    }
  }

  /// What a client asks of the server's certificate; the names are libpq's.
  package enum ServerVerification: Hashable, Sendable {
    /// `require`: encrypted, but nobody knows by whom.
    case require
    /// `verify-ca`: a certificate of a trusted authority.
    case verifyCA
    /// `verify-full`: and it carries the name that was connected to.
    case verifyFull
  }

  /// What a server asks of the client's certificate.
  package enum ClientVerification: Hashable, Sendable {
    /// None.
    case none
    /// One of a trusted authority, if there is one.
    case ifGiven
    /// One of a trusted authority.
    case required
  }

  private enum Role {
    case server(ClientVerification)
    case client(ServerVerification)
  }

  private let role: Role
  private let identity: Identity?
  private let authorities: PEM?
  private let allowsTLS12: Bool
  // `OpaquePointer`s to SSL_CTX and X509; replaced by `reload`.
  @safe
  private struct State: @unchecked Sendable {  // The pointers are OpenSSL's, which counts references by atomics.
    var context: OpaquePointer
  }
  private let state: Mutex<State>

  /// For the side that accepts.
  /// - Parameter authorities: who signs clients' certificates; needed unless `clients` is `none`.
  package init(
    server identity: Identity, authorities: PEM? = nil, clients: ClientVerification = .none, allowsTLS12: Bool = false
  ) throws(TLSError) {
    role = .server(clients)
    self.identity = identity
    self.authorities = authorities
    self.allowsTLS12 = allowsTLS12
    guard clients == .none || authorities != nil else {
      throw TLSError(.configuration, "verifying clients needs the certificate of the authority that signs them")
    }
    let made = unsafe try Self.make(role, identity, authorities, allowsTLS12)
    unsafe state = Mutex(State(context: made))
  }

  /// For the side that connects.
  /// - Parameters:
  ///   - authorities: who signs servers' certificates; the system's where nil.
  ///   - identity: where the server asks for a certificate.
  package init(
    client verification: ServerVerification, authorities: PEM? = nil, identity: Identity? = nil,
    allowsTLS12: Bool = false
  ) throws(TLSError) {
    role = .client(verification)
    self.identity = identity
    self.authorities = authorities
    self.allowsTLS12 = allowsTLS12
    let made = unsafe try Self.make(role, identity, authorities, allowsTLS12)
    unsafe state = Mutex(State(context: made))
  }

  deinit { unsafe SSL_CTX_free(state.withLock { unsafe $0.context }) }

  /// Reads the files again. Where they cannot be used, everything stays as it was.
  package func reload() throws(TLSError) {
    let fresh = unsafe try Self.make(role, identity, authorities, allowsTLS12)
    let old = state.withLock { state in
      let old = unsafe state.context
      unsafe state.context = unsafe fresh
      return unsafe State(context: old)
    }
    unsafe SSL_CTX_free(old.context)
  }

  /// A session of its own memory, before its handshake.
  /// - Parameter serverName: what the client connects to: asked for in the handshake, and verified with `verifyFull`.
  func makeSession(serverName: String?) throws(TLSError) -> TLSSession {
    let pointer = state.withLock { state in unsafe Fresh(session: SSL_new(state.context)) }
    guard let session = unsafe pointer.session else { throw TLSError(.configuration, openSSL: "cannot start TLS") }
    var isServer = true
    switch role {
    case .server: unsafe SSL_set_accept_state(session)
    case .client(let verification):
      isServer = false
      unsafe SSL_set_connect_state(session)
      if let serverName {
        if (try? SocketAddress(literal: serverName, port: 0)) == nil {
          _ = unsafe synod_tls_set_server_name(session, serverName)
        }
        if verification == .verifyFull, unsafe synod_tls_expect_host(session, serverName) != 1 {
          unsafe SSL_free(session)
          throw TLSError(.configuration, openSSL: "cannot expect the name \(serverName)")
        }
      } else if verification == .verifyFull {
        unsafe SSL_free(session)
        throw TLSError(.configuration, "verify-full needs the name of the server")
      }
    }
    return unsafe try TLSSession(session, isServer: isServer)
  }

  @safe
  private struct Fresh: @unchecked Sendable {  // Handed out once.
    let session: OpaquePointer?
  }

  // MARK: Making

  private static func make(
    _ role: Role, _ identity: Identity?, _ authorities: PEM?, _ allowsTLS12: Bool
  ) throws(TLSError) -> OpaquePointer {
    ERR_clear_error()
    var isServer = false
    if case .server = role { isServer = true }
    guard let context = unsafe SSL_CTX_new(isServer ? TLS_server_method() : TLS_client_method()) else {
      throw TLSError(.configuration, openSSL: "cannot make a TLS context")
    }
    do throws(TLSError) {
      guard unsafe synod_tls_configure(context, allowsTLS12 ? 1 : 0) == 1 else {
        throw TLSError(.configuration, openSSL: "cannot set up TLS")
      }
      if let identity { unsafe try use(identity, context) }
      unsafe try trust(authorities, role, context)
    } catch {
      unsafe SSL_CTX_free(context)
      throw error
    }
    return unsafe context
  }

  private static func use(_ identity: Identity, _ context: OpaquePointer) throws(TLSError) {
    let place = name(identity.certificate)
    let certificates = try CertificateFile.certificates(try bytes(identity.certificate, "certificate"), place)
    for (index, certificate) in certificates.enumerated() {
      let code =
        unsafe index == 0
        ? SSL_CTX_use_certificate(context, certificate.pointer) : synod_tls_add_chain(context, certificate.pointer)
      guard code == 1 else { throw TLSError(.configuration, openSSL: "cannot use the certificate in \(place)") }
    }
    if case .file(let path) = identity.key { try CertificateFile.refuseIfOthersCanRead(path) }
    let key = try CertificateFile.key(try bytes(identity.key, "private key"), name(identity.key))
    guard unsafe SSL_CTX_use_PrivateKey(context, key.pointer) == 1, unsafe SSL_CTX_check_private_key(context) == 1
    else {
      throw TLSError(
        .configuration, openSSL: "the key in \(name(identity.key)) does not belong to the certificate in \(place)")
    }
  }

  private static func trust(_ authorities: PEM?, _ role: Role, _ context: OpaquePointer) throws(TLSError) {
    if let authorities {
      let place = name(authorities)
      for certificate in try CertificateFile.certificates(try bytes(authorities, "authority's certificate"), place) {
        guard unsafe X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate.pointer) == 1 else {
          throw TLSError(.configuration, openSSL: "cannot trust the certificate in \(place)")
        }
        if case .server = role { _ = unsafe SSL_CTX_add_client_CA(context, certificate.pointer) }
      }
    }
    switch role {
    case .server(.none), .client(.require): unsafe SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nil)
    case .server(.ifGiven): unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    case .server(.required):
      unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
    case .client(.verifyCA), .client(.verifyFull):
      if authorities == nil, unsafe SSL_CTX_set_default_verify_paths(context) != 1 {
        throw TLSError(.configuration, openSSL: "cannot read the system's certificate authorities")
      }
      unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    }
  }

  private static func name(_ source: PEM) -> String {
    if case .file(let path) = source { path } else { "memory" }
  }

  private static func bytes(_ source: PEM, _ what: String) throws(TLSError) -> [UInt8] {
    switch source {
    case .bytes(let bytes): return bytes
    case .file(let path): return try CertificateFile.read(path, what)
    }
  }
}
