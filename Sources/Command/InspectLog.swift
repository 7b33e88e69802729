import ArgumentParser
import Encoding
import Log
import Platform

/// `synod inspect log PATH`: what is in the log, frame by frame, without opening the database and in spite of damage.
struct InspectLog: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log", abstract: "List segments, frames and records of a database's log.",
    discussion: "Takes no lock and changes nothing; goes on after damage. Offsets are bytes from the start of the file."
  )

  @Argument(help: "The database directory.") var path: String
  @Option(help: "Only this segment.") var segment: UInt64?
  @Option(help: "At most this many frames of each segment.") var limit = Int.max
  @Flag(help: "Segments only.") var summary = false

  func run() throws {
    let disk = LinuxDisk()
    for file in try LogInspection.files(path, disk: disk) {
      if let segment, file.kind != .segment(segment) { continue }
      print(describe(file))
      if !summary { try listFrames(file, disk) }
    }
  }

  private func describe(_ file: LogFileSummary) -> String {
    switch file.kind {
    case .unused: return "\(file.path)  \(file.sizeBytes) bytes, spare"
    case .other: return "\(file.path)  \(file.sizeBytes) bytes, not part of the log"
    case .segment:
      guard let header = file.header, file.problem == nil else {
        return "\(file.path)  \(file.sizeBytes) bytes, \(file.problem ?? "no header"): prepared, or damaged"
      }
      return "\(file.path)  \(file.sizeBytes) bytes\(header.isRecycled ? ", recycled" : ""), after slot "
        + "\(header.state.last.slot.rawValue), version \(header.state.last.version.rawValue), promised "
        + "\(header.state.promised), accepted \(header.state.accepted)"
    }
  }

  private func listFrames(_ file: LogFileSummary, _ disk: LinuxDisk) throws {
    var left = limit
    try LogInspection.frames(of: file, disk: disk) { frame in
      guard left > 0 else { return false }
      left -= 1
      guard let header = frame.header else {
        if frame.isBlank {
          print("  \(frame.offset)  \(frame.sizeBytes) bytes not yet used")
        } else {
          print("  \(frame.offset)  \(frame.sizeBytes) bytes without a frame: \(frame.problem ?? "")")
        }
        return true
      }
      print(
        "  \(frame.offset)  frame \(header.number), \(frame.sizeBytes) bytes, checksum \(hex(frame.checksum)), durable before "
          + "\(header.syncedSegment):\(header.syncedOffset)")
      if let problem = frame.problem { print("      damaged: \(problem)") }
      for (offset, item) in frame.items { print("      \(offset)  \(describe(item))") }
      return true
    }
  }

  private func hex(_ word: UInt32) -> String {
    let digits = String(word, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }

  private func describe(_ item: LogItem) -> String {
    switch item {
    case .record(let record, let chain, _):
      let versions =
        record.transactionCount == 0
        ? "no versions" : "versions \(record.firstVersion.rawValue)–\(record.lastVersion.rawValue)"
      return "slot \(record.slot.rawValue) \(record.type), \(versions), origin \(record.origin), "
        + "\(record.storedSizeBytes) bytes \(record.codec == .lz4 ? "lz4 of \(record.rawSizeBytes)" : "raw"), chain \(chain)"
    case .control(let control, _):
      switch control {
      case .promise(let ballot): return "PROMISE \(ballot)"
      case .syncBegin(let begin):
        return "SYNC_BEGIN \(begin.ballot), slots \(begin.before.slot.rawValue + 1)–\(begin.end.rawValue)"
      case .syncEnd(let ballot, let end, _): return "SYNC_END \(ballot), slot \(end.rawValue)"
      case .chosen(let slot): return "CHOSEN \(slot.rawValue)"
      case .checkpoint(let mark): return "CHECKPOINT slot \(mark.position.slot.rawValue), manifest \(mark.manifest)"
      case .seal(let isClean): return isClean ? "SEAL, closed in order" : "SEAL"
      case .syncAbort: return "SYNC_ABORT"
      case .install(let mark, let keepsLog):
        return "INSTALL slot \(mark.position.slot.rawValue)\(keepsLog ? ", what follows stays" : "")"
      case .repair(let slot): return "REPAIR slot \(slot.rawValue)"
      case .tail(let isCertain): return "TAIL \(isCertain ? "certain" : "uncertain")"
      }
    }
  }
}
