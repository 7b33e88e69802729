/// The syntax tree: what a statement says, before any name in it means anything.
///
/// A tree is made from text by ``SQLParser`` and turned back into text by ``SQLWriter``. It is plain data:
/// value types, `Sendable`, without a reference to the text it came from.
///
/// 1. Every node that an error can blame has a `position`: 1-based, counted in Unicode scalars from the start of the
///    text that was parsed, as PostgreSQL's error field `P` counts.
/// 2. Positions take no part in `==` and `hash(into:)`: two nodes are equal when they say the same thing, wherever they
///    stand. So the binder can ask whether a select item *is* a grouping expression, and tests whether a tree survives
///    the way to text and back.
/// 3. What PostgreSQL's grammar accepts is in the tree, or was refused with `0A000` by the parser. Nothing that was
///    written is absent from the tree.
/// 4. The depth of a tree (statements, queries and expressions together) is at most ``Limits/depth``, so that recursive
///    walks fit the stack.
/// 5. Identifiers are folded to lower case (unless quoted) and truncated to 63 bytes, as PostgreSQL does; numbers keep
///    their text; string constants are decoded.
package enum Syntax {
  /// What the parser takes at most.
  package enum Limits {
    /// The deepest tree that the parser builds; beyond it, `54001 statement too complex`.
    package static let depth = 2000
    /// The longest text, in bytes; beyond it, `54000`. As PostgreSQL: a gibibyte less one.
    package static let textBytes = 0x3FFF_FFFF
    /// The most parameters, as in PostgreSQL's protocol.
    package static let parameters = 65_535
    /// The longest identifier in bytes: PostgreSQL's NAMEDATALEN less one.
    package static let identifierBytes = 63
  }
}

/// A place in the text which takes no part in equality (invariant 2 of ``Syntax``).
///
/// The wrapped value is 0 where a node was made without text.
@propertyWrapper
package struct SourcePosition: Hashable, Sendable {
  package var wrappedValue: Int
  package init(wrappedValue: Int) { self.wrappedValue = wrappedValue }
  package static func == (_: SourcePosition, _: SourcePosition) -> Bool { true }
  package func hash(into _: inout Hasher) {}
}

extension Syntax {
  /// One statement of a script, and where it stands there.
  package struct ParsedStatement: Hashable, Sendable {
    package var statement: Statement
    /// The statement's text without the semicolon and without surrounding white space and comments, as offsets in the
    /// script's UTF-8.
    package var range: Range<Int>
    /// The position of the statement's first token.
    @SourcePosition package var position: Int = 1
    /// The highest `$n` in the statement; 0 if it has none.
    package var parameterCount: Int = 0
  }

  /// A possibly qualified name: `table`, `schema.table`, `database.schema.table`.
  package struct QualifiedName: Hashable, Sendable {
    /// At least one part, folded and unquoted; the object's own name is the last.
    package var parts: [String]
    @SourcePosition package var position: Int = 0

    package init(_ parts: [String], position: Int = 0) {
      self.parts = parts
      self._position = SourcePosition(wrappedValue: position)
    }
    /// The object's own name, without qualification.
    package var name: String { parts[parts.count - 1] }
    /// The schema, if the name is qualified.
    package var schema: String? { parts.count > 1 ? parts[parts.count - 2] : nil }
    /// The database, if the name is qualified twice.
    package var database: String? { parts.count > 2 ? parts[parts.count - 3] : nil }
  }

  /// A simple name that an error can blame: a column, a constraint, a cursor.
  package struct Name: Hashable, Sendable {
    package var text: String
    @SourcePosition package var position: Int = 0

    package init(_ text: String, position: Int = 0) {
      self.text = text
      self._position = SourcePosition(wrappedValue: position)
    }
  }

  /// `RESTRICT` (also when nothing is said) or `CASCADE`.
  package enum DropBehavior: Hashable, Sendable { case restrict, cascade }

  /// `DEFERRABLE`, `INITIALLY DEFERRED` of a constraint.
  package struct Deferral: Hashable, Sendable {
    package var deferrable = false
    package var initiallyDeferred = false
  }

  /// A named option with an optional value, as in `WITH (fillfactor = 100)`, `COPY … (FORMAT csv)`,
  /// `EXPLAIN (ANALYZE, BUFFERS off)`.
  package struct Option: Hashable, Sendable {
    /// Lower case; qualified (`toast.autovacuum_enabled`) as written with the dot.
    package var name: String
    package var value: OptionValue?
    @SourcePosition package var position: Int = 0
  }

  /// What an option or a setting is given.
  package indirect enum OptionValue: Hashable, Sendable {
    /// A word: an identifier or keyword, lower case unless quoted. `true`, `false`, `on`, `off`, `default` come so.
    case word(String)
    /// A number, with its sign, as written.
    case number(String)
    /// A string constant, decoded.
    case string(String)
    /// `*`, as in `FORCE_QUOTE *`.
    case star
    /// A parenthesised list, as in `FORCE_NULL (a, b)`.
    case list([OptionValue])
  }
}
