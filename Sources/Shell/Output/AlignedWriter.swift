/// Tables with aligned columns: box, ASCII frame, Markdown, or plain columns.
///
/// The widths are those of the first rows: up to `sampleRows` are kept before anything is written, then rows stream at
/// those widths (a later, wider field pushes its line out, but no result has to fit into memory). On a terminal the widest
/// columns give way until a line fits, and what does not fit ends in `…`.
struct AlignedWriter: ResultWriter {
  enum Frame { case box, ascii, markdown, none }

  private static let sampleRows = 4000
  private static let narrowest = 8

  private let options: OutputOptions
  private let frame: Frame
  private var columns: [OutputColumn] = []
  private var widths: [Int] = []
  private var sample: [[String]] = []
  private var isStreaming = false

  init(options: OutputOptions, frame: Frame) {
    self.options = options
    self.frame = frame
  }

  mutating func begin(_ columns: [OutputColumn], to output: inout OutputBuffer) { self.columns = columns }

  mutating func row(_ fields: [String?], to output: inout OutputBuffer) {
    let shown = fields.map { field in
      guard let field else { return options.nullText }
      let text = displayable(field)
      return frame == .markdown
        ? text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|") : text
    }
    guard !isStreaming else { return write(shown, to: &output) }
    sample.append(shown)
    if sample.count >= Self.sampleRows { startStreaming(to: &output) }
  }

  mutating func end(to output: inout OutputBuffer) {
    guard !columns.isEmpty else { return }
    if !isStreaming { startStreaming(to: &output) }
    if let rule = rule(.bottom) { output.line(rule) }
  }

  private mutating func startStreaming(to output: inout OutputBuffer) {
    isStreaming = true
    measure()
    if let rule = rule(.top) { output.line(rule) }
    if options.showsHeaders || frame == .markdown {
      write(columns.map { displayable($0.name) }, to: &output, isHeader: true)
      if let rule = rule(.middle) { output.line(rule) }
    }
    for row in sample { write(row, to: &output) }
    sample = []
  }

  private mutating func measure() {
    widths = columns.map { options.showsHeaders || frame == .markdown ? displayWidth(displayable($0.name)) : 1 }
    for row in sample {
      for (index, field) in row.enumerated() where index < widths.count {
        widths[index] = max(widths[index], displayWidth(field))
      }
    }
    if frame == .none {
      for (index, width) in options.widths.enumerated() where index < widths.count && width != 0 {
        widths[index] = abs(width)
      }
    }
    guard let available = options.terminalWidth, frame != .markdown else { return }
    let overhead = frame == .none ? 2 * (widths.count - 1) : 3 * widths.count + 1
    var excess = widths.reduce(0, +) + overhead - available
    while excess > 0, let widest = widths.indices.max(by: { widths[$0] < widths[$1] }), widths[widest] > Self.narrowest
    {
      // Take from the widest column down to the next widest, or what is needed.
      let next = widths.indices.filter { $0 != widest }.map { widths[$0] }.max() ?? Self.narrowest
      let step = min(excess, max(1, widths[widest] - max(next, Self.narrowest)))
      widths[widest] -= step
      excess -= step
    }
  }

  private func write(_ fields: [String], to output: inout OutputBuffer, isHeader: Bool = false) {
    let bar = frame == .box ? "│" : "|"
    if frame != .none { output.write(bar) }
    for (index, field) in fields.enumerated() where index < widths.count {
      if frame != .none || index > 0 { output.spaces(frame == .none ? 2 : 1) }
      var text = field
      var width = displayWidth(text)
      if width > widths[index] && (options.terminalWidth != nil || frame == .none && hasFixedWidth(index)) {
        text = cut(text, toWidth: max(0, widths[index] - 1)) + "…"
        width = displayWidth(text)
      }
      let gap = widths[index] - width
      if alignsRight(index) && !isHeader {
        output.spaces(gap)
        output.write(text)
      } else {
        output.write(text)
        if frame != .none || index < fields.count - 1 { output.spaces(gap) }
      }
      if frame != .none {
        output.spaces(1)
        output.write(bar)
      }
    }
    output.line()
  }

  private func hasFixedWidth(_ index: Int) -> Bool { index < options.widths.count && options.widths[index] != 0 }

  private func alignsRight(_ index: Int) -> Bool {
    if frame == .none && index < options.widths.count && options.widths[index] != 0 { return options.widths[index] < 0 }
    return columns[index].kind == .number
  }

  private enum Place { case top, middle, bottom }

  private func rule(_ place: Place) -> String? {
    switch (frame, place) {
    case (.box, .top): return joined("┌", "─", "┬", "┐")
    case (.box, .middle): return joined("├", "─", "┼", "┤")
    case (.box, .bottom): return joined("└", "─", "┴", "┘")
    case (.ascii, _): return joined("+", "-", "+", "+")
    case (.markdown, .middle):
      return "|"
        + widths.indices.map { index in
          let right = columns[index].kind == .number
          return String(repeating: "-", count: widths[index] + (right ? 1 : 2)) + (right ? ":" : "")
        }.joined(separator: "|") + "|"
    case (.markdown, _): return nil
    case (.none, .middle):
      return options.showsHeaders
        ? widths.map { String(repeating: "-", count: $0) }.joined(separator: "  ") : nil
    case (.none, _): return nil
    }
  }

  private func joined(_ left: String, _ fill: String, _ cross: String, _ right: String) -> String {
    left + widths.map { String(repeating: fill, count: $0 + 2) }.joined(separator: cross) + right
  }
}
