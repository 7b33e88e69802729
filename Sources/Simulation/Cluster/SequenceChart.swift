// A message-sequence chart as SVG: a lifeline for each node, an arrow for each message, time downward.

package struct SequenceChart: Sendable {
  private struct Arrow: Sendable {
    var from: Int
    var to: Int
    var text: String
    var sent: UInt64
    var arrives: UInt64?
  }
  private struct Note: Sendable {
    var node: Int?
    var text: String
    var time: UInt64
  }
  private var arrows: [Arrow] = []
  private var notes: [Note] = []

  package init() {}

  package mutating func message(from: Int, to: Int, _ text: String, sent: UInt64, arrives: UInt64?) {
    arrows.append(Arrow(from: from, to: to, text: text, sent: sent, arrives: arrives))
  }

  package mutating func note(_ node: Int?, _ text: String, at time: UInt64) {
    notes.append(Note(node: node, text: text, time: time))
  }

  /// The picture of what was said in a span of time.
  /// - Parameters:
  ///   - span: in microseconds.
  ///   - heartbeats: whether the background is drawn as well.
  package func svg(_ span: ClosedRange<UInt64>, heartbeats: Bool = false) -> String {
    let shown = arrows.filter {
      span.contains($0.sent) && (heartbeats || !($0.text.hasPrefix("heartbeat") || $0.text.hasPrefix("ack")))
    }
    let marks = notes.filter { span.contains($0.time) }
    // Time is stretched where much is said: each event gets a line of its own.
    let moments = Set(shown.flatMap { [$0.sent, $0.arrives ?? $0.sent] } + marks.map(\.time)).sorted()
    var y: [UInt64: Int] = [:]
    for (i, moment) in moments.enumerated() { y[moment] = 70 + i * 16 }
    let nodes = Array(Set(shown.flatMap { [$0.from, $0.to] } + marks.compactMap(\.node))).sorted()
    let x = Dictionary(uniqueKeysWithValues: nodes.enumerated().map { ($1, 140 + $0 * 260) })
    let height = 100 + moments.count * 16
    let width = 140 + max(nodes.count, 1) * 260
    var out = """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(height)" viewBox="0 0 \(width) \(height)" font-family="ui-monospace, monospace" font-size="10">
      <style>text{fill:#222}.l{stroke:#bbb}.m{stroke:#2457a6;marker-end:url(#a)}.x{stroke:#c33;stroke-dasharray:4 3}.n{fill:#7a4b00}.t{fill:#888}</style>
      <defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="3" orient="auto"><path d="M0,0 L7,3 L0,6 z" fill="#2457a6"/></marker></defs>
      <rect width="100%" height="100%" fill="white"/>

      """
    for node in nodes {
      let at = x[node] ?? 0
      out += "<line class=\"l\" x1=\"\(at)\" y1=\"50\" x2=\"\(at)\" y2=\"\(height - 10)\"/>"
      out += "<text x=\"\(at)\" y=\"40\" text-anchor=\"middle\" font-size=\"13\">n\(node)</text>\n"
    }
    for arrow in shown {
      guard let x1 = x[arrow.from], let x2 = x[arrow.to], let y1 = y[arrow.sent] else { continue }
      let y2 = y[arrow.arrives ?? arrow.sent] ?? y1
      let end = arrow.arrives == nil ? (x1 + x2) / 2 : x2
      out +=
        "<line class=\"\(arrow.arrives == nil ? "x" : "m")\" x1=\"\(x1)\" y1=\"\(y1)\" x2=\"\(end)\" y2=\"\(y2)\"/>"
      let anchor = x1 < x2 ? "start" : "end"
      out +=
        "<text x=\"\(x1 + (x1 < x2 ? 6 : -6))\" y=\"\(y1 - 2)\" text-anchor=\"\(anchor)\">\(escape(arrow.text))</text>\n"
    }
    for mark in marks {
      guard let at = y[mark.time] else { continue }
      let left = mark.node.flatMap { x[$0] } ?? 10
      out += "<text class=\"n\" x=\"\(left + 4)\" y=\"\(at - 2)\" font-weight=\"bold\">\(escape(mark.text))</text>\n"
    }
    for moment in moments {
      out +=
        "<text class=\"t\" x=\"4\" y=\"\((y[moment] ?? 0) + 3)\">\(moment / 1000).\(moment % 1000 / 100) ms</text>\n"
    }
    return out + "</svg>\n"
  }

  private func escape(_ text: String) -> String {
    var out = ""
    for character in text {
      switch character {
      case "<": out += "&lt;"
      case ">": out += "&gt;"
      case "&": out += "&amp;"
      default: out.append(character)
      }
    }
    return out
  }
}
