internal import Glibc

/// Asks for a password on the terminal, whatever standard input and output are, without showing what is typed; nil where
/// there is no terminal, or nothing is typed.
package func askPassword(for user: String) -> String? {
  let descriptor = unsafe open("/dev/tty", O_RDWR | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  let terminal = FileHandleOutput(descriptor: descriptor, owned: false)
  var before = termios()
  guard unsafe tcgetattr(descriptor, &before) == 0 else { return nil }
  var silent = before
  silent.c_lflag &= ~tcflag_t(ECHO)
  silent.c_lflag |= tcflag_t(ICANON)
  _ = unsafe tcsetattr(descriptor, TCSAFLUSH, &silent)
  defer {
    _ = unsafe tcsetattr(descriptor, TCSAFLUSH, &before)
    terminal.write([0x0A])
  }
  terminal.write([UInt8]("Password for \(user): ".utf8))
  let typed = DescriptorLines(descriptor: descriptor).nextLine() ?? []
  return typed.isEmpty ? nil : String(decoding: typed, as: UTF8.self)
}
