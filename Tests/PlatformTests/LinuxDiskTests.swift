import Glibc
import Platform
import Testing

/// The real file system keeps the contract that the simulated one is built on.
@Suite struct LinuxDiskTests {
  let disk = LinuxDisk()

  /// Runs `body` with a directory of its own.
  func withDirectory<T>(_ body: (String) throws -> T) throws -> T {
    var template = Array("/tmp/synod-platform-XXXXXX".utf8CString)
    let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
    let path = String(cString: try #require(made))
    defer { _ = system("rm -rf \(path)") }
    return try body(path)
  }

  func kind(_ body: () throws -> Void) -> DiskError.Kind? {
    do {
      try body()
      return nil
    } catch { return (error as? DiskError)?.kind }
  }

  @Test func filesReadWriteGrowAndShrink() throws {
    try withDirectory { directory in
      let path = directory + "/a"
      #expect(kind { _ = try disk.open(path, .read) } == .notFound)
      let file = try disk.open(path, .create)
      #expect(kind { _ = try disk.open(path, .create) } == .exists)
      try file.write([1, 2, 3], at: 5)
      #expect(try file.sizeBytes() == 8)
      #expect(try file.readBytes(100, at: 4) == [0, 1, 2, 3])
      #expect(try file.readBytes(10, at: 50) == [])
      try file.sync()
      try file.truncate(to: 6)
      #expect(try file.readBytes(100, at: 0) == [0, 0, 0, 0, 0, 1])
      file.close()
      file.close()
      #expect(throws: DiskError.self) { try file.write([1], at: 0) }
      let reader = try disk.open(path, .read)
      #expect(throws: DiskError.self) { try reader.write([1], at: 0) }
    }
  }

  /// Handing pages to the device changes nothing that can be read, whatever the range.
  @Test func whatIsWrittenOutStaysWritable() throws {
    try withDirectory { directory in
      let file = try disk.open(directory + "/a", .create)
      try file.write([UInt8](repeating: 7, count: 10_000), at: 0)
      for range in [0..<8192, 100..<200, 0..<0, 5000..<1_000_000] as [Range<UInt64>] { try file.writeOut(range) }
      try file.write([8], at: 8191)
      try file.sync()
      #expect(try file.readBytes(3, at: 8190) == [7, 8, 7])
      #expect(try file.sizeBytes() == 10_000)
      file.close()
      #expect(throws: DiskError.self) { try file.writeOut(0..<4096) }
    }
  }

  @Test func namesAndDirectories() throws {
    try withDirectory { directory in
      try disk.createDirectory(directory + "/d")
      try disk.createDirectory(directory + "/d")
      let file = try disk.open(directory + "/d/a", .create)
      try file.write([7], at: 0)
      #expect(kind { try disk.createDirectory(directory + "/d/a") } == .exists)
      try disk.link(directory + "/d/a", to: directory + "/d/b")
      #expect(kind { try disk.link(directory + "/d/a", to: directory + "/d/b") } == .exists)
      try disk.rename(directory + "/d/a", to: directory + "/d/c")
      #expect(try disk.list(directory + "/d") == ["b", "c"])
      // Two names of one file: a rename changes nothing (POSIX).
      try disk.rename(directory + "/d/b", to: directory + "/d/c")
      try disk.remove(directory + "/d/b")
      try disk.remove(directory + "/d/c")
      try disk.syncDirectory(directory + "/d")
      try disk.remove(directory + "/d")
      #expect(try disk.status(directory + "/d") == nil)
      #expect(try disk.status(directory)?.isDirectory == true)
      #expect(kind { _ = try disk.list(directory + "/none") } == .notFound)
      #expect(kind { try disk.remove(directory + "/none") } == .notFound)
      #expect(try disk.freeSizeBytes(directory) > 0)
    }
  }

  @Test func directFilesWriteWholeBlocks() throws {
    try withDirectory { directory in
      let path = directory + "/a"
      let made = try disk.open(path, .create)
      try made.write([UInt8](repeating: 0, count: 16384), at: 0)
      try made.sync()
      let file = try disk.open(path, .direct)
      let block = AlignedBuffer(sizeBytes: 5000)
      #expect(block.bytes.count == 8192)
      for index in 0..<8192 { block.bytes[index] = UInt8(truncatingIfNeeded: index / 4096 + 1) }
      try file.writeDurably(UnsafeRawBufferPointer(block.bytes), at: 4096)
      #expect(try made.readBytes(16384, at: 0).reduce(0) { $0 + Int($1) } == 4096 * 3)
      let back = AlignedBuffer(sizeBytes: 4096)
      #expect(try file.read(into: back.bytes, at: 8192) == 4096)
      #expect(back.bytes.allSatisfy { $0 == 2 })
    }
  }

  @Test func aLockKeepsOthersOut() throws {
    try withDirectory { directory in
      let lock = try disk.lock(directory + "/LOCK")
      #expect(kind { _ = try disk.lock(directory + "/LOCK") } == .locked)
      lock.close()
      let again = try disk.lock(directory + "/LOCK")
      again.close()
    }
  }

  @Test func errorsNameTheOperationAndThePath() {
    do throws(DiskError) {
      _ = try disk.open("/nowhere/file", .read)
      Issue.record("opened")
    } catch {
      #expect(error.kind == .notFound)
      #expect("\(error)".contains("/nowhere/file"))
    }
  }

  @Test func seededRandomnessIsTheSameEverywhere() {
    var a = SeededRandomness(seed: 1)
    var b = SeededRandomness(seed: 1)
    var c = SeededRandomness(seed: 2)
    let first = (0..<8).map { _ in a.next() }
    #expect(first == (0..<8).map { _ in b.next() })
    #expect(first != (0..<8).map { _ in c.next() })
    let below = (0..<10_000).map { _ in a.below(7) }
    #expect(Set(below) == Set(0..<7))
  }

  @Test func aFutexWakesItsSleeper() async {
    let word = FutexWord()
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        while word.load() == 0 { word.wait(while: 0, timeoutNanoseconds: 1_000_000_000) }
      }
      word.store(1)
      word.wake()
    }
    #expect(word.load() == 1)
    #expect(word.exchange(1, for: 5))
    #expect(!word.exchange(1, for: 6))
    #expect(word.increment() == 6)
    word.wait(while: 0)
  }
}
