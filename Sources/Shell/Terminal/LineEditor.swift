internal import CEdit
internal import Glibc

/// Reads lines from a terminal through libedit: editing keys, history across sessions, completion, Ctrl-C.
///
/// One editor exists at a time and belongs to the thread that runs the shell.
@safe
final class LineEditor {
  /// What came of reading a line.
  enum Input: Equatable {
    case line(String)
    /// Ctrl-C: what was typed is thrown away.
    case interrupted
    case end
  }

  /// What to offer for the word that ends at the cursor.
  struct Completion {
    /// The bytes before the cursor that the candidates replace.
    var wordLength: Int
    var candidates: [String]
  }

  /// Answers with completions for the text before the cursor.
  var complete: (String) -> Completion = { _ in Completion(wordLength: 0, candidates: []) }

  private let editor: OpaquePointer
  private let lines: OpaquePointer?
  private let historyPath: String?
  private let prompt = PromptText()
  private var wasInterrupted = false
  private let news: News
  private static let historyLimit: Int32 = 2000

  /// Nil where standard input is no terminal, or libedit cannot serve it. `news` is shown above the line being edited.
  init?(historyPath: String?, news: News) {
    self.news = news
    _ = unsafe setlocale(LC_CTYPE, "")
    guard let editor = unsafe synod_edit_start("synod") else { return nil }
    unsafe self.editor = editor
    unsafe lines = history_init()
    self.historyPath = historyPath
    let data = unsafe Unmanaged.passUnretained(self).toOpaque()
    _ = unsafe synod_edit_set_data(editor, data)
    _ = unsafe synod_edit_set_prompt(editor) { unsafe LineEditor.of($0)?.prompt.pointer }
    _ = unsafe synod_edit_set_emacs(editor)
    if let lines = unsafe lines {
      unsafe synod_history_limit(lines, Self.historyLimit)
      if let historyPath { _ = unsafe synod_history_load(lines, historyPath) }
      _ = unsafe synod_edit_set_history(editor, lines)
    }
    _ = unsafe synod_edit_keys_not_signals(editor)
    _ = unsafe synod_edit_bind(editor, "synod-complete", "Complete the word", "^I") { editor, _ in
      unsafe LineEditor.of(editor)?.completeWord() ?? 0
    }
    _ = unsafe synod_edit_bind(editor, "synod-interrupt", "Throw the line away", "^C") { editor, _ in
      unsafe LineEditor.of(editor)?.interrupt() ?? 0
    }
    _ = unsafe synod_edit_bind_builtin(editor, "^R", "em-inc-search-prev")
    _ = unsafe el_source(editor, nil)
    if news.descriptor >= 0 {
      _ = unsafe synod_edit_listen(editor, news.descriptor) { editor in
        guard let self = unsafe LineEditor.of(editor) else { return }
        // The line begins anew below what is said.
        print("\r\u{1B}[K" + self.news.take(), terminator: "")
        synod_flush_output()
        _ = unsafe synod_edit_refresh(editor)
      }
    }
  }

  deinit {
    if let lines = unsafe lines {
      unsafe saveHistory(lines)
      unsafe history_end(lines)
    }
    unsafe el_end(editor)
    prompt.free()
  }

  private static func of(_ editor: OpaquePointer?) -> LineEditor? {
    guard let editor = unsafe editor, let data = unsafe synod_edit_data(editor) else { return nil }
    return unsafe Unmanaged<LineEditor>.fromOpaque(data).takeUnretainedValue()
  }

  /// Reads one line, without its end.
  func read(prompt text: String) -> Input {
    prompt.set(text)
    wasInterrupted = false
    news.setShown(byEditor: true)
    defer { news.setShown(byEditor: false) }
    var count: Int32 = 0
    guard let bytes = unsafe el_gets(editor, &count), count > 0 else { return wasInterrupted ? .interrupted : .end }
    if wasInterrupted { return .interrupted }
    var line = unsafe String(decoding: UnsafeRawBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
    while line.hasSuffix("\n") || line.hasSuffix("\r") { line.removeLast() }
    return .line(line)
  }

  /// Adds a whole statement to the history, and to its file at once, so that a crash loses nothing typed.
  func remember(_ entry: String) {
    guard !entry.isEmpty, let lines = unsafe lines else { return }
    unsafe synod_history_enter(lines, entry)
    unsafe saveHistory(lines)
  }

  private func saveHistory(_ lines: OpaquePointer) {
    guard let historyPath else { return }
    let mask = umask(0o077)
    _ = unsafe synod_history_save(lines, historyPath)
    umask(mask)
  }

  private func interrupt() -> UInt8 {
    wasInterrupted = true
    let info = unsafe el_line(editor).pointee
    _ = unsafe el_deletestr(editor, Int32(info.cursor - info.buffer))
    print("^C")
    // The rest of the line, after the cursor, is dropped by the caller.
    return UInt8(CC_NEWLINE)
  }

  private func completeWord() -> UInt8 {
    let info = unsafe el_line(editor).pointee
    let before = unsafe String(
      decoding: UnsafeRawBufferPointer(start: info.buffer, count: info.cursor - info.buffer), as: UTF8.self)
    let found = complete(before)
    guard let first = found.candidates.first else { return UInt8(CC_REFRESH_BEEP) }
    var common = first
    for candidate in found.candidates.dropFirst() { common = common.commonPrefix(with: candidate) }
    let typed = String(decoding: Array(before.utf8).suffix(found.wordLength), as: UTF8.self)
    if found.candidates.count == 1 { common += first.hasSuffix("/") ? "" : " " }
    if common.utf8.count > typed.utf8.count {
      // Only so many characters as the cursor stands behind; the word is ASCII or was matched exactly.
      unsafe el_deletestr(editor, Int32(typed.unicodeScalars.count))
      unsafe el_insertstr(editor, common)
      return UInt8(CC_REFRESH)
    }
    guard found.candidates.count > 1 else { return UInt8(CC_REFRESH) }
    print("\n" + columns(found.candidates, width: terminalWidth() ?? 80))
    synod_flush_output()
    return UInt8(CC_REDISPLAY)
  }

  /// The prompt as C needs it: stable while libedit draws.
  @safe
  private final class PromptText {
    private(set) var pointer: UnsafeMutablePointer<CChar>? = nil

    func set(_ text: String) {
      free()
      unsafe pointer = strdup(text)
    }

    func free() {
      unsafe Glibc.free(pointer)
      unsafe pointer = nil
    }
  }
}

extension String {
  fileprivate func commonPrefix(with other: String) -> String {
    String(zip(self, other).prefix { $0.0.lowercased() == $0.1.lowercased() }.map(\.0))
  }
}

/// Words in columns, as `ls` prints them.
func columns(_ words: [String], width: Int) -> String {
  let cell = (words.map(displayWidth).max() ?? 0) + 2
  let perLine = max(1, width / max(1, cell))
  var text = ""
  for (index, word) in words.enumerated() {
    let last = index == words.count - 1 || index % perLine == perLine - 1
    text += last ? word : word + String(repeating: " ", count: cell - displayWidth(word))
    if last && index < words.count - 1 { text += "\n" }
  }
  return text
}

/// The terminal's columns, or nil where standard output is none.
func terminalWidth() -> Int? {
  guard isatty(STDOUT_FILENO) == 1 else { return nil }
  var size = winsize()
  guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
  return Int(size.ws_col)
}
