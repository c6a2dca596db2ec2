"""Servers that live as long as the run; a test that harms one starts its own (see `servers`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
