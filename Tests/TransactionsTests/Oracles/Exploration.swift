import Transactions

// Every execution of a few small transactions, each once: stateless model checking with sleep sets (Godefroid, Partial-Order
// Methods for the Verification of Concurrent Systems, 1996).
//
// An execution is a sequence of events: an actor takes one of the steps of the alphabet, goes on with a step that waited,
// commits, or (held log) the oldest commit is delivered. Programs are not given beforehand: which step an actor takes is
// decided when its turn comes. So two programs that differ only behind the place where their transaction is aborted are one
// execution, and a turn in which nothing could be done is none.
//
// What is left out, and why nothing is lost by it:
//
//  1. Of the executions that differ by the order of neighbouring independent events one is run. Events of different actors
//     are independent unless
//       - both begin a transaction (their age decides who is a deadlock's victim), or one begins and the other one commits
//         or delivers (what the snapshot contains);
//       - both commit or deliver (the order of versions);
//       - one commits, and the other's step touches a key that the first may have written or locked, or waits, or takes a
//         savepoint back; with three actors also: or locks anything (its snapshot may move, over all that is visible);
//       - one delivers, and the other locks;
//       - both touch a common key and at least one locks it;
//       - both lock, and one's key is locked by the other's actor (whose abort would give it back), or, with three actors,
//         both keys are locked by somebody (who waits for whom).
//     What an event does is a function of the keys that it touches, of who holds their locks, of the order of versions and of
//     its transaction's own state: the two orders of an independent pair end in one state and answer the same.
//  2. Actors of a kind are numbered in the order in which they begin: renaming them changes nothing.
//  3. An actor begins while another one is active (or the first). One that begins after all others are over reads what
//     they left, and nobody remembers them: a serial execution of fewer actors, which is explored on its own.
//
// Declared readers are a kind of their own, since the program of an undeclared one is not known when it begins.

struct ExplorationCounts {
  var counts = Counts()
  /// Executions that were given up when it turned out that another one stands for them.
  var redundant = 0

  mutating func add(_ other: ExplorationCounts) {
    counts.add(other.counts)
    redundant += other.redundant
  }
}

final class Explorer {
  let alphabet: [Step]
  let length: Int
  let actorCount: Int
  /// The first so many actors declare that they only read.
  let readers: Int
  let present: Set<Int>
  let keyCount: Int
  /// Of the third events, it follows those with a number that is `part` modulo `parts`.
  let part: Int
  let parts: Int
  /// Whether one order of independent events stands for all. Off to test just that.
  let reduces: Bool
  /// What came of it, if that is asked for: see `outcome`.
  var outcomes: Set<String>?

  private let interleaver: Interleaver
  private let isSnapshot: Bool
  private let masks: [UInt32]
  private let locks: [Bool]
  private var stack: [Node] = []
  private var branches = 0
  private(set) var found = ExplorationCounts()

  private struct Node {
    var candidates: [UInt8]
    var next = 0
    var sleep: UInt64
  }

  init(
    _ interleaver: Interleaver, _ alphabet: [Step], length: Int, actors: Int, readers: Int = 0, keyCount: Int = 4,
    present: Set<Int> = [0, 1], part: Int = 0, parts: Int = 1,
    reduces: Bool = true
  ) {
    self.interleaver = interleaver
    self.alphabet = alphabet
    self.length = length
    self.actorCount = actors
    self.readers = readers
    self.present = present
    self.keyCount = keyCount
    self.part = part
    self.parts = parts
    self.reduces = reduces
    isSnapshot = interleaver.isolation != .serializable
    masks = alphabet.map { step in (step.keys ?? 0..<0).reduce(0) { $0 | 1 << UInt32($1) } }
    locks = alphabet.map { !$0.isRead }
    precondition((alphabet.count + 2) * actors < 64)
  }

  // MARK: Events

  private var width: Int { alphabet.count + 2 }
  private var commitLetter: Int { alphabet.count }
  private var resumeLetter: Int { alphabet.count + 1 }
  private var deliveryEvent: Int { width * actorCount }

