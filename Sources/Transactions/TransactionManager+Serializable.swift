internal import Storage

extension TransactionManager {
  func takeSerializableSnapshot(_ transaction: Transaction) throws(TransactionError) {
    unsafe transaction.hold = engine.retainVisible()
  }
}
