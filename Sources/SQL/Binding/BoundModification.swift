// INSERT, UPDATE and DELETE, bound.
//
// The rows come from `source`. The table's row stands in the slots `base + place`: for UPDATE and DELETE the row that was
// found, and for all three, when RETURNING is evaluated, the row as it is now (DELETE: as it was).

/// An INSERT, UPDATE or DELETE.
package struct BoundModification: Sendable {
  package enum Kind: Sendable {
    case insert(BoundInsert)
    case update(BoundUpdate)
    case delete
  }
  package var kind: Kind
  package var table: TableDescriptor
  package var alias: String
  package var base: FrameSlot
  /// Where the scan of the changed table puts the row's key; unused by INSERT.
  package var keySlot: FrameSlot
  package var source: LogicalPlan
  /// UPDATE and DELETE: what a row that changed since the snapshot must still satisfy (read committed).
  package var recheck: TypedExpression?
  package var returning: [OutputColumn] = []
}

package struct BoundInsert: Sendable {
  package struct Conflict: Sendable {
    /// The unique indexes whose conflicts are handled; nil for any (DO NOTHING alone).
    package var arbiters: Set<ObjectID>?
    /// Nil: DO NOTHING.
    package var update: BoundUpdate?
    package var condition: TypedExpression?
    /// `excluded`: the row that was proposed.
    package var excluded: FrameSlot
  }
  /// The value of every column by place, over the source's slots: the given one, the default, or null.
  package var values: [TypedExpression]
  package var conflict: Conflict?
}

package struct BoundUpdate: Sendable {
  /// The columns that are set, by place; generated columns are not among them.
  package var assignments: [(place: Int, value: TypedExpression)]
}
