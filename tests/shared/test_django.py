"""DjangoBackend: what is its own; what all backends promise is in `test_backends`, over four of Django's caches."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import pytest

from areole import CACHE_MISS, SharedCache
from areole.backends import DjangoBackend, InExecutor
from areole.backends import django as django_backend
from areole.errors import BackendError, BackendTimeout, SettingsError

from ..kit import run, run_python, run_threads
from . import django_caches
from .turns import SteppedCache, orders, run_in_order

LEASE = 60.0


@pytest.fixture
def alias() -> Iterator[str]:
    """Give the name of an empty cache in memory."""
    yield django_caches.add_cache("locmem.LocMemCache", "", OPTIONS={"MAX_ENTRIES": 100_000})
    django_caches.close_all()


@pytest.fixture
def cache(alias: str) -> Any:
    from django.core.cache import caches

    return caches[alias]


# ---- every order of the steps of Django's cache

CHANGES: dict[str, Callable[[DjangoBackend, int], object]] = {
    "kill": lambda backend, version: backend.kill("k"),
    "delete": lambda backend, version: backend.delete("k"),
    "set": lambda backend, version: backend.set("k", b"%d" % version, LEASE),
    "set_many": lambda backend, version: backend.set_many({"k": b"%d" % version}),
    "add-after-kill": lambda backend, version: (backend.kill("k"), backend.set("k", b"%d" % version, None, True)),
}
every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))


def some(every: Iterator[list[int]], stride: int) -> Iterator[list[int]]:
    """Yield one in `stride` of these orders, or all of them: set AREOLE_EXAMPLES."""
    return islice(every, None, None, 1 if os.environ.get("AREOLE_EXAMPLES") else stride)


class Oracle:
    """A source, what fills read of it, and the oldest version that a lookup may still give."""

    def __init__(self, cache: Any, change: Callable[[DjangoBackend, int], object]) -> None:
        self.backend = DjangoBackend(SteppedCache(cache))
        self.change = change
        self.source = self.oldest = 0

    def look(self) -> None:
        oldest = self.oldest
        found = self.backend.get("k")
        assert found is None or int(found) >= oldest, f"{found!r} is older than {oldest}"

    def fill(self, seen: bytes | None = None) -> None:
        oldest = self.oldest
        value, token = self.backend.take("k", b"token", LEASE, seen)
        if token is None:
            assert value is not None
            assert int(value) >= oldest, f"take gave {value!r}, older than {oldest}"
            return
        self.backend.store_if_mine("k", b"%d" % self.source, token, LEASE)

    def write(self) -> None:
        self.source += 1
        version = self.source
        self.change(self.backend, version)
        self.oldest = max(self.oldest, version)

    def reset(self) -> None:
        self.source = self.oldest = 0
        self.backend.kill("k")


@every_change
@pytest.mark.parametrize("seen", [None, b"0"], ids=["missing", "seen"])
def test_no_order_of_steps_leaves_a_stale_value(cache: Any, change: Any, seen: bytes | None) -> None:
    """A fill of what is missing, or was seen, against a change: at every step of the engine the other may come."""
    oracle = Oracle(cache, change)
    for order in some(orders(11, 5), 7):
        oracle.reset()
        if seen is not None:
            oracle.backend.set("k", seen)
        run_in_order([lambda: oracle.fill(seen), oracle.write], order)
        oracle.look()
        oracle.fill()
        oracle.look()


@every_change
def test_no_random_order_of_three_callers_leaves_a_stale_value(cache: Any, change: Any) -> None:
    chosen = random.Random(7)
    oracle = Oracle(cache, change)

    def read() -> None:
        oracle.fill()
        oracle.look()

    def write() -> None:  # one after the other: two at the same time may end in any order, over any backend
        oracle.write()
        oracle.write()

    for _ in range(400):
        oracle.reset()
        order = [0] * 30 + [1] * 30 + [2] * 20
        chosen.shuffle(order)
        run_in_order([read, read, write], order)
        oracle.look()


@every_change
def test_no_take_brings_back_what_a_fill_needs_that_is_about_to_store(cache: Any, change: Any) -> None:
    chosen = random.Random(7)
    oracle = Oracle(cache, change)
    for _ in range(1000):
        oracle.reset()
        oracle.backend.take("k", b"token", LEASE)
        order = [0] * 5 + [1] * 6 + [2] * 5
        chosen.shuffle(order)
        store = partial(oracle.backend.store_if_mine, "k", b"0", b"token")
        run_in_order([store, partial(oracle.backend.take, "k", b"other", LEASE), oracle.write], order)
        oracle.look()


def test_no_fill_replaces_what_was_set_during_it(cache: Any) -> None:
    backend = DjangoBackend(SteppedCache(cache))
    events: list[str] = []

    def fill() -> None:
        _, token = backend.take("k", b"token", LEASE)
        events.append("taken")
        if token is not None:
            backend.store_if_mine("k", b"filled", token)

    def change() -> None:
        backend.set("k", b"set")
        events.append("set")

    kept = 0
    for order in orders(11, 3):
        backend.kill("k")
        events.clear()
        run_in_order([fill, change], order)
        found = backend.get("k")
        assert found in (None, b"set"), order
        kept += found is not None
    assert kept > 200, "few are lost"


def test_of_two_that_store_only_if_absent_one_does(cache: Any) -> None:
    backend = DjangoBackend(SteppedCache(cache))
    for order in some(orders(9, 9), 101):
        stored: list[str] = []

        def add(name: str, stored: list[str] = stored) -> None:
            if backend.set("k", name.encode(), only_if_absent=True):
                stored.append(name)

        backend.kill("k")
        run_in_order([lambda: add("a"), lambda: add("b")], order)
        assert len(stored) == 1, order
        assert backend.get("k") == stored[0].encode(), order


def test_a_stamp_that_is_prolonged_after_its_removal_does_not_come_back(cache: Any) -> None:
    backend = DjangoBackend(SteppedCache(cache))
    for order in some(orders(6, 5), 3):
        backend.kill("k")
        backend.take("k", b"token", LEASE)
        backend.store_if_mine("k", b"old", b"token")
        run_in_order([lambda: backend.expire("k", LEASE), lambda: backend.kill("k")], order)
        assert backend.get("k") is None, order


# ---- what is lost is missed


@pytest.mark.parametrize("lost", ["s:k", "v:k"])
def test_a_record_that_was_evicted_is_a_miss(cache: Any, lost: str) -> None:
    backend = DjangoBackend(cache)
    backend.set("k", b"v")
    cache.delete(lost)
    assert backend.get("k") is None
    assert backend.ttl_of("k") is CACHE_MISS
    assert backend.take("k", b"one", LEASE) == (None, b"one")
    assert backend.store_if_mine("k", b"new", b"one") is True
    assert backend.get("k") == b"new"


@pytest.mark.parametrize("lost", ["s:k", "t:k"])
def test_a_fill_whose_token_was_evicted_does_not_store(cache: Any, lost: str) -> None:
    backend = DjangoBackend(cache)
    backend.take("k", b"one", LEASE)
    cache.delete(lost)
    assert backend.renew("k", b"one", LEASE) is False
    assert backend.store_if_mine("k", b"v", b"one") is False
    assert backend.get("k") is None


@pytest.mark.parametrize("junk", [None, 7, "text", b"", b"short", b"x" * 24, [1]])
def test_what_others_have_written_is_a_miss(cache: Any, junk: Any) -> None:
    backend = DjangoBackend(cache)
    backend.set("k", b"v")
    cache.set("v:k", junk)
    assert backend.get("k") is None
    assert backend.kill("k") is None


def test_what_is_killed_leaves_no_record(cache: Any) -> None:
    backend = DjangoBackend(cache)
    for number in range(20):
        backend.take(f"k{number}", b"one", LEASE)
        backend.store_if_mine(f"k{number}", b"v", b"one")
    assert len(cache._cache) == 40, "a value, and its stamp"
    backend.kill_many([f"k{number}" for number in range(20)])
    assert not cache._cache


def test_a_cache_that_drops_a_large_value_says_so() -> None:
    class Small:
        def __init__(self) -> None:
            self.records: dict[str, Any] = {}

        def set_many(self, items: dict[str, Any], timeout: Any) -> list[str]:
            lost = [name for name, value in items.items() if len(value) > 100]
            self.records.update({name: value for name, value in items.items() if name not in lost})
            return lost

        def delete(self, name: str) -> None:
            self.records.pop(name, None)

        def get_many(self, names: list[str]) -> dict[str, Any]:
            return {name: self.records[name] for name in names if name in self.records}

        touch = None

    backend = DjangoBackend(Small())
    assert backend.set("k", b"small") is True
    assert backend.set("k", b"x" * 200) is False
    assert backend.get("k") is None, "the old value is gone too"


# ---- time


class Recorder:
    """Notes the timeouts with which records are written."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self.timeouts: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def set(self, key: str, value: Any, timeout: Any) -> Any:
        self.timeouts[key] = timeout
        return self._cache.set(key, value, timeout)

    def add(self, key: str, value: Any, timeout: Any) -> Any:
        self.timeouts[key] = timeout
        return self._cache.add(key, value, timeout)

    def touch(self, key: str, timeout: Any) -> Any:
        self.timeouts[key] = timeout
        return self._cache.touch(key, timeout)

    def set_many(self, items: dict[str, Any], timeout: Any) -> Any:
        self.timeouts |= dict.fromkeys(items, timeout)
        return self._cache.set_many(items, timeout)


