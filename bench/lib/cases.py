"""What is measured on one node: cases, each with the systems that it runs in turn."""
import glob
import json
import os
import re
import resource
import shutil
import subprocess
import time

import machine

LEVELS = {"rc": "read committed", "rr": "repeatable read", "ser": "serializable"}
SEED = 20260117


def counted(count, unit):
    return f"{count} {unit}" + ("" if count == 1 else "s")


class Case:
    """One measurement: `run(world, system)` gives its figures. Cases of one table become rows of one table."""

    def __init__(self, group, table, label, x, systems, run, tool=""):
        self.group, self.table, self.label, self.x = group, table, label, x
        self.systems, self.run, self.tool = systems, run, tool
        self.name = f"{table}, {label}"


def measured(command):
    """Output of a program, and its processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = machine.output(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return text, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def flat(found):
    """The common shape of figures, from the JSON of our own programs."""
    latency = found.get("latency_us", {})
    figures = {key: latency[key] for key in ("p50", "p95", "p99", "p999", "max") if key in latency}
    for key in ("per_second", "commits_per_second", "reads_per_second", "transactions_per_second", "rows_per_second"):
        if key in found:
            figures["per_second"] = found[key]
    for key in ("cpu_us", "cpu_us_per_commit", "cpu_us_per_read"):
        if key in found:
            figures["cpu_us"] = found[key]
    for source, target in (("log_bytes_per_commit", "bytes"), ("retries_per_commit", "retries"), ("ratio_to_floor", "ratio_to_floor")):
        if source in found:
            figures[target] = found[source]
    return figures


# Embedded: the engine in the process.

def embedded(options):
    cases = []
    everyone = ["synod", "sqlite", "rocksdb", "lmdb"]
    for clients in [count for count in options.clients if count <= 32]:
        cases.append(Case(
            "embedded", "Durable commits, embedded", counted(clients, "thread"), clients, everyone,
            lambda world, system, clients=clients: commit(world, system, clients),
            "a key of 16 bytes, a value of 100; synod bench commit, db_bench fillrandom --sync, SQLite WAL with synchronous=FULL, LMDB"))
    cases.append(Case(
        "embedded", "Commits that need not be durable at once, embedded", "1 thread", 1, ["synod", "rocksdb"],
        lambda world, system: commit(world, system, 1, durable=False), "synod bench commit --no-sync; db_bench without --sync"))
    for clients in [count for count in options.clients if count <= 32][-1:]:
        cases.append(Case(
            "embedded", "Durable commits of 4000 bytes while tables are flushed and merged", counted(clients, "thread"), clients,
            ["synod", "rocksdb"], lambda world, system, clients=clients: commit(world, system, clients, size=4000, longer=6),
            "long enough for several flushes, where the disk is quick enough; look at p99 and p99.9 beside p50"))
    for clients in [count for count in options.clients if count in (1, 4, 8)]:
        cases.append(Case(
            "embedded", "Point reads by key, embedded", counted(clients, "thread"), clients, ["synod", "rocksdb", "lmdb"],
            lambda world, system, clients=clients: read(world, system, clients, False),
            "random keys that are there; memory holds them"))
        cases.append(Case(
            "embedded", "Prepared SELECT by primary key, embedded", counted(clients, "thread"), clients, ["synod", "sqlite"],
            lambda world, system, clients=clients: read(world, system, clients, True)))
    cases.append(Case(
        "embedded", "Ordered scan, embedded", "keys", 1, ["synod", "rocksdb", "lmdb"], lambda world, system: scan(world, system, False),
        "rows per second"))
    cases.append(Case(
        "embedded", "Ordered scan, embedded", "rows of a table", 2, ["synod", "sqlite"], lambda world, system: scan(world, system, True)))
    cases.append(Case(
        "embedded", "Bulk load of rows with a primary key, embedded", "one transaction", 1, ["synod", "sqlite"], load,
        "\\copy of a CSV file by the shell; SQLite's prepared INSERT from C"))
    return cases


def db_bench(world, directory, benchmarks, clients, *more):
    text, cpu = measured([
        "db_bench", f"--benchmarks={benchmarks}", f"--db={directory}", f"--threads={clients}", "--key_size=16", "--value_size=100",
        "--histogram=1", "--compression_type=lz4", "--bloom_bits=10", "--cache_size=268435456", f"--seed={SEED}", *more])
    figures = db_bench_figures(text, benchmarks.split(",")[-1])
    if "," not in benchmarks and figures["operations"]:
        figures["cpu_us"] = cpu * 1e6 / figures["operations"]
    return figures


def db_bench_figures(text, name):
    """What db_bench says of its benchmark `name`."""
    found = re.search(rf"^{name}\s*:\s*([\d.]+) micros/op (\d+) ops/sec ([\d.]+) seconds (\d+) operations", text, re.M)
    if not found:
        raise RuntimeError(f"db_bench said {text[-300:]}")
    figures = {"per_second": float(found.group(2)), "operations": int(found.group(4))}
    tail = text[found.end():]
    percentiles = re.search(r"Percentiles: P50: ([\d.]+) P75: [\d.]+ P99: ([\d.]+) P99.9: ([\d.]+)", tail)
    if percentiles:
        figures.update(p50=float(percentiles.group(1)), p99=float(percentiles.group(2)), p999=float(percentiles.group(3)))
    return figures


def commit(world, system, clients, durable=True, size=100, longer=1):
    directory = world.directory(f"commit-{system}")
    seconds = str(world.options.seconds * longer)
    before = machine.device_bytes(world.work)
    if system == "synod":
        command = [
            world.synod, "bench", "commit", "--path", f"{directory}/db", "--clients", str(clients), "--seconds", seconds, "--json",
            "--value-size", str(size)]
        found = json.loads(machine.output(command + ([] if durable else ["--no-sync"])))
        figures, done = flat(found), found["commits"]
    elif system == "rocksdb":
        figures = db_bench(
            world, directory, "fillrandom", clients, f"--sync={int(durable)}", "--num=1000000000", f"--value_size={size}",
            f"--duration={max(1, round(float(seconds)))}")
        done = figures["operations"]
    else:
        found = json.loads(machine.output([world.peer(system), "commit", f"{directory}/db", str(clients), seconds]))
        figures, done = flat(found), found["operations"]
    if before is not None and done:
        # All that reached the device, tables and what merging them wrote again included.
        figures["bytes"] = (machine.device_bytes(world.work) - before) / done
        figures["amplification"] = figures["bytes"] / (16 + size)
    shutil.rmtree(directory)
    return figures


def read(world, system, clients, sql):
    directory = os.path.join(world.work, f"read-{system}")
    os.makedirs(directory, exist_ok=True)
    rows, seconds = str(world.options.rows), str(world.options.seconds)
    if system == "synod":
        found = json.loads(machine.output(
            [world.synod, "bench", "read", "--path", f"{directory}/db", "--rows", rows, "--clients", str(clients), "--seconds",
             seconds, "--json"] + (["--sql"] if sql else [])))
        return flat(found["sql" if sql else "key_value"])
    if system == "rocksdb":
        existing = glob.glob(f"{directory}/CURRENT")
        prefix = [] if existing else ["fillseq"]
        more = ["--use_existing_db=1"] if existing else []
        return db_bench(
            world, directory, ",".join(prefix + ["readrandom"]), clients, f"--num={rows}",
            f"--duration={max(1, round(float(seconds)))}", *more)
    return flat(json.loads(machine.output([world.peer(system), "read", f"{directory}/db", rows, str(clients), seconds])))


def scan(world, system, sql):
    directory = world.directory(f"scan-{system}")
    rows = str(world.options.rows)
    if system == "synod":
        name = "sql_rows" if sql else "keys_forward"
        found = json.loads(machine.output(
            [world.synod, "bench", "scan", "--path", f"{directory}/db", "--rows", rows, "--only", name, "--runs", "1", "--json"]))
        figures = flat(found[name])
    elif system == "rocksdb":
        figures = db_bench(world, directory, "fillseq,readseq", 1, f"--num={rows}")
    else:
        figures = flat(json.loads(machine.output([world.peer(system), "scan", f"{directory}/db", rows])))
    shutil.rmtree(directory)
    return {"per_second": figures["per_second"]}


def rows_file(world):
    """Rows of an id and a text, as CSV."""
    path = os.path.join(world.work, "rows.csv")
    if not os.path.exists(path):
        with open(path, "w") as file:
            for row in range(world.options.rows):
                file.write(f"{row},{'v' * 100}\n")
    return path


def load(world, system):
    directory = world.directory(f"load-{system}")
    rows = world.options.rows
    if system == "sqlite":
        figures = {"per_second": json.loads(machine.output([world.peer("sqlite"), "load", f"{directory}/db", str(rows)]))["per_second"]}
    else:
        path = rows_file(world)
        database = f"{directory}/db"
        machine.output([world.synod, database, "CREATE TABLE r (id bigint PRIMARY KEY, value text)"])
        start = time.monotonic()
        machine.output([world.synod, "-bail", database, f"\\copy r from '{path}' csv"])
        figures = {"per_second": rows / (time.monotonic() - start)}
    shutil.rmtree(directory)
    return figures


# Growth: what size does to loading, reading, writing and opening.

def growth(options):
    cases = []
    for table, run, tool in (
            ("Loading as the data grows", loaded,
             "keys in order, values of 100 bytes that compress to a half, one thread, many to a transaction or batch, not durable at once: "
             "synod bench grow, db_bench fillseq; disk is what the directory holds afterwards, memory the most that the process had"),
            ("Reads as the data grows", grown,
             "random point reads by 4 threads, 256 MiB for cached blocks, the rest in the system's page cache; open is the time of "
             "a process that opens the database and reads one key"),
            ("Writes as the data grows", overwritten,
             "random overwrites, one thread, not durable at once, with what flushes and merges meanwhile; open is the time "
             "afterwards, what the log holds included"),
            ("Reads after the writes", grown, "the reads again, in what the writes have left")):
        for rows in options.sizes:
            cases.append(Case(
                "growth", table, f"{rows:,} rows".replace(",", " "), rows, ["synod", "rocksdb"],
                lambda world, system, rows=rows, run=run: run(world, system, rows), tool))
    # One size after the other, so that what was measured can go.
    cases.sort(key=lambda case: case.x)
    return cases


def finished(command):
    """A program's output, and its processor seconds, the most memory it had, and how long it took."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{os.path.basename(command[0])} ended with {process.returncode}: {text[-600:]}")
    return text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, time.monotonic() - start


