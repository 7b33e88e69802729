"""What serving costs besides time: stalls while tables are written, and memory."""
import threading
import time

import cases

# Inserts a second in the stall cases: far below what either server takes, so that a latency is its own and not a queue's.
RATE = 4000


def costs(options):
    found = []
    table = "Inserts at a steady rate while tables are flushed and merged, served"
    for position, (label, size, longer) in enumerate(
            (("100 bytes, next to nothing to flush", 100, 2), ("4000 bytes", 4000, 6))):
        found.append(cases.Case(
            "costs", table, label, position, cases.SQL,
            lambda world, system, size=size, longer=longer: stalls(world, system, size, longer),
            f"pgbench -M prepared -c 8 -R {RATE}; latency counts from when a transaction was due, so a stall is felt by all that "
            "it holds up; the first row is the baseline of the second"))
    note = (
        "proportional set size of all its processes: freshly started, the most meanwhile, and 2 s after; PostgreSQL does not "
        "count what the kernel caches for it, and has 128 MB of buffers; SynodDB's cache may grow to 256 MB")
    for position, (label, load) in enumerate((
            ("32 clients of TPC-B", transactions), ("pgbench -i, whose COPY is one transaction", initialisation))):
        found.append(cases.Case(
            "costs", "Memory of a server", label, position, cases.SQL,
            lambda world, system, load=load: memory(world, system, load), note))
    return found


def stalls(world, system, size, longer):
    rate = RATE if not world.options.small else 200
    figures = cases.insert_rows(
        world, world.server(system), 8, size=size, more=["-R", str(rate)], longer=1 if world.options.small else longer)
    if "bytes" in figures:
        figures["amplification"] = figures["bytes"] / (8 + size)
    return figures


def transactions(world, server):
    """Its tables are there before the memory is watched."""
    cases.prepared(server, "pgbench", cases.make_pgbench(world))
    return lambda: cases.pgbench(world, server, ["-b", "tpcb-like"], 4 if world.options.small else 32)


def initialisation(world, server):
    return lambda: cases.prepared(server, "pgbench", cases.make_pgbench(world))


def memory(world, system, load):
    server = getattr(world, "start_" + system)(system + "-memory")
    try:
        time.sleep(0.5)
        rest = server.memory_bytes()
        run = load(world, server)
        most, done = [], threading.Event()

        def watch():
            while not done.wait(0.1):
                most.append(server.memory_bytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            run()
        finally:
            done.set()
            watcher.join()
        time.sleep(0 if world.options.small else 2)
        after = server.memory_bytes()
        megabyte = 1 << 20
        return {"rest_mb": rest / megabyte, "load_mb": max([after, *most]) / megabyte, "after_mb": after / megabyte}
    finally:
        server.stop()
