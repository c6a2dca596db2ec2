"""The shared caches that are compared: each gives its operations on a block of keys, behind one façade.

A further contender is a function of a `Place` that returns its operations by name; an operation takes a list of keys.
Each has a database or a folder of its own. What it cannot do is left out.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

__all__ = [
    "COLD",
    "CONTENDERS",
    "ENCODED",
    "GETS",
    "GET_MANY",
    "GET_OR_FILL",
    "HIT",
    "IN_STORE",
    "MISS",
    "PREPARE",
    "REDIS",
    "SET",
    "TASKS",
    "TTL",
    "VALUE",
    "Keys",
    "Operation",
    "Operations",
    "Place",
    "SharedContender",
]

Keys: TypeAlias = list[str]
Operation: TypeAlias = Callable[[Keys], Any]
Operations: TypeAlias = dict[str, Operation]

HIT, MISS, SET = "hit", "miss", "set"
PREPARE = "prepare"  # not measured; by default it is SET
GET_MANY, GETS = "get_many of 100", "100 gets"
GET_OR_FILL, COLD = "get_or_fill, hit", "get_or_fill, fill"
IN_STORE = "hit in the store"  # by a cache that keeps values in front of it, and has not kept this one

VALUE = {
    "id": 4711,
    "name": "A name of ordinary length",
    "mail": "somebody@example.org",
    "roles": ["reader", "writer"],
    "active": True,
    "balance": 12.5,
    "address": {"street": "A street 12", "town": "A town"},
}
TTL = 600
ENCODED = json.dumps(VALUE, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contender keeps its values; `stack` closes what it opens."""

    socket: str
    port: int
    database: int
    folder: Path
    stack: ExitStack

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db={self.database}"


@dataclass(frozen=True, slots=True)
class SharedContender:
    """`family`: with which others it is compared; the first one of a family is its measure."""

    name: str
    family: str
    distribution: str
    make: Callable[[Place], Operations]
    is_async: bool = False
    needs: tuple[str, ...] = ()
    """Modules, of which it needs one."""

    def is_possible(self) -> bool:
        return not self.needs or any(find_spec(module) is not None for module in self.needs)

    def version(self) -> str | None:
        if self.distribution == "areole":
            import areole

            return areole.__version__
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None


_cold = itertools.count()


def _cold_keys(keys: Keys) -> Iterator[str]:
    """Give as many keys that nobody has used."""
    return (f"cold:{next(_cold)}" for _ in keys)


def _fill(*key: Any) -> Any:
    return VALUE


async def _fill_async(*key: Any) -> Any:
    return VALUE


def each_key(function: Callable[[str], object]) -> Operation:
    """Make an operation of what is done with one key."""

    def run(keys: Keys) -> None:
        for key in keys:
            function(key)

    return run


def each_key_async(function: Callable[[str], Awaitable[object]]) -> Operation:
    async def run(keys: Keys) -> None:
        for key in keys:
            await function(key)

    return run


def each_cold(function: Callable[[str], object]) -> Operation:
    def run(keys: Keys) -> None:
        for key in _cold_keys(keys):
            function(key)

    return run


def each_cold_async(function: Callable[[str], Awaitable[object]]) -> Operation:
    async def run(keys: Keys) -> None:
        for key in _cold_keys(keys):
            await function(key)

    return run


def _operations(
    get: Callable[[str], object],
    put: Callable[[str], object],
    get_many: Operation | None,
    get_or_fill: Callable[[str], object],
) -> Operations:
    found = {HIT: each_key(get), MISS: each_key(get), SET: each_key(put)}
    if get_many is not None:
        found |= {GET_MANY: get_many, GETS: each_key(get)}
    return found | {GET_OR_FILL: each_key(get_or_fill), COLD: each_cold(get_or_fill)}


def _operations_async(
    get: Callable[[str], Awaitable[object]],
    put: Callable[[str], Awaitable[object]],
    get_many: Operation,
    get_or_fill: Callable[[str], Awaitable[object]],
) -> Operations:
    found = {HIT: each_key_async(get), MISS: each_key_async(get), SET: each_key_async(put)}
    found |= {GET_MANY: get_many, GETS: each_key_async(get)}
    return found | {GET_OR_FILL: each_key_async(get_or_fill), COLD: each_cold_async(get_or_fill)}


# ---- over Redis, threads


def _redis(place: Place) -> Operations:
    """Use redis-py itself: bytes in, bytes out."""
    import redis

    client = redis.Redis(unix_socket_path=place.socket, db=place.database)
    place.stack.callback(client.close)

    def get_or_fill(key: str) -> Any:
        found = client.get(key)
        if found is None:
            client.set(key, ENCODED, px=TTL * 1000)
        return found

    return _operations(client.get, lambda key: client.set(key, ENCODED, px=TTL * 1000), client.mget, get_or_fill)


def _areole(url: Callable[[Place], str], **options: Any) -> Callable[[Place], Operations]:
    def make(place: Place) -> Operations:
        from areole import SharedCache

        cache: Any = SharedCache(url(place), namespace="b", ttl=TTL, timeout=5, **options)
        place.stack.callback(cache.close)
        value = ENCODED if options.get("serializer") == "noop" else VALUE
        return _operations(
            cache.get,
            lambda key: cache.set(key, value),
            cache.get_many,
            lambda key: cache.get_or_fill(key, lambda key: value),
        )

    return make