def growing(world, system, rows, phase, seconds=None):
    """One phase over the database of this size: load, read or write."""
    directory = os.path.join(world.work, f"growth-{system}-{rows}")
    os.makedirs(directory, exist_ok=True)
    clients = 4 if phase == "read" else 1
    if system == "synod":
        command = [
            world.synod, "bench", "grow", "--path", f"{directory}/db", "--rows", str(rows), "--clients", str(clients), "--only", phase,
            "--json"]
        if seconds:
            command += ["--seconds", str(seconds)]
        text, cpu, memory, took = finished(command)
        found = json.loads(text)
        figures = flat(found.get(phase, {}))
        done = found[phase]["operations"] if phase in found else found["loaded"]
        if phase == "load":
            figures["per_second"] = found["load_per_second"]
    else:
        name = {"load": "fillseq", "read": "readrandom", "write": "overwrite"}[phase]
        command = [
            "db_bench", f"--benchmarks={name}", f"--db={directory}", f"--threads={clients}", f"--num={rows}", "--key_size=16",
            "--value_size=100", "--histogram=1", "--compression_type=lz4", "--bloom_bits=10", "--cache_size=268435456",
            f"--seed={SEED}"]
        if phase == "load":
            command += ["--batch_size=1000"]
        else:
            command += ["--use_existing_db=1", f"--duration={max(1, round(seconds))}"]
        text, cpu, memory, took = finished(command)
        figures = db_bench_figures(text, name)
        done = figures["operations"]
        if phase == "load":
            # Those of a batch.
            figures = {"per_second": figures["per_second"]}
    if phase != "read" or system != "synod":
        figures["cpu_us"] = cpu * 1e6 / max(1, done)
    figures["memory_mb"] = memory
    return figures, done


