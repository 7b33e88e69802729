/// Settings of PostgreSQL that clients and dumps set and that change no result: they are about its planner, its memory and
/// its workers. They are kept and shown, and nothing asks for them.
enum PassiveSettings {
  static let all: [SettingDefinition] = {
    func make(_ name: String, _ kind: SettingDefinition.Kind, _ initial: String, _ description: String)
      -> SettingDefinition
    {
      SettingDefinition(
        name: name, kind: kind, initial: initial, isFixed: false, description: description, isReported: false)
    }
    let memory = SettingDefinition.Kind.integer(0...Int64(Int32.max), unit: "kB")
    let count = SettingDefinition.Kind.integer(0...Int64(Int32.max), unit: "")
    let milliseconds = SettingDefinition.Kind.integer(-1...Int64(Int32.max), unit: "ms")
    let plans = [
      "enable_async_append", "enable_bitmapscan", "enable_gathermerge", "enable_hashagg", "enable_incremental_sort",
      "enable_indexonlyscan", "enable_material", "enable_memoize", "enable_mergejoin", "enable_parallel_append",
      "enable_parallel_hash", "enable_partition_pruning", "enable_sort", "enable_tidscan",
    ]
    let costs = [
      ("cpu_index_tuple_cost", "0.005"), ("cpu_operator_cost", "0.0025"), ("cpu_tuple_cost", "0.01"),
      ("cursor_tuple_fraction", "0.1"), ("parallel_setup_cost", "1000"), ("parallel_tuple_cost", "0.1"),
      ("random_page_cost", "4"), ("hash_mem_multiplier", "2"), ("jit_above_cost", "100000"),
    ]
    return plans.map { make($0, .boolean, "on", "Enables the planner's use of a kind of plan.") }
      + ["enable_partitionwise_aggregate", "enable_partitionwise_join"].map {
        make($0, .boolean, "off", "Enables the planner's use of a kind of plan.")
      }
      + costs.map { make($0, .real, $1, "Sets an estimate of the planner's.") }
      + [
        make("backend_flush_after", count, "0", "Number of pages after which previously performed writes are flushed."),
        make(
          "constraint_exclusion", .choice(["partition", "on", "off"]), "partition",
          "Enables the planner to use constraints."),
        make("deadlock_timeout", milliseconds, "1s", "Sets the time to wait on a lock before checking for deadlock."),
        make("default_statistics_target", count, "100", "Sets the default statistics target."),
        make("default_text_search_config", .text, "pg_catalog.english", "Sets default text search configuration."),
        make("effective_cache_size", memory, "4GB", "Sets the planner's assumption about the data caches."),
        make("effective_io_concurrency", count, "1", "Number of simultaneous requests of the disk subsystem."),
        make("escape_string_warning", .boolean, "on", "Warn about backslash escapes in ordinary string literals."),
        make(
          "backslash_quote", .choice(["safe_encoding", "on", "off"]), "safe_encoding",
          "Sets whether \"\\'\" is allowed in string literals."),
        make("exit_on_error", .boolean, "off", "Terminate session on any error."),
        make(
          "force_parallel_mode", .choice(["off", "on", "regress"]), "off", "Forces use of parallel query facilities."),
        make("from_collapse_limit", count, "8", "Sets the FROM-list size beyond which subqueries are not collapsed."),
        make("geqo", .boolean, "on", "Enables genetic query optimization."),
        make("geqo_threshold", count, "12", "Sets the threshold of FROM items beyond which GEQO is used."),
        make("gin_fuzzy_search_limit", count, "0", "Sets the maximum allowed result for exact search by GIN."),
        make(
          "join_collapse_limit", count, "8", "Sets the FROM-list size beyond which JOIN constructs are not flattened."),
        make("log_duration", .boolean, "off", "Logs the duration of each completed SQL statement."),
        make(
          "log_min_duration_statement", milliseconds, "-1",
          "Sets the minimum execution time above which statements are logged."),
        make("log_min_messages", .text, "warning", "Sets the message levels that are logged."),
        make("log_statement", .choice(["none", "ddl", "mod", "all"]), "none", "Sets the type of statements logged."),
        make("maintenance_work_mem", memory, "64MB", "Sets the maximum memory to be used for maintenance operations."),
        make(
          "max_parallel_maintenance_workers", count, "2",
          "Sets the maximum number of parallel processes per maintenance operation."),
        make("max_parallel_workers", count, "8", "Sets the maximum number of parallel workers."),
        make(
          "max_parallel_workers_per_gather", count, "2",
          "Sets the maximum number of parallel processes per executor node."),
        make(
          "plan_cache_mode", .choice(["auto", "force_generic_plan", "force_custom_plan"]), "auto",
          "Controls the planner's selection of custom or generic plan."),
        make("quote_all_identifiers", .boolean, "off", "When generating SQL fragments, quote all identifiers."),
        make("temp_buffers", memory, "8MB", "Sets the maximum memory of temporary buffers used by each session."),
        make("temp_tablespaces", .text, "", "Sets the tablespaces to use for temporary tables and sort files."),
        make("track_activities", .boolean, "on", "Collects information about executing commands."),
        make("track_io_timing", .boolean, "off", "Collects timing statistics for database I/O activity."),
        make("vacuum_cost_delay", milliseconds, "0", "Vacuum cost delay in milliseconds."),
        make("vacuum_cost_limit", count, "200", "Vacuum cost amount available before napping."),
        make(
          "wal_compression", .choice(["off", "on", "pglz", "lz4", "zstd"]), "off",
          "Compresses full-page writes written in WAL file."),
      ]
  }()
}
