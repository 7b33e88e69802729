/// The keywords of PostgreSQL 15 and their categories, as `pg_get_keywords()` lists them.
///
/// The category says where a keyword may still be a name:
///
/// | category     | column, table | function, type | label after AS |
/// |--------------|---------------|----------------|----------------|
/// | unreserved   | yes           | yes            | yes            |
/// | columnName   | yes           | no             | yes            |
/// | typeFunction | no            | yes            | yes            |
/// | reserved     | no            | no             | yes            |
///
/// Whether it may be a label *without* AS is a property of its own.
enum Keyword: UInt16, CaseIterable, Sendable {
  case abort, absolute, access, action, add, admin, after, aggregate, all, also, alter, always, analyse, analyze, and,
    `any`, array, `as`, asc, asensitive, assertion, assignment, asymmetric, at, atomic, attach, attribute,
    authorization, backward, before, begin, between, bigint, binary, bit, boolean, both, breadth, by, cache, call,
    called, cascade, cascaded, `case`, cast, catalog, chain, char, character, characteristics, check, checkpoint,
    `class`, close, cluster, coalesce, collate, collation, column, columns, comment, comments, commit, committed,
    compression, concurrently, configuration, conflict, connection, constraint, constraints, content, `continue`,
    conversion, copy, cost, create, cross, csv, cube, current, current_catalog, current_date, current_role,
    current_schema, current_time, current_timestamp, current_user, cursor, cycle, data, database, day, deallocate,
    dec, decimal, declare, `default`, defaults, deferrable, deferred, definer, delete, delimiter, delimiters, depends,
    depth, desc, detach, dictionary, disable, discard, distinct, `do`, document, domain, double, drop, each, `else`,
    enable, encoding, encrypted, end, `enum`, escape, event, except, exclude, excluding, exclusive, execute, exists,
    explain, expression, `extension`, external, extract, `false`, family, fetch, filter, finalize, first, float,
    following, `for`, force, foreign, forward, freeze, from, full, function, functions, generated, global, grant,
    granted, greatest, group, grouping, groups, handler, having, header, hold, hour, identity, `if`, ilike, immediate,
    immutable, implicit, `import`, `in`, include, including, increment, index, indexes, inherit, inherits, initially,
    inline, inner, `inout`, input, insensitive, insert, instead, int, integer, intersect, interval, into, invoker,
    `is`, isnull, isolation, join, key, label, language, large, last, lateral, leading, leakproof, least, left, level,
    like, limit, listen, load, local, localtime, localtimestamp, location, lock, locked, logged, mapping, match,
    matched, materialized, maxvalue, merge, method, minute, minvalue, mode, month, move, name, names, national,
    natural, nchar, new, next, nfc, nfd, nfkc, nfkd, no, none, normalize, normalized, not, nothing, notify, notnull,
    nowait, null, nullif, nulls, numeric, object, of, off, offset, oids, old, on, only, `operator`, option, options,
    or, order, ordinality, others, out, outer, over, overlaps, overlay, overriding, owned, owner, parallel, parameter,
    parser, partial, partition, passing, password, placing, plans, policy, position, preceding, precision, prepare,
    prepared, preserve, primary, prior, privileges, procedural, procedure, procedures, program, publication, quote,
    range, read, real, reassign, recheck, recursive, ref, references, referencing, refresh, reindex, relative,
    release, rename, repeatable, replace, replica, reset, restart, restrict, `return`, returning, returns, revoke,
    right, role, rollback, rollup, routine, routines, row, rows, rule, savepoint, schema, schemas, scroll, search,
    second, security, select, sequence, sequences, serializable, server, session, session_user, set, setof, sets,
    share, show, similar, simple, skip, smallint, snapshot, some, sql, stable, standalone, start, statement,
    statistics, stdin, stdout, storage, stored, strict, strip, subscription, substring, support, symmetric, sysid,
    system, table, tables, tablesample, tablespace, temp, template, temporary, text, then, ties, time, timestamp, to,
    trailing, transaction, transform, treat, trigger, trim, `true`, truncate, trusted, type, types, uescape,
    unbounded, uncommitted, unencrypted, union, unique, unknown, unlisten, unlogged, until, update, user, using,
    vacuum, valid, validate, validator, value, values, varchar, variadic, varying, verbose, version, view, views,
    volatile, when, `where`, whitespace, window, with, within, without, work, wrapper, write, xml, xmlattributes,
    xmlconcat, xmlelement, xmlexists, xmlforest, xmlnamespaces, xmlparse, xmlpi, xmlroot, xmlserialize, xmltable,
    year, yes, zone

