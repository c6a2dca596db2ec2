"""What the tests of shared caches share: the backends that there are, each made in one way.

An engine is one line in `ENGINES`. To add one:

    Engine("name", open_it)             `open_it(folder: Path) -> Opened`, a store that is empty
    Engine("name", open_it, server=...) a fixture that gives its server: `open_it(folder, server) -> Opened`
    Engine("name", open_it, weaker=...) with the names of the promises that it does not keep: see `WEAKER`

`kinds` are the ways in which it is called: in threads, awaited, or awaited while it runs in an executor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from areole.backends import DjangoBackend, MemoryBackend, RedisBackend, SQLiteBackend
from areole.backends.in_executor import InExecutor
from areole.shared.outbox import send_queued
from areole.shared.renewer import renewer
from areole.testing import ManualClock

from . import django_caches, servers

__all__ = [
    "ENGINES",
    "Awaited",
    "Engine",
    "Opened",
    "Subject",
    "every_backend",
    "every_engine",
    "opened",
    "renewed_tokens",
]

WEAKER: Final[dict[str, str]] = {
    "refuses to clear": "clear raises NotImplementedError: the engine cannot walk through its keys",
}
"""What an engine may not promise. A test asks for it by name, and checks what holds instead."""


def renewed_tokens() -> list[Any]:
    """Return the renewals that run; not what is queued to be sent, by the same thread."""
    return [each for each in list(renewer.running.values()) if getattr(each.renew, "func", None) is not send_queued]


@dataclass
class Opened:
    """A store that is empty, and how to reach it.

    Attributes:
        connect: makes a backend on this store; each stands for a process, where processes share it.
        pass_time: lets so many seconds pass for this store: a manual clock moves, or the test sleeps.
        connect_async: makes an AsyncBackend; by default a backend's own `aio`, or one that calls it in an executor.
        close: ends what was started for it.
    """

    connect: Callable[[], Any]
    pass_time: Callable[[float], object] = time.sleep
    connect_async: Callable[[], Any] | None = None
    close: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Engine:
    name: str
    open: Callable[..., Opened]
    server: str | None = None
    weaker: Sequence[str] = ()
    kinds: Sequence[str] = ("threads", "loop", "executor")
    is_slow: bool = False

    def __post_init__(self) -> None:
        assert set(self.weaker) <= set(WEAKER)


def open_memory(folder: Path) -> Opened:
    clock = ManualClock(1000.0)
    backend = MemoryBackend(clock=clock)
    return Opened(lambda: backend, clock.advance)


def open_redis(folder: Path, server: servers.RedisServer) -> Opened:
    servers.require_redis_py()
    server.flush()
    return Opened(lambda: RedisBackend(server.socket_url, timeout=REDIS_TIMEOUT))


def open_redis_cluster(folder: Path, cluster: servers.Cluster) -> Opened:
    servers.require_redis_py()
    for node in cluster.nodes:
        node.flush()
    return Opened(lambda: RedisBackend(cluster.url, timeout=REDIS_TIMEOUT))


REDIS_TIMEOUT: Final = 10.0
"""CI's machine may be slow, and that is no fault."""


def open_django(backend: str, folder: Path, server: Any = None) -> Opened:
    django_caches.configure()
    location, options = str(folder), {"MAX_ENTRIES": 100_000}  # of stamps too: Django's 300 are soon full
    if "db" in backend:
        location = django_caches.create_table()
    elif server is not None:
        location, options = server.url, {"pool_class": django_caches.pool_class()}
        server.flush()
    name = django_caches.add_cache(backend, location, OPTIONS=options)
    return Opened(lambda: DjangoBackend(name), close=django_caches.close_all)


def django_engine(name: str, backend: str, **options: Any) -> Engine:
    return Engine(
        f"django-{name}",
        partial(open_django, backend),
        weaker=["refuses to clear"],
        kinds=("threads", "executor") if name == "locmem" else ("threads",),
        **options,
    )


def open_sqlite(folder: Path, max_bytes: int | None = None) -> Opened:
    clock = ManualClock(1e9)
    return Opened(lambda: SQLiteBackend(folder / "cache.db", max_bytes=max_bytes, clock=clock), clock.advance)


ENGINES: Final[list[Engine]] = [
    Engine("memory", open_memory),
    django_engine("locmem", "locmem.LocMemCache"),
    django_engine("file", "filebased.FileBasedCache", is_slow=True),
    django_engine("database", "db.DatabaseCache", is_slow=True),
    django_engine("redis", "redis.RedisCache", server="redis_single"),
    Engine("redis", open_redis, server="redis_single", kinds=("threads", "loop")),
    Engine("redis-cluster", open_redis_cluster, server="redis_cluster", kinds=("threads", "loop")),
    Engine("sqlite", open_sqlite, kinds=("threads", "executor")),
    Engine("sqlite-limited", partial(open_sqlite, max_bytes=20_000_000), kinds=("threads", "executor")),
]


class Awaited:
    """An AsyncBackend as tests of threads see it: each call runs on a loop until it has ended."""

    def __init__(self, backend: Any, runner: asyncio.Runner) -> None:
        self.backend = backend
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.backend, name)
        return (lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))) if callable(method) else method

    def close(self) -> None:
        self._runner.run(self.backend.aclose())

    def __enter__(self) -> Any:
        self._runner.run(self.backend.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self.backend.__aexit__(*error))


class Subject:
    """What a test of the contract gets: `backend`, an empty store, called as one is called in threads."""

    def __init__(self, engine: Engine, store: Opened, kind: str, runner: asyncio.Runner) -> None:
        self.engine = engine
        self.kind = kind
        self.pass_time = store.pass_time
        self._store = store
        self._runner = runner
        self._made: list[Any] = []
        self.backend = self.connect()

    def connect(self) -> Any:
        """Return another backend on this same store."""
        made = self._make()
        self._made.append(made)
        return made

    def _make(self) -> Any:
        if self.kind == "threads":
            return self._store.connect()
        if self.kind == "executor":
            backend = self._store.connect()
            self._made.append(backend)
            return Awaited(InExecutor(backend), self._runner)
        if self._store.connect_async is not None:
            return Awaited(self._store.connect_async(), self._runner)
        backend = self._store.connect()
        self._made.append(backend)
        return Awaited(backend.aio, self._runner)

    def is_weaker(self, promise: str) -> bool:
        assert promise in WEAKER
        return promise in self.engine.weaker

    def close(self) -> None:
        for each in reversed(self._made):
            each.close()
        self._store.close()


@contextmanager
def opened(engine: Engine, request: pytest.FixtureRequest, kind: str = "threads") -> Iterator[Subject]:
    """Open an empty store in the folder of this test, and a backend on it."""
    server = () if engine.server is None else (request.getfixturevalue(engine.server),)
    store = engine.open(request.getfixturevalue("tmp_path"), *server)
    with asyncio.Runner() as runner:
        subject = Subject(engine, store, kind, runner)
        try:
            yield subject
        finally:
            subject.close()


every_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
every_backend = pytest.mark.parametrize(
    ("engine", "kind"),
    [pytest.param(engine, kind, id=f"{engine.name}-{kind}") for engine in ENGINES for kind in engine.kinds],
)
