"""The project's targets, and what a run says of each: so that none is quoted without the figure beside it.

A target is a ratio within one run, of SynodDB's figure to a peer's or to the floor.
"""

EMBEDDED = "Durable commits, embedded"
PUT = "Durable put of one row or key, served"
REPLICATED = "Replicated durable put, three nodes"
SELECT = "SELECT by primary key, served"
QUERIES = "Queries over many rows, served"
STALLS = "Inserts at a steady rate while tables are flushed and merged, served"

AT_MOST, AT_LEAST = "≤", "≥"


def floor(floors, name, key="p50"):
    """A floor's latency, at the median unless told; where it was measured at both ends of the run, the mean of both, for disks drift."""
    found = [part[name]["latency_us"][key] for part in (floors, floors.get("after", {})) if name in part]
    return sum(found) / len(found) if found else None


class Run:
    def __init__(self, floors, results):
        self.floors = floors
        self.rows = {(result["table"], result["label"]): result["summary"] for result in results}

    def figure(self, table, label, system, key):
        value = self.rows.get((table, label), {}).get(system, {}).get(key)
        return value[0] if value else None

    def floor(self, name, key="p50"):
        return floor(self.floors, name, key)


def to_peer(table, label, key, peer):
    """Our figure to a peer's."""
    return lambda run: divide(run.figure(table, label, "synod", key), run.figure(table, label, peer, key))


def speed(label):
    """How much quicker than PostgreSQL a query is."""
    return lambda run: divide(run.figure(QUERIES, label, "postgresql", "ms"), run.figure(QUERIES, label, "synod", "ms"))


def to_floor(table, label, system="synod"):
    return lambda run: divide(run.figure(table, label, system, "p50"), run.floor("overwrite_fdatasync"))


def to_path(run):
    """A replicated commit to the disk's floor and two round trips."""
    disk, trip = run.floor("overwrite_fdatasync"), run.floor("loopback")
    return divide(run.figure(REPLICATED, "1 client", "synod", "p50"), disk + 2 * trip if disk and trip else None)


def to_quorum(run):
    """The same, where the three nodes' writes meet on one disk."""
    disk, trip = run.floor("quorum"), run.floor("loopback")
    return divide(run.figure(REPLICATED, "1 client", "synod", "p50"), disk + 2 * trip if disk and trip else None)


def stall(key):
    """A steady load's slow commits while tables are written, to its usual commit."""
    usual = "100 bytes, next to nothing to flush"
    return lambda run: divide(run.figure(STALLS, "4000 bytes", "synod", key), run.figure(STALLS, usual, "synod", key))


def stall_to_floor(key):
    """The same, to what the disk alone needs longer when it is given such writes beside a log's."""
    def compute(run):
        longer = divide(run.floor("steady_beside_tables", key), run.floor("steady_alone", key))
        return divide(stall(key)(run), max(1, longer) if longer else None)
    return compute


def retries(run):
    """Retries at serializable to those at repeatable read, 8 clients of TPC-B: both may be none."""
    mine = run.figure("TPC-B, serializable, served", "8 clients", "synod", "retries")
    base = run.figure("TPC-B, repeatable read, served", "8 clients", "synod", "retries")
    if mine is None or base is None:
        return None
    return 1.0 if mine <= base else divide(mine, base) or float("inf")


def plain(table, label, key):
    return lambda run: run.figure(table, label, "synod", key)


def divide(mine, theirs):
    return mine / theirs if mine is not None and theirs else None


