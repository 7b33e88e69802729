import Foundation
import Synod
import Testing

/// Backups of a database in use, and what is made of them.
@Suite struct BackupTests {
  final class Folder {
    let path = NSTemporaryDirectory() + "/synod-backup-\(UUID().uuidString)"
    init() { try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  let folder = Folder()
  private func at(_ name: String) -> String { folder.path + "/" + name }

  private func fill(_ database: Database, _ range: Range<Int>) throws {
    for value in range {
      try database.put(Array("key \(value % 50)".utf8), Array("value \(value)".utf8))
    }
  }

  private func content(_ database: Database) throws -> [String?] {
    try (0..<50).map { try database.get(Array("key \($0)".utf8)).map { String(decoding: $0, as: UTF8.self) } }
  }

  @Test(arguments: [false, true])
  func tablesAndTheLogBehindThem(_ links: Bool) throws {
    let database = try Database.open(at: at("db"))
    try fill(database, 0..<200)
    try database.flush()
    try fill(database, 200..<300)
    let summary = try database.backup(to: at("backup"), linksTables: links)
    let expected = try content(database)
    #expect(summary.tables == 1)
    // The database goes on, merges its tables, and the backup does not notice.
    try fill(database, 300..<400)
    try database.compact()
    try database.close()

    let last = try Database.restore(from: at("backup"), to: at("copy"))
    #expect(last == summary.versions.upperBound)
    let copy = try Database.open(at: at("copy"))
    #expect(try content(copy) == expected)
    try fill(copy, 1000..<1010)
    #expect(try copy.get(Array("key 9".utf8)) == Array("value 1009".utf8))
    try copy.close()

    // Every version between the tables' and the last is a state of its own.
    let early = summary.versions.lowerBound + 20
    #expect(try Database.restore(from: at("backup"), to: at("early"), through: .version(early)) == early)
    let then = try Database.open(at: at("early"))
    #expect(try content(then)[19] == "value 219")
    #expect(try content(then)[20] == "value 170")
    try then.close()
    #expect(throws: DatabaseError.self) {
      try Database.restore(from: at("backup"), to: at("none"), through: .version(summary.versions.lowerBound - 1))
    }
    #expect(throws: DatabaseError.self) { try Database.restore(from: at("backup"), to: at("early")) }
  }

  @Test func aBackupOfABusyDatabaseIsOneState() throws {
    let database = try Database.open(at: at("db"))
    // Pairs that every transaction keeps equal: a backup that mixed states would show it.
    let writer = Thread {
      for value in 0..<400 {
        try? database.transaction { transaction in
          try transaction.put(Array("a".utf8), Array("\(value)".utf8))
          try transaction.put(Array("b".utf8), Array("\(value)".utf8))
        }
        if value % 100 == 50 { try? database.flush() }
      }
    }
    writer.start()
    for round in 0..<4 {
      try database.backup(to: at("backup \(round)"))
      try Database.restore(from: at("backup \(round)"), to: at("copy \(round)"))
      let copy = try Database.open(at: at("copy \(round)"))
      #expect(try copy.get(Array("a".utf8)) == copy.get(Array("b".utf8)))
      try copy.close()
    }
    while !writer.isFinished { Thread.sleep(forTimeInterval: 0.001) }
    try database.close()
  }

  @Test func aTimeThatTheBackupCannotTellIsRefused() throws {
    let database = try Database.open(at: at("db"))
    try fill(database, 0..<10)
    try database.flush()
    let between = UInt64(Date().timeIntervalSince1970 * 1e9)
    try database.backup(to: at("tables alone"))
    try fill(database, 10..<20)
    let after = UInt64(Date().timeIntervalSince1970 * 1e9)
    let summary = try database.backup(to: at("backup"))
    try database.close()
    // The tables are of before, but how long before cannot be told.
    for (backup, time) in [
      ("backup", between - 1_000_000_000), ("backup", after + 3_600_000_000_000), ("tables alone", between),
    ] {
      #expect(throws: DatabaseError.self, "\(backup)") {
        try Database.restore(from: at(backup), to: at("none"), through: .time(time))
      }
    }
    #expect(
      try Database.restore(from: at("backup"), to: at("copy"), through: .time(after)) == summary.versions.upperBound)
  }

  /// The pieces that a server sends are the files of a backup; whoever sends others is not believed.
  @Test func aBackupFromPieces() throws {
    let database = try Database.open(at: at("db"))
    try fill(database, 0..<200)
    try database.flush()
    try fill(database, 200..<300)
    let expected = try content(database)
    let rows = try database.query("SELECT file, position, data FROM synod_backup()").rows
    try database.close()
    func piece(_ row: Row) -> (file: String, position: UInt64, bytes: [UInt8])? {
      guard case .text(let file) = row[0], case .int(let position) = row[1], case .bytes(let bytes) = row[2] else {
        return nil
      }
      return (file, UInt64(position), bytes)
    }
    let pieces = rows.compactMap(piece)
    try #require(pieces.count == rows.count && pieces.last?.file == "BACKUP")
    func receive(_ pieces: [(file: String, position: UInt64, bytes: [UInt8])]) throws -> BackupSummary {
      let receiver = try BackupReceiver(at("backup"))
      do {
        for piece in pieces { try receiver.take(piece.file, at: piece.position, piece.bytes) }
        return try receiver.finish()
      } catch {
        receiver.abandon()
        throw error
      }
    }
    var wrong: [[(file: String, position: UInt64, bytes: [UInt8])]] = [pieces.dropLast(), pieces.reversed()]
    for name in ["../BACKUP", "/etc/x", "tables/../x", "tables", "", "a/b", "tables/a/b", "."] {
      wrong.append([(name, 0, [1])] + pieces)
    }
    for index in pieces.indices {
      var damaged = pieces
      guard !damaged[index].bytes.isEmpty else { continue }
      damaged[index].bytes[damaged[index].bytes.count / 2] ^= 1
      wrong.append(damaged)
    }
    for pieces in wrong {
      #expect(throws: DatabaseError.self) { try receive(pieces) }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["db"])
    }
    let summary = try receive(pieces)
    #expect(try Database.verifyBackup(at: at("backup")) == summary)
    try Database.restore(from: at("backup"), to: at("copy"))
    let copy = try Database.open(at: at("copy"))
    #expect(try content(copy) == expected)
    try copy.close()
  }

  @Test func everyDamagedByteIsFound() throws {
    let database = try Database.open(at: at("db"))
    try fill(database, 0..<100)
    try database.flush()
    try fill(database, 100..<120)
    try database.backup(to: at("backup"))
    try database.close()
    let files = try FileManager.default.subpathsOfDirectory(atPath: at("backup")).filter { $0 != "tables" }.sorted()
    #expect(files.count == 5)
    for file in files {
      let url = URL(fileURLWithPath: at("backup") + "/" + file)
      let sound = try Data(contentsOf: url)
      for offset in [0, sound.count / 2, sound.count - 1] {
        var bytes = sound
        bytes[offset] ^= 0x20
        try bytes.write(to: url)
        #expect(throws: DatabaseError.self, "\(file) at \(offset)") {
          try Database.restore(from: at("backup"), to: at("copy"))
        }
      }
      try sound.write(to: url)
    }
    // Nothing was left where the database would be, and the sound backup still works.
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["backup", "db"])
    try Database.restore(from: at("backup"), to: at("copy"))
  }
}
