internal import Storage
internal import Transactions

// Views over what transactions do to each other, with keys in the words of `KeyNames`.
//
//   synod_locks       every row lock that is held or waited for now
//   synod_conflicts   the last aborts that were due to other transactions, oldest first

extension SystemCatalog {
  static let conflicts: [SystemRelation] = [
    make(
      12990, "synod_locks",
      "transaction int8 session int8 schema name relation name index name key text strength text granted bool"
    ) { context throws(SQLError) in
      let names = KeyNames(context.catalog)
      return context.locks().map { lock in
        let place = names.place(lock.keys)
        return [
          number(lock.transaction.id), number(lock.transaction.session), text(place.schema), text(place.table),
          text(place.index), text(place.text), text(lock.strength.clause), flag(lock.isGranted),
        ]
      }
    },
    make(
      12991, "synod_conflicts",
      """
      time timestamptz transaction int8 session int8 isolation text code text message text schema name relation name \
      index name key text others text detail text
      """
    ) { context throws(SQLError) in
      (context.manager?.recentConflicts ?? []).map { record in
        let error = SQLError(record.error).explained(context.catalog)
        let place = record.place.map { KeyNames(context.catalog).place($0) }
        let others = record.others.map(ConflictText.name).joined(separator: ", ")
        return [
          .int(record.time - 946_684_800_000_000), number(record.transaction.id), number(record.transaction.session),
          text(SQLSession.name(record.isolation)), text(error.state.rawValue), text(error.message),
          text(place?.schema), text(place?.table), text(place?.index), text(place?.text), text(others),
          text(error.detail),
        ]
      }
    },
  ]

  private static func number(_ value: UInt64) -> Datum { .int(Int64(bitPattern: value)) }
}

extension ConflictRecord {
  /// Where the transactions met.
  var place: KeyRange? {
    switch error {
    case .serializationFailure(let failure): failure.keys
    case .deadlock(let deadlock): deadlock.waits.first?.keys
    default: nil
    }
  }

  var others: [TransactionReference] {
    switch error {
    case .serializationFailure(let failure): failure.others
    case .deadlock(let deadlock): deadlock.waits.dropFirst().map(\.transaction)
    default: []
    }
  }
}
