"""The asynchronous contenders: each wraps a coroutine function, or is asked for a key, behind one façade."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["BARE", "Ask", "AsyncContender", "async_contenders", "contender_named"]

Ask: TypeAlias = Callable[[int], Awaitable[Any]]
"""Gives the value of a key, when it is awaited."""

BARE = "bare coroutine"


@dataclass(frozen=True, slots=True)
class AsyncContender:
    """`wrap(fill)` gives the function that is awaited; `fill` is a coroutine function of a key."""

    name: str
    distribution: str
    wrap: Callable[[Ask], Ask]
    in_stampede: bool = True

    def version(self) -> str | None:
        try:
            return importlib.metadata.version(self.distribution) if self.distribution else ""
        except importlib.metadata.PackageNotFoundError:
            return None


def _bare(fill: Ask) -> Ask:
    return fill


def _areole_memoize(fill: Ask) -> Ask:
    from areole import AtomicCache

    return AtomicCache.memoize(fill)  # type: ignore[arg-type]


def _areole_memoize_ttl(fill: Ask) -> Ask:
    from areole import AtomicCache

    return AtomicCache.memoize(fill, ttl=3600)  # type: ignore[arg-type]


def _areole_fetch(fill: Ask) -> Ask:
    from areole import AsyncAtomicCache

    return AsyncAtomicCache(fill).fetch


def _async_lru(fill: Ask) -> Ask:
    from async_lru import alru_cache

    wrapped: Ask = alru_cache(maxsize=None)(fill)  # type: ignore[arg-type]
    return wrapped


def _cachebox(fill: Ask) -> Ask:
    import cachebox

    wrapped: Ask = cachebox.cached(cachebox.Cache(0))(fill)
    return wrapped


def _aiocache(fill: Ask) -> Ask:
    import aiocache

    wrapped: Ask = aiocache.cached(key_builder=lambda function, key: str(key))(fill)
    return wrapped


def _aiocache_stampede(fill: Ask) -> Ask:
    import aiocache

    wrapped: Ask = aiocache.cached_stampede(lease=10, key_builder=lambda function, key: str(key))(fill)
    return wrapped


def _aiocache_get(fill: Ask) -> Ask:
    """What its decorator does, without the decorator: the memory cache itself."""
    import aiocache

    cache = aiocache.SimpleMemoryCache()

    async def ask(key: int) -> Any:
        found = await cache.get(key)
        if found is None:
            found = await fill(key)
            await cache.set(key, found)
        return found

    return ask


def _cashews(fill: Ask) -> Ask:
    """Its memory cache, with the lock that it offers against a stampede."""
    import cashews

    cache = cashews.Cache()
    cache.setup("mem://")
    wrapped: Ask = cache.cache(ttl=3600, key="{key}", lock=True)(fill)
    return wrapped


def _moka(fill: Ask) -> Ask:
    import moka_py

    wrapped: Ask = moka_py.cached(maxsize=1_000_000, wait_concurrent=True)(fill)
    return wrapped


def _theine(fill: Ask) -> Ask:
    import theine

    wrapped: Ask = theine.Memoize(1_000_000, None)(fill)  # type: ignore[arg-type]
    return wrapped


def async_contenders() -> list[AsyncContender]:
    """Return all, whether installed or not."""
    return [
        AsyncContender(BARE, "", _bare),
        AsyncContender("areole memoize", "areole", _areole_memoize),
        AsyncContender("areole memoize, ttl", "areole", _areole_memoize_ttl, in_stampede=False),
        AsyncContender("areole cache.fetch", "areole", _areole_fetch, in_stampede=False),
        AsyncContender("async-lru", "async-lru", _async_lru),
        AsyncContender("cachebox", "cachebox", _cachebox),
        AsyncContender("aiocache cached", "aiocache", _aiocache),
        AsyncContender("aiocache cached_stampede", "aiocache", _aiocache_stampede),
        AsyncContender("aiocache get", "aiocache", _aiocache_get, in_stampede=False),
        AsyncContender("cashews", "cashews", _cashews),
        AsyncContender("moka-py", "moka-py", _moka),
        AsyncContender("theine", "theine", _theine),
    ]


def contender_named(name: str) -> AsyncContender:
    return next(each for each in async_contenders() if each.name == name)