  /// Who is where in the execution at hand.
  private struct State {
    var actors: [Interleaver.Actor]
    /// What each has locked or written so far.
    var locked: [UInt32]
    /// The letter of its last step, which may be waiting.
    var letter: [Int]
    /// Commits that are not delivered.
    var undelivered = 0
  }

  private func events(_ state: State) -> [UInt8] {
    var events: [UInt8] = []
    let isAnyActive = state.undelivered > 0 || state.actors.contains { $0.transaction != nil && !$0.isOver }
    let isFirst = state.actors.allSatisfy { $0.transaction == nil }
    for (index, actor) in state.actors.enumerated() where !actor.isOver {
      func add(_ letter: Int) { events.append(UInt8(index * width + letter)) }
      if actor.isBlocked {
        if actor.isGranted { add(resumeLetter) }
        continue
      }
      if actor.transaction == nil {
        guard isFirst || isAnyActive else { continue }
        // 2.
        if index != 0 && index != readers && state.actors[index - 1].transaction == nil { continue }
      }
      if actor.next < length {
        for letter in alphabet.indices where isAllowed(alphabet[letter], actor, index) { add(letter) }
      }
      if actor.next > 0 { add(commitLetter) }
    }
    if state.undelivered > 0 { events.append(UInt8(deliveryEvent)) }
    return events
  }

  /// At most one savepoint, with something between it and its rollback.
  private func isAllowed(_ step: Step, _ actor: Interleaver.Actor, _ index: Int) -> Bool {
    switch step {
    case .savepoint: !actor.program.contains(.savepoint) && actor.next + 3 <= length
    case .rollback:
      actor.program.contains(.savepoint) && actor.program.last != .savepoint && !actor.program.contains(.rollback)
    default: index >= readers || step.isRead
    }
  }

  private func areIndependent(_ first: Int, _ second: Int, _ state: State) -> Bool {
    if first == deliveryEvent || second == deliveryEvent {
      let other = first == deliveryEvent ? second : first
      guard other != deliveryEvent else { return false }
      let letter = other % width
      return state.actors[other / width].transaction != nil && letter < alphabet.count && !locks[letter]
    }
    let one = first / width
    let two = second / width
    if one == two { return false }
    let isFirst = state.actors[one].transaction == nil
    let isSecond = state.actors[two].transaction == nil
    if isFirst && isSecond { return false }
    var letter = first % width
    var other = second % width
    if letter == commitLetter && other == commitLetter { return false }
    if letter == commitLetter { return !isSecond && isFree(other, of: one, state) }
    if other == commitLetter { return !isFirst && isFree(letter, of: two, state) }
    if letter == resumeLetter { letter = state.letter[one] }
    if other == resumeLetter { other = state.letter[two] }
    if alphabet[letter] == .rollback || alphabet[other] == .rollback {
      if actorCount > 2 { return false }
      return !(locks[other] && masks[other] & state.locked[one] != 0)
        && !(locks[letter] && masks[letter] & state.locked[two] != 0)
    }
    if locks[letter] || locks[other], masks[letter] & masks[other] != 0 { return false }
    guard locks[letter] && locks[other] else { return true }
    if masks[letter] & state.locked[two] != 0 || masks[other] & state.locked[one] != 0 { return false }
    guard actorCount > 2 else { return true }
    let all = state.locked.reduce(0, |)
    return masks[letter] & all == 0 || masks[other] & all == 0
  }

  /// Whether a step has nothing to do with the commit of `committer`.
  private func isFree(_ letter: Int, of committer: Int, _ state: State) -> Bool {
    guard letter < alphabet.count, alphabet[letter] != .rollback else { return false }
    if locks[letter] && actorCount > 2 { return false }
    return masks[letter] & state.locked[committer] == 0
  }

  // MARK: Exploring

  /// Runs everything.
  func explore() throws {
    repeat { try execute() } while backtrack()
  }

  /// The next alternative of the deepest node that has one. False if there is none.
  private func backtrack() -> Bool {
    while let last = stack.indices.last {
      stack[last].next += 1
      if last == 2 { skipForeign() }
      if stack[last].next < stack[last].candidates.count { return true }
      stack.removeLast()
    }
    return false
  }

