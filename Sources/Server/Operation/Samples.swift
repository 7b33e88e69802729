internal import Glibc
internal import Platform
internal import SQL
internal import Synod
internal import Transactions

/// The names of our metrics, with what they mean.
package enum MetricNames {
  package static let help: [String: String] = [
    "synod_statements_total": "Statements that were run.",
    "synod_connections_total": "Clients that came in.",
    "synod_connections": "Clients that are connected.",
    "synod_errors_total": "Statements that failed, by the class of their SQLSTATE.",
    "synod_transactions_total": "Transactions that ended, by outcome and reason.",
    "synod_ssi_conflicts_total": "Transactions that failed because no serial order would have them.",
    "synod_lock_waits_total": "Waits for a row lock.",
    "synod_snapshots_moved_total":
      "Conflicts for which a snapshot was moved past the other transaction's commit, or could not be.",
    "synod_log_bytes_total": "Bytes written to the log.",
    "synod_log_fsync_duration_seconds": "How long durable writes to the log took.",
    "synod_commit_duration_seconds":
      "How long groups of commits took on a leader: until on its own disk, until on a quorum's, and from there to visible.",
    "synod_has_leader": "Whether a leader is known.",
    "synod_is_leader": "Whether this node leads and takes commits.",
    "synod_leader_changes_total": "How often another node began to lead, as this node saw it.",
    "synod_peer_round_trip_seconds": "How long the last question to a peer took to be answered.",
    "synod_replica_lag_bytes": "What the leader's log has and a peer's has not.",
    "synod_replica_lag_seconds": "How old the first record is that a peer has not.",
    "synod_state_comparisons_total": "Parts of the state that were compared between nodes, by result.",
    "synod_state_agrees": "Whether a member's state was the same as the others' when it was last compared.",
    "synod_state_missing": "Whether this node's state is damaged or missing, and another node's is awaited.",
    "synod_checkpoints_installed_total": "Other nodes' checkpoints that became this node's state.",
    "synod_checkpoints_sent_total": "Checkpoints that other nodes took from here.",
    "synod_damaged_records": "Records of the log that cannot be read here and are not repaired yet.",
    "synod_repaired_records_total":
      "Records of the log that were taken from other nodes, since they could not be read here.",
    "synod_proposals_pending": "Groups of commits that are not chosen yet.",
    "synod_record_bytes_total": "Payload of the records that this node built, raw and compressed.",
    "synod_flushes_total": "Memtables written to tables.",
    "synod_compactions_total": "Merges of tables.",
    "synod_compaction_bytes_total": "Bytes that merges wrote.",
    "synod_database_size_bytes": "Bytes in tables.",
    "synod_build_info": "The version that runs.",
    "process_cpu_seconds_total": "Processor time of the process.",
    "process_resident_memory_bytes": "Memory of the process.",
    "process_open_fds": "Open file descriptors.",
    "process_start_time_seconds": "When the process started, in seconds since 1970.",
  ]
}

/// What the system says of this process, under the names that every Prometheus client has.
package enum ProcessSamples {
  package static func register(_ factory: PrometheusFactory, version: String) {
    let start = Double(LinuxClock().wallNanoseconds) / 1e9
    factory.collect {
      var samples = [
        MetricSample("synod_build_info", .gauge, 1, labels: [("version", version)]),
        MetricSample("process_start_time_seconds", .gauge, start),
        MetricSample("process_cpu_seconds_total", .counter, Double(LinuxClock.processNanoseconds) / 1e9),
      ]
      if let pages = residentPages() {
        samples.append(MetricSample("process_resident_memory_bytes", .gauge, Double(pages) * Double(getpagesize())))
      }
      if let count = openDescriptors() { samples.append(MetricSample("process_open_fds", .gauge, Double(count))) }
      return samples
    }
  }

  private static func residentPages() -> Int? {
    guard let file = unsafe fopen("/proc/self/statm", "r") else { return nil }
    defer { unsafe fclose(file) }
    var text = [CChar](repeating: 0, count: 128)
    guard unsafe fgets(&text, 128, file) != nil else { return nil }
    let words = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(
      separator: " ")
    return words.count > 1 ? Int(words[1]) : nil
  }

  private static func openDescriptors() -> Int? {
    guard let directory = unsafe opendir("/proc/self/fd") else { return nil }
    defer { unsafe closedir(directory) }
    var count = 0
    while unsafe readdir(directory) != nil { count += 1 }
    // Not ".", "..", nor the directory that is being read.
    return count - 3
  }
}

extension Server {
  /// Has the engine's own counters printed.
  package func registerSamples(_ factory: PrometheusFactory) {
    let database = self.database
    factory.collect(database.logWriteTimes, as: "synod_log_fsync_duration_seconds")
    let manager = services.sql.manager
    factory.collect {
      let statistics = database.statistics
      let transactions = manager.statistics
      func ended(_ outcome: String, _ reason: String, _ count: UInt64) -> MetricSample {
        MetricSample(
          "synod_transactions_total", .counter, Double(count), labels: [("outcome", outcome), ("reason", reason)])
      }
      let conflicts =
        transactions.concurrentUpdateFailures + transactions.cycleFailures + transactions.undecidedFailures
      return [
        ended("committed", "", statistics.commits), ended("committed", "read_only", statistics.readOnlyCommits),
        ended("aborted", "concurrent_update", transactions.concurrentUpdateFailures),
        ended("aborted", "serialization_cycle", transactions.cycleFailures),
        ended("aborted", "undecided", transactions.undecidedFailures),
        ended("aborted", "deadlock", statistics.deadlocks),
        ended(
          "aborted", "other",
          statistics.rollbacks > conflicts + statistics.deadlocks
            ? statistics.rollbacks - conflicts - statistics.deadlocks : 0),
        MetricSample(
          "synod_ssi_conflicts_total", .counter, Double(transactions.cycleFailures + transactions.undecidedFailures)),
        MetricSample(
          "synod_snapshots_moved_total", .counter, Double(transactions.refreshes), labels: [("outcome", "moved")]),
        MetricSample(
          "synod_snapshots_moved_total", .counter, Double(transactions.refusedRefreshes),
          labels: [("outcome", "refused")]),
        MetricSample("synod_lock_waits_total", .counter, Double(statistics.lockWaits)),
        MetricSample("synod_log_bytes_total", .counter, Double(statistics.logBytesWritten)),
        MetricSample("synod_flushes_total", .counter, Double(statistics.flushes)),
        MetricSample("synod_compactions_total", .counter, Double(statistics.compactions)),
        MetricSample("synod_compaction_bytes_total", .counter, Double(statistics.compactionBytesWritten)),
        MetricSample("synod_database_size_bytes", .gauge, Double(statistics.tableBytes)),
      ]
    }
  }

  /// Why the database cannot be used, if so.
  package func databaseFailure() -> String? {
    do throws(TransactionError) {
      let transaction = try services.sql.manager.begin(TransactionOptions(isReadOnly: true))
      transaction.rollback()
      return nil
    } catch { return "\(error)" }
  }
}
