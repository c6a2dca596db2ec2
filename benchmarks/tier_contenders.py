"""Caches that keep values in this process, in front of a shared store; and what reads the store each time, beside them.

A contender is one of `benchmarks.shared`. The first one of a family is its measure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from .shared_contenders import (
    COLD,
    CONTENDERS,
    ENCODED,
    GET_OR_FILL,
    HIT,
    IN_STORE,
    PREPARE,
    REDIS,
    SET,
    TASKS,
    TTL,
    VALUE,
    Keys,
    Operations,
    Place,
    SharedContender,
    each_cold,
    each_cold_async,
)

__all__ = ["LOCAL", "LOCAL_TASKS", "TIER_CONTENDERS", "cashews", "redis_py_cached"]

AT_ONCE = 1e-6
"""A `local_ttl` with which nothing is there any more when its key comes again."""


def _load(key: str) -> Any:
    return VALUE


async def _load_async(key: str) -> Any:
    return VALUE


def _shared(place: Place, **options: Any) -> Any:
    from areole import SharedCache

    shared = SharedCache[Any](place.url, namespace="b", ttl=TTL, timeout=5, **options)
    place.stack.callback(shared.close)
    return shared


def _local(place: Place) -> Operations:
    from areole import AtomicCache

    return _of_items(AtomicCache(_load, ttl=TTL))


def _local_function(place: Place) -> Operations:
    from areole import AtomicCache

    return _of_function(AtomicCache.memoize(name="load", ttl=TTL)(_load))


def _tier(place: Place) -> Operations:
    from areole import AtomicCache

    shared = _shared(place)
    behind: Any = AtomicCache(_load, ttl=TTL, shared=shared, local_ttl=AT_ONCE)
    found = _of_items(AtomicCache(_load, ttl=TTL, shared=shared))
    return found | {IN_STORE: _of_items(behind)[HIT], COLD: each_cold(behind.__getitem__)}


def _tier_function(place: Place) -> Operations:
    from areole import AtomicCache

    return _of_function(AtomicCache.memoize(name="load", ttl=TTL, shared=_shared(place))(_load))


def _tier_of_bytes(place: Place) -> Operations:
    from areole import AtomicCache

    return _of_items(AtomicCache(_load, ttl=TTL, shared=_shared(place), copies=True))


def _mapping(place: Place) -> Operations:
    shared = _shared(place)
    return {IN_STORE: _gets(shared), PREPARE: lambda keys: shared.set_many(dict.fromkeys(keys, VALUE))}


def _near(place: Place) -> Operations:
    from areole import Storage

    behind = _shared(place, local=Storage[Any](default_ttl=AT_ONCE))
    return _kept_near(place, copies=False) | {IN_STORE: _gets(behind)}


def _kept_near(place: Place, copies: bool) -> Operations:
    from areole import Storage

    local = Storage[Any](max_items=10_000)
    near = _shared(place, local=local, copies=copies)

    def prepare(keys: Keys) -> None:
        near.set_many(dict.fromkeys(keys, VALUE))
        _until_kept(local, lambda: _gets(near)(keys), keys)

    return {HIT: _gets(near), PREPARE: prepare}


def _gets(shared: Any) -> Callable[[Keys], None]:
    def get(keys: Keys) -> None:
        for key in keys:
            shared.get(key)

    return get


def _of_items(cache: Any) -> Operations:
    def hit(keys: Keys) -> None:
        for key in keys:
            cache[key]

    return {HIT: hit, PREPARE: lambda keys: _until_kept(cache, lambda: hit(keys), keys)}


def _of_function(function: Any) -> Operations:
    def hit(keys: Keys) -> None:
        for key in keys:
            function(key)

    return {HIT: hit, PREPARE: lambda keys: _until_kept(function.cache, lambda: hit(keys), keys)}


def _until_kept(cache: Any, look_up: Callable[[], None], keys: Keys) -> None:
    """Look up until everything is kept here: nothing is before the process hears of changes."""
    while len(cache) < len(keys):
        look_up()
        time.sleep(0.01)


def redis_py_cached(url: str) -> Any:
    """Return a client of redis-py with its own cache (RESP3), which keeps answers, as bytes.

    It refuses servers before 7.4, "to maximize compatibility with all Redis products"; what it needs, 6.0 has.
    """
    import redis
    from redis.cache import CacheConfig
    from redis.connection import CacheProxyConnection

    CacheProxyConnection.MIN_ALLOWED_VERSION = "6.0.0"
    return redis.Redis.from_url(url, protocol=3, cache_config=CacheConfig())


def _redis_cached(place: Place) -> Operations:
    client = redis_py_cached(f"redis://127.0.0.1:{place.port}/{place.database}")
    place.stack.callback(client.close)

    def hit(keys: Keys) -> None:
        for key in keys:
            client.get(key)

    def prepare(keys: Keys) -> None:
        for key in keys:
            client.set(key, ENCODED)
        hit(keys)
        if client.get_cache().size < len(keys):
            raise RuntimeError("redis-py has not kept what it has read")

    return {HIT: hit, PREPARE: prepare}


# ---- tasks


def _local_async(place: Place) -> Operations:
    from areole import AsyncAtomicCache

    return _of_awaited(AsyncAtomicCache(_load_async, ttl=TTL))


def _tier_async(place: Place) -> Operations:
    from areole import AsyncAtomicCache

    shared = _shared(place)
    behind: Any = AsyncAtomicCache(_load_async, ttl=TTL, shared=shared, local_ttl=AT_ONCE)
    found = _of_awaited(AsyncAtomicCache(_load_async, ttl=TTL, shared=shared))
    found |= {IN_STORE: _of_awaited(behind)[HIT], COLD: each_cold_async(behind.__getitem__)}
    return found | {"close": lambda keys: shared.aio.__aexit__(None, None, None)}


def _of_awaited(cache: Any) -> Operations:
    async def hit(keys: Keys) -> None:
        for key in keys:
            await cache[key]

    async def prepare(keys: Keys) -> None:
        while len(cache) < len(keys):
            await hit(keys)
            await asyncio.sleep(0.01)

    return {HIT: hit, PREPARE: prepare}


def cashews(url: str, client_side: bool) -> Any:
    """Return cashews' cache; `client_side`: with values in this process, which Redis tells of changes.

    By protocol 2: with 3, the default of redis-py 8, cashews 7.6 hears of none.
    """
    from cashews import Cache

    cache: Any = Cache()
    cache.setup(f"{url}?protocol=2" if client_side else url, client_side=client_side)
    return cache


def _cashews(place: Place) -> Operations:
    cache = cashews(f"redis://127.0.0.1:{place.port}/{place.database}", client_side=True)

    async def hit(keys: Keys) -> None:
        for key in keys:
            await cache.get(key)

    async def prepare(keys: Keys) -> None:
        for key in keys:
            await cache.set(key, VALUE, expire=TTL)
        await hit(keys)

    return {HIT: hit, PREPARE: prepare, "close": lambda keys: cache.close()}


# ---- what reads the store each time


def _reads(name: str, family: str) -> Callable[[Place], Operations]:
    """Return the maker of a contender of `benchmarks.shared`, for what it does if a cache in front has nothing."""
    (make,) = (each.make for each in CONTENDERS if (each.name, each.family) == (name, family))

    def read(place: Place) -> Operations:
        theirs = make(place)
        found = {IN_STORE: theirs[GET_OR_FILL], COLD: theirs[COLD], PREPARE: theirs[SET]}
        return found | {"close": theirs["close"]} if "close" in theirs else found

    return read


LOCAL, LOCAL_TASKS = "in front of Redis", "in front of Redis, tasks"

TIER_CONTENDERS = [
    SharedContender("cache[k]", LOCAL, "areole", _local),
    SharedContender("cache[k], shared=", LOCAL, "areole", _tier),
    SharedContender("f(k)", LOCAL, "areole", _local_function),
    SharedContender("f(k), shared=", LOCAL, "areole", _tier_function),
    SharedContender("cache[k], shared=, copies=", LOCAL, "areole", _tier_of_bytes),
    SharedContender("shared.get(k)", LOCAL, "areole", _mapping),
    SharedContender("shared.get(k), local=", LOCAL, "areole", _near),
    SharedContender("shared.get(k), local=, copies=", LOCAL, "areole", partial(_kept_near, copies=True)),
    SharedContender("redis-py, cache_config", LOCAL, "redis", _redis_cached),
    SharedContender("dogpile.cache", LOCAL, "dogpile.cache", _reads("dogpile.cache", REDIS)),
    SharedContender("cache[k]", LOCAL_TASKS, "areole", _local_async, is_async=True),
    SharedContender("cache[k], shared=", LOCAL_TASKS, "areole", _tier_async, is_async=True),
    SharedContender("cashews, client side", LOCAL_TASKS, "cashews", _cashews, is_async=True),
    SharedContender("cashews", LOCAL_TASKS, "cashews", _reads("cashews", TASKS), is_async=True),
    SharedContender("aiocache", LOCAL_TASKS, "aiocache", _reads("aiocache", TASKS), is_async=True),
]
