internal import CEdit
internal import Glibc
internal import Synchronization

/// Lines of text that other threads want shown while a person types or a statement runs.
///
/// While a line is being edited, the editor shows them above it; otherwise they are written at once.
final class News: Sendable {
  private struct State {
    var text = ""
    var isEditing = false
  }

  private let state = Mutex(State())
  /// Can be read when there is something to show: an eventfd, or -1.
  let descriptor: Int32 = synod_edit_event()

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Shows a line of text; any thread.
  func tell(_ line: String) {
    state.withLock { state in
      state.text += line + "\n"
      guard state.isEditing, descriptor >= 0 else { return Self.flush(&state) }
      var one: UInt64 = 1
      unsafe withUnsafeBytes(of: &one) { unsafe _ = write(descriptor, $0.baseAddress, $0.count) }
    }
  }

  /// What is to be shown, which counts as shown from then on.
  func take() -> String {
    state.withLock { state in
      defer { state.text = "" }
      return state.text
    }
  }

  func setShown(byEditor isEditing: Bool) {
    state.withLock { state in
      state.isEditing = isEditing
      if !state.text.isEmpty { Self.flush(&state) }
    }
  }

  private static func flush(_ state: inout State) {
    print(state.text, terminator: "")
    synod_flush_output()
    state.text = ""
  }
}
