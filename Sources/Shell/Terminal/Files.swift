internal import Glibc
internal import Synchronization

/// Lines to run, wherever they come from.
package protocol LineSource: AnyObject {
  /// The next line without its end, or nil at the end. Bytes that are not UTF-8 become U+FFFD.
  func next() -> String?
  /// The next piece of raw bytes for COPY FROM STDIN, or nil at the end.
  func nextBytes() -> [UInt8]?
}

/// Lines of a text in memory.
package final class TextLines: LineSource {
  private var rest: Substring

  package init(_ text: String) { rest = Substring(text) }

  package func next() -> String? {
    guard !rest.isEmpty else { return nil }
    let end = rest.firstIndex(where: \.isNewline)
    defer { rest = end.map { rest[rest.index(after: $0)...] } ?? "" }
    return String(rest[..<(end ?? rest.endIndex)])
  }

  package func nextBytes() -> [UInt8]? { next().map { [UInt8](($0 + "\n").utf8) } }
}

/// Lines of a file descriptor, read in pieces of 64 KiB.
package class DescriptorLines: LineSource {
  private let descriptor: Int32
  private var buffer: [UInt8] = []
  private var start = 0
  private var isAtEnd = false

  init(descriptor: Int32) { self.descriptor = descriptor }

  package func next() -> String? {
    var scanned = start
    while true {
      if let end = buffer[scanned...].firstIndex(of: 0x0A) {
        defer { start = end + 1 }
        let stop = end > start && buffer[end - 1] == 0x0D ? end - 1 : end
        return String(decoding: buffer[start..<stop], as: UTF8.self)
      }
      scanned = buffer.count
      let before = start
      guard fill() else {
        guard start < buffer.count else { return nil }
        defer { start = buffer.count }
        return String(decoding: buffer[start...], as: UTF8.self)
      }
      scanned -= before - start
    }
  }

  package func nextBytes() -> [UInt8]? {
    if start >= buffer.count && !fill() { return nil }
    defer { start = buffer.count }
    return Array(buffer[start...])
  }

  /// Reads more; false at the end.
  private func fill() -> Bool {
    guard !isAtEnd else { return false }
    if start > 0 {
      buffer.removeFirst(start)
      start = 0
    }
    let piece = 1 << 16
    let old = buffer.count
    buffer.append(contentsOf: repeatElement(0, count: piece))
    var got: Int
    repeat {
      got = unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress! + old, piece) }
    } while got < 0 && errno == EINTR
    buffer.removeLast(piece - max(0, got))
    if got <= 0 { isAtEnd = true }
    return got > 0
  }
}

/// Standard input.
package final class StandardInput: DescriptorLines {
  package init() { super.init(descriptor: STDIN_FILENO) }
}

/// A file that is being read.
package final class FileLines: DescriptorLines {
  private let descriptor: Int32
  /// The file's size in bytes, for progress; nil for pipes.
  let sizeBytes: UInt64?

  /// Throws a message where the file cannot be opened.
  package init(path: String) throws(ShellProblem) {
    descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw ShellProblem("cannot open \"\(path)\": \(unsafe String(cString: strerror(errno)))")
    }
    var status = stat()
    let known = unsafe fstat(descriptor, &status) == 0
    if known && status.st_mode & S_IFMT == S_IFDIR {
      close(descriptor)
      throw ShellProblem("cannot read \"\(path)\": it is a directory")
    }
    sizeBytes = known && status.st_mode & S_IFMT == S_IFREG ? UInt64(max(0, status.st_size)) : nil
    super.init(descriptor: descriptor)
  }

  deinit { close(descriptor) }
}

/// Something the shell itself could not do; the message is for the user.
package struct ShellProblem: Error, Sendable {
  package var message: String
  package init(_ message: String) { self.message = message }
}

/// A descriptor that bytes are written to.
final class FileHandleOutput: Sendable {
  static let standardError = FileHandleOutput(descriptor: STDERR_FILENO, owned: false)
  private let descriptor: Int32
  private let owned: Bool

  private let failed = Atomic(false)
  /// True once a write failed.
  var hasFailed: Bool { failed.load(ordering: .relaxed) }

  init(descriptor: Int32, owned: Bool) {
    self.descriptor = descriptor
    self.owned = owned
  }

  deinit { if owned { Glibc.close(descriptor) } }

  func write(_ bytes: [UInt8]) {
    var done = 0
    while done < bytes.count && !hasFailed {
      let wrote = unsafe bytes.withUnsafeBytes {
        unsafe Glibc.write(descriptor, $0.baseAddress! + done, bytes.count - done)
      }
      if wrote < 0 && errno == EINTR { continue }
      guard wrote > 0 else {
        failed.store(true, ordering: .relaxed)
        return
      }
      done += wrote
    }
  }
}

/// Where results go: standard output, a file, or a command's standard input.
enum OutputTarget {
  case standardOutput
  case file(FileHandleOutput)
  case command(Pipe)

  private static let standard = FileHandleOutput(descriptor: STDOUT_FILENO, owned: false)

  /// Opens a file, or with a leading `|` a command.
  static func named(_ name: String) throws(ShellProblem) -> OutputTarget {
    if name.isEmpty || name == "stdout" { return .standardOutput }
    if name.hasPrefix("|") { return .command(try Pipe(command: String(name.dropFirst()))) }
    let descriptor = unsafe open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw ShellProblem("cannot write \"\(name)\": \(unsafe String(cString: strerror(errno)))")
    }
    return .file(FileHandleOutput(descriptor: descriptor, owned: true))
  }

  func write(_ bytes: [UInt8]) {
    switch self {
    case .standardOutput: Self.standard.write(bytes)
    case .file(let file): file.write(bytes)
    case .command(let pipe): pipe.write(bytes)
    }
  }

  /// True once a write failed: the reader went away, or the disk is full.
  var hasFailed: Bool {
    switch self {
    case .standardOutput: Self.standard.hasFailed
    case .file(let file): file.hasFailed
    case .command: false
    }
  }

  func flush() {}

  func close() { if case .command(let pipe) = self { pipe.close() } }
}

/// A shell command that reads what is written.
@safe
final class Pipe {
  private var stream: UnsafeMutablePointer<FILE>?

  init(command: String) throws(ShellProblem) {
    unsafe stream = popen(command, "w")
    guard unsafe stream != nil else { throw ShellProblem("cannot run \"\(command)\"") }
  }

  deinit { close() }

  func write(_ bytes: [UInt8]) {
    guard let stream = unsafe stream else { return }
    _ = unsafe fwrite(bytes, 1, bytes.count, stream)
  }

  func close() {
    guard let open = unsafe stream else { return }
    unsafe stream = nil
    _ = unsafe pclose(open)
  }
}

/// Runs a shell command and waits; returns its exit status.
func runSystemCommand(_ command: String) -> Int32 { unsafe system(command) }
