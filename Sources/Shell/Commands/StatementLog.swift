internal import Glibc
internal import Synchronization

/// `.log`: a line of time, duration and outcome for each statement, and below it the statement.
final class StatementLog {
  private let output: FileHandleOutput

  init(path: String) throws(ShellProblem) {
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw ShellProblem("cannot write \"\(path)\": \(unsafe String(cString: strerror(errno)))")
    }
    output = FileHandleOutput(descriptor: descriptor, owned: true)
  }

  func note(_ statement: String, _ timing: Timing, _ outcome: String) {
    output.write(
      [UInt8]("-- \(clockText())  \(milliseconds(timing.wallNanoseconds)) ms  \(outcome)\n\(statement);\n".utf8))
  }
}

/// The time of day with its date, in the local time zone.
func clockText() -> String {
  var now = time(nil)
  var parts = unsafe tm()
  unsafe localtime_r(&now, &parts)
  var buffer = [CChar](repeating: 0, count: 64)
  let count = unsafe strftime(&buffer, buffer.count, "%Y-%m-%d %H:%M:%S %z", &parts)
  return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Set by an interrupt, waited for by the shell.
final class FlagForInterrupt: Sendable {
  private let flag = Atomic(false)
  private let pipe: (read: Int32, write: Int32)

  init() {
    var ends: [Int32] = [-1, -1]
    precondition(unsafe Glibc.pipe(&ends) == 0)
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    pipe = (ends[0], ends[1])
  }

  deinit {
    close(pipe.read)
    close(pipe.write)
  }

  var isSet: Bool { flag.load(ordering: .acquiring) }

  func set() {
    flag.store(true, ordering: .releasing)
    var byte: UInt8 = 1
    _ = unsafe write(pipe.write, &byte, 1)
  }

  /// Waits for so long, or until the flag is set.
  func wait(_ seconds: Double) {
    var entry = pollfd(fd: pipe.read, events: Int16(POLLIN), revents: 0)
    _ = unsafe poll(&entry, 1, Int32(seconds * 1000))
  }
}
