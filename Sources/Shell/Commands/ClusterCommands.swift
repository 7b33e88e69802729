import Synod

extension Shell {
  /// The cluster that the shell is connected to.
  static let clusterCommands: [MetaCommand] = [
    MetaCommand(".nodes", usage: "", "The members of the cluster, and how they are") { shell, _ in
      shell.execute(
        """
        SELECT node, CASE WHEN is_leader THEN 'leader' ELSE role END AS role, client_address, peer_address, connected,
        round(last_heard_seconds::numeric, 3) AS heard_seconds_ago FROM synod_cluster ORDER BY is_leader DESC, node;
        """)
    },
    MetaCommand(".leader", usage: "", "The node that leads") { shell, _ in
      shell.execute("SELECT node, client_address FROM synod_cluster WHERE is_leader;")
    },
    MetaCommand(".replicas", usage: "", "How far the other members are behind the leader") { shell, _ in
      shell.execute(
        """
        SELECT node, role, client_address, connected, round((round_trip_seconds * 1000)::numeric, 2) AS round_trip_ms, lag_bytes,
        round(lag_seconds::numeric, 3) AS lag_seconds FROM synod_cluster WHERE NOT is_leader ORDER BY node;
        """)
    },
    MetaCommand(".stepdown", usage: "[NODE]", "Hand leadership over, to NODE or to the voter that is furthest") {
      shell, invocation in
      guard invocation.arguments.isEmpty || Int64(invocation.text) != nil else {
        throw ShellProblem("\"\(invocation.text)\" is no node; .nodes shows them")
      }
      shell.execute("SELECT synod_transfer_leadership(\(invocation.text)) AS handed_over;")
    },
    MetaCommand(
      ".consistency", usage: "[LEVEL]", "What reads must show: linearizable, leader, session, bounded or stale"
    ) { shell, invocation in
      guard let level = invocation.arguments.first else { return shell.execute("SHOW synod.read_consistency;") }
      guard level.allSatisfy(\.isLetter) else { throw ShellProblem("\"\(level)\" is no level") }
      shell.execute("SET synod.read_consistency = \(level);")
    },
  ]
}
