internal import COpenSSL

/// Whom a certificate names.
package struct CertificateNames: Sendable, Hashable {
  /// The subject's common name; empty where there is none.
  package var commonName: String
  /// The whole subject, as RFC 2253 writes it.
  package var subject: String
  package var dnsNames: [String]
  /// IPv4 or IPv6 addresses in digits.
  package var addresses: [String]
  /// SHA-256 of the certificate.
  package var fingerprint: [UInt8]
  /// Whether it is one for servers: it says so, or says nothing of what it is for.
  package var isForServers: Bool

  init(_ certificate: Certificate) {
    let name = unsafe X509_get_subject_name(certificate.pointer)
    commonName = unsafe Self.entry(name, NID_commonName)
    subject = unsafe Self.oneLine(name)
    (dnsNames, addresses) = Self.alternatives(certificate)
    fingerprint = unsafe certificate.hash(EVP_sha256())
    isForServers = unsafe X509_check_purpose(certificate.pointer, X509_PURPOSE_SSL_SERVER, 0) == 1
  }

  private static func entry(_ name: OpaquePointer?, _ identifier: Int32) -> String {
    let place = unsafe X509_NAME_get_index_by_NID(name, identifier, -1)
    guard place >= 0, let data = unsafe X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, place)) else { return "" }
    var text: UnsafeMutablePointer<UInt8>?
    let count = unsafe ASN1_STRING_to_UTF8(&text, data)
    guard count >= 0, let bytes = unsafe text else { return "" }
    defer { unsafe CRYPTO_free(bytes, #file, #line) }
    let all = unsafe UnsafeBufferPointer(start: bytes, count: Int(count))
    // A zero within a name is how one certificate passes for another.
    return unsafe all.contains(0) ? "" : String(decoding: all, as: UTF8.self)
  }

  private static func oneLine(_ name: OpaquePointer?) -> String {
    guard let bio = unsafe BIO_new(BIO_s_mem()) else { return "" }
    defer { unsafe BIO_free(bio) }
    guard unsafe synod_x509_print_name(bio, name) == 1 else { return "" }
    return unsafe String(decoding: CertificateFile.content(bio), as: UTF8.self)
  }

  private static func alternatives(_ certificate: Certificate) -> ([String], [String]) {
    guard let names = unsafe synod_x509_names(certificate.pointer) else { return ([], []) }
    defer { unsafe synod_x509_names_free(names) }
    var hosts: [String] = []
    var addresses: [String] = []
    let count = unsafe synod_x509_name_count(names)
    for index in 0..<count {
      var bytes: UnsafePointer<UInt8>?
      var count: Int32 = 0
      let type = unsafe synod_x509_name_at(names, index, &bytes, &count)
      let value = unsafe [UInt8](UnsafeBufferPointer(start: bytes, count: Int(count)))
      switch type {
      case GEN_DNS where !value.contains(0): hosts.append(String(decoding: value, as: UTF8.self))
      case GEN_IPADD: addresses.append(text(value))
      default: break
      }
    }
    return (hosts, addresses)
  }

  private static func text(_ bytes: [UInt8]) -> String {
    if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
    guard bytes.count == 16 else { return "" }
    let groups = stride(from: 0, to: 16, by: 2).map { place in
      String(UInt16(bytes[place]) << 8 | UInt16(bytes[place + 1]), radix: 16)
    }
    let long = groups.joined(separator: ":")
    return (try? SocketAddress(literal: long, port: 0))?.canonicalHost ?? long
  }
}

extension Certificate {
  func hash(_ digest: OpaquePointer?) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    guard unsafe X509_digest(pointer, digest, &bytes, &count) == 1 else { return [] }
    return Array(bytes[..<Int(count)])
  }

  /// tls-server-end-point (RFC 5929, 4.1).
  package var endPointHash: [UInt8] { unsafe hash(synod_x509_signature_digest(pointer)) }
  /// Whom it names.
  package var names: CertificateNames { CertificateNames(self) }
}

extension SocketAddress {
  /// The host as the system writes it.
  var canonicalHost: String { SocketAddress(raw).host }
}
