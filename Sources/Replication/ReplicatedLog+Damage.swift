internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Synchronization

// Records of this node's log that turn out to be unreadable while it runs.
//
//   found by      the delivery (what is older than memory), a peer that is served, the scrubber
//   looked at     once more: a device may err once
//   then damaged  as if recovery had found it: the peers are asked, the chain proves what comes, it is written anew
//
// 1. Nothing behind a record that cannot be read is applied, and it is not given to anybody.
// 2. A record too old to be proven by what follows it is given up with the log before it, where tables hold what it did:
//    peers that lack it are offered the tables. Where they do not, this node's state is what is replaced by a peer's.
// 3. Where there are no peers, a record that is still to be applied stops the node for good, and it says so.

extension ReplicatedLog {
  /// A read of `slot` failed. Does nothing where the reason is not damage, or has gone.
  func recordWasNotRead(_ slot: SlotNumber, _ error: LogError) {
    guard error.isDamage else { return }
    let isKnown = log.damagedSlots.contains(Slot(slot))
    if !isKnown {
      guard let again = readError(slot), again.isDamage else { return }
      options.note("slot \(slot) of the log cannot be read, and is asked for from other nodes: \(again)")
    }
    recordIsDamaged(slot, error)
  }

  private func recordIsDamaged(_ slot: SlotNumber, _ error: LogError) {
    log.markDamaged(Slot(slot))
    let (isMended, hasPeers) = enter { core in
      (
        core.replica.recordIsDamaged(
          slot, heldThrough: self.flushedSlot.load(ordering: .acquiring), now: self.now, into: &core.front),
        core.replica.configuration.members.count > 1
      )
    }
    guard !isMended, slot > applied.load(ordering: .acquiring) else { return }
    if hasPeers {
      stateIsDamaged("the log cannot be read at slot \(slot), which is not applied yet: \(error)")
    } else {
      stopForGood("the log cannot be read at slot \(slot), and there is no other node that has it: \(error)")
    }
  }

  /// Why the record at `slot` cannot be read; nil if it can, or has left the log.
  private func readError(_ slot: SlotNumber) -> LogError? {
    do throws(LogError) {
      _ = try log.reader(after: Slot(slot - 1), through: Slot(slot), decompresses: false).nextRecord()
      return nil
    } catch { return error }
  }

  /// Tells an operator.
  package func note(_ text: String) { options.note(text) }

  /// Looks at what this node keeps beside log and tables, superblock and list of members, and writes it anew where it is not
  /// what was written: it is all in memory. The ballots are in the superblock, too, so that damage of the frame that first
  /// noted them takes nothing away.
  package func mendControlFiles() {
    do throws(LogError) {
      if let found = try log.mendSuperblock() { options.note("\(found); it was written anew") }
    } catch {
      options.note("the superblock cannot be written: \(error)")
    }
    do throws(LogError) {
      if try Members.read(log.directory, disk: disk)?.node == node { return }
      options.note("the list of members is missing; it was written anew")
    } catch {
      guard error.isDamage else { return }
      options.note("\(error); it was written anew")
    }
    request(.saveMembers)
  }

  /// Reads the whole log, and has repaired what cannot be read; goes on until `isOver`.
  ///
  /// - Parameter pace: told of every few bytes that were read, and how many; rests as long as it sees fit.
  package func verifyLog(isOver: () -> Bool, pace: (_ sizeBytes: UInt64) -> Void) {
    verifyRecords(isOver: isOver, pace: pace)
    verifyFrames(isOver: isOver, pace: pace)
  }

  /// Records that can be read, in frames that a restart would not read.
  private func verifyFrames(isOver: () -> Bool, pace: (_ sizeBytes: UInt64) -> Void) {
    for segment in log.segmentSequences where !isOver() {
      let found = try? log.slotsInBrokenFrames(ofSegment: segment, windowSizeBytes: Self.verifiedStepSizeBytes) {
        size in
        pace(size)
        return !isOver()
      }
      guard let slots = found, let first = slots.first else { continue }
      let reason =
        "frames of segment \(segment) that cannot be read hold \(slots.count) records, from slot \(first.rawValue)"
      options.note(reason)
      // What can still be read is all that a node alone has.
      guard enter({ core in core.replica.configuration.members.count > 1 }) else { continue }
      for slot in slots {
        recordIsDamaged(
          slot.rawValue,
          .corrupt(LogPlace(file: log.directory, offset: 0), reason: reason, expected: 0, found: 0))
      }
    }
  }

  private func verifyRecords(isOver: () -> Bool, pace: (_ sizeBytes: UInt64) -> Void) {
    var after = log.base.slot
    while !isOver(), after < log.state.last.slot {
      // A short stretch at a time: what a reader has yet to read cannot be recycled.
      var size: UInt64 = 0
      var failed: (slot: SlotNumber, error: LogError)?
      do throws(LogError) {
        let reader = try log.reader(
          after: max(after, log.base.slot), decompresses: false, windowSizeBytes: Self.verifiedStepSizeBytes)
        do throws(LogError) {
          var paced: UInt64 = 0
          while size < 1 << 20, !isOver(), let record = try reader.nextRecord() {
            size += UInt64(record.header.recordSizeBytes)
            after = record.header.slot
            if reader.readSizeBytes > paced {
              pace(reader.readSizeBytes - paced)
              paced = reader.readSizeBytes
            }
          }
        } catch { failed = (reader.nextSlot.rawValue, error) }
      } catch {
        // The log moved on meanwhile.
        return
      }
      if let failed {
        guard failed.error.isDamage else { return }
        recordWasNotRead(failed.slot, failed.error)
        after = Slot(failed.slot)
      } else if size == 0 {
        return
      }
    }
  }

  /// What is read at once: who commits meanwhile waits for no more than that.
  private static let verifiedStepSizeBytes = 128 << 10
}
