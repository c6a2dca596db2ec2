"""Servers that live as long as the run; a test that harms one starts its own (see `servers`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from areole import SharedCache
from areole.backends import MemoryBackend, sqlite_file

from . import servers


@pytest.fixture(autouse=True)
def no_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have SQLite leave it to the system when a file is on the disk: no test ends with a loss of power.

    Those waits were nine tenths of what the tests of its backend took. Processes that tests start wait as they do.
    """
    others = [each for each in sqlite_file.PRAGMAS if not each.startswith("synchronous")]
    monkeypatch.setattr(sqlite_file, "PRAGMAS", ("synchronous=OFF", *others))


@pytest.fixture(scope="session")
def redis_single() -> Iterator[servers.RedisServer]:
    with servers.redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[servers.Cluster]:
    with servers.redis_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[servers.Sentinel]:
    with servers.redis_sentinel() as sentinel:
        yield sentinel


@pytest.fixture(scope="session")
def redis_py() -> None:
    servers.require_redis_py()


@pytest.fixture(params=["memory", "redis"])
def caches(request: Any) -> Iterator[Callable[..., SharedCache[Any]]]:
    """Make caches on one empty store; each stands for a process."""
    made: list[SharedCache[Any]] = []
    store: Any = MemoryBackend()
    if request.param == "redis":
        servers.require_redis_py()
        server = request.getfixturevalue("redis_single")
        server.flush()
        store = server.socket_url

    def make(**options: Any) -> SharedCache[Any]:
        made.append(SharedCache(store, namespace="shop", timeout=10, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
