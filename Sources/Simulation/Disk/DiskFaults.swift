package import Platform

/// One call that a simulated disk was asked to do.
package struct DiskOperation: Hashable, Sendable, CustomStringConvertible {
  package enum Kind: String, Hashable, Sendable {
    case open, create, createDirectory, list, status, rename, remove, link, syncDirectory, lock
    case read, write, writeDurably, sync, truncate
  }

  /// The number of operations that change something before this one: the scale of `crash(atOperation:)`. Operations that
  /// only read carry the number of the next one that changes something.
  package var index: Int
  package var kind: Kind
  package var path: String
  package var offset: UInt64
  package var sizeBytes: Int

  package init(index: Int, kind: Kind, path: String, offset: UInt64 = 0, sizeBytes: Int = 0) {
    self.index = index
    self.kind = kind
    self.path = path
    self.offset = offset
    self.sizeBytes = sizeBytes
  }

  package var description: String { "\(index) \(kind.rawValue) \(path) @\(offset)+\(sizeBytes)" }

  /// Whether it changes the disk, or makes a change durable.
  package var changesSomething: Bool {
    switch kind {
    case .open, .list, .status, .read: false
    default: true
    }
  }
}

/// What goes wrong with one operation.
package enum DiskFault: Hashable, Sendable {
  /// It throws and has no effect.
  case error(DiskError.Kind)
  /// It throws, and part of it happened: some sectors of a write; for a sync, some of what was unsynced reached the
  /// medium and the rest is dropped as if clean, so that a retry succeeds and proves nothing.
  case errorWithPartialEffect(DiskError.Kind)
  /// It succeeds and one bit of what it wrote (or handed to the reader) is wrong. The number chooses the bit.
  case flipBit(Int)
  /// It succeeds, and the bytes go to (or come from) a place so many bytes away in the same file.
  case misdirect(by: Int)
  /// The power goes off in the middle of it.
  case crash
}

/// What goes wrong: by chance, by plan, or both.
///
/// Each probability is written as "once in n", 0 for never. `plan` is asked first, for every operation, while the disk's
/// lock is held: it must not call the disk.
package struct DiskFaults: Sendable {
  /// EIO from a read.
  package var readErrorOneIn = 0
  /// EIO from a write (with a part of it done).
  package var writeErrorOneIn = 0
  /// EIO from a sync, or a durable write (with a part of it durable).
  package var syncErrorOneIn = 0
  /// ENOSPC from a write that grows a file, from a create or a link.
  package var noSpaceOneIn = 0
  /// One bit of a write goes wrong at rest.
  package var writeFlipsBitOneIn = 0
  /// One bit of a read goes wrong on the way.
  package var readFlipsBitOneIn = 0
  /// A write goes to another sector of the file.
  package var misdirectedWriteOneIn = 0
  /// After a crash, a sector that was being written may be half old and half new. (Devices promise 512 bytes; some lie.)
  package var tearsSectors = false
  /// Decides over one operation before chance does.
  package var plan: (@Sendable (DiskOperation) -> DiskFault?)?

  package init() {}

  /// A disk that fails only by losing power.
  package static var none: DiskFaults { DiskFaults() }
}