def opening(world, system, rows):
    """Milliseconds of a process that opens the database and reads one key."""
    directory = os.path.join(world.work, f"growth-{system}-{rows}")
    if system == "synod":
        command = [
            world.synod, "bench", "grow", "--path", f"{directory}/db", "--rows", str(rows), "--clients", "1", "--only", "read",
            "--seconds", "0.001"]
    else:
        command = [
            "db_bench", "--benchmarks=readrandom", f"--db={directory}", "--reads=1", f"--num={rows}", "--use_existing_db=1",
            "--compression_type=lz4", "--bloom_bits=10", "--cache_size=268435456"]
    return sorted(finished(command)[3] for _ in range(3))[1] * 1000


def size_of(directory):
    """What the files of a directory take on the disk."""
    return sum(
        os.lstat(os.path.join(folder, name)).st_blocks * 512 for folder, _, names in os.walk(directory) for name in names)


LOADED = {}


def loaded(world, system, rows):
    """A new database of this size, which the other cases of growth use. A large one is loaded once."""
    directory = os.path.join(world.work, f"growth-{system}-{rows}")
    if rows >= 10_000_000 and (system, rows) in LOADED:
        return LOADED[system, rows]
    for other in glob.glob(os.path.join(world.work, f"growth-{system}-*")):
        shutil.rmtree(other)
    before = machine.device_bytes(world.work)
    figures, done = growing(world, system, rows, "load")
    figures["disk_mb"] = size_of(directory) / 1e6
    if before is not None:
        figures["bytes"] = (machine.device_bytes(world.work) - before) / done
        figures["amplification"] = figures["bytes"] / 116
    LOADED[system, rows] = figures
    return figures


