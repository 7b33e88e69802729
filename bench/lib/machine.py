"""The machine, the peers' programs, and the servers: everything that a case needs to run."""
import glob
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

PACKAGES = [
    "postgresql-15", "postgresql-client-15", "etcd-server", "sqlite3", "libsqlite3-dev", "rocksdb-tools", "liblmdb-dev",
    "redis-server", "redis-tools", "iproute2", "build-essential",
]


def say(text):
    print(text, file=sys.stderr, flush=True)


def install(here):
    """Installs what is missing, without letting the packages start servers of their own."""
    missing = [name for name in PACKAGES if subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", name], capture_output=True, text=True).stdout != "install ok installed"]
    if not missing:
        return
    say("installing: " + " ".join(missing))
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    policy = "/usr/sbin/policy-rc.d"
    ours = not os.path.exists(policy)
    if ours:
        subprocess.run(sudo + ["tee", policy], input=b"#!/bin/sh\nexit 101\n", stdout=subprocess.DEVNULL, check=True)
        subprocess.run(sudo + ["chmod", "755", policy], check=True)
    try:
        subprocess.run(sudo + ["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            sudo + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"]
            + missing, check=True, stdout=subprocess.DEVNULL)
    finally:
        if ours:
            subprocess.run(sudo + ["rm", "-f", policy], check=True)


def build(here):
    """Builds synod in release mode and returns the executable's path."""
    root = os.path.dirname(here)
    subprocess.run([os.path.join(root, "tools", "setup")], check=True)
    subprocess.run(["swift", "build", "-c", "release", "--product", "synod"], cwd=root, check=True, stdout=sys.stderr)
    return os.path.join(root, ".build", "release", "synod")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def output(command, **extra):
    """A program's standard output; its last words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **extra)
    if done.returncode != 0:
        raise RuntimeError(f"{os.path.basename(command[0])} ended with {done.returncode}: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout


def descendants(root):
    """A process and all that descend from it."""
    return family(root)[0]


def memory_bytes(root):
    """Memory of a process and all that descend from it; what several of them share counts once (proportional sizes)."""
    total = 0
    for pid in descendants(root):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                found = re.search(r"^Pss:\s+(\d+) kB", file.read(), re.M)
        except OSError:
            continue
        total += int(found.group(1)) * 1024 if found else 0
    return total


def processor_seconds(root):
    """Processor time of a process and all that descend from it, those included that have ended."""
    pids, times = family(root)
    return sum(times.get(pid, 0) for pid in pids) / os.sysconf("SC_CLK_TCK")


def family(root):
    """The processes below `root`, itself included, and the ticks of processor time of every process."""
    parents = {}
    times = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat) as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        pid = int(stat.split("/")[2])
        parents.setdefault(int(fields[1]), []).append(pid)
        # utime, stime; cutime and cstime are those of children that were waited for.
        times[pid] = sum(int(field) for field in fields[11:15])
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += parents.get(pid, [])
    return found, times


def device_bytes(path):
    """Bytes written so far to the device that holds `path`, or None where it cannot be told."""
    device = os.stat(path).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat") as file:
            return int(file.read().split()[6]) * 512
    except (OSError, IndexError):
        return None


class Server:
    """A server that runs: where it listens, and its process."""

    def __init__(self, name, process, port, environment=None):
        self.name, self.process, self.port = name, process, port
        self.environment = environment or {}
        self.stop_signal = signal.SIGTERM

    def processor_seconds(self):
        return processor_seconds(self.process.pid)

    def memory_bytes(self):
        return memory_bytes(self.process.pid)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class World:
    """What a run has: directories, programs, servers that were started on demand."""

    def __init__(self, here, work, synod, options):
        self.here, self.work, self.synod, self.options = here, work, synod, options
        self.servers = {}
        self.programs = {}
        self.postgres_bin = (sorted(glob.glob("/usr/lib/postgresql/15/bin")) or [None])[0]

    def directory(self, name):
        """A fresh, empty directory."""
        path = os.path.join(self.work, name)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        return path

    def peer(self, name):
        """The path of a peer's program of ours, compiled when it is first needed."""
        if name not in self.programs:
            libraries = {"sqlite": ["-lsqlite3"], "lmdb": ["-llmdb"]}.get(name, [])
            os.makedirs(os.path.join(self.work, "programs"), exist_ok=True)
            path = os.path.join(self.work, "programs", name)
            output(["cc", "-O2", "-o", path, os.path.join(self.here, "peers", name + ".c")] + libraries + ["-lpthread"])
            self.programs[name] = path
        return self.programs[name]

    def has(self, system):
        """Whether a system can be measured here."""
        if system in self.options.without:
            return False
        return {
            "synod": True,
            "postgresql": self.postgres_bin is not None and shutil.which("pgbench") is not None,
            "sqlite": os.path.exists("/usr/include/sqlite3.h"),
            "lmdb": os.path.exists("/usr/include/lmdb.h"),
            "rocksdb": shutil.which("db_bench") is not None,
            "redis": shutil.which("redis-server") is not None and shutil.which("redis-benchmark") is not None,
            "etcd": shutil.which("etcd") is not None,
        }[system]

    def server(self, system):
        """The running server of a system, started when it is first asked for."""
        if system not in self.servers:
            say(f"starting {system}")
            self.servers[system] = getattr(self, "start_" + system)()
        return self.servers[system]

    def stop(self):
        for server in self.servers.values():
            server.stop()
        self.servers = {}

    def spawn(self, command, name, **extra):
        log = open(os.path.join(self.work, name + ".log"), "wb")
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **extra)

    def log_tail(self, name):
        with open(os.path.join(self.work, name + ".log"), "rb") as file:
            return file.read()[-600:].decode("utf-8", "replace")

    def wait_for(self, name, process, ready):
        for _ in range(600):
            if ready():
                return
            if process.poll() is not None:
                break
            time.sleep(0.05)
        process.kill()
        raise RuntimeError(f"{name} did not start: {self.log_tail(name)}")

    def start_synod(self, name="synod"):
        directory = self.directory(name)
        url_file = os.path.join(directory, "url")
        process = self.spawn(
            [self.synod, "serve", "--data", os.path.join(directory, "db"), "--listen", "127.0.0.1:0", "--http", "off",
             "--listening-url-file", url_file], name + "-serve")
        self.wait_for(name + "-serve", process, lambda: os.path.exists(url_file) and os.path.getsize(url_file) > 0)
        with open(url_file) as file:
            port = int(re.search(r"127\.0\.0\.1:(\d+)", file.read()).group(1))
        return Server("synod", process, port, {"PGUSER": "synod", "PGDATABASE": "synod"})

    def start_postgresql(self, name="postgresql"):
        directory = os.path.join(self.directory(name), "data")
        # PostgreSQL refuses to run as root.
        as_user = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(os.path.dirname(directory), user.pw_uid, user.pw_gid)
            as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": os.path.dirname(directory)}
        output([f"{self.postgres_bin}/initdb", "-D", directory, "-U", "synod", "--auth=trust", "-E", "UTF8",
                "--locale=C.UTF-8"], **as_user)
        port = free_port()
        # Its defaults, but for parallel queries: one statement, one processor, as everywhere else here.
        process = self.spawn(
            [f"{self.postgres_bin}/postgres", "-D", directory, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
             "-c", f"unix_socket_directories={os.path.dirname(directory)}", "-c", "max_connections=300",
             "-c", "max_parallel_workers_per_gather=0"], name, **as_user)
        server = Server("postgresql", process, port, {"PGUSER": "synod", "PGDATABASE": "postgres"})
        server.stop_signal = signal.SIGINT
        self.wait_for(name, process, lambda: subprocess.run(
            [f"{self.postgres_bin}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0)
        return server

    def start_redis(self):
        port = free_port()
        process = self.spawn(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", self.directory("redis"), "--appendonly", "yes",
             "--appendfsync", "always", "--save", ""], "redis")
        self.wait_for("redis", process, lambda: subprocess.run(
            ["redis-cli", "-p", str(port), "ping"], capture_output=True).returncode == 0)
        return Server("redis", process, port)

    def start_etcd(self):
        port, peer = free_port(), free_port()
        url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        process = self.spawn(
            ["etcd", "--data-dir", os.path.join(self.directory("etcd"), "data"), "--listen-client-urls", url,
             "--advertise-client-urls", url, "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
             "--initial-cluster", f"default={peer_url}", "--log-level", "error", "--quota-backend-bytes", str(8 << 30)], "etcd")
        def leads():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return False
            done = subprocess.run([self.peer("etcd_put"), str(port), "1", "0.01"], capture_output=True)
            return done.returncode == 0
        self.wait_for("etcd", process, leads)
        return Server("etcd", process, port)


def floors(world):
    """The disk's and loopback's own latency: what nothing that is durable, or served, can go below for long."""
    seconds = str(min(world.options.seconds, 3))
    disk = json.loads(output([world.peer("floor"), "disk", world.directory("floor"), seconds]))
    steady = json.loads(output([world.peer("floor"), "steady", world.directory("floor"), seconds]))
    quorum = json.loads(output([world.peer("floor"), "quorum", world.directory("floor"), seconds]))
    loopback = json.loads(output([world.peer("floor"), "loopback", seconds]))
    shutil.rmtree(os.path.join(world.work, "floor"), ignore_errors=True)
    return {
        **({"quorum": quorum} if quorum else {}),
        "overwrite_fdatasync": disk[0], "direct_dsync": disk[1], "append_fdatasync": disk[2], "loopback": loopback,
        "steady_alone": steady[0], "steady_beside_tables": steady[1]}


def describe(world):
    """What was measured, where."""
    def first(command):
        try:
            return subprocess.run(command, capture_output=True, text=True).stdout.strip().splitlines()[0]
        except (OSError, IndexError):
            return None

    def field(path, name):
        with open(path) as file:
            found = re.search(rf"^{name}\s*:\s*(.*)$", file.read(), re.M)
        return found.group(1) if found else "?"

    root = os.path.dirname(world.here)
    return {
        "processor": field("/proc/cpuinfo", "model name"), "processors": os.cpu_count(),
        "memory": field("/proc/meminfo", "MemTotal"), "kernel": os.uname().release,
        "file_system": first(["stat", "-f", "-c", "%T", world.work]),
        "load_before": os.getloadavg()[0],
        "commit": first(["git", "-C", root, "rev-parse", "--short", "HEAD"]),
        "versions": {name: version for name, version in {
            "synod": first([world.synod, "--version"]),
            "postgresql": first([f"{world.postgres_bin}/postgres", "--version"]) if world.postgres_bin else None,
            "sqlite": first(["sqlite3", "--version"]), "redis": first(["redis-server", "--version"]),
            "etcd": first(["etcd", "--version"]),
            "rocksdb": first(["dpkg-query", "-W", "-f", "${Version}", "rocksdb-tools"]),
            "lmdb": first(["dpkg-query", "-W", "-f", "${Version}", "liblmdb-dev"]),
        }.items() if version},
    }
