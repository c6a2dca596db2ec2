"""What other processes do for `benchmarks.tiers`: keep a value until they hear that it was changed; ask for a cold key.

A contender is a class that is made with a URL, in each process; its methods are called there.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

from .tier_contenders import cashews, redis_py_cached

__all__ = ["ASKERS", "KEEPERS", "Askers", "Keeper", "ask_cold_keys", "keep", "only_possible"]

KEY: Final = "k"
POLL: Final = 20e-6
"""Seconds between two looks of a thread; the system makes some 80 microseconds of it."""

WARM: Final = 0.5
"""Seconds that a process reads before anything is measured: it connects, and begins to listen."""

TAKES: Final = 0.05
"""Seconds that a fill takes, so that all ask before it has ended."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps a number in each process. `make(url)` returns `write(number)`, and `read_until(number)` for others."""

    name: str
    make: Callable[[str], tuple[Callable[[int], object], Callable[[int], object]]]
    store: str = "redis"
    needs: str = "redis"


@dataclass(frozen=True, slots=True)
class Askers:
    """Asks for a key from so many threads, or tasks, of one process. `make(url, fill)` returns ask_all(key, number)."""

    name: str
    make: Callable[[str, Callable[[str], Any]], Callable[[str, int], object]]
    needs: str = "redis"
    fills: int | None = None
    """How many fills there are to be, of all processes together, if there is a bound."""


def _named(contenders: list[Any], name: str) -> Any:
    return next(each for each in contenders if each.name == name)


def only_possible(contenders: list[Any]) -> list[Any]:
    """Leave out what is not installed, and say so."""
    missing = [each for each in contenders if find_spec(each.needs.partition(".")[0]) is None]
    for each in missing:
        print(f"SKIPPED: {each.name}: {each.needs} is not installed")
    return [each for each in contenders if each not in missing]


# ---- a value that is changed elsewhere


def keep(pipe: Connection, name: str, url: str) -> None:
    """Read each number that is asked for, until it comes; say when that was. What was read is kept here before."""
    _, read_until = _named(KEEPERS, name).make(url)
    ends = time.monotonic() + WARM
    while time.monotonic() < ends:
        read_until(0)
        time.sleep(0.01)
    pipe.send(None)
    while (number := pipe.recv()) is not None:
        read_until(number - 1)
        read_until(number - 1)  # now it is kept
        pipe.send(None)
        read_until(number)
        pipe.send(time.monotonic())


def _keep_in_tier(url: str) -> tuple[Callable[[int], object], Callable[[int], object]]:
    from areole import AtomicCache, SharedCache

    shared: Any = SharedCache(url, namespace="b", timeout=5)
    cache: Any = AtomicCache(lambda key: 0, shared=shared)
    return partial(shared.set, KEY), partial(_read_until, partial(cache.__getitem__, KEY))


def _keep_in_redis_py(url: str) -> tuple[Callable[[int], object], Callable[[int], object]]:
    import redis

    writer: Any = redis.Redis.from_url(url)
    reader: Any = redis_py_cached(url)
    return partial(writer.set, KEY), partial(_read_until, lambda: int(reader.get(KEY)))


def _read_until(read: Callable[[], int], number: int) -> None:
    while read() < number:
        time.sleep(POLL)


def _keep_in_cashews(url: str) -> tuple[Callable[[int], object], Callable[[int], object]]:
    cache = cashews(url, client_side=True)
    runner = asyncio.Runner()

    async def read_until(number: int) -> None:
        while await cache.get(KEY) < number:
            await asyncio.sleep(0)

    return lambda number: runner.run(cache.set(KEY, number)), lambda number: runner.run(read_until(number))


KEEPERS: Final = [
    Keeper("areole over Redis", _keep_in_tier),
    Keeper("areole over SQLite", _keep_in_tier, store="sqlite", needs="areole"),
    Keeper("redis-py, cache_config", _keep_in_redis_py),
    Keeper("cashews, client side", _keep_in_cashews, needs="cashews"),
]


# ---- a cold key, for which all ask at once


def ask_cold_keys(
    pipe: Connection, name: str, url: str, folder: str, rounds: int, number: int, barrier: Barrier
) -> None:
    """Ask for one cold key a round, together with the other processes; send the seconds that each has taken.

    A fill adds a byte to a file that has the name of its key.
    """

    def fill(key: str) -> str:
        with (Path(folder) / key).open("ab", buffering=0) as file:
            file.write(b".")
        return "value of " + key

    ask_all = _named(ASKERS, name).make(url, fill)
    taken = []
    for each in range(-1, rounds):  # the first one connects
        barrier.wait()
        begin = time.monotonic()
        ask_all(f"cold{each}", number)
        taken.append(time.monotonic() - begin)
    pipe.send(taken[1:])


