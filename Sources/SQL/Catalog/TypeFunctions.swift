/// The functions by which PostgreSQL reads and writes values of a type: `pg_type.typinput` and its kin, which drivers join
/// with `pg_proc` to learn what a type is (Ruby's pg by `boolin`, `array_in`, …). Numbers and names are PostgreSQL's; nobody
/// calls them here.
enum TypeFunctions {
  struct Entry: Sendable {
    var number: Int
    var name: String
    /// What it returns; of what it takes no more is said than that it is a text.
    var result: TypeID
  }

  /// The functions of a type: input, output, receive, send; 0 for none.
  struct Numbers: Sendable {
    var input = 0
    var output = 0
    var receive = 0
    var send = 0
  }

  /// Name of the type; number and name of the four functions.
  private static let table = """
    bool 1242 boolin 1243 boolout 2436 boolrecv 2437 boolsend
    bytea 1244 byteain 31 byteaout 2412 bytearecv 2413 byteasend
    char 1245 charin 33 charout 2434 charrecv 2435 charsend
    name 34 namein 35 nameout 2422 namerecv 2423 namesend
    int8 460 int8in 461 int8out 2408 int8recv 2409 int8send
    int2 38 int2in 39 int2out 2404 int2recv 2405 int2send
    int2vector 40 int2vectorin 41 int2vectorout 2410 int2vectorrecv 2411 int2vectorsend
    int4 42 int4in 43 int4out 2406 int4recv 2407 int4send
    regproc 44 regprocin 45 regprocout 2444 regprocrecv 2445 regprocsend
    text 46 textin 47 textout 2414 textrecv 2415 textsend
    oid 1798 oidin 1799 oidout 2418 oidrecv 2419 oidsend
    xid 50 xidin 51 xidout 2440 xidrecv 2441 xidsend
    oidvector 54 oidvectorin 55 oidvectorout 2420 oidvectorrecv 2421 oidvectorsend
    json 321 json_in 322 json_out 323 json_recv 324 json_send
    pg_node_tree 195 pg_node_tree_in 196 pg_node_tree_out 197 pg_node_tree_recv 198 pg_node_tree_send
    float4 200 float4in 201 float4out 2424 float4recv 2425 float4send
    float8 214 float8in 215 float8out 2426 float8recv 2427 float8send
    unknown 109 unknownin 110 unknownout 2416 unknownrecv 2417 unknownsend
    bpchar 1044 bpcharin 1045 bpcharout 2430 bpcharrecv 2431 bpcharsend
    varchar 1046 varcharin 1047 varcharout 2432 varcharrecv 2433 varcharsend
    date 1084 date_in 1085 date_out 2468 date_recv 2469 date_send
    time 1143 time_in 1144 time_out 2470 time_recv 2471 time_send
    timestamp 1312 timestamp_in 1313 timestamp_out 2474 timestamp_recv 2475 timestamp_send
    timestamptz 1150 timestamptz_in 1151 timestamptz_out 2476 timestamptz_recv 2477 timestamptz_send
    interval 1160 interval_in 1161 interval_out 2478 interval_recv 2479 interval_send
    numeric 1701 numeric_in 1702 numeric_out 2460 numeric_recv 2461 numeric_send
    regclass 2218 regclassin 2219 regclassout 2452 regclassrecv 2453 regclasssend
    regtype 2220 regtypein 2221 regtypeout 2454 regtyperecv 2455 regtypesend
    record 2290 record_in 2291 record_out 2402 record_recv 2403 record_send
    any 2294 any_in 2295 any_out 0 . 0 .
    anyarray 2296 anyarray_in 2297 anyarray_out 2502 anyarray_recv 2503 anyarray_send
    void 2298 void_in 2299 void_out 3120 void_recv 3121 void_send
    anyelement 2312 anyelement_in 2313 anyelement_out 0 . 0 .
    uuid 2952 uuid_in 2953 uuid_out 2961 uuid_recv 2962 uuid_send
    jsonb 3806 jsonb_in 3804 jsonb_out 3805 jsonb_recv 3803 jsonb_send
    regnamespace 4084 regnamespacein 4085 regnamespaceout 4087 regnamespacerecv 4088 regnamespacesend
    regrole 4098 regrolein 4092 regroleout 4094 regrolerecv 4095 regrolesend
    anycompatible 5086 anycompatible_in 5087 anycompatible_out 0 . 0 .
    anycompatiblearray 5088 anycompatiblearray_in 5089 anycompatiblearray_out 5090 anycompatiblearray_recv 5091 anycompatiblearray_send
    array 750 array_in 751 array_out 2400 array_recv 2401 array_send
    """

  private static let parsed: (entries: [Entry], numbers: [String: Numbers]) = {
    var entries: [Entry] = []
    var numbers: [String: Numbers] = [:]
    for line in table.split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      let type = TypeTable.all.first { $0.name == words[0] }?.id ?? .anyarray
      let found = stride(from: 1, to: 8, by: 2).map { Int(words[$0]) ?? 0 }
      numbers[words[0]] = Numbers(input: found[0], output: found[1], receive: found[2], send: found[3])
      for (place, number) in found.enumerated() where number > 0 {
        let result: TypeID = place % 2 == 0 ? type : place == 1 ? .text : .bytea
        entries.append(Entry(number: number, name: words[2 + 2 * place], result: result))
      }
    }
    return (entries, numbers)
  }()

  /// All of them, as rows of `pg_proc`.
  static var entries: [Entry] { parsed.entries }

  static func numbers(of type: TypeInfo) -> Numbers {
    parsed.numbers[type.category == .array && parsed.numbers[type.name] == nil ? "array" : type.name] ?? Numbers()
  }
}
