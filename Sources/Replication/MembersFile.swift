internal import Encoding
package import Log
package import Paxos
package import Platform

// `members` in the database directory: who this node is, in which cluster, and what is in force where its log begins.
//
//   offset size field
//   0      8    magic "SYNODMEM"
//   8      4    format: 1
//   12     4    CRC-32C of everything from offset 16
//   16     8    node
//   24     16   cluster: high, low; zero while the cluster is not founded
//   40     4    length of the checkpoint; 0 while there is none
//   44     …    checkpoint (MessageCodec.swift): the point behind which the log is read, the configuration in force there
//   …      4    number of founders; for each: node (8), 1 if it is a witness (1)
//   …      4    number of peers; for each: node (8), length (2) and text of its address for peers, then for clients
//   …      4    length of the incoming checkpoint; then that. 0, or the end of the file, where none comes in
//   …      1    1: this node has been a member. May be missing, as it is where it has not
//
// Little endian. The file is replaced whole (written aside, synced, renamed). It is written before the log gives up the
// stop records that it stands for, so the two always overlap.
//
// 1. `node` never changes. A node that lost this file is another node.
// 2. The checkpoint's point only grows, and lies at or below what the tables hold.
// 3. A checkpoint of another node's is noted as incoming before the tables become it; when the log begins behind it, it is
//    the checkpoint. After a crash in between the tables tell whether they became it: by their slot and chain.
// 4. Who has been a member and is not was removed, and is never taken in again. The log alone does not tell: it may begin
//    behind the removal.