def _by_threads(ask: Callable[[str], object]) -> Callable[[str, int], object]:
    pool: Any = ThreadPoolExecutor(64)

    def ask_all(key: str, number: int) -> None:
        together = threading.Barrier(number)

        def one(_: int) -> None:
            together.wait()
            if ask(key) is None:
                raise LookupError(f"no value of {key}")

        list(pool.map(one, range(number)))

    return ask_all


def _by_tasks(ask: Callable[[str], Awaitable[object]]) -> Callable[[str, int], object]:
    runner = asyncio.Runner()

    async def ask_them(key: str, number: int) -> None:
        if None in await asyncio.gather(*[ask(key) for _ in range(number)]):
            raise LookupError(f"no value of {key}")

    return lambda key, number: runner.run(ask_them(key, number))


def _slow(fill: Callable[[str], Any]) -> Callable[[str], Any]:
    def slow(key: str) -> Any:
        value = fill(key)
        time.sleep(TAKES)
        return value

    return slow


def _slow_async(fill: Callable[[str], Any]) -> Callable[[str], Awaitable[Any]]:
    async def slow(key: str) -> Any:
        value = fill(key)
        await asyncio.sleep(TAKES)
        return value

    return slow


def _ask_shared(wait: float | None) -> Callable[[str, Callable[[str], Any]], Callable[[str, int], object]]:
    def make(url: str, fill: Callable[[str], Any]) -> Callable[[str, int], object]:
        from areole import SharedCache

        shared: Any = SharedCache(url, namespace="b", ttl=60, timeout=5)
        slow = _slow(fill)
        return _by_threads(lambda key: shared.get_or_fill(key, slow, wait=wait))

    return make


def _ask_tier(url: str, fill: Callable[[str], Any]) -> Callable[[str, int], object]:
    from areole import AtomicCache, SharedCache

    cache: Any = AtomicCache(_slow(fill), shared=SharedCache(url, namespace="b", ttl=60, timeout=5))
    return _by_threads(cache.__getitem__)


def _ask_redis_py(url: str, fill: Callable[[str], Any]) -> Callable[[str, int], object]:
    import redis

    client: Any = redis.Redis.from_url(url)
    slow = _slow(fill)

    def ask(key: str) -> Any:
        found = client.get(key)
        if found is None:
            client.set(key, json.dumps(found := slow(key)), px=60_000)
        return found

    return _by_threads(ask)


def _ask_dogpile(url: str, fill: Callable[[str], Any]) -> Callable[[str, int], object]:
    from dogpile.cache import make_region

    region: Any = make_region()
    arguments = {"url": url, "distributed_lock": True, "thread_local_lock": False, "lock_timeout": 10}
    region.configure("dogpile.cache.redis", expiration_time=60, arguments=arguments)
    slow = _slow(fill)
    return _by_threads(lambda key: region.get_or_create(key, slow, creator_args=((key,), {})))


def _ask_cashews(url: str, fill: Callable[[str], Any]) -> Callable[[str, int], object]:
    cache = cashews(url, client_side=False)
    return _by_tasks(cache(ttl=60, key="{key}", lock=True)(_slow_async(fill)))


def _ask_aiocache(url: str, fill: Callable[[str], Any]) -> Callable[[str, int], object]:
    import redis.asyncio
    from aiocache.backends.redis import RedisCache
    from aiocache.lock import RedLock
    from aiocache.serializers import JsonSerializer

    cache: Any = RedisCache(serializer=JsonSerializer(), timeout=5)
    cache.client = redis.asyncio.Redis.from_url(url)
    slow = _slow_async(fill)

    async def ask(key: str) -> Any:
        """Do what its `cached_stampede` does."""
        if (found := await cache.get(key)) is not None:
            return found
        async with RedLock(cache, key, 2):
            if (found := await cache.get(key)) is not None:
                return found
            found = await slow(key)
            await cache.set(key, found, ttl=60)
            return found

    return _by_tasks(ask)


ASKERS: Final = [
    Askers("areole, get_or_fill(wait=5)", _ask_shared(5.0), fills=1),
    Askers("areole, get_or_fill", _ask_shared(None)),
    Askers("areole, cache[k], shared=", _ask_tier),
    Askers("redis-py, GET and SET", _ask_redis_py),
    Askers("dogpile.cache, distributed lock", _ask_dogpile, needs="dogpile.cache"),
    Askers("cashews, lock=True", _ask_cashews, needs="cashews"),
    Askers("aiocache, RedLock", _ask_aiocache, needs="aiocache"),
]
