// Stands in for the module of this name: what `SQLError` says of conflicts, which no parser meets.

package struct SerializationFailure: Hashable, Sendable {}
package struct Deadlock: Hashable, Sendable {}
package struct LockRefusal: Hashable, Sendable {}
