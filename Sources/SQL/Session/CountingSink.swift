/// Passes everything on, and knows whether anything was.
final class CountingSink: ResultSink {
  private let inner: any ResultSink
  private(set) var hasShown = false
  init(_ inner: any ResultSink) { self.inner = inner }
  private var held: [ColumnDescription]?

  // The columns are held back until a row comes, or the end: a statement that fails before has shown nothing.
  func columns(_ columns: [ColumnDescription]) throws(SQLError) { held = columns }
  func flush() throws(SQLError) {
    guard let columns = held else { return }
    held = nil
    hasShown = true
    try inner.columns(columns)
  }
  func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
    if held != nil { try flush() }
    unsafe try inner.row(values)
  }
  func completed(_ tag: String) { inner.completed(tag) }
  func empty() { inner.empty() }
  func notice(_ notice: SQLNotice) { inner.notice(notice) }
  func copyOut(_ description: CopyDescription) throws(SQLError) {
    hasShown = true
    try inner.copyOut(description)
  }
  func copyData(_ bytes: UnsafeRawBufferPointer) throws(SQLError) { unsafe try inner.copyData(bytes) }
  func copyIn(_ description: CopyDescription) throws(SQLError) {
    hasShown = true
    try inner.copyIn(description)
  }
  func nextCopyData() throws(SQLError) -> [UInt8]? { try inner.nextCopyData() }
}