def present(world, system, rows):
    if not os.path.exists(os.path.join(world.work, f"growth-{system}-{rows}")):
        loaded(world, system, rows)


def grown(world, system, rows):
    present(world, system, rows)
    # Once for the caches.
    growing(world, system, rows, "read", world.options.seconds / 2)
    figures, _ = growing(world, system, rows, "read", world.options.seconds)
    figures["open_ms"] = opening(world, system, rows)
    return figures


def overwritten(world, system, rows):
    present(world, system, rows)
    before = machine.device_bytes(world.work)
    figures, done = growing(world, system, rows, "write", world.options.seconds * (1 if world.options.small else 2))
    figures["open_ms"] = opening(world, system, rows)
    figures["disk_mb"] = size_of(os.path.join(world.work, f"growth-{system}-{rows}")) / 1e6
    if before is not None and done:
        figures["bytes"] = (machine.device_bytes(world.work) - before) / done
        figures["amplification"] = figures["bytes"] / 116
    return figures


# Isolation: workloads that conflict in known ways, the same client against both.

WORKLOADS = {
    "disjoint": "look for a key, insert it; all keys different",
    "write-skew": "read both of a pair, write one",
    "sibench": "the smallest of 100 values, and increments",
    "smallbank": "SmallBank with write check, 1000 customers",
    "long": "one client reads 10 000 rows at a time, the others change one",
}


def isolation(options):
    cases = []
    for workload in WORKLOADS:
        for position, level in enumerate(LEVELS):
            cases.append(Case(
                "isolation", f"Workload {workload}: {WORKLOADS[workload]}", LEVELS[level], position, SQL,
                lambda world, system, workload=workload, level=level: anomalies(world, system, workload, level),
                f"synod bench ssi --workloads {workload} --clients 8, over the network"))
    return cases


def anomalies(world, system, workload, level):
    server = world.server(system)
    url = f"postgres://{server.environment['PGUSER']}@127.0.0.1:{server.port}/{server.environment['PGDATABASE']}"
    found = json.loads(machine.output(
        [world.synod, "bench", "ssi", "--url", url, "--workloads", workload, "--isolation", level, "--clients", "8", "--seconds",
         str(world.options.seconds), "--scale", str(world.options.scale), "--json"]))
    return flat(found["workloads"][workload]["levels"][level])


# Served: through PostgreSQL's protocol, by PostgreSQL's own programs.

SQL = ["synod", "postgresql"]


def served(options):
    cases = []
    for clients in options.clients:
        cases.append(Case(
            "served", "SELECT by primary key, served", counted(clients, "client"), clients, SQL,
            lambda world, system, clients=clients: pgbench(world, system, ["-S"], clients),
            "pgbench -S -M prepared"))
    for clients in options.clients:
        cases.append(Case(
            "put", "Durable put of one row or key, served", counted(clients, "client"), clients, SQL + ["redis", "etcd"],
            lambda world, system, clients=clients: put(world, system, clients),
            "an INSERT by pgbench -M prepared; SET with appendfsync=always by redis-benchmark; /v3/kv/put of etcd's JSON gateway"))
    for level in LEVELS:
        for clients in options.clients:
            cases.append(Case(
                "served", f"TPC-B, {LEVELS[level]}, served", counted(clients, "client"), clients, SQL,
                lambda world, system, clients=clients, level=level: pgbench(world, system, ["-b", "tpcb-like"], clients, level),
                f"pgbench -b tpcb-like -M prepared -s {options.scale} --max-tries=0"))
    cases.append(Case(
        "served", "COPY of rows with a primary key, served", "one transaction", 1, SQL, copy, "psql \\copy of a CSV file"))
    for position, name in enumerate(QUERIES):
        cases.append(Case(
            "served", "Queries over many rows, served", name, position, SQL,
            lambda world, system, name=name: query(world, system, name), "one client; parallel plans are off"))
    return cases