TARGETS = [
    ("embedded commit, 1 thread: p50 ÷ disk floor", AT_MOST, 1.15, to_floor(EMBEDDED, "1 thread")),
    ("embedded commits, 32 threads: RocksDB ×", AT_LEAST, 1, to_peer(EMBEDDED, "32 threads", "per_second", "rocksdb")),
    ("served commit, 1 client: p50 ÷ disk floor", AT_MOST, 1.7, to_floor(PUT, "1 client")),
    ("served insert, 1 client: p50 ÷ PostgreSQL's", AT_MOST, 0.85, to_peer(PUT, "1 client", "p50", "postgresql")),
    ("served inserts, 32 clients: PostgreSQL ×", AT_LEAST, 1.5, to_peer(PUT, "32 clients", "per_second", "postgresql")),
    ("served inserts, 128 clients: PostgreSQL ×", AT_LEAST, 2.5, to_peer(PUT, "128 clients", "per_second", "postgresql")),
    ("replicated commit, 1 client: p50 ÷ PostgreSQL's", AT_MOST, 0.6, to_peer(REPLICATED, "1 client", "p50", "postgresql")),
    ("replicated commit, 1 client: p50 ÷ etcd's", AT_MOST, 0.4, to_peer(REPLICATED, "1 client", "p50", "etcd")),
    ("replicated commit, 1 client: p50 ÷ (disk floor + two round trips)", AT_MOST, None, to_path),
    ("the same ÷ (two of three nodes' writes on one disk + two round trips)", AT_MOST, None, to_quorum),
    ("replicated commits, 32 clients: PostgreSQL ×", AT_LEAST, 1.5, to_peer(REPLICATED, "32 clients", "per_second", "postgresql")),
    ("replicated commits, 128 clients: PostgreSQL ×", AT_LEAST, 1.5, to_peer(REPLICATED, "128 clients", "per_second", "postgresql")),
    ("replicated commits, 32 clients: etcd ×", AT_LEAST, 4, to_peer(REPLICATED, "32 clients", "per_second", "etcd")),
    ("replicated commits, 128 clients: etcd ×", AT_LEAST, 4, to_peer(REPLICATED, "128 clients", "per_second", "etcd")),
    ("LZ4 on the wire, 32 clients: raw ÷ sent", AT_LEAST, 2, plain(REPLICATED, "32 clients", "compression")),
] + [
    (f"TPC-B, {level}, {clients} clients: PostgreSQL ×", AT_LEAST, wanted,
     to_peer(f"TPC-B, {level}, served", f"{clients} clients", "per_second", "postgresql"))
    for level, wanted in (("read committed", 1.5), ("serializable", 4)) for clients in (8, 32)
] + [
    ("TPC-B, 8 clients: retries at serializable ÷ at repeatable read", AT_MOST, 1.2, retries),
    ("select by key, served, 8 clients: PostgreSQL ×", AT_LEAST, 1.2, to_peer(SELECT, "8 clients", "per_second", "postgresql")),
    ("select by key, served, 32 clients: PostgreSQL ×", AT_LEAST, 1.2, to_peer(SELECT, "32 clients", "per_second", "postgresql")),
    ("select by key, served, 8 clients: processor time ÷ PostgreSQL's", AT_MOST, 0.7, to_peer(SELECT, "8 clients", "cpu_us", "postgresql")),
    ("point read, embedded, 1 thread: RocksDB ×", AT_LEAST, 1.5,
     to_peer("Point reads by key, embedded", "1 thread", "per_second", "rocksdb")),
] + [
    (f"point reads of {rows} rows, 4 threads: RocksDB ×", AT_LEAST, 1.5,
     to_peer("Reads as the data grows", f"{rows} rows", "per_second", "rocksdb"))
    for rows in ("1 000 000", "10 000 000", "100 000 000")
] + [
    ("prepared SELECT, embedded, 1 thread: SQLite ×", AT_LEAST, 1,
     to_peer("Prepared SELECT by primary key, embedded", "1 thread", "per_second", "sqlite")),
    ("ordered scan, embedded: RocksDB ×", AT_LEAST, 2, to_peer("Ordered scan, embedded", "keys", "per_second", "rocksdb")),
    ("unsynced writes, 1 thread: RocksDB ×", AT_LEAST, 1,
     to_peer("Commits that need not be durable at once, embedded", "1 thread", "per_second", "rocksdb")),
    ("COPY of rows with a primary key: PostgreSQL ×", AT_LEAST, 1,
     to_peer("COPY of rows with a primary key, served", "one transaction", "per_second", "postgresql")),
] + [
    (f"1 M rows, {label}: PostgreSQL's speed ×", AT_LEAST, 0.7, speed(label))
    for label in ("count of a scan", "filtered sum", "group by", "join", "order, limit")
] + [
    ("commits while tables are written: p99 ÷ usual p99", AT_MOST, 3, stall("p99")),
    ("commits while tables are written: p99.9 ÷ usual p99.9", AT_MOST, 3, stall("p999")),
    ("commits while tables are written: p99 ÷ usual p99, to the disk's own", AT_MOST, 3, stall_to_floor("p99")),
    ("commits while tables are written: p99.9 ÷ usual p99.9, to the disk's own", AT_MOST, 3, stall_to_floor("p999")),
    ("commits while tables are written: longest, ms", AT_MOST, 100,
     lambda run: divide(run.figure(STALLS, "4000 bytes", "synod", "max"), 1000)),
    ("failover, kill -9 to the next commit: median ms", AT_MOST, 1000, plain("Failover: kill -9 of the leader until the next commit", "10 kills", "ms")),
]


def section(floors, results, number):
    """The report's table of targets."""
    run = Run(floors, results)
    text = ["", "## Targets", "", "Ratios within this run.", "", "| what | target | measured | |", "|---|---:|---:|---|"]
    left_out = 0
    for name, kind, wanted, compute in TARGETS:
        value = compute(run)
        if value is None:
            left_out += 1
            continue
        met = wanted is None or (value <= wanted if kind == AT_MOST else value >= wanted)
        text.append(
            f"| {name} | {'' if wanted is None else f'{kind} {wanted}'} | {number(value) if value >= 100 else f'{value:.2f}'} "
            f"| {'' if met else 'missed'} |")
    if left_out:
        text += ["", f"{left_out} more were not measured in this run."]
    return text if left_out < len(TARGETS) else []
