"""Three nodes of each system on loopback: started, asked for their leader, killed and started again."""
import base64
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import machine


class Cluster(machine.Server):
    """Nodes that replicate to each other. Clients go to the leader; cost is that of all nodes."""

    def __init__(self, name, world, environment=None):
        super().__init__(name, None, None, environment)
        self.world = world
        # Of each node: its process, the port for clients, and more ports of its own.
        self.nodes = []

    def processor_seconds(self):
        return sum(machine.processor_seconds(node["process"].pid) for node in self.nodes if self.is_running(node))

    def memory_bytes(self):
        return sum(machine.memory_bytes(node["process"].pid) for node in self.nodes if self.is_running(node))

    @staticmethod
    def is_running(node):
        return node["process"] is not None and node["process"].poll() is None

    def stop(self):
        for node in self.nodes:
            if self.is_running(node):
                node["process"].send_signal(self.stop_signal)
        for node in self.nodes:
            if node["process"] is not None:
                try:
                    node["process"].wait(10)
                except subprocess.TimeoutExpired:
                    node["process"].kill()
                    node["process"].wait()

    def find_leader(self, seconds=30):
        """The node that leads, once there is one; `port` is where it takes clients from then on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for node in self.nodes:
                if self.is_running(node) and self.leads(node):
                    self.port = node["port"]
                    return node
            time.sleep(0.02)
        raise RuntimeError(f"{self.name}: no leader within {seconds} s: {self.world.log_tail(self.nodes[0]['name'])}")

    def sent_bytes(self):
        """Bytes that the leader's process has sent to the other nodes over the connections that are open, or None."""
        leader = next(node for node in self.nodes if node["port"] == self.port)
        peers = {str(port) for node in self.nodes for port in node["peer_ports"]}
        pids = set(machine.descendants(leader["process"].pid))
        try:
            text = subprocess.run(["ss", "-tinpH", "state", "established"], capture_output=True, text=True).stdout
        except OSError:
            return None
        total = 0
        # Two lines to each connection: its ends and owner, then its counters.
        for line in re.sub(r"\n[ \t]+", " ", text).splitlines():
            owners = {int(pid) for pid in re.findall(r"pid=(\d+)", line)}
            ends = re.findall(r":(\d+)\s", line)[:2]
            sent = re.search(r"bytes_sent:(\d+)", line)
            if sent and owners & pids and set(ends) & peers:
                total += int(sent.group(1))
        return total or None


