internal import Glibc
internal import Synchronization

/// Lines to run, wherever they come from.
package protocol LineSource: AnyObject {
  /// The bytes of the next line without its newline, or nil at the end. A carriage return before the newline stays:
  /// it may be part of a text.
  func nextLine() -> [UInt8]?
  /// The next piece of raw bytes for COPY FROM STDIN, or nil at the end.
  func nextBytes() -> [UInt8]?
}

/// Lines of a text in memory.
package final class TextLines: LineSource {
  private var rest: ArraySlice<UInt8>

  package init(_ text: String) { rest = [UInt8](text.utf8)[...] }

  package func nextLine() -> [UInt8]? {
    guard !rest.isEmpty else { return nil }
    let end = rest.firstIndex(of: 0x0A)
    defer { rest = end.map { rest[($0 + 1)...] } ?? [] }
    return Array(rest[..<(end ?? rest.endIndex)])
  }

  package func nextBytes() -> [UInt8]? { nextLine().map { $0 + [0x0A] } }
}

/// Lines of a file descriptor, read in pieces of 64 KiB. A byte order mark at the start is passed over.
package class DescriptorLines: LineSource {
  private let descriptor: Int32
  private var buffer: [UInt8] = []
  private var start = 0
  private var isAtEnd = false
  private var isAtStart = true

  init(descriptor: Int32) { self.descriptor = descriptor }

  package func nextLine() -> [UInt8]? {
    var scanned = start
    while true {
      if let end = buffer[scanned...].firstIndex(of: 0x0A) {
        defer { start = end + 1 }
        return Array(buffer[start..<end])
      }
      scanned = buffer.count
      let before = start
      guard fill() else {
        guard start < buffer.count else { return nil }
        defer { start = buffer.count }
        return Array(buffer[start...])
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
    if isAtStart, got > 0 {
      isAtStart = false
      if buffer.starts(with: [0xEF, 0xBB, 0xBF]) {
        start = 3
        return got > 3 || fill()
      }
    }
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

  private let failure = Atomic<Int32>(0)
  /// True once a write failed.
  var hasFailed: Bool { failure.load(ordering: .relaxed) != 0 }
  /// What the system said when a write failed first.
  var failureText: String? {
    let code = failure.load(ordering: .relaxed)
    return code == 0 ? nil : unsafe String(cString: strerror(code))
  }

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
        failure.store(wrote < 0 ? errno : EIO, ordering: .relaxed)
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

  /// Why a write failed, if one did: the disk is full, the device is gone.
  var failureText: String? {
    switch self {
    case .standardOutput: Self.standard.failureText
    case .file(let file): file.failureText
    case .command: nil
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
    ignoringBrokenPipe { _ = unsafe fwrite(bytes, 1, bytes.count, stream) }
  }

  func close() {
    guard let open = unsafe stream else { return }
    unsafe stream = nil
    ignoringBrokenPipe { _ = unsafe pclose(open) }
  }

  /// A pager that was left before the end of its input must not end the shell.
  private func ignoringBrokenPipe(_ body: () -> Void) {
    let before = signal(SIGPIPE, SIG_IGN)
    body()
    _ = signal(SIGPIPE, before)
  }
}

/// Runs a shell command and waits; returns its exit status.
func runSystemCommand(_ command: String) -> Int32 { unsafe system(command) }

/// The files whose paths begin with `prefix`; directories end with a slash.
func fileNames(startingWith prefix: String) -> [String] {
  let slash = prefix.lastIndex(of: "/")
  let directory = slash.map { String(prefix[...$0]) } ?? ""
  let part = slash.map { prefix[prefix.index(after: $0)...] } ?? prefix[...]
  guard let stream = unsafe opendir(directory.isEmpty ? "." : directory) else { return [] }
  defer { unsafe closedir(stream) }
  var names: [String] = []
  while let entry = unsafe readdir(stream) {
    let name = unsafe withUnsafePointer(to: entry.pointee.d_name) { pointer in
      unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
    }
    guard name != ".", name != "..", name.hasPrefix(part), !name.hasPrefix(".") || part.hasPrefix(".") else { continue }
    let isDirectory = unsafe Int32(entry.pointee.d_type) == Int32(DT_DIR)
    names.append(directory + name + (isDirectory ? "/" : ""))
  }
  return names.sorted()
}
