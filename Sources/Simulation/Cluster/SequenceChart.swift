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

  /// A line of the picture. What is said gets one of its own, to however many it is said; arrivals at one moment share one.
  private enum Row: Hashable {
    case said(from: Int, text: String, time: UInt64)
    case arrival(UInt64)
    case note(Int)
  }

  /// The picture of what was said in a span of time. Time is stretched where much is said.
  /// - Parameters:
  ///   - span: in microseconds.
  ///   - heartbeats: whether the background is drawn as well.
  package func svg(_ span: ClosedRange<UInt64>, heartbeats: Bool = false) -> String {
    let shown = arrows.filter {
      span.contains($0.sent) && (heartbeats || !($0.text.hasPrefix("heartbeat") || $0.text.hasPrefix("ack")))
    }
    let marks = notes.indices.filter { span.contains(notes[$0].time) }
    var rows: [(time: UInt64, order: Int, row: Row)] = []
    var seen: Set<Row> = []
    func add(_ row: Row, _ time: UInt64) {
      if seen.insert(row).inserted { rows.append((time, rows.count, row)) }
    }
    for arrow in shown {
      add(row(arrow), arrow.sent)
      if let arrives = arrow.arrives, span.contains(arrives) { add(.arrival(arrives), arrives) }
    }
    for mark in marks { add(.note(mark), notes[mark].time) }
    rows.sort { ($0.time, $0.order) < ($1.time, $1.order) }
    var y: [Row: Int] = [:]
    for (i, row) in rows.enumerated() { y[row.row] = 76 + i * 15 }
    let nodes = Array(Set(shown.flatMap { [$0.from, $0.to] } + marks.compactMap { notes[$0].node })).sorted()
    let x = Dictionary(uniqueKeysWithValues: nodes.enumerated().map { ($1, 120 + $0 * 260) })
    let height = 100 + rows.count * 15
    let width = 120 + max(nodes.count, 1) * 260
    var out = Self.head(width: width, height: height)
    for node in nodes {
      let at = x[node] ?? 0
      out += "<line class=\"l\" x1=\"\(at)\" y1=\"50\" x2=\"\(at)\" y2=\"\(height - 10)\"/>"
      out += "<text x=\"\(at)\" y=\"40\" text-anchor=\"middle\" font-size=\"13\">n\(node)</text>\n"
    }
    // Words stand on the side to which most of what they say goes, and in front of all lines.
    var words = ""
    var said: [Row: Int] = [:]
    for arrow in shown { said[row(arrow), default: 0] += arrow.from < arrow.to ? 1 : -1 }
    for arrow in shown {
      let row = row(arrow)
      guard let x1 = x[arrow.from], let x2 = x[arrow.to], let y1 = y[row] else { continue }
      if let arrives = arrow.arrives, let y2 = y[.arrival(arrives)] {
        out += "<line class=\"m\" x1=\"\(x1)\" y1=\"\(y1)\" x2=\"\(x2)\" y2=\"\(y2)\"/>\n"
      } else {
        // Lost; or on its way as the picture ends.
        let end = x1 + (x2 > x1 ? 90 : -90)
        out +=
          "<line class=\"\(arrow.arrives == nil ? "x" : "w")\" x1=\"\(x1)\" y1=\"\(y1)\" x2=\"\(end)\" y2=\"\(y1 + 9)\"/>\n"
      }
      guard let side = said.removeValue(forKey: row) else { continue }
      words +=
        "<text x=\"\(x1 + (side >= 0 ? 6 : -6))\" y=\"\(y1 - 2)\" text-anchor=\"\(side >= 0 ? "start" : "end")\">"
      words += "\(escape(arrow.text))</text>\n"
    }
    for mark in marks {
      guard let at = y[.note(mark)] else { continue }
      let left = notes[mark].node.flatMap { x[$0] } ?? 60
      out += "<circle class=\"d\" cx=\"\(left)\" cy=\"\(at - 4)\" r=\"3\"/>\n"
      words +=
        "<text class=\"n\" x=\"\(left + 6)\" y=\"\(at - 1)\" font-weight=\"bold\">\(escape(notes[mark].text))</text>\n"
    }
    var last = ""
    for row in rows {
      let text = "\(row.time / 1000).\(row.time % 1000 / 100) ms"
      if text != last { words += "<text class=\"t\" x=\"4\" y=\"\((y[row.row] ?? 0) + 3)\">\(text)</text>\n" }
      last = text
    }
    return out + words + "</svg>\n"
  }

  private func row(_ arrow: Arrow) -> Row { .said(from: arrow.from, text: arrow.text, time: arrow.sent) }

  private static func head(width: Int, height: Int) -> String {
    """
    <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(height)" viewBox="0 0 \(width) \(height)" font-family="ui-monospace, monospace" font-size="10">
    <style>
    text{fill:#222;stroke:#fff;stroke-width:3px;paint-order:stroke}
    .l{stroke:#bbb}.m{stroke:#2457a6;stroke-opacity:.75;marker-end:url(#a)}
    .x{stroke:#c33;stroke-dasharray:4 3}.w{stroke:#2457a6;stroke-dasharray:1 3}
    text.n{fill:#7a4b00}.d{fill:#7a4b00}text.t{fill:#888}
    </style>
    <defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="3" orient="auto"><path d="M0,0 L7,3 L0,6 z" fill="#2457a6"/></marker></defs>
    <rect width="100%" height="100%" fill="white"/>

    """
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