def test_for_ever_is_for_ever(cache: Any) -> None:
    recorder = Recorder(cache)
    backend = DjangoBackend(recorder)
    backend.set("a", b"v")
    backend.set_many({"b": b"v"})
    backend.take("c", b"one", LEASE)
    backend.store_if_mine("c", b"v", b"one")
    backend.set("d", b"v", 5)
    backend.expire("d", None)
    records = {name: timeout for name, timeout in recorder.timeouts.items() if name[0] in "sv"}
    assert records == {f"{kind}:{key}": None for kind in "sv" for key in "abcd"}


@pytest.mark.parametrize(
    ("ttl", "timeout"), [(1e-9, 2), (0.5, 2), (1, 2), (1.5, 3), (3600, 3601), (1e8, 100_000_001), (1e12, None)]
)
def test_an_engine_gets_whole_seconds_and_never_too_few(cache: Any, ttl: float, timeout: int | None) -> None:
    recorder = Recorder(cache)
    backend = DjangoBackend(recorder)
    backend.set("k", b"v", ttl)
    assert recorder.timeouts == {"v:k": timeout, "s:k": timeout}


def test_a_stamp_lives_as_long_as_what_stands_under_it(cache: Any) -> None:
    recorder = Recorder(cache)
    backend = DjangoBackend(recorder)
    backend.set("k", b"v", 1000)
    backend.take("k", b"one", 10, b"v")
    assert recorder.timeouts["s:k"] in (1000, 1001), "the value that was seen is there still"
    backend.renew("k", b"one", 2000)
    assert recorder.timeouts["s:k"] == recorder.timeouts["t:k"] == 2001
    backend.store_if_mine("k", b"new", b"one", 50)
    assert recorder.timeouts["s:k"] == 51


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_a_clock_that_is_wrong_changes_no_hit(cache: Any, monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    """Another process's clock is an hour off: what it has written is a hit here, and the other way round."""
    here = time.time

    def set_clock(by: float) -> None:
        from areole.backends import django_records

        for module in (django_backend, django_records):
            monkeypatch.setattr(module, "time", type("Clock", (), {"time": staticmethod(lambda: here() + by)}))

    backend = DjangoBackend(cache)
    backend.set("k", b"v", 60)
    set_clock(skew)
    assert backend.get("k") == b"v"
    backend.set("other", b"v", 60)
    backend.take("filled", b"one", LEASE)
    set_clock(0)
    assert backend.get("other") == b"v"
    assert backend.store_if_mine("filled", b"v", b"one", 60) is True


# ---- settings


def test_names_of_records_are_what_every_cache_takes(cache: Any) -> None:
    keys = ["k", "a key", "é", "x\n", "", "#x", "y" * 200, "y" * 201, "\x7f"]
    backend = DjangoBackend(cache)
    backend.set_many({key: key.encode() for key in keys})
    assert backend.get_many(keys) == [key.encode() for key in keys]
    names = [name.rpartition("prefix:1:")[2] for name in cache._cache]
    assert len(names) == 2 * len(keys)
    assert all(name.isascii() and name.isprintable() and " " not in name and len(name) <= 202 for name in names)
    assert {"v:k", "s:k", "v:" + "y" * 200} <= set(names)


def test_a_cache_object_or_djangos_own_proxy_may_be_given(cache: Any) -> None:
    from django.core.cache import cache as proxy

    given = DjangoBackend(cache)
    given.set("k", b"v")
    assert cache.get("v:k").endswith(b"v")
    default = DjangoBackend(proxy)
    default.set("of-proxy", b"v")
    assert DjangoBackend().get("of-proxy") == b"v"
    default.kill("of-proxy")
    given.close()
    assert cache.get("v:k") is not None, "it is its owner's"


@pytest.mark.parametrize("wrong", [None, 7, {}, object()])
def test_what_is_no_cache_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="DjangoBackend: cache must be a name in CACHES or a cache of Django's, not"):
        DjangoBackend(wrong)