def environment(server, level="rc"):
    return dict(
        os.environ, PGHOST="127.0.0.1", PGPORT=str(server.port), PGSSLMODE="disable",
        PGOPTIONS=f"-c default_transaction_isolation={LEVELS[level].replace(' ', chr(92) + ' ')}", **server.environment)


def psql(server, *statements):
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    for statement in statements:
        command += ["-c", statement]
    return machine.output(command, env=environment(server))


def prepared(server, what, make):
    """Makes a server's tables for one purpose when they are first needed."""
    done = getattr(server, "prepared", set())
    if what not in done:
        make(server)
        server.prepared = done | {what}


def make_pgbench(world):
    def make(server):
        machine.output(
            ["pgbench", "-i", "-q", "-s", str(world.options.scale)], env=environment(server))
    return make


def pgbench(
        world, server, script, clients, level="rc", what="pgbench", make=None, transactions=None, mode="prepared", longer=1):
    """Runs pgbench against a server (or the one of a system), and returns figures with percentiles from its log."""
    server = world.server(server) if isinstance(server, str) else server
    prepared(server, what, make or make_pgbench(world))
    prefix = os.path.join(world.work, "pgbench_log")
    for old in glob.glob(prefix + ".*"):
        os.remove(old)
    if world.options.small and not transactions:
        length = ["-t", "20"]
    else:
        length = ["-t", str(transactions)] if transactions else ["-T", str(max(1, round(world.options.seconds * longer)))]
    cpu, written = server.processor_seconds(), machine.device_bytes(world.work)
    text = machine.output(
        ["pgbench", "-n", "-M", mode, "-c", str(clients), "-j", str(min(clients, 4)), *length, "-l", "--log-prefix", prefix,
         "--random-seed", str(SEED), "--max-tries", "1" if transactions else "10000" if world.options.small else "0", *script], env=environment(server, level))
    cpu, after = server.processor_seconds() - cpu, machine.device_bytes(world.work)

    def number(pattern):
        found = re.search(pattern, text)
        return float(found.group(1)) if found else None

    done = number(r"actually processed: (\d+)") or 0
    failed = number(r"failed transactions: (\d+)") or 0
    if failed or not done:
        raise RuntimeError(f"pgbench: {failed:.0f} of {done + failed:.0f} transactions failed")
    figures = {
        "per_second": number(r"tps = ([\d.]+)"), "operations": done, "cpu_us": cpu * 1e6 / done,
        "retries": (number(r"total number of retries: (\d+)") or 0) / done}
    if written is not None and "-S" not in script and what != "query":
        figures["bytes"] = (after - written) / done
    figures.update(percentiles(prefix))
    return figures


def percentiles(prefix):
    """From pgbench's log: the third field is a transaction's microseconds, retries included."""
    latencies = []
    for path in glob.glob(prefix + ".*"):
        with open(path) as file:
            for line in file:
                field = line.split(" ", 3)[2]
                if field.isdigit():
                    latencies.append(int(field))
        os.remove(path)
    latencies.sort()
    if not latencies:
        return {}
    last = len(latencies) - 1
    return {name: latencies[int(last * part)] for name, part in
            (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999), ("max", 1))}


def insert_rows(world, server, clients, size=100, more=(), longer=1):
    """Rows under random keys, one to a transaction."""
    script = os.path.join(world.work, "insert.sql")
    with open(script, "w") as file:
        file.write(f"\\set id random(1, 9223372036854775806)\nINSERT INTO put VALUES (:id, '{'v' * size}');\n")
    # The same keys for all, but others in each run, or they would be there already.
    server.puts = getattr(server, "puts", 0) + 1
    return pgbench(
        world, server, ["-f", script, "--random-seed", str(SEED + server.puts), *more], clients, what="put", longer=longer,
        make=lambda server: psql(server, "DROP TABLE IF EXISTS put", "CREATE TABLE put (id bigint PRIMARY KEY, value text)"))


