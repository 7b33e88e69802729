// The conversation, for people: a line for each thing said, and for each thing that befalls a node.

package import Paxos

extension ClusterSimulation {
  func note(_ node: ClusterNode?, _ text: @autoclosure () -> String) {
    guard options.traces else { return }
    trace.append("\(stamp()) \(node.map { "\($0.id)" } ?? "--") \(text())")
    chart.note(node.map { Int($0.id.rawValue) }, text(), at: time)
  }

  func stamp() -> String {
    let milliseconds = time / 1000
    let rest = time % 1000
    return String(repeating: " ", count: max(0, 6 - String(milliseconds).count)) + "\(milliseconds)."
      + String(repeating: "0", count: 3 - String(rest).count) + "\(rest)"
  }

  func trace(_ message: Message, _ records: [Entry], arrives: UInt64?) {
    let text = describe(message, records)
    trace.append("\(stamp()) \(message.from) → \(message.to) \(text)\(arrives == nil ? " (lost)" : "")")
    chart.message(
      from: Int(message.from.rawValue), to: Int(message.to.rawValue), text, sent: time, arrives: arrives)
  }
}

package func describe(_ replica: Replica) -> String {
  "\(replica.role) in epoch \(replica.configuration.epoch) promised \(replica.promised) accepted \(replica.accepted) last \(replica.last) chosen \(replica.chosen)"
    + (replica.damaged.isEmpty ? "" : " damaged \(replica.damaged)")
    + (replica.tailCertain ? "" : " end unknown") + (replica.amnesiac ? " amnesiac" : "")
}

package func describe(_ message: Message, _ records: [Entry]) -> String {
  let range = records.isEmpty ? "" : " records \(records[0].slot)…\(records[records.count - 1].slot)"
  switch message.content {
  case .vow(let vow): return describe(vow)
  case .notice(let notice): return describe(notice) + range
  }
}

package func describe(_ vow: Vow) -> String {
  switch vow {
  case .promise(let promise):
    return "promise \(promise.ballot): accepted \(promise.accepted), last \(promise.last), chosen \(promise.chosen)"
      + (promise.certain ? "" : ", uncertain")
      + (promise.leaseRemaining > 0
        ? ", lease of \(promise.leaseBallot.epoch == .max ? "somebody" : "\(promise.leaseBallot)") for \(promise.leaseRemaining / 1000) ms"
        : "")
  case .accepted(let accepted): return "accepted \(accepted.ballot) through \(accepted.point.slot)"
  }
}

package func describe(_ notice: Notice) -> String {
  switch notice {
  case .heartbeat(let beat):
    return "heartbeat \(beat.ballot)\(beat.leads ? " leads, round \(beat.round)" : ""), chosen \(beat.chosen.slot)"
      + (beat.quorumConnected ? "" : ", no quorum") + (beat.diskFit ? "" : ", disk unfit")
  case .heartbeatAck(let ack): return "ack round \(ack.round)\(ack.granted ? ", lease granted" : "")"
  case .preVote(let ballot): return "would you promise \(ballot)?"
  case .preVoteReply(let ballot, let granted, _): return "\(granted ? "would" : "would not") promise \(ballot)"
  case .prepare(let ballot, let released):
    return "prepare \(ballot)" + (released == .zero ? "" : ", lease of \(released) released")
  case .refused(let promised): return "refused: promised \(promised)"
  case .acceptSync(let sync):
    return "acceptSync \(sync.ballot) after \(sync.previous.slot), adopted \(sync.adoptedEnd), chosen \(sync.chosen)"
  case .accept(let accept): return "accept \(accept.ballot) after \(accept.previous.slot), chosen \(accept.chosen)"
  case .acceptRefused(let ballot, let accepted, let last):
    return "cannot accept \(ballot): accepted \(accepted), last \(last)"
  case .fetch(let fetch): return "fetch to \(fetch.purpose) after \(fetch.previous.slot)"
  case .records(let reply): return "here is to \(reply.purpose) after \(reply.previous.slot), chosen \(reply.chosen)"
  case .missing(let purpose, let slot): return "cannot serve \(purpose) after \(slot)"
  case .checkpointOffer(let point): return "offers a checkpoint at \(point.slot)"
  case .startEpoch(let point): return "the epoch ended at \(point.slot)"
  case .readIndex(let nonce): return "read \(nonce)?"
  case .readIndexReply(let nonce, let slot): return "read \(nonce): \(slot.map { "at \($0)" } ?? "not here")"
  case .timeoutNow(let ballot, let last): return "campaign now: \(ballot) released its lease, last \(last)"
  }
}
