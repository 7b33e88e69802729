"""Three nodes each: what replication costs, and how long a leader's death is felt."""
import json
import os
import statistics

import cases
import clusters
import machine

CLUSTERS = {"synod": clusters.SynodCluster, "postgresql": clusters.PostgresCluster, "etcd": clusters.EtcdCluster}


def replicated(options):
    found = []
    for clients in options.clients:
        found.append(cases.Case(
            "replicated", "Replicated durable put, three nodes", cases.counted(clients, "client"), clients, list(CLUSTERS),
            lambda world, system, clients=clients: put(world, system, clients),
            "two of three nodes have it on disk before it is acknowledged; an INSERT by pgbench -M prepared at the leader "
            "(PostgreSQL: synchronous_standby_names = 'ANY 1 (s1, s2)'); /v3/kv/put of etcd's JSON gateway at the leader. "
            "CPU is that of all three nodes; bytes sent are what the leader's sockets to its peers counted"))
    rounds = 2 if options.small else 10
    found.append(cases.Case(
        "replicated", "Failover: kill -9 of the leader until the next commit", f"{rounds} kills", rounds, ["synod", "etcd"],
        lambda world, system: failover(world, system, rounds),
        "default settings; two clients ask the surviving nodes again and again until one acknowledges a new commit"))
    return found


def cluster(world, system):
    """The running cluster of a system, started when it is first asked for."""
    key = f"three nodes of {system}"
    if key not in world.servers:
        machine.say(f"starting {key}")
        world.servers[key] = CLUSTERS[system](world)
    return world.servers[key]


def put(world, system, clients):
    three = cluster(world, system)
    three.find_leader()
    before, sizes = three.sent_bytes(), wire_sizes(three)
    if system == "etcd":
        cpu, written = three.processor_seconds(), machine.device_bytes(world.work)
        found = json.loads(machine.output([world.peer("etcd_put"), str(three.port), str(clients), str(world.options.seconds)]))
        figures = cases.flat(found)
        done = figures["operations"] = found["operations"]
        figures["cpu_us"] = (three.processor_seconds() - cpu) * 1e6 / done
        if written is not None:
            figures["bytes"] = (machine.device_bytes(world.work) - written) / done
    else:
        figures = cases.insert_rows(world, three, clients)
        done = figures["operations"]
    after = three.sent_bytes()
    if before is not None and after is not None and after > before:
        figures["wire_bytes"] = (after - before) / done
    now = wire_sizes(three)
    if sizes and now and now[1] > sizes[1]:
        figures["compression"] = (now[0] - sizes[0]) / (now[1] - sizes[1])
    return figures


def wire_sizes(three):
    """Bytes of records before and after compression at synod's leader; None where its metrics do not say."""
    if three.name != "synod":
        return None
    leader = next(node for node in three.nodes if node["port"] == three.port)
    found = three.metrics(leader)
    raw, stored = (sum(value for name, value in found.items()
                       if name.startswith("synod_record_bytes_total") and f'form="{form}"' in name)
                   for form in ("raw", "compressed"))
    return (raw, stored) if stored else None


def failover(world, system, rounds):
    three = cluster(world, system)
    three.find_leader()
    if system == "synod":
        cases.psql(three, "CREATE TABLE IF NOT EXISTS failover (id bigint PRIMARY KEY)", "TRUNCATE failover")
    three.failovers = getattr(three, "failovers", 0)
    times = []
    for _ in range(rounds):
        three.failovers += 1
        times.append(clusters.time_to_next_commit(three, three.failovers) * 1000)
    times.sort()
    return {"ms": statistics.median(times), "ms_low": times[0], "ms_high": times[-1]}
