/// A join that opens its inner side for every outer row: index lookups, LATERAL, and conditions that nothing else can use.
final class NestedLoopSource: EvaluatingSource {
  private let kind: JoinKind
  private let outer: RowSource
  private let inner: RowSource
  private let condition: CompiledExpression?
  private let innerSlots: [FrameSlot]
  private var hasOuter = false
  private var matched = false

  init(
    _ state: ExecutionState, _ kind: JoinKind, _ outer: RowSource, _ inner: RowSource, _ condition: TypedExpression?,
    _ innerSlots: [FrameSlot]
  ) throws(SQLError) {
    self.kind = kind
    self.outer = outer
    self.inner = inner
    self.condition = try condition.map { (c) throws(SQLError) in try CompiledExpression(c, asCondition: true) }
    self.innerSlots = innerSlots
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    hasOuter = false
    try outer.open()
  }
  override func next() throws(SQLError) -> Bool {
    while true {
      if !hasOuter {
        guard try outer.next() else { return false }
        hasOuter = true
        matched = false
        try inner.open()
      }
      while try inner.next() {
        if let condition {
          arena.reset()
          guard unsafe try condition.holds(frame, &context) else { continue }
        }
        matched = true
        switch kind {
        case .anti: break
        case .semi:
          hasOuter = false
          return true
        default: return true
        }
        break
      }
      hasOuter = false
      if !matched, kind == .left || kind == .anti {
        if kind == .left { frame.setNull(innerSlots) }
        return true
      }
    }
  }
  override func close() {
    outer.close()
    inner.close()
  }
}
