"""Servers that live as long as the run; a test that harms one starts its own (see `servers`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from areole import SharedCache
from areole.backends import MemoryBackend

from . import servers


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
