internal import CSynod

/// What a loop turns: a connection, a listener, a stream of signals.
///
/// A source is *checked out* by the thread that runs code for it, and only that thread touches it. The loop remembers what
/// comes in the meantime (events, mail) and turns the source again when it is checked in.
///
/// ```
///            event, mail, wake, own wish          the turn ends
///   idle ──────────────────────────────▶ checked out ─────────▶ idle (or ready again)
///    ▲                                        │ the loop was taken from the thread meanwhile
///    └──────── .handBack in the inbox ◀───────┘ (when the turn ends, however late)
/// ```
///
/// `@unchecked Sendable`: the fields under "the loop's" are touched only by the thread that turns the loop, those under "the
/// holder's" only by the thread that has the source checked out; both pass from thread to thread through the loop's word
/// or its inbox (release, acquire).
package class EventSource: @unchecked Sendable {
  typealias Mail = @Sendable () -> Void

  /// The loop that turns it, for life.
  package final let loop: EventLoop

  // The loop's.
  final var token: UInt64 = 0
  final var isCheckedOut = false
  final var isQueued = false
  final var pendingEvents: UInt32 = 0
  final var mail: [Mail] = []

  // The holder's.
  /// Asks for another turn after this one, though nothing happened.
  final var wantsTurn = false
  /// Its descriptor is closed: the loop forgets it.
  final var isFinished = false

  init(loop: EventLoop) { self.loop = loop }

  /// The descriptor that the loop watches, and for what. Read once, when the loop takes it in.
  var registration: (descriptor: Int32, events: UInt32) { (-1, 0) }

  /// One turn: on the thread that has it checked out. `events` are epoll's bits and those of `LoopEvents`.
  func turn(_ events: UInt32, _ mail: [Mail], _ thread: LoopThread) { for body in mail { body() } }

  /// Something came while it was checked out: on the turning thread, so only atomics may be touched.
  func noticed(_ events: UInt32) {}

  /// From any thread: the loop stops and wants the holder to end soon.
  func abandon() {}
}

/// Our own event bits, where epoll has none.
enum LoopEvents {
  /// The loop has taken the source in.
  static let registered: UInt32 = 1 << 16
  /// `wake()` was called.
  static let woken: UInt32 = 1 << 17
  /// The loop stops.
  static let stop: UInt32 = 1 << 18
  /// The system refused to watch the descriptor.
  static let refused: UInt32 = 1 << 19
}
