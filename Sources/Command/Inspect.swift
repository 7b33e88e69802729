import ArgumentParser
internal import Encoding
internal import Platform
internal import Storage

/// `synod inspect …`: what is in the files, for people; the database is not opened and nothing is changed.
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Look into a database's files without opening it.",
    subcommands: [InspectLog.self, InspectTable.self, InspectManifest.self])
}

/// `synod inspect table FILE`.
struct InspectTable: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "table", abstract: "Describe a table file; list its entries.")

  @Argument(help: "The file, in the database's tables directory.")
  var path: String

  @Flag(help: "List every entry: key, version, kind, bytes of value.")
  var entries = false

  @Option(help: "At most this many entries.")
  var limit = Int.max

  func run() throws {
    try reporting { () throws(StorageError) in
      let inspector = try TableInspector(path, disk: LinuxDisk())
      print(try inspector.describe(), terminator: "")
      guard entries else { return }
      var left = limit
      unsafe try inspector.forEachEntry { key, version, kind, value in
        guard left > 0 else { return false }
        left -= 1
        let name = unsafe key.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        print("\(name) \(version) \(kind) \(value.count) bytes")
        return true
      }
    }
  }
}

/// `synod inspect manifest PATH`.
struct InspectManifest: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "manifest", abstract: "List the edits of a manifest, and the tables that they come to.")

  @Argument(help: "The database directory, or a manifest file.")
  var path: String

  func run() throws {
    try reporting { () throws(StorageError) in
      print(try ManifestInspector(path, disk: LinuxDisk()).describe(), terminator: "")
    }
  }
}

/// Runs `body`; its error ends the command with one line and status 1.
func reporting(_ body: () throws(StorageError) -> Void) throws {
  do throws(StorageError) { try body() } catch { throw CommandFailure("\(error)") }
}
