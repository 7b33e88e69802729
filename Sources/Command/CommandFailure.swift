/// Why a command could not do its work, as one line for a person. (Misuse of flags is ArgumentParser's `ValidationError`,
/// which also shows the usage.)
struct CommandFailure: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}