  enum Category: UInt8, Sendable { case unreserved, columnName, typeFunction, reserved }

  @inline(__always) var category: Category { KeywordTable.shared.categories[Int(rawValue)] }
  /// Whether the keyword may label a select item without AS.
  var isBareLabel: Bool { KeywordTable.shared.bareLabels[Int(rawValue)] }
  /// The keyword in lower case.
  var text: String { KeywordTable.shared.names[Int(rawValue)] }

  /// A column, table or alias name (`ColId`).
  @inline(__always) var isColumnName: Bool { category == .unreserved || category == .columnName }
  /// A function or type name (`type_function_name`).
  @inline(__always) var isTypeFunctionName: Bool { category == .unreserved || category == .typeFunction }

  /// The keyword with this name, lower case; nil if there is none.
  package static func named(_ name: String) -> Keyword? {
    let bytes = Array(name.utf8)
    var hash: UInt32 = KeywordTable.seed
    for byte in bytes { hash = KeywordTable.mix(hash, byte) }
    return KeywordTable.shared.find(bytes, 0..<bytes.count, hash: hash)
  }
}

/// The keywords by hash: built once, from the text below.
final class KeywordTable: Sendable {
  static let shared = KeywordTable()
  static let seed: UInt32 = 0x811C_9DC5
  static let longest = 17

  let names: [String]
  let categories: [Keyword.Category]
  let bareLabels: [Bool]
  private let bytes: [[UInt8]]
  /// Keyword number + 1 at the hash's slot or after it; 0 ends a probe. A quarter full.
  private let slots: [UInt16]

  @inline(__always) static func mix(_ hash: UInt32, _ byte: UInt8) -> UInt32 { (hash ^ UInt32(byte)) &* 0x0100_0193 }
  @inline(__always) private static func slot(_ hash: UInt32) -> Int { Int((hash ^ (hash >> 15)) & 2047) }

  private init() {
    var names: [String] = []
    var categories: [Keyword.Category] = []
    var bareLabels: [Bool] = []
    for line in keywordLines.split(separator: "\n") {
      let mark = line.utf8.first
      let bare = mark != UInt8(ascii: "-")
      let fields = line.split(separator: " ")
      let category: Keyword.Category =
        switch fields[0].last {
        case "U": .unreserved
        case "C": .columnName
        case "T": .typeFunction
        default: .reserved
        }
      for name in fields.dropFirst() {
        names.append(String(name))
        categories.append(category)
        bareLabels.append(bare)
      }
    }
    // The text is grouped by category; the enumeration is in alphabetical order.
    let order = names.indices.sorted { names[$0] < names[$1] }
    self.names = order.map { names[$0] }
    self.categories = order.map { categories[$0] }
    self.bareLabels = order.map { bareLabels[$0] }
    self.bytes = self.names.map { Array($0.utf8) }
    precondition(names.count == Keyword.allCases.count, "the enumeration and the text list the same keywords")
    var slots = [UInt16](repeating: 0, count: 2048)
    for (index, name) in self.bytes.enumerated() {
      var slot = Self.slot(name.reduce(Self.seed, Self.mix))
      while slots[slot] != 0 { slot = (slot + 1) & 2047 }
      slots[slot] = UInt16(index + 1)
    }
    self.slots = slots
  }