def test_an_unknown_name_says_which_there_are(alias: str) -> None:
    with pytest.raises(SettingsError, match="CACHES has no 'nowhere'; it has 'default'"):
        DjangoBackend("nowhere").get("k")


def test_a_cache_class_that_is_missing_is_a_settings_error() -> None:
    name = django_caches.add_cache("nowhere.Cache", "")
    with pytest.raises(SettingsError, match=r"CACHES\['cache[0-9]+'\] cannot be used"):
        DjangoBackend(name).get("k")


def test_a_cache_that_reads_from_replicas_is_refused() -> None:
    pytest.importorskip("redis")
    name = django_caches.add_cache("redis.RedisCache", "redis://127.0.0.1:1,redis://127.0.0.1:2")
    with pytest.raises(SettingsError, match="reads from replicas"):
        DjangoBackend(name).get("k")
    from django.core.cache import caches

    with pytest.raises(SettingsError, match="reads from replicas"):
        DjangoBackend(caches[name])


def test_settings_that_are_not_configured_are_said() -> None:
    pytest.importorskip("django")
    out = run_python(
        """
        from areole import errors
        from areole.backends import DjangoBackend

        backend = DjangoBackend()  # may be made before the settings are
        try:
            backend.get("k")
        except errors.SettingsError as error:
            print(error)
        from django.conf import settings
        settings.configure(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})
        backend.set("k", b"v")
        print(backend.get("k"))
        """,
        without="DJANGO_SETTINGS_MODULE",
    )
    assert "DJANGO_SETTINGS_MODULE" in out
    assert out.endswith("b'v'\n")


