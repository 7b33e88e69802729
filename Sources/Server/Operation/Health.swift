internal import Synchronization

/// Answers `/livez`, `/readyz` and `/metrics`.
///
/// A check is a name and a reason why it fails (nil: it does not). `?verbose` lists the checks; `?exclude=name` (again and
/// again) leaves one out.
package final class HealthService: Sendable {
  package struct Check: Sendable {
    package var name: String
    package var failure: @Sendable () -> String?
    package init(_ name: String, _ failure: @escaping @Sendable () -> String?) {
      self.name = name
      self.failure = failure
    }
  }

  private let live: [Check]
  private let ready: [Check]
  private let metrics: @Sendable () -> String

  package init(live: [Check], ready: [Check], metrics: @escaping @Sendable () -> String) {
    self.live = live
    self.ready = ready
    self.metrics = metrics
  }

  package func answer(_ path: String, _ query: String) -> HTTPAnswer {
    switch path {
    case "/livez": check(live, query, "livez")
    case "/readyz": check(live + ready, query, "readyz")
    case "/metrics": HTTPAnswer(200, metrics(), contentType: "text/plain; version=0.0.4; charset=utf-8")
    case "/": HTTPAnswer(200, "SynodDB: /livez /readyz /metrics\n")
    default: HTTPAnswer(404, "there is /livez, /readyz and /metrics\n")
    }
  }

  private func check(_ checks: [Check], _ query: String, _ name: String) -> HTTPAnswer {
    let options = query.split(separator: "&")
    let excluded = Set(options.filter { $0.hasPrefix("exclude=") }.map { String($0.dropFirst(8)) })
    var lines: [String] = []
    var isWell = true
    for check in checks {
      if excluded.contains(check.name) {
        lines.append("[+]\(check.name) excluded: ok")
      } else if let reason = check.failure() {
        lines.append("[-]\(check.name) failed: \(reason)")
        isWell = false
      } else {
        lines.append("[+]\(check.name) ok")
      }
    }
    let summary = isWell ? "\(name) check passed\n" : "\(name) check failed\n"
    let isVerbose = !isWell || options.contains { $0 == "verbose" || $0.hasPrefix("verbose=") }
    let body = isVerbose ? lines.joined(separator: "\n") + "\n" + summary : "ok\n"
    return HTTPAnswer(isWell ? 200 : 503, body)
  }
}
