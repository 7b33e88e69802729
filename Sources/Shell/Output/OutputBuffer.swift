/// Text on its way to a file, a pipe or the terminal: collected, and handed on in pieces of 64 KiB.
package struct OutputBuffer {
  private var bytes: [UInt8] = []
  private let sink: ([UInt8]) -> Void

  package init(_ sink: @escaping ([UInt8]) -> Void) { self.sink = sink }

  package mutating func write(_ text: String) {
    bytes.append(contentsOf: text.utf8)
    if bytes.count >= 1 << 16 { flush() }
  }

  package mutating func write(_ raw: some Sequence<UInt8>) {
    bytes.append(contentsOf: raw)
    if bytes.count >= 1 << 16 { flush() }
  }

  package mutating func line(_ text: String = "") {
    write(text)
    write("\n")
  }

  package mutating func spaces(_ count: Int) {
    if count > 0 { bytes.append(contentsOf: repeatElement(0x20, count: count)) }
  }

  /// Hands on what is collected.
  package mutating func flush() {
    guard !bytes.isEmpty else { return }
    sink(bytes)
    bytes.removeAll(keepingCapacity: true)
  }
}