def test_where_django_is_missing_the_error_says_what_to_install() -> None:
    out = run_python(
        """
        import sys
        sys.modules["django"] = None
        from areole.backends import DjangoBackend, backend_from_url

        for make in (DjangoBackend, lambda: backend_from_url("django://default")):
            try:
                make()
            except ImportError as error:
                print(error)
        """
    )
    assert out.count("pip install 'areole[django]'") == 2


# ---- errors


class Broken:
    touch = None

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def get_many(self, keys: list[str]) -> Any:
        raise self.error


class RedisTimeoutError(Exception):
    pass


RedisTimeoutError.__name__ = "TimeoutError"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("refused"), BackendError),
        (RuntimeError("odd"), BackendError),
        (TimeoutError("slow"), BackendTimeout),
        (RedisTimeoutError("slow"), BackendTimeout),
    ],
)
def test_what_the_cache_raises_is_chained(error: Exception, kind: type[BackendError]) -> None:
    django_caches.configure()
    with pytest.raises(BackendError, match="DjangoBackend: get_many of Broken raised") as caught:
        DjangoBackend(Broken(error)).get("k")
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


def test_an_interrupt_is_no_backend_error() -> None:
    django_caches.configure()
    with pytest.raises(KeyboardInterrupt):
        DjangoBackend(Broken(KeyboardInterrupt())).get("k")