/// What a node knows of its cluster outside the log.
package struct Members: Hashable, Sendable {
  /// How a node is reached.
  package struct Peer: Hashable, Sendable {
    package var node: NodeID
    package var peerAddress: String
    package var clientAddress: String
    package init(node: NodeID, peerAddress: String, clientAddress: String) {
      self.node = node
      self.peerAddress = peerAddress
      self.clientAddress = clientAddress
    }
  }

  /// A member of the first configuration.
  package struct Founder: Hashable, Sendable {
    package var node: NodeID
    package var isWitness: Bool
    package init(node: NodeID, isWitness: Bool) {
      self.node = node
      self.isWitness = isWitness
    }
  }

  package var node: NodeID
  package var cluster = ClusterID(high: 0, low: 0)
  package var checkpoint: Checkpoint?
  /// Of another node; the tables are about to become it, or just have.
  package var incoming: Checkpoint?
  /// Who founded the cluster, ascending: enough to found it again, for a founder that was away at the time.
  package var founders: [Founder] = []
  package var peers: [Peer] = []
  /// This node has been a member of the cluster.
  package var hasBeenMember = false

  package static let fileName = "members"

  package init(node: NodeID) { self.node = node }

  /// A founded cluster's first state.
  package init(node: NodeID, cluster: ClusterID, founding configuration: Configuration) {
    self.node = node
    self.cluster = cluster
    let start = ChainPoint(slot: 0, chain: .zero)
    checkpoint = Checkpoint(point: start, configuration: configuration, epochStart: start)
  }

  /// What all founders compute alike once each knows all: the cluster's name and its first configuration.
  package mutating func found(by founders: [Founder]) throws(ConfigurationError) {
    let sorted = founders.sorted { $0.node < $1.node }
    let configuration = try Configuration(
      epoch: 1, voters: sorted.filter { !$0.isWitness }.map(\.node),
      witnesses: sorted.filter(\.isWitness).map(\.node))
    var bytes: [UInt8] = []
    for founder in sorted {
      for shift in stride(from: 0, to: 64, by: 8) {
        bytes.append(UInt8(truncatingIfNeeded: founder.node.rawValue >> UInt64(shift)))
      }
      bytes.append(founder.isWitness ? 1 : 0)
    }
    let name = Hash128(of: bytes)
    let peers = peers
    self = Members(node: node, cluster: ClusterID(high: name.high, low: name.low), founding: configuration)
    self.founders = sorted
    self.peers = peers
  }

  /// Takes a cluster's word for what it is: the name that its founders make, or, where one survivor of another cluster began
  /// it anew (`synod cluster recover`), the name that it was given then. False: neither can be.
  package mutating func join(_ name: ClusterID, foundedBy founders: [Founder]) throws(ConfigurationError) -> Bool {
    try found(by: founders)
    if cluster == name { return true }
    guard founders.count == 1, founders[0].node != node, let configuration = checkpoint?.configuration else {
      return false
    }
    let peers = peers
    self = Members(node: node, cluster: name, founding: configuration)
    self.founders = founders
    self.peers = peers
    return true
  }

  package var isFounded: Bool { checkpoint != nil }

  // MARK: Bytes

  private static let magic: UInt64 = 0x4D45_4D44_4F4E_5953  // "SYNODMEM"
  private static let largestSizeBytes = 1 << 20

  package func encoded() -> [UInt8] {
    var body: [UInt8] = []
    func put<T: FixedWidthInteger>(_ value: T) {
      for shift in stride(from: 0, to: T.bitWidth, by: 8) { body.append(UInt8(truncatingIfNeeded: value >> T(shift))) }
    }
    put(node.rawValue)
    put(cluster.high)
    put(cluster.low)
    var point: [UInt8] = []
    checkpoint?.encode(into: &point)
    put(UInt32(point.count))
    body += point
    put(UInt32(founders.count))
    for founder in founders {
      put(founder.node.rawValue)
      put(founder.isWitness ? 1 : 0 as UInt8)
    }
    put(UInt32(peers.count))
    for peer in peers {
      put(peer.node.rawValue)
      for text in [peer.peerAddress, peer.clientAddress] {
        put(UInt16(min(text.utf8.count, 1024)))
        body += Array(text.utf8.prefix(1024))
      }
    }
    if let incoming {
      var point: [UInt8] = []
      incoming.encode(into: &point)
      put(UInt32(point.count))
      body += point
    }
    if hasBeenMember {
      if incoming == nil { put(0 as UInt32) }
      put(1 as UInt8)
    }
    let rest = body
    body = []
    put(Self.magic)
    put(1 as UInt32)
    put(unsafe rest.withUnsafeBytes { unsafe crc32c($0) })
    return body + rest
  }

  package init(decoding bytes: [UInt8], file: String) throws(LogError) {
    var at = 0
    func damage(_ reason: String) -> LogError {
      .corrupt(LogPlace(file: file, offset: UInt64(at)), reason: reason, expected: 0, found: 0)
    }
    func take<T: FixedWidthInteger>(_: T.Type) throws(LogError) -> T {
      guard bytes.count - at >= MemoryLayout<T>.size else { throw damage("the file ends too early") }
      var value: T = 0
      for index in 0..<MemoryLayout<T>.size { value |= T(truncatingIfNeeded: bytes[at + index]) << T(8 * index) }
      at += MemoryLayout<T>.size
      return value
    }
    guard bytes.count <= Self.largestSizeBytes else { throw damage("impossible length") }
    guard try take(UInt64.self) == Self.magic else { throw damage("no list of members") }
    let format = try take(UInt32.self)
    guard format == 1 else { throw .newerFormat(file: file, found: format, supported: 1) }
    let expected = try take(UInt32.self)
    let found = unsafe bytes.withUnsafeBytes { unsafe crc32c(UnsafeRawBufferPointer(rebasing: $0[16...])) }
    guard expected == found else {
      throw .corrupt(
        LogPlace(file: file, offset: 12), reason: "list of members with a wrong checksum", expected: expected,
        found: found)
    }
    node = NodeID(try take(UInt64.self))
    cluster = ClusterID(high: try take(UInt64.self), low: try take(UInt64.self))
    let length = Int(try take(UInt32.self))
    guard bytes.count - at >= length else { throw damage("the file ends too early") }
    if length > 0 {
      guard let point = try? Checkpoint(decoding: bytes[at..<at + length]) else { throw damage("no checkpoint") }
      checkpoint = point
      at += length
    }
    let founderCount = try take(UInt32.self)
    guard founderCount <= 64 else { throw damage("impossible number of founders") }
    for _ in 0..<founderCount {
      let node = NodeID(try take(UInt64.self))
      founders.append(Founder(node: node, isWitness: try take(UInt8.self) != 0))
    }
    let count = try take(UInt32.self)
    guard count <= 1024 else { throw damage("impossible number of peers") }
    for _ in 0..<count {
      let node = NodeID(try take(UInt64.self))
      var texts: [String] = []
      for _ in 0..<2 {
        let length = Int(try take(UInt16.self))
        guard bytes.count - at >= length else { throw damage("the file ends too early") }
        texts.append(String(decoding: bytes[at..<at + length], as: UTF8.self))
        at += length
      }
      peers.append(Peer(node: node, peerAddress: texts[0], clientAddress: texts[1]))
    }
    guard at < bytes.count else { return }
    let rest = Int(try take(UInt32.self))
    guard bytes.count - at >= rest else { throw damage("no incoming checkpoint") }
    if rest > 0 {
      guard let point = try? Checkpoint(decoding: bytes[at..<at + rest]) else { throw damage("no incoming checkpoint") }
      incoming = point
      at += rest
    }
    if at < bytes.count { hasBeenMember = try take(UInt8.self) != 0 }
  }

  // MARK: The file

  /// Reads the file of the database at `directory`; nil where there is none.
  package static func read(_ directory: String, disk: any Disk) throws(LogError) -> Members? {
    let path = directory + "/" + fileName
    let bytes: [UInt8]
    do throws(DiskError) {
      guard let status = try disk.status(path) else { return nil }
      let file = try disk.open(path, .read)
      defer { file.close() }
      bytes = try file.readBytes(Int(min(status.sizeBytes, UInt64(largestSizeBytes) + 1)), at: 0)
    } catch { throw .disk(error) }
    return try Members(decoding: bytes, file: path)
  }

  /// Replaces the file, durably.
  package func write(_ directory: String, disk: any Disk) throws(LogError) {
    let path = directory + "/" + Self.fileName
    do throws(DiskError) {
      let draft = path + ".new"
      if try disk.status(draft) != nil { try disk.remove(draft) }
      let file = try disk.open(draft, .create)
      try file.write(encoded(), at: 0)
      try file.sync()
      file.close()
      try disk.rename(draft, to: path)
      try disk.syncDirectory(directory)
    } catch { throw .disk(error) }
  }
}
