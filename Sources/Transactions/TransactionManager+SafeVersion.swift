package import Encoding
internal import Platform
internal import Storage
internal import Synchronization

// Safe versions: snapshots at which other nodes may read serializably without a graph.
//
// The leader keeps one candidate: the version that was visible when it was taken, watched as if a read-only transaction
// stood there (Certifier+Snapshots.swift, where it is argued). When the writers that could make it unsafe have ended without
// doing so, it is safe for ever, on every node; the next record carries it. A candidate that turned out unsafe is dropped,
// and the next one taken. Nobody is aborted for it, and nobody waits.
//
// A follower keeps the newest safe version that it has applied, and a hold on it, so that it can be read.

/// What the manager knows of safe versions.
struct SafeVersionState {
  var candidate: SnapshotSafety?
  /// The newest that is known, as leader.
  var known: UInt64 = 0
  /// The newest that was delivered, as follower.
  var delivered: UInt64 = 0
  var hold: SnapshotHold?
}

extension TransactionManager {
  /// The newest version that is known to be safe, for the record that is being built. Takes the sequencer's latch.
  package func nextSafeVersion() -> Version {
    safety.withLock { state in
      if let candidate = state.candidate {
        let outcome = candidate.outcome.load()
        if outcome == SnapshotSafety.unknown { return Version(state.known) }
        if outcome == SnapshotSafety.safe {
          state.known = max(state.known, candidate.snapshot)
        } else {
          endCandidate(candidate)
        }
        state.candidate = nil
      }
      sequencer.latch.lock()
      let visible = engine.visibleVersion.rawValue
      if visible > state.known {
        state.candidate = unsafe sequencer.certifier.beginReader(snapshot: visible)
        if state.candidate == nil { state.known = visible }
      }
      sequencer.latch.unlock()
      return Version(state.known)
    }
  }

  /// An unsafe snapshot stays in the list of those in use until it is taken out.
  private func endCandidate(_ candidate: SnapshotSafety) {
    guard candidate.place >= 0 else { return }
    sequencer.latch.lock()
    unsafe sequencer.certifier.end(candidate.place, committedWrites: false)
    sequencer.latch.unlock()
  }

  /// A record told that `version`, which is applied here, is safe.
  package func learnSafeVersion(_ version: Version) {
    safety.withLock { state in
      guard version.rawValue > state.delivered, version <= engine.visibleVersion else { return }
      // Too old to be read: another will come.
      guard let hold = try? engine.retain(snapshot: version) else { return }
      if let old = state.hold { engine.release(old) }
      state.hold = hold
      state.delivered = version.rawValue
    }
  }

  /// Where serializable readers of this node may stand; nil: it is not known.
  package var safeVersion: Version? { safety.withLock { $0.delivered > 0 ? Version($0.delivered) : nil } }
}