def _dogpile(place: Place) -> Operations:
    from dogpile.cache import make_region

    region: Any = make_region(key_mangler=lambda key: "b:" + key)
    arguments = {"url": place.url, "redis_expiration_time": TTL, "distributed_lock": False}
    region.configure("dogpile.cache.redis", expiration_time=TTL, arguments=arguments)
    place.stack.callback(region.backend.reader_client.close)
    place.stack.callback(region.backend.writer_client.close)
    return _operations(
        region.get,
        lambda key: region.set(key, VALUE),
        region.get_multi,
        lambda key: region.get_or_create(key, _fill),
    )


def _django(place: Place) -> Operations:
    from django.conf import settings
    from django.core.cache.backends.redis import RedisCache

    if not settings.configured:
        settings.configure()
    cache: Any = RedisCache(place.url, {"KEY_PREFIX": "b"})
    place.stack.callback(lambda: cache._cache._get_connection_pool(write=True).disconnect())
    return _operations(
        cache.get,
        lambda key: cache.set(key, VALUE, TTL),
        cache.get_many,
        lambda key: cache.get_or_set(key, _fill, TTL),
    )


# ---- over Redis, tasks


def _redis_async(place: Place) -> Operations:
    import redis.asyncio

    client = redis.asyncio.Redis(unix_socket_path=place.socket, db=place.database)

    async def get_or_fill(key: str) -> Any:
        found = await client.get(key)
        if found is None:
            await client.set(key, ENCODED, px=TTL * 1000)
        return found

    found = _operations_async(client.get, lambda key: client.set(key, ENCODED, px=TTL * 1000), client.mget, get_or_fill)
    return found | {"close": lambda keys: client.aclose()}


def _areole_async(place: Place) -> Operations:
    from areole import SharedCache

    shared: Any = SharedCache(place.url, namespace="b", ttl=TTL, timeout=5)
    place.stack.callback(shared.close)
    cache = shared.aio
    found = _operations_async(
        cache.get,
        lambda key: cache.set(key, VALUE),
        cache.get_many,
        lambda key: cache.get_or_fill(key, _fill_async),
    )
    return found | {"close": lambda keys: cache.__aexit__(None, None, None)}


def _aiocache(place: Place) -> Operations:
    import redis.asyncio
    from aiocache.backends.redis import RedisCache
    from aiocache.serializers import JsonSerializer

    cache: Any = RedisCache(serializer=JsonSerializer(), namespace="b:", timeout=5)
    cache.client = redis.asyncio.Redis(unix_socket_path=place.socket, db=place.database)

    async def get_or_fill(key: str) -> Any:
        found = await cache.get(key)
        if found is None:
            await cache.set(key, VALUE, ttl=TTL)
        return found

    found = _operations_async(cache.get, lambda key: cache.set(key, VALUE, ttl=TTL), cache.multi_get, get_or_fill)
    return found | {"close": lambda keys: cache.client.aclose()}


def _cashews(place: Place) -> Operations:
    from cashews import Cache
    from cashews.backends.redis import Redis
    from cashews.picklers import PicklerType
    from cashews.wrapper.backend_settings import register_backend

    register_backend("unix", Redis, pass_uri=True, pickler=PicklerType.DEFAULT)  # it knows redis:// and rediss://
    cache: Any = Cache()
    cache.setup(place.url)

    async def get_many(keys: Keys) -> Any:
        return await cache.get_many(*keys)

    found = _operations_async(
        cache.get,
        lambda key: cache.set(key, VALUE, expire=TTL),
        get_many,
        lambda key: cache.get_or_set(key, _fill_async, expire=TTL),
    )
    return found | {"close": lambda keys: cache.close()}


# ---- over SQLite


def _diskcache(place: Place) -> Operations:
    import diskcache

    cache: Any = diskcache.Cache(place.folder / "diskcache")
    place.stack.callback(cache.close)

    def get_or_fill(key: str) -> Any:
        found = cache.get(key)
        if found is None:
            cache.set(key, VALUE, expire=TTL)
        return found

    return _operations(cache.get, lambda key: cache.set(key, VALUE, expire=TTL), None, get_or_fill)


def _unix(place: Place) -> str:
    return place.url


def _sqlite(place: Place) -> str:
    return f"sqlite:///{place.folder / f'areole-{place.database}.db'}"


REDIS, TASKS, SQLITE = "Redis", "Redis, tasks", "SQLite"
MSGPACK = ("ormsgpack", "msgpack")

CONTENDERS = [
    SharedContender("redis-py", REDIS, "redis", _redis),
    SharedContender("areole json", REDIS, "areole", _areole(_unix)),
    SharedContender("areole msgpack", REDIS, "areole", _areole(_unix, serializer="msgpack"), needs=MSGPACK),
    SharedContender("areole bare json", REDIS, "areole", _areole(_unix, envelope=False)),
    SharedContender("areole bare bytes", REDIS, "areole", _areole(_unix, envelope=False, serializer="noop")),
    SharedContender("dogpile.cache", REDIS, "dogpile.cache", _dogpile),
    SharedContender("Django", REDIS, "django", _django),
    SharedContender("redis-py", TASKS, "redis", _redis_async, is_async=True),
    SharedContender("areole json", TASKS, "areole", _areole_async, is_async=True),
    SharedContender("aiocache", TASKS, "aiocache", _aiocache, is_async=True),
    SharedContender("cashews", TASKS, "cashews", _cashews, is_async=True),
    SharedContender("diskcache", SQLITE, "diskcache", _diskcache),
    SharedContender("areole json", SQLITE, "areole", _areole(_sqlite)),
    SharedContender("areole bare json", SQLITE, "areole", _areole(_sqlite, envelope=False)),
]
