internal import COpenSSL
internal import Glibc

/// Makes certificates: an authority's own, and those that it signs. ECDSA over P-256 with SHA-256.
///
/// For clusters and clients that have no authority of their own: an authority's key signs nodes (servers that are also
/// clients of each other) and clients (whose common name is their role).
package struct CertificateAuthority: Sendable {
  /// For whom a certificate is.
  package struct Request: Sendable {
    /// What the holder may do.
    package enum Usage: Hashable, Sendable {
      /// Accept connections, and make them to other nodes.
      case node
      /// Make connections.
      case client
    }

    /// At most 64 bytes. A client's is its role.
    package var commonName: String
    /// Names and addresses that a node is reached by: DNS names, IPv4 or IPv6 addresses.
    package var hosts: [String]
    package var usage: Usage
    package var days: Int

    package init(commonName: String, hosts: [String] = [], usage: Usage, days: Int) {
      self.commonName = commonName
      self.hosts = hosts
      self.usage = usage
      self.days = days
    }
  }

  /// A certificate and its key, in PEM.
  package struct Issued: Sendable {
    package let certificate: [UInt8]
    package let key: [UInt8]
  }

  private let certificate: Certificate
  private let key: PrivateKey

  private init(_ certificate: Certificate, _ key: PrivateKey) {
    self.certificate = certificate
    self.key = key
  }

  /// A new authority, which trusts itself.
  package static func create(name: String, days: Int) throws(TLSError) -> CertificateAuthority {
    let key = try makeKey()
    let certificate = try blank(name, days: days, key: key)
    let subject = unsafe X509_get_subject_name(certificate.pointer)
    guard unsafe X509_set_issuer_name(certificate.pointer, subject) == 1 else { throw failure() }
    try extend(certificate, issuer: certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0")
    try extend(certificate, issuer: certificate, NID_key_usage, "critical,keyCertSign,cRLSign")
    try extend(certificate, issuer: certificate, NID_subject_key_identifier, "hash")
    try extend(certificate, issuer: certificate, NID_authority_key_identifier, "keyid:always")
    try sign(certificate, key)
    return CertificateAuthority(certificate, key)
  }

  /// The authority whose certificate and key these files hold.
  package init(certificateFile: String, keyFile: String) throws(TLSError) {
    let found = try CertificateFile.certificates(
      try CertificateFile.read(certificateFile, "authority's certificate"), certificateFile)
    let key = try CertificateFile.key(try CertificateFile.read(keyFile, "authority's key"), keyFile)
    guard unsafe X509_check_private_key(found[0].pointer, key.pointer) == 1 else {
      throw TLSError(.configuration, "the key in \(keyFile) does not belong to the certificate in \(certificateFile)")
    }
    guard unsafe X509_check_ca(found[0].pointer) == 1 else {
      throw TLSError(.configuration, "\(certificateFile) is not the certificate of an authority")
    }
    self.init(found[0], key)
  }

  /// The authority's certificate and key.
  package func exported() throws(TLSError) -> Issued {
    Issued(certificate: try Self.pem(certificate), key: try Self.pem(key))
  }

  /// Signs a certificate for a new key.
  package func issue(_ request: Request) throws(TLSError) -> Issued {
    let key = try Self.makeKey()
    let fresh = try Self.blank(request.commonName, days: request.days, key: key)
    let issuer = unsafe X509_get_subject_name(certificate.pointer)
    guard unsafe X509_set_issuer_name(fresh.pointer, issuer) == 1 else { throw Self.failure() }
    try Self.extend(fresh, issuer: certificate, NID_basic_constraints, "critical,CA:FALSE")
    try Self.extend(fresh, issuer: certificate, NID_key_usage, "critical,digitalSignature")
    let usage = request.usage == .node ? "serverAuth,clientAuth" : "clientAuth"
    try Self.extend(fresh, issuer: certificate, NID_ext_key_usage, usage)
    try Self.extend(fresh, issuer: certificate, NID_subject_key_identifier, "hash")
    try Self.extend(fresh, issuer: certificate, NID_authority_key_identifier, "keyid:always")
    if !request.hosts.isEmpty {
      var names: [String] = []
      for host in request.hosts { names.append(try Self.alternativeName(host)) }
      try Self.extend(fresh, issuer: certificate, NID_subject_alt_name, names.joined(separator: ","))
    }
    try Self.sign(fresh, self.key)
    return Issued(certificate: try Self.pem(fresh), key: try Self.pem(key))
  }

  // MARK: Steps

  private static func failure() -> TLSError { TLSError(.configuration, openSSL: "cannot make a certificate") }

  private static func makeKey() throws(TLSError) -> PrivateKey {
    ERR_clear_error()
    guard let key = unsafe synod_p256_key() else { throw TLSError(.configuration, openSSL: "cannot make a key") }
    return unsafe PrivateKey(key)
  }

  /// Everything but issuer, extensions and signature.
  private static func blank(_ name: String, days: Int, key: PrivateKey) throws(TLSError) -> Certificate {
    guard !name.isEmpty, name.utf8.count <= 64, !name.utf8.contains(0) else {
      throw TLSError(.configuration, "a certificate's name has 1 to 64 bytes, not \(name.utf8.count)")
    }
    guard (1...36_500).contains(days) else {
      throw TLSError(.configuration, "a certificate is valid for 1 to 36500 days, not \(days)")
    }
    ERR_clear_error()
    guard let pointer = unsafe X509_new() else { throw failure() }
    let certificate = unsafe Certificate(pointer)
    guard unsafe X509_set_version(pointer, 2) == 1, unsafe synod_x509_random_serial(pointer) == 1,
      unsafe X509_set_pubkey(pointer, key.pointer) == 1,
      // Five minutes back, for machines whose clocks differ.
      unsafe X509_gmtime_adj(X509_getm_notBefore(pointer), -300) != nil,
      unsafe X509_gmtime_adj(X509_getm_notAfter(pointer), days * 86_400) != nil
    else { throw failure() }
    let subject = unsafe X509_get_subject_name(pointer)
    guard unsafe X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, "SynodDB", -1, -1, 0) == 1,
      unsafe X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name, -1, -1, 0) == 1
    else { throw failure() }
    return certificate
  }

  private static var MBSTRING_UTF8: Int32 { 0x1000 }

  private static func extend(
    _ certificate: Certificate, issuer: Certificate, _ identifier: Int32, _ value: String
  ) throws(TLSError) {
    var context = unsafe X509V3_CTX()
    unsafe X509V3_set_ctx(&context, issuer.pointer, certificate.pointer, nil, nil, 0)
    guard let one = unsafe X509V3_EXT_conf_nid(nil, &context, identifier, value) else { throw failure() }
    defer { unsafe X509_EXTENSION_free(one) }
    guard unsafe X509_add_ext(certificate.pointer, one, -1) == 1 else { throw failure() }
  }

  /// The value's grammar separates names by commas, so what could end one is refused.
  private static func alternativeName(_ host: String) throws(TLSError) -> String {
    if (try? SocketAddress(literal: host, port: 0)) != nil, !host.contains("%") { return "IP:\(host)" }
    let isName =
      !host.isEmpty && host.utf8.count <= 253
      && host.utf8.allSatisfy { byte in
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
          || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
          || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_")
          || byte == UInt8(ascii: "*")
      }
    guard isName else {
      throw TLSError(.configuration, "\"\(host)\" is neither a host name nor an IPv4 or IPv6 address")
    }
    return "DNS:\(host)"
  }

  private static func sign(_ certificate: Certificate, _ key: PrivateKey) throws(TLSError) {
    guard unsafe X509_sign(certificate.pointer, key.pointer, EVP_sha256()) > 0 else { throw failure() }
  }

  private static func pem(_ certificate: Certificate) throws(TLSError) -> [UInt8] {
    unsafe try written { bio in unsafe PEM_write_bio_X509(bio, certificate.pointer) }
  }

  private static func pem(_ key: PrivateKey) throws(TLSError) -> [UInt8] {
    unsafe try written { bio in unsafe PEM_write_bio_PKCS8PrivateKey(bio, key.pointer, nil, nil, 0, nil, nil) }
  }

  private static func written(_ write: (OpaquePointer) -> Int32) throws(TLSError) -> [UInt8] {
    guard let bio = unsafe BIO_new(BIO_s_mem()) else { throw failure() }
    defer { unsafe BIO_free(bio) }
    guard unsafe write(bio) == 1 else { throw failure() }
    return unsafe CertificateFile.content(bio)
  }
}

/// Certificates and keys as files.
package enum CertificateStore {
  /// Writes a new file: a key's with the permissions 0600, a certificate's with 0644. Never replaces one.
  package static func write(_ bytes: [UInt8], to path: String, isSecret: Bool) throws(TLSError) {
    try CertificateFile.write(bytes, to: path, isSecret: isSecret)
  }
}
