"""Redis servers for tests: one, a cluster of three, a Sentinel with a primary and a replica.

    with redis_server(maxmemory="4mb") as server:
        server.url, server.socket_url, server.port, server.pid
        server.stop(); server.restart(); server.kill(); server.pause(); server.resume()

Each listens on a free port of 127.0.0.1 and on a socket in a folder of its own, and ends with its block. Nothing here
needs the library or redis-py. Without redis-server a test is skipped, or fails if AREOLE_REQUIRE_REDIS is 1.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Cluster",
    "RedisServer",
    "Sentinel",
    "free_port",
    "redis_cluster",
    "redis_sentinel",
    "redis_server",
    "redis_server_with_tls",
    "require",
    "require_redis_py",
    "wait_until",
]

HOST = "127.0.0.1"
SECONDS = 30.0
"""How long a server may take until it answers; a slow machine is no failure."""


def require(program: str) -> None:
    """Skip the test where `program` is not installed; fail it where AREOLE_REQUIRE_REDIS=1 says that it is."""
    if shutil.which(program) is None:
        skip_or_fail(f"{program} is not installed (Debian: apt-get install redis-server)")


def require_redis_py() -> None:
    """The same, for the library that talks to it."""
    if importlib.util.find_spec("redis") is None:
        skip_or_fail("redis-py is not installed (pip install 'areole[redis]')")


def skip_or_fail(reason: str) -> None:
    import pytest  # here, so that a program without pytest can start servers too

    if os.environ.get("AREOLE_REQUIRE_REDIS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port(below: int = 65536) -> int:
    """Give a port on which nobody listens now."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port < below:
            return port


def wait_until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


class RedisServer:
    """One redis-server. `options` as in redis.conf, with "_" for "-": maxmemory="4mb"."""

    def __init__(self, folder: Path, options: Mapping[str, object], arguments: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.port = free_port()
        self.socket_path = str(folder / "redis.sock")
        self.url = f"redis://{HOST}:{self.port}/0"
        self.socket_url = f"unix://{self.socket_path}?db=0"
        self._arguments = arguments
        self._options = dict(options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server is not running: call restart()")
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        command = [*die_with_us(), "redis-server", self._write_conf(), *self._arguments]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_until(self.is_answering, f"redis-server on port {self.port}")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it as a service manager would: it closes its connections, and saves if it is set to."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same port; first end it, if it is running. Without `appendonly` its data are lost."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it answer nothing (SIGSTOP): connections can still be made."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def cli(self, *words: object) -> str:
        """Run a command by redis-cli, for what is not to go through the library."""
        command = ["redis-cli", "-h", HOST, "-p", str(self.port), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return done.stdout.strip()

    def is_answering(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"redis-server ended at once: {self.log[-2000:]}")
        try:
            return self._ask(b"PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def flush(self) -> None:
        """Remove all keys; sooner than by `cli`."""
        answer = self._ask(b"FLUSHALL")
        assert answer.startswith(b"+OK"), answer

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection((HOST, self.port), timeout=1) as probe:
            probe.sendall(command + b"\r\n")
            return probe.recv(100)

    def _write_conf(self) -> str:
        path = self.folder / "redis.conf"
        if not path.exists():  # a restarted one reads what it has written there itself: a Sentinel does so
            own = {"bind": HOST, "port": self.port, "unixsocket": self.socket_path, "dir": self.folder, "save": '""'}
            lines = [f"{name.replace('_', '-')} {value}" for name, value in {**own, **self._options}.items()]
            path.write_text("\n".join([*lines, ""]))
        return str(path)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)  # one that is paused hears nothing else than SIGKILL
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def die_with_us() -> list[str]:
    """A server ends with the thread that started it, also where pytest-timeout ends this process in an instant."""
    is_main = threading.current_thread() is threading.main_thread()
    return ["setpriv", "--pdeathsig", "KILL"] if is_main and shutil.which("setpriv") else []


@contextmanager
def redis_server(*, arguments: tuple[str, ...] = (), **options: object) -> Iterator[RedisServer]:
    require("redis-server")
    with tempfile.TemporaryDirectory(prefix="areole-") as folder:
        server = RedisServer(Path(folder), options, arguments)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def redis_server_with_tls(folder: Path) -> Iterator[tuple[RedisServer, int, Path]]:
    """Give a server, its port for TLS, and the certificate that it has signed itself, of "localhost"."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    files = ["-keyout", str(key), "-out", str(certificate)]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, *files]
    subprocess.run(make, capture_output=True, check=True, timeout=SECONDS)
    port = free_port()
    with redis_server(
        tls_port=port, tls_cert_file=certificate, tls_key_file=key, tls_ca_cert_file=certificate, tls_auth_clients="no"
    ) as server:
        yield server, port, certificate


@dataclass
class Cluster:
    nodes: list[RedisServer]

    @property
    def url(self) -> str:
        """For RedisBackend; redis-py's RedisCluster.from_url takes `nodes[0].url`."""
        return f"redis+cluster://{HOST}:{self.nodes[0].port}"

    def node_of(self, key: str) -> RedisServer:
        """Give the node that has the key's slot, in a cluster that was not moved."""
        slot = int(self.nodes[0].cli("CLUSTER", "KEYSLOT", key))
        for line in self.nodes[0].cli("CLUSTER", "NODES").splitlines():
            words = line.split()
            for first, _, last in (word.partition("-") for word in words[8:] if not word.startswith("[")):
                if int(first) <= slot <= int(last or first):
                    port = int(words[1].split("@")[0].rpartition(":")[2])
                    return next(node for node in self.nodes if node.port == port)
        raise LookupError(f"no node has slot {slot}")


@contextmanager
def redis_cluster(**options: object) -> Iterator[Cluster]:
    """Three primaries, without replicas."""
    require("redis-cli")
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(redis_server(cluster_enabled="yes", cluster_port=free_port(), **options))
            for _ in range(3)
        ]
        addresses = [f"{HOST}:{node.port}" for node in nodes]
        create = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(create, capture_output=True, timeout=2 * SECONDS, check=True)
        for node in nodes:
            wait_until(lambda node=node: "cluster_state:ok" in node.cli("CLUSTER", "INFO"), "the cluster")
        yield Cluster(nodes)


@dataclass
class Sentinel:
    primary: RedisServer
    replica: RedisServer
    sentinel: RedisServer
    service: str = "mymaster"

    @property
    def url(self) -> str:
        return f"sentinel://{HOST}:{self.sentinel.port}/{self.service}/0"

    def port_of_primary(self) -> int:
        return int(self.sentinel.cli("SENTINEL", "get-master-addr-by-name", self.service).split()[1])


@contextmanager
def redis_sentinel(**options: object) -> Iterator[Sentinel]:
    """One Sentinel, which makes the replica the primary half a second after the primary is gone."""
    with redis_server(**options) as primary, redis_server(replicaof=f"{HOST} {primary.port}", **options) as replica:
        wait_until(lambda: "master_link_status:up" in replica.cli("INFO", "replication"), "the replica")
        watch = {
            "sentinel monitor mymaster": f"{HOST} {primary.port} 1",
            "sentinel down-after-milliseconds mymaster": 500,
            "sentinel failover-timeout mymaster": 3000,
        }
        with redis_server(arguments=("--sentinel",), **watch) as sentinel:
            kit = Sentinel(primary, replica, sentinel)
            wait_until(
                lambda: f"port\n{replica.port}" in sentinel.cli("SENTINEL", "replicas", kit.service), "the Sentinel"
            )
            yield kit