def test_a_server_that_is_not_there_is_a_backend_error() -> None:
    pytest.importorskip("redis")
    name = django_caches.add_cache("redis.RedisCache", "redis://:s3cr3t@127.0.0.1:1")
    with pytest.raises(BackendError, match="raised ConnectionError") as caught:
        DjangoBackend(name).set("k", b"v")
    assert "s3cr3t" not in str(caught.value)


# ---- threads, loops, forks


def test_each_thread_has_one_cache_of_its_own(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.cache import caches

    made: list[str] = []
    create = caches.create_connection

    def count(name: str) -> Any:
        made.append(name)
        return create(name)

    monkeypatch.setattr(caches, "create_connection", count)
    backend = DjangoBackend(alias)

    def use() -> None:
        for _ in range(5):
            backend.set("k", b"v")
            assert backend.get("k") == b"v"

    use()
    run_threads(use, use)
    assert len(made) == 3
    made.clear()

    with ThreadPoolExecutor(1) as executor:

        async def main() -> None:
            for _ in range(5):
                await InExecutor(backend, executor).get("k")

        run(main)
    assert len(made) == 1, "whatever the context of its calls"


def test_an_executors_thread_leaves_no_database_connection_open() -> None:
    table = django_caches.create_table()
    backend = DjangoBackend(django_caches.add_cache("db.DatabaseCache", table))
    open_ones: list[bool] = []
    executor = ThreadPoolExecutor(1)

    def look() -> None:
        from django.db import connections

        open_ones.append(connections["default"].connection is not None)

    async def main() -> None:
        await InExecutor(backend, executor).set("k", b"v")
        await asyncio.get_running_loop().run_in_executor(executor, look)

    run(main)
    executor.shutdown()
    assert open_ones == [False]


def test_the_child_of_a_fork_has_a_cache_of_its_own() -> None:
    pytest.importorskip("django")
    run_python(
        """
        import os
        from areole.backends import DjangoBackend
        from django.conf import settings

        settings.configure(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})
        backend = DjangoBackend()
        backend.set("k", b"v")
        before = backend._cache()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if backend._cache() is not before and backend.get("k") == b"v" else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert backend._cache() is before
        """
    )


def test_a_shared_cache_over_django(alias: str) -> None:
    cache: SharedCache[Any] = SharedCache(DjangoBackend(alias), namespace="test-django")
    fills: list[str] = []

    def fill(key: str) -> list[int]:
        fills.append(key)
        return [1, 2]

    assert cache.get_or_fill("k", fill, ttl=60) == [1, 2]
    assert cache.get_or_fill("k", fill) == [1, 2]
    assert fills == ["k"]
    cache.set("other", "v", ttl=60)
    assert cache.get_many(["other", "k"]) == {"other": "v", "k": [1, 2]}
    assert 0 < cache.ttl_of("other") <= 60
    cache.clear()
    assert cache.get("k") is None

    async def main() -> None:
        await cache.aio.set("k", 7)
        assert await cache.aio.get("k") == 7

    run(main)
    assert cache["k"] == 7
    cache.close()