  /// The keyword spelt by `text[range]` in any mixture of cases. `hash` is of the folded bytes.
  @inline(__always)
  func find(_ text: [UInt8], _ range: Range<Int>, hash: UInt32) -> Keyword? {
    if range.count > Self.longest { return nil }
    var slot = Self.slot(hash)
    while true {
      let entry = slots[slot]
      if entry == 0 { return nil }
      if matches(bytes[Int(entry) - 1], text, range) { return Keyword(rawValue: entry - 1) }
      slot = (slot + 1) & 2047
    }
  }

  @inline(__always)
  private func matches(_ name: [UInt8], _ text: [UInt8], _ range: Range<Int>) -> Bool {
    guard name.count == range.count else { return false }
    var index = range.lowerBound
    for byte in name {
      // Keywords are letters and `_`; 0x20 folds a letter, and leaves `_` (0x5F) apart from every letter.
      let other = text[index]
      if byte != other && byte != other | 0x20 { return false }
      index += 1
    }
    return true
  }
}

/// A line a category; a minus sign marks keywords which may not be a bare label.
private let keywordLines = """
  U abort absolute access action add admin after aggregate also alter always asensitive assertion assignment at atomic
  U attach attribute backward before begin breadth by cache call called cascade cascaded catalog chain characteristics
  U checkpoint class close cluster columns comment comments commit committed compression configuration conflict
  U connection constraints content continue conversion copy cost csv cube current cursor cycle data database
  U deallocate declare defaults deferred definer delete delimiter delimiters depends depth detach dictionary disable
  U discard document domain double drop each enable encoding encrypted enum escape event exclude excluding exclusive
  U execute explain expression extension external family finalize first following force forward function functions
  U generated global granted groups handler header hold identity if immediate immutable implicit import include
  U including increment index indexes inherit inherits inline input insensitive insert instead invoker isolation key
  U label language large last leakproof level listen load local location lock locked logged mapping match matched
  U materialized maxvalue merge method minvalue mode move name names new next nfc nfd nfkc nfkd no normalized nothing
  U notify nowait nulls object of off oids old operator option options ordinality others overriding owned owner
  U parallel parameter parser partial partition passing password plans policy preceding prepare prepared preserve
  U prior privileges procedural procedure procedures program publication quote range read reassign recheck recursive
  U ref referencing refresh reindex relative release rename repeatable replace replica reset restart restrict return
  U returns revoke role rollback rollup routine routines rows rule savepoint schema schemas scroll search security
  U sequence sequences serializable server session set sets share show simple skip snapshot sql stable standalone
  U start statement statistics stdin stdout storage stored strict strip subscription support sysid system tables
  U tablespace temp template temporary text ties transaction transform trigger truncate trusted type types uescape
  U unbounded uncommitted unencrypted unknown unlisten unlogged until update vacuum valid validate validator value
  U version view views volatile whitespace work wrapper write xml yes zone
  -U day filter hour minute month over second varying within without year
  C between bigint bit boolean coalesce dec decimal exists extract float greatest grouping inout int integer interval
  C least national nchar none normalize nullif numeric out overlay position real row setof smallint substring time
  C timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse
  C xmlpi xmlroot xmlserialize xmltable
  -C char character precision
  T authorization binary collation concurrently cross current_schema freeze full ilike inner is join left like natural
  T outer right similar tablesample verbose
  -T isnull notnull overlaps
  R all analyse analyze and any asc asymmetric both case cast check collate column constraint current_catalog
  R current_date current_role current_time current_timestamp current_user default deferrable desc distinct do else end
  R false foreign in initially lateral leading localtime localtimestamp not null only or placing primary references
  R select session_user some symmetric table then trailing true unique user using variadic when
  -R array as create except fetch for from grant group having intersect into limit offset on order returning to union
  -R where window with
  """