class SynodCluster(Cluster):
    def __init__(self, world):
        super().__init__("synod", world, {"PGUSER": "synod", "PGDATABASE": "synod"})
        directory = world.directory("synod-cluster")
        peers = [machine.free_port() for _ in range(3)]
        for index in range(3):
            self.nodes.append({
                "name": f"synod-node{index + 1}", "port": machine.free_port(), "http": machine.free_port(),
                "peer_ports": [peers[index]], "directory": os.path.join(directory, f"node{index + 1}"), "process": None})
        self.join = ",".join(f"127.0.0.1:{port}" for port in peers)
        for node in self.nodes:
            self.start(node)
        self.find_leader()

    def start(self, node):
        node["process"] = self.world.spawn(
            [self.world.synod, "serve", "--data", node["directory"], "--listen", f"127.0.0.1:{node['port']}", "--http",
             f"127.0.0.1:{node['http']}", "--peer-listen", f"127.0.0.1:{node['peer_ports'][0]}", "--join", self.join,
             "--bootstrap-expect", "3"], node["name"])

    @staticmethod
    def answers(node, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", node["http"], timeout=1)
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def leads(self, node):
        return self.answers(node, "/primary")

    def is_ready(self, node):
        return self.leads(node) or self.answers(node, "/replica?lag=1s")

    def metrics(self, node):
        """The node's metrics: name with labels to value."""
        connection = http.client.HTTPConnection("127.0.0.1", node["http"], timeout=5)
        connection.request("GET", "/metrics")
        found = {}
        for line in connection.getresponse().read().decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found

    def attempt(self, node, number):
        insert(node["port"], "synod", "synod", f"INSERT INTO failover VALUES ({number})")


class EtcdCluster(Cluster):
    def __init__(self, world):
        super().__init__("etcd", world)
        directory = world.directory("etcd-cluster")
        for index in range(3):
            self.nodes.append({
                "name": f"etcd-node{index + 1}", "port": machine.free_port(), "peer_ports": [machine.free_port()],
                "directory": os.path.join(directory, f"node{index + 1}"), "process": None})
        self.members = ",".join(f"{node['name']}=http://127.0.0.1:{node['peer_ports'][0]}" for node in self.nodes)
        for node in self.nodes:
            self.start(node, "new")
        self.find_leader()

    def start(self, node, state="existing"):
        url, peer = f"http://127.0.0.1:{node['port']}", f"http://127.0.0.1:{node['peer_ports'][0]}"
        node["process"] = self.world.spawn(
            ["etcd", "--name", node["name"], "--data-dir", node["directory"], "--listen-client-urls", url,
             "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", self.members, "--initial-cluster-state", state, "--log-level", "error",
             "--quota-backend-bytes", str(8 << 30)], node["name"])

    @staticmethod
    def post(node, path, body, timeout=1.0):
        connection = http.client.HTTPConnection("127.0.0.1", node["port"], timeout=timeout)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise OSError(text.decode("utf-8", "replace"))
        return json.loads(text)

    def leads(self, node):
        try:
            status = self.post(node, "/v3/maintenance/status", {})
            return status.get("leader") not in (None, "0") and status["leader"] == status["header"]["member_id"]
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            return False

    def is_ready(self, node):
        try:
            self.attempt(node, 0)
            return True
        except (OSError, http.client.HTTPException):
            return False

    def attempt(self, node, number):
        key = base64.b64encode(f"failover{number}".encode()).decode()
        self.post(node, "/v3/kv/put", {"key": key, "value": "dmFsdWU="})


class PostgresCluster(Cluster):
    """A primary and two standbys, of which one has a commit on its disk before it is acknowledged."""

    def __init__(self, world):
        super().__init__("postgresql", world, {"PGUSER": "synod", "PGDATABASE": "postgres"})
        self.stop_signal = signal.SIGINT
        self.base = world.directory("postgresql-cluster")
        self.as_user = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.base, user.pw_uid, user.pw_gid)
            self.as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": self.base}
        primary = {
            "name": "postgresql-s0", "port": machine.free_port(), "directory": os.path.join(self.base, "s0"), "process": None}
        primary["peer_ports"] = [primary["port"]]
        self.nodes.append(primary)
        machine.output(
            [f"{world.postgres_bin}/initdb", "-D", primary["directory"], "-U", "synod", "--auth=trust", "-E", "UTF8",
             "--locale=C.UTF-8"], **self.as_user)
        self.start(primary, [])
        for index in (1, 2):
            node = {
                "name": f"postgresql-s{index}", "port": machine.free_port(), "directory": os.path.join(self.base, f"s{index}"),
                "process": None, "peer_ports": []}
            machine.output(
                [f"{world.postgres_bin}/pg_basebackup", "-D", node["directory"], "-R", "-X", "stream", "-c", "fast", "-d",
                 f"host=127.0.0.1 port={primary['port']} user=synod application_name=s{index}"], **self.as_user)
            self.nodes.append(node)
            self.start(node, [])
        self.find_leader()
        self.psql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (s1, s2)'")
        self.psql("SELECT pg_reload_conf()")
        end = time.monotonic() + 30
        while self.psql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'").strip() != "2":
            if time.monotonic() > end:
                raise RuntimeError("PostgreSQL's standbys did not come: " + world.log_tail("postgresql-s1"))
            time.sleep(0.05)

    def psql(self, statement):
        return machine.output(
            ["psql", "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", str(self.nodes[0]["port"]), "-U", "synod", "-c", statement,
             "postgres"])

    def start(self, node, more):
        node["process"] = self.world.spawn(
            [f"{self.world.postgres_bin}/postgres", "-D", node["directory"], "-p", str(node["port"]), "-c",
             "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.base}", "-c", "max_connections=300", "-c",
             "max_parallel_workers_per_gather=0"] + more, node["name"], **self.as_user)
        self.world.wait_for(node["name"], node["process"], lambda: subprocess.run(
            [f"{self.world.postgres_bin}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(node["port"])]).returncode == 0)

    def leads(self, node):
        return node is self.nodes[0]


def insert(port, user, database, statement, timeout=1.0):
    """One statement over a new connection by PostgreSQL's protocol, without password; an OSError unless it was done."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        def message(kind, body):
            connection.sendall(kind + struct.pack("!i", len(body) + 4) + body)

        def receive(count):
            data = b""
            while len(data) < count:
                more = connection.recv(count - len(data))
                if not more:
                    raise OSError("the server closed the connection")
                data += more
            return data

        def until_ready():
            failure = None
            while True:
                head = receive(5)
                body = receive(struct.unpack("!i", head[1:])[0] - 4)
                if head[:1] == b"E":
                    failure = body.decode("utf-8", "replace")
                    # After a fatal error no ReadyForQuery comes.
                    if "FATAL" in failure:
                        raise OSError(failure)
                if head[:1] == b"Z":
                    if failure:
                        raise OSError(failure)
                    return

        message(b"", struct.pack("!i", 196608) + f"user\0{user}\0database\0{database}\0\0".encode())
        until_ready()
        message(b"Q", statement.encode() + b"\0")
        until_ready()


def time_to_next_commit(cluster, number, seconds=30):
    """Kills the leader and returns the seconds until another node has acknowledged a new commit; starts it again."""
    leader = cluster.find_leader()
    survivors = [node for node in cluster.nodes if node is not leader]
    done, first = threading.Event(), []

    def try_at(node, index):
        attempt = 0
        while not done.is_set():
            try:
                cluster.attempt(node, number * 1_000_000 + index * 500_000 + attempt)
                first.append(time.monotonic())
                done.set()
            except (OSError, http.client.HTTPException):
                time.sleep(0.002)
            attempt += 1

    killed = time.monotonic()
    leader["process"].kill()
    threads = [threading.Thread(target=try_at, args=(node, index), daemon=True) for index, node in enumerate(survivors)]
    for thread in threads:
        thread.start()
    if not done.wait(seconds):
        done.set()
        raise RuntimeError(f"{cluster.name}: no commit within {seconds} s of the leader's death")
    for thread in threads:
        thread.join()
    leader["process"].wait()
    cluster.start(leader)
    end = time.monotonic() + 30
    while not all(cluster.is_running(node) and cluster.is_ready(node) for node in cluster.nodes):
        if time.monotonic() > end:
            raise RuntimeError(f"{cluster.name}: a node did not come back: " + cluster.world.log_tail(leader["name"]))
        time.sleep(0.02)
    return min(first) - killed
