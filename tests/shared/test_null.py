"""NullBackend: every lookup misses, every fill runs, and a cache on top behaves as over any other backend."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from areole import CACHE_MISS, SharedCache
from areole.backends import AsyncBackend, Backend, NullBackend
from areole.errors import CacheClosedError


def test_has_the_protocol() -> None:
    backend = NullBackend()
    assert isinstance(backend, Backend)
    assert isinstance(backend.aio, AsyncBackend)
    assert backend.is_shared is False
    assert backend.clears_cheaply is True


def test_stores_nothing() -> None:
    with NullBackend() as backend:
        assert backend.set("k", b"v") is True
        assert backend.set("k", b"v", 3, only_if_absent=True) is True
        assert backend.set_many({"a": b"1"}) is None
        assert backend.get("k") is None
        assert backend.get_many(["a", "k"]) == [None, None]
        assert backend.delete("k") is False
        assert backend.delete_many(["a", "k"]) == 0
        assert backend.expire("k", 1) is False
        assert backend.ttl_of("k") is CACHE_MISS
        assert backend.kill("k") is None
        assert backend.kill_many(["a", "k"]) == [None, None]
        backend.clear("")


def test_every_fill_gets_its_own_token_which_stands() -> None:
    backend = NullBackend()
    assert backend.take("k", b"one", 10) == (None, b"one")
    assert backend.take("k", b"two", 10, b"seen") == (None, b"two")
    assert backend.renew("k", b"one", 10) is True
    assert backend.store_if_mine("k", b"v", b"one", 10) is True
    assert backend.get("k") is None


def test_a_closed_one_says_so() -> None:
    backend = NullBackend()
    backend.close()
    backend.close()
    calls: list[tuple[Any, ...]] = [("get", "k"), ("set", "k", b"v"), ("kill", "k"), ("take", "k", b"t", 1)]
    for name, *args in calls:
        with pytest.raises(CacheClosedError, match="NullBackend is closed"):
            getattr(backend, name)(*args)


def test_a_cache_over_it_fills_each_time() -> None:
    cache: SharedCache[int] = SharedCache(NullBackend(), namespace="n")
    filled: list[str] = []

    def fill(key: str) -> int:
        filled.append(key)
        return len(filled)

    assert [cache.get_or_fill("k", fill, ttl=60) for _ in range(3)] == [1, 2, 3]
    cache.set("k", 7)
    assert cache.get("k") is None
    assert cache.delete("k") is False
    cache.clear()

    async def main() -> None:
        assert await cache.aio.get_or_fill("k", fill) == 4
        assert await cache.aio.get("k") is None

    asyncio.run(main())
    cache.close()