  private func skipForeign() {
    while stack[2].next < stack[2].candidates.count {
      branches += 1
      if branches % parts == part { return }
      stack[2].next += 1
    }
  }

  private func execute() throws {
    var result = try interleaver.prepare(keyCount: keyCount, present: present)
    var state = State(
      actors: (0..<actorCount).map { _ in Interleaver.Actor([]) }, locked: [UInt32](repeating: 0, count: actorCount),
      letter: [Int](repeating: 0, count: actorCount))
    for index in 0..<readers { state.actors[index].isReader = true }
    var depth = 0
    var sleep: UInt64 = 0
    while true {
      if depth == stack.count {
        let all = events(state)
        if all.isEmpty { break }
        stack.append(Node(candidates: all.filter { sleep & 1 << UInt64($0) == 0 }, sleep: sleep))
        if depth == 2 { skipForeign() }
        if stack[depth].next >= stack[depth].candidates.count {
          giveUp(state, &result)
          return
        }
      }
      let node = stack[depth]
      let event = Int(node.candidates[node.next])
      var asleep = node.sleep
      for earlier in node.candidates[..<node.next] { asleep |= 1 << UInt64(earlier) }
      sleep = 0
      while asleep != 0 && reduces {
        let candidate = asleep.trailingZeroBitCount
        asleep &= asleep - 1
        if areIndependent(candidate, event, state) { sleep |= 1 << UInt64(candidate) }
      }
      try perform(event, &state, &result)
      depth += 1
    }
    // 3: somebody never began.
    guard state.actors.allSatisfy(\.isOver) else {
      giveUp(state, &result)
      return
    }
    interleaver.finish(state.actors, &result)
    let schedule = stack.map { Int($0.candidates[$0.next]) / width }
    outcomes?.insert(outcome(state, result))
    found.counts.add(result, state.actors.map(\.program), schedule, isSnapshot: isSnapshot)
  }

  private func perform(_ event: Int, _ state: inout State, _ result: inout RunResult) throws {
    if event == deliveryEvent {
      interleaver.database.log.deliver(1)
      state.undelivered -= 1
      return
    }
    let index = event / width
    let letter = event % width
    let actor = state.actors[index]
    if letter < alphabet.count {
      actor.program.append(alphabet[letter])
      state.letter[index] = letter
      if locks[letter] { state.locked[index] |= masks[letter] }
    }
    let commits = result.committed.transactions.count
    try interleaver.turn(actor, &result)
    // A commit without writes has nothing to deliver.
    if interleaver.isHeld && result.committed.transactions.count > commits,
      result.committed.transactions.last?.version != nil
    {
      state.undelivered += 1
    }
  }

  /// Each actor's program, what it saw and how it ended, and the last writer of each key; values named by who wrote them.
  private func outcome(_ state: State, _ result: RunResult) -> String {
    var names: [Int: String] = [:]
    for (index, actor) in state.actors.enumerated() {
      for (place, operation) in actor.recorded.operations.enumerated() {
        if case .write(_, let value?) = operation { names[value] = "\(index).\(place)" }
      }
    }
    func name(_ value: Int?) -> String { value.map { names[$0] ?? "\($0)" } ?? "-" }
    var final = result.committed.initial
    for transaction in result.committed.transactions {
      for write in transaction.finalWrites { final[write.key] = write.value }
    }
    let actors = state.actors.map { actor in
      let seen = actor.recorded.operations.map { operation in
        switch operation {
        case .read(let key, let value): "\(key)=\(name(value))"
        case .scan(_, _, let rows): rows.map { "\($0.key)=\(name($0.value))" }.joined(separator: "+")
        case .write(let key, _): "w\(key)"
        case .savepoint, .rollback: ""
        }
      }
      return "\(actor.program) \(seen) \(actor.failure ?? "")"
    }
    return "\(actors) \(final.map(name))"
  }

  private func giveUp(_ state: State, _ result: inout RunResult) {
    found.redundant += 1
    for actor in state.actors where !actor.isOver { actor.transaction?.rollback() }
    if interleaver.isHeld { interleaver.database.log.deliver() }
  }
}