def put(world, system, clients):
    server = world.server(system)
    if system in SQL:
        return insert_rows(world, server, clients)
    cpu, written = server.processor_seconds(), machine.device_bytes(world.work)
    if system == "etcd":
        found = json.loads(machine.output([world.peer("etcd_put"), str(server.port), str(clients), str(world.options.seconds)]))
        figures, done = flat(found), found["operations"]
    else:
        def benchmark(count):
            text = machine.output(
                ["redis-benchmark", "-p", str(server.port), "-c", str(clients), "-n", str(count), "-t", "set", "-d", "100", "-r",
                 "1000000000", "--csv"])
            names, values = [re.findall(r'"([^"]*)"', line) for line in text.strip().splitlines()[-2:]]
            return dict(zip(names, values))
        probe = float(benchmark(max(200, 20 * clients))["rps"])
        cpu, written = server.processor_seconds(), machine.device_bytes(world.work)
        done = max(200, int(probe * world.options.seconds))
        found = benchmark(done)
        figures = {"per_second": float(found["rps"])}
        for source, target in (("p50", "p50"), ("p95", "p95"), ("p99", "p99"), ("max", "max")):
            figures[target] = float(found[f"{source}_latency_ms"]) * 1000
    figures["cpu_us"] = (server.processor_seconds() - cpu) * 1e6 / done
    if written is not None:
        figures["bytes"] = (machine.device_bytes(world.work) - written) / done
    return figures


def copy(world, system):
    path = rows_file(world)
    server = world.server(system)
    psql(server, "DROP TABLE IF EXISTS copied", "CREATE TABLE copied (id bigint PRIMARY KEY, value text)")
    cpu, written, start = server.processor_seconds(), machine.device_bytes(world.work), time.monotonic()
    psql(server, f"\\copy copied from '{path}' csv")
    rows, took = world.options.rows, time.monotonic() - start
    figures = {"per_second": rows / took, "ms": took * 1000, "cpu_us": (server.processor_seconds() - cpu) * 1e6 / rows}
    if written is not None:
        figures["bytes"] = (machine.device_bytes(world.work) - written) / rows
    psql(server, "DROP TABLE copied")
    return figures


QUERIES = {
    "count of a scan": "SELECT count(*) FROM fact",
    "filtered sum": "SELECT sum(amount) FROM fact WHERE kind < 50 AND amount > 100",
    "group by": "SELECT kind, count(*), sum(amount), max(price) FROM fact GROUP BY kind ORDER BY kind",
    "join": "SELECT d.region, sum(f.amount) FROM fact f JOIN dimension d ON d.id = f.dimension GROUP BY d.region ORDER BY 1",
    "order, limit": "SELECT id, price FROM fact ORDER BY price DESC, id LIMIT 10",
}


def query(world, system, name):
    rows = world.options.rows
    dimensions = max(1, rows // 10)

    def make(server):
        # The tables of a run that failed half way are not in the way.
        psql(
            server,
            "DROP TABLE IF EXISTS fact", "DROP TABLE IF EXISTS dimension",
            "CREATE TABLE dimension (id int PRIMARY KEY, region int, label text)",
            "CREATE TABLE fact (id int PRIMARY KEY, kind int, dimension int, amount bigint, price float8, note text)",
            f"INSERT INTO dimension SELECT g, g % 37, 'label ' || g FROM generate_series(0, {dimensions - 1}) g",
            "INSERT INTO fact SELECT g, g::bigint * 7919 % 100, g::bigint * 104729 % " + str(dimensions)
            + f", g::bigint * 31 % 1000, (g::bigint * 48271 % 2147483647)::float8 / 1000, 'note ' || g FROM generate_series(0, {rows - 1}) g")
        psql(server, "VACUUM ANALYZE" if server.name == "postgresql" else "ANALYZE")

    script = os.path.join(world.work, "query.sql")
    with open(script, "w") as file:
        file.write(QUERIES[name] + ";\n")
    # On a machine that is busy with much else pgbench has been seen to log no time at all: that is no measurement.
    for _ in range(5):
        figures = pgbench(world, system, ["-f", script], 1, what="query", make=make, transactions=3)
        if figures.get("p50"):
            break
    else:
        raise RuntimeError(f"pgbench logged no time for the query: {name}, {system}")
    return {"ms": figures["p50"] / 1000, "per_second": rows / (figures["p50"] / 1e6), "cpu_us": figures["cpu_us"]}
