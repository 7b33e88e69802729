import ArgumentParser
import Foundation
internal import Platform

/// `synod cert`: an authority of one's own, and the certificates that it signs.
struct Cert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make certificates for TLS: an authority, nodes, clients.",
    discussion: """
      A cluster needs three things: the authority's certificate (ca.crt) everywhere, a certificate and key for each node, \
      and the authority's key (ca.key) nowhere but where certificates are made.

        synod cert create-ca
        synod cert node node-1 node-1.example 10.0.0.1
        synod cert client alice

      Files are written to the directory `certs`, keys readable by their owner alone. Nothing is ever replaced.
      """,
    subcommands: [CreateAuthority.self, Node.self, Client.self])

  /// Where the files are.
  struct Place: ParsableArguments {
    @Option(help: "The directory of the files.")
    var directory = "certs"

    var authorityCertificate: String { directory + "/ca.crt" }
    var authorityKey: String { directory + "/ca.key" }

    /// Both files or none: a key without its certificate is of no use.
    func write(_ issued: CertificateAuthority.Issued, as name: String) throws {
      let certificate = "\(directory)/\(name).crt"
      let key = "\(directory)/\(name).key"
      for path in [certificate, key] where FileManager.default.fileExists(atPath: path) {
        throw CommandFailure(
          "\(path) is there already, and is not replaced: move it away, or choose another --directory")
      }
      do throws(TLSError) {
        try CertificateStore.write(issued.key, to: key, isSecret: true)
        try CertificateStore.write(issued.certificate, to: certificate, isSecret: false)
      } catch { throw CommandFailure("\(error)") }
      print("\(certificate)\n\(key)")
    }

    func authority() throws -> CertificateAuthority {
      guard FileManager.default.fileExists(atPath: authorityKey) else {
        throw CommandFailure(
          "there is no \(authorityKey): make an authority with `synod cert create-ca`, or name its directory with --directory"
        )
      }
      do throws(TLSError) {
        return try CertificateAuthority(certificateFile: authorityCertificate, keyFile: authorityKey)
      } catch { throw CommandFailure("\(error)") }
    }
  }

  /// A name becomes a file's.
  static func checkFileName(_ name: String) throws {
    guard !name.isEmpty, name != "ca", !name.hasPrefix("."), !name.contains("/"), !name.utf8.contains(0) else {
      throw CommandFailure("\"\(name)\" cannot be the name of a certificate here: it names the file")
    }
  }

  struct CreateAuthority: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "create-ca", abstract: "Make an authority: ca.crt to hand out, ca.key to keep.")

    @OptionGroup var place: Place

    @Option(help: "The authority's name.")
    var name = "SynodDB authority"

    @Option(help: "How long it is valid.")
    var days = 3650

    func run() throws {
      do {
        try FileManager.default.createDirectory(
          atPath: place.directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      } catch {
        throw CommandFailure("cannot make the directory \(place.directory): \(error.localizedDescription)")
      }
      let issued: CertificateAuthority.Issued
      do throws(TLSError) {
        issued = try CertificateAuthority.create(name: name, days: days).exported()
      } catch { throw CommandFailure("\(error)") }
      try place.write(issued, as: "ca")
    }
  }

  struct Node: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a node's certificate, with every name and address that it is reached by.")

    @OptionGroup var place: Place

    @Argument(help: "The node's name, which is also the files' name.")
    var name: String

    @Argument(help: "Host names and addresses. localhost, 127.0.0.1 and ::1 are added.")
    var hosts: [String] = []

    @Option(help: "How long it is valid.")
    var days = 825

    func run() throws {
      try Cert.checkFileName(name)
      let authority = try place.authority()
      var all = hosts
      for host in ["localhost", "127.0.0.1", "::1"] where !all.contains(host) { all.append(host) }
      let issued: CertificateAuthority.Issued
      do throws(TLSError) {
        issued = try authority.issue(.init(commonName: name, hosts: all, usage: .node, days: days))
      } catch { throw CommandFailure("\(error)") }
      try place.write(issued, as: name)
    }
  }

  struct Client: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a client's certificate, for a role to log in with.")

    @OptionGroup var place: Place

    @Argument(help: "The role, which is also the files' name.")
    var role: String

    @Option(help: "How long it is valid.")
    var days = 825

    func run() throws {
      try Cert.checkFileName(role)
      let authority = try place.authority()
      let issued: CertificateAuthority.Issued
      do throws(TLSError) {
        issued = try authority.issue(.init(commonName: role, usage: .client, days: days))
      } catch { throw CommandFailure("\(error)") }
      try place.write(issued, as: role)
    }
  }
}
