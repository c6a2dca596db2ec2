"""The features of other libraries, row by row: docs/moving.md says of each what areole does, and here it is shown.

A test is named by its rows: C are those of cachetory, D of purecache, E of grelmicro. It runs over MemoryBackend,
unless the row is about another engine.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import areole
from areole import CACHE_MISS, AreoleError, CacheInfo, SharedCache, cached
from areole.backends import (
    AsyncBackend,
    Backend,
    BaseBackend,
    MemoryBackend,
    NullBackend,
    backend_from_url,
    set_default_backend,
)
from areole.errors import CacheClosedError, SerializationError, SettingsError
from areole.serializers import serializer_from_url
from areole.testing import ManualClock

from ..kit import run_threads
from . import django_caches


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def backend(clock: ManualClock) -> MemoryBackend:
    return MemoryBackend(clock=clock)


@pytest.fixture
def shop(backend: MemoryBackend) -> Iterator[SharedCache[Any]]:
    with SharedCache(backend, namespace="shop") as cache:
        yield cache


def names_in(backend: MemoryBackend) -> list[str]:
    return [key for key in backend._storage if ":#" not in key]


# ---- cachetory


def test_c1_a_cache_is_made_of_a_backend_a_serializer_and_a_prefix(backend: MemoryBackend) -> None:
    with SharedCache(backend, namespace="shop", serializer="json") as cache:
        cache.set("tea", {"price": 3})
        assert cache.get("tea") == {"price": 3}
        assert names_in(backend) == ["shop:v1:tea"]


def test_c2_the_namespace_is_before_every_key_of_every_operation(backend: MemoryBackend) -> None:
    ours, theirs = SharedCache(backend, namespace="ours"), SharedCache(backend, namespace="theirs")
    theirs.set_many({"a": 1, "b": 2})
    ours.set("a", 10)
    assert ours.get_many(["a", "b"]) == {"a": 10}
    assert not ours.delete("b") and not ours.expire_in("b", 5) and "b" not in ours
    assert ours.ttl_of("b") is CACHE_MISS
    assert ours.add("b", 20) and ours.delete_many(["a", "b"]) == 2
    ours.clear()
    assert theirs.get_many(["a", "b"]) == {"a": 1, "b": 2}
    assert {key.partition(":")[0] for key in backend._storage} <= {"ours", "theirs"}


def test_c3_with_closes_the_cache_and_the_backend_that_it_has_made(backend: MemoryBackend) -> None:
    with SharedCache("memory://", namespace="shop") as made, SharedCache(backend, namespace="shop") as given:
        made.set("tea", 1)
        given.set("tea", 1)
    for cache in (made, given):
        with pytest.raises(CacheClosedError):
            cache.get("tea")
    assert names_in(backend) == ["shop:v1:tea"] and backend.get("shop:v1:tea") is not None
    with pytest.raises(CacheClosedError):
        made._sync_backend.get("shop:v1:tea")


def test_c4_c9_c16_subscripts(shop: SharedCache[Any]) -> None:
    shop["tea"] = 1
    assert shop["tea"] == 1 and shop.ttl_of("tea") is None
    del shop["tea"]
    with pytest.raises(KeyError):
        shop["tea"]
    with pytest.raises(KeyError):
        del shop["tea"]


def test_c5_get_gives_none_or_the_default(shop: SharedCache[Any]) -> None:
    assert shop.get("tea") is None and shop.get("tea", 5) == 5
    shop["nothing"] = None
    assert shop.get("nothing", 5) is None


def test_c6_c7_get_many_takes_one_iterable_and_leaves_out_what_is_missing(shop: SharedCache[Any]) -> None:
    shop.set_many({"a": 1, "b": 2})
    assert list(shop.get_many(key for key in ("b", "x", "a")).items()) == [("b", 2), ("a", 1)]
    with pytest.raises(TypeError):
        shop.get_many("ab")
    with pytest.raises(TypeError):
        shop.get_many("a", "b")  # type: ignore[call-arg]


def test_c8_c40_a_ttl_of_none_is_for_ever(shop: SharedCache[Any], clock: ManualClock) -> None:
    shop.set("tea", 1, ttl=5)
    assert shop.expire_in("tea", None) and shop.ttl_of("tea") is None
    assert shop.expire_in("tea", timedelta(seconds=5)) and shop.ttl_of("tea") == pytest.approx(5)
    assert shop.expire_at("tea", None) and shop.ttl_of("tea") is None
    assert shop.expire_at("tea", datetime.now(UTC) + timedelta(hours=1))
    left = shop.ttl_of("tea")
    assert isinstance(left, float) and 3000 < left < 3700
    clock.advance(3700)
    assert "tea" not in shop and not shop.expire_in("tea", None) and not shop.expire_at("tea", None)


def test_c10_set_takes_seconds_or_a_timedelta(shop: SharedCache[Any], clock: ManualClock) -> None:
    shop.set("tea", 1, 5)
    shop.set("cake", 1, timedelta(seconds=5))
    shop.set("pie", 1, None)
    clock.advance(5)
    assert shop.get_many(["tea", "cake", "pie"]) == {"pie": 1}


def test_c11_c12_set_says_whether_it_stored(shop: SharedCache[Any]) -> None:
    assert shop.set("tea", 1, if_not_exists=True) is True
    assert shop.set("tea", 2, if_not_exists=True) is False
    assert shop.add("tea", 3) is False
    assert shop.get("tea") == 1
    assert shop.set("tea", 4) is True


def test_c13_c14_set_many_takes_a_mapping_or_pairs(shop: SharedCache[Any], clock: ManualClock) -> None:
    shop.set_many({"a": 1}, ttl=5)
    shop.set_many((key, ord(key)) for key in "bc")
    assert shop.get_many(["a", "b", "c"]) == {"a": 1, "b": 98, "c": 99}
    clock.advance(5)
    assert shop.get_many(["a", "b", "c"]) == {"b": 98, "c": 99}


def test_c15_c41_delete_says_what_it_removed(shop: SharedCache[Any]) -> None:
    shop.set_many({"a": 1, "b": 2, "c": 3})
    assert shop.delete("a") is True and shop.delete("a") is False
    assert shop.delete_many(["a", "b", "c"]) == 2


def test_c17_clear(shop: SharedCache[Any]) -> None:
    shop.set_many({"a": 1, "b": 2})
    shop.clear()
    assert shop.get_many(["a", "b"]) == {}


def test_c18_to_c24_every_operation_awaited(backend: MemoryBackend) -> None:
    shop = SharedCache(backend, namespace="shop")

    async def main() -> None:
        async with shop.aio as cache:
            assert await cache.get("tea") is None and await cache.get("tea", 5) == 5
            assert await cache.set("tea", 1, timedelta(seconds=60), if_not_exists=True) is True
            assert await cache.set("tea", 2, if_not_exists=True) is False
            await cache.set_many({"a": 1})
            await cache.set_many([("b", 2)])
            assert await cache.get_many(["b", "x", "tea"]) == {"b": 2, "tea": 1}
            assert await cache.expire_in("tea", None) and await cache.ttl_of("tea") is None
            assert await cache.delete("tea") is True and await cache.delete("tea") is False
            await cache.clear()
            assert await cache.get_many(["a", "b"]) == {}

    asyncio.run(main())
    shop.set("tea", 1)  # leaving `async with` closes what belongs to that loop
    assert shop.get("tea") == 1
    shop.close()


class CountingExecutor(ThreadPoolExecutor):
    calls = 0

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        return super().submit(*args, **kwargs)


def test_c25_large_values_are_coded_in_the_executor_if_there_is_one(backend: MemoryBackend) -> None:
    async def use(cache: SharedCache[Any]) -> None:
        asyncio.get_running_loop().set_default_executor(of_loop)
        await cache.aio.set("large", ["x" * 100] * 10_000)
        assert len(await cache.aio.get("large")) == 10_000

    of_loop = CountingExecutor(1)
    with CountingExecutor(1) as executor:
        asyncio.run(use(SharedCache(backend, namespace="shop", executor=executor)))
        assert (executor.calls, of_loop.calls) == (2, 0)
        of_loop = CountingExecutor(1)  # the other one has ended with its loop
        asyncio.run(use(SharedCache(backend, namespace="other")))
        assert (executor.calls, of_loop.calls) == (2, 0)
        of_loop = CountingExecutor(1)
        asyncio.run(use(SharedCache(backend, namespace="third", executor=None)))
        assert (executor.calls, of_loop.calls) == (2, 2)


class Reversed:
    """A serializer as cachetory has them."""

    def serialize(self, value: str) -> bytes:
        return value[::-1].encode()

    def deserialize(self, data: bytes) -> str:
        return data.decode()[::-1]


def test_c26_a_serializer_is_an_object_or_a_pair_of_callables(backend: MemoryBackend) -> None:
    with SharedCache(backend, namespace="shop", serializer=Reversed(), envelope=False) as cache:
        cache.set("tea", "abc")
        assert cache.get("tea") == "abc" and backend.get("shop:tea") == b"cba"
    with SharedCache(MemoryBackend(), namespace="shop", serializer=(str.encode, bytes.decode)) as cache:
        cache.set("tea", "abc")
        assert cache.get("tea") == "abc"


class Minimal(BaseBackend):
    """The least that anybody's backend needs, over a dict, for one thread."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.tokens: dict[str, bytes] = {}

    def get(self, key: str, /) -> bytes | None:
        return self.values.get(key)

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        if only_if_absent and key in self.values:
            return False
        self.tokens.pop(key, None)
        self.values[key] = value
        return True

    def kill(self, key: str, /) -> bytes | None:
        self.tokens.pop(key, None)
        return self.values.pop(key, None)

    def expire(self, key: str, ttl: float | None, /) -> bool:
        return key in self.values

    def ttl_of(self, key: str, /) -> Any:
        return None if key in self.values else CACHE_MISS

    def clear(self, prefix: str, /) -> None:
        for key in [key for key in self.values if key.startswith(prefix)]:
            self.kill(key)

    def take(self, key: str, token: bytes, lease: float, seen: bytes | None = None, /) -> Any:
        value = self.values.get(key)
        return (value, None) if value not in (None, seen) else (None, self.tokens.setdefault(key, token))

    def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        return self.tokens.get(key) == token

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        if self.tokens.get(key) != token:
            return False
        self.kill(key)
        return value is None or self.set(key, value, ttl)


def test_c27_e1_anybodys_backend() -> None:
    backend = Minimal()
    assert isinstance(backend, Backend)
    with SharedCache(backend, namespace="shop") as cache:
        assert cache.get_or_fill("tea", lambda key: [key, 3]) == ["tea", 3]
        assert cache.get("tea") == ["tea", 3] and cache.delete("tea")
        assert asyncio.run(cache.aio.get_or_fill("tea", lambda key: [key, 4])) == ["tea", 4]
        cache.clear()
        assert cache.get("tea") is None


@pytest.mark.parametrize(
    ("url", "kind"),
    [("memory://", "MemoryBackend"), ("null://", "NullBackend"), ("dummy://", "NullBackend")],
)
def test_c28_c31_urls_of_backends_without_a_server(url: str, kind: str) -> None:
    with backend_from_url(url) as backend:
        assert type(backend).__name__ == kind


@pytest.mark.parametrize(
    "url",
    ["redis://localhost:1/0", "rediss://localhost:1", "redis+unix:///nowhere/redis.sock", "unix:///nowhere/a.sock"],
)
def test_c29_e36_urls_of_redis_connect_when_used(url: str) -> None:
    pytest.importorskip("redis")
    with backend_from_url(url) as backend:
        assert type(backend).__name__ == "RedisBackend"


def test_c30_djangos_caches_where_an_eternal_value_is_eternal() -> None:
    pytest.importorskip("django")
    django_caches.configure()
    name = django_caches.add_cache("locmem.LocMemCache", "c30", TIMEOUT=0)
    try:
        with SharedCache(f"django://{name}", namespace="shop") as cache:
            cache["tea"] = 1
            assert cache["tea"] == 1 and cache.ttl_of("tea") is None
    finally:
        django_caches.close_all()


def test_c31_null_stores_nothing() -> None:
    with SharedCache(NullBackend(), namespace="shop") as cache:
        cache.set("tea", 1)
        assert cache.get("tea") is None and cache.get_or_fill("tea", lambda key: 2) == 2


@pytest.mark.parametrize("url", ["json", "noop", "json+zlib", "json+zlib://?compression-level=3"])
def test_c32_urls_of_serializers(url: str) -> None:
    serializer = serializer_from_url(url)
    value = b"bytes" * 500 if url == "noop" else ["text" * 500]
    assert serializer.loads(serializer.dumps(value)) == value


def test_c32_unsigned_pickle_is_for_memory_alone(backend: MemoryBackend) -> None:
    with SharedCache(backend, namespace="shop", serializer="pickle") as cache:
        cache.set("tea", {1, 2})
        assert cache.get("tea") == {1, 2}
    with pytest.raises(ValueError):
        SharedCache(Minimal(), namespace="shop", serializer="pickle")


def test_c33_c39_the_key_that_a_function_gets_is_the_key_in_the_store(shop: SharedCache[Any]) -> None:
    @cached(shop, key=lambda user_id: f"user:{user_id}")
    def user(user_id: int) -> list[int]:
        return [user_id]

    @cached(shop, key="card:{user_id}")
    def card(user_id: int) -> list[int]:
        return [user_id]

    user(7), card(user_id=8)
    assert shop.get("user:7") == [7] and shop.get("card:8") == [8]
    assert user.cache_key(7) == "user:7" and card.cache_key(8) == "card:8"


def test_c34_a_cache_is_chosen_for_each_call(shop: SharedCache[Any]) -> None:
    chosen: list[Any] = [shop]
    calls = []

    @cached(lambda *args, **kwargs: chosen[0], key="k:{n}")
    def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    assert [double(1), double(1)] == [2, 2] and calls == [1]
    chosen[0] = None
    assert [double(1), double(1)] == [2, 2] and calls == [1, 1, 1]


def test_c35_a_ttl_by_key_and_result(shop: SharedCache[Any], clock: ManualClock) -> None:
    seen = []

    @cached(shop, key="k:{n}", ttl=lambda key, result: seen.append((key, result)) or 10 * result)
    def same(n: int) -> int:
        return n

    same(1), same(2)
    assert seen == [("k:1", 1), ("k:2", 2)]
    clock.advance(10)
    assert shop.get_many(["k:1", "k:2"]) == {"k:2": 2}


def test_c36_e26_what_is_not_stored(shop: SharedCache[Any]) -> None:
    @cached(shop, key="k:{n}", exclude=lambda key, value: key == "k:1")
    def same(n: int) -> int:
        return n

    @cached(shop, key="s:{n}", skip=lambda result: result == 1)
    def also(n: int) -> int:
        return n

    assert [same(1), same(2), also(1), also(2)] == [1, 2, 1, 2]
    assert shop.get_many(["k:1", "k:2", "s:1", "s:2"]) == {"k:2": 2, "s:2": 2}


def test_c37_a_fill_never_overwrites_what_was_set_meanwhile(shop: SharedCache[Any]) -> None:
    @cached(shop, key="price")
    def price() -> int:
        shop.set("price", 12)
        return 10

    assert price() == 10 and shop.get("price") == 12


def test_c38_purge_is_invalidate(shop: SharedCache[Any]) -> None:
    @cached(shop, key="k:{n}")
    def same(n: int) -> int:
        return n

    same(1)
    assert same.purge(1) is True and same.purge(1) is False
    same(1)
    assert same.invalidate(1) is True and shop.get("k:1") is None


# ---- purecache


def test_d14_any_asynchronous_backend(backend: MemoryBackend) -> None:
    assert isinstance(backend.aio, AsyncBackend)
    shop = SharedCache(backend.aio, namespace="shop")

    @cached(shop, key="k:{n}")
    async def same(n: int) -> int:
        return n

    async def main() -> list[int]:
        return [await same(1), await same(1), await shop.aio.get("k:1")]

    assert asyncio.run(main()) == [1, 1, 1]


# ---- grelmicro


def test_e2_e3_one_base_class_of_errors() -> None:
    for name in areole.errors.__all__:
        assert issubclass(getattr(areole.errors, name), AreoleError)
    with pytest.raises(SettingsError):
        backend_from_url("nothing://here")


def test_e4_e5_e22_what_is_counted(shop: SharedCache[Any]) -> None:
    shop.get("tea")
    shop.set("tea", 1)
    shop.get("tea")
    info = shop.cache_info()
    assert (info.hits, info.misses, info.maxsize, info.evictions) == (1, 1, None, 0)
    assert set(CacheInfo._fields[:4]) | {"evictions"} <= set(type(info)._fields)


def test_e6_e14_e17_limits_and_ttls_are_checked(backend: MemoryBackend) -> None:
    for wrong in ({"max_items": 0}, {"max_items": -1}, {"ttl": -1}, {"ttl": 0}):
        with pytest.raises(ValueError):
            SharedCache(backend, namespace="shop", **wrong)  # type: ignore[arg-type]
    with SharedCache(backend, namespace="shop") as cache, pytest.raises(ValueError):
        cache.set("tea", 1, ttl=-1)


class Dumps:
    """A serializer as grelmicro has them."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


def test_e7_e8_e9_serializers_with_dumps_and_loads(backend: MemoryBackend) -> None:
    with SharedCache(backend, namespace="shop", serializer=Dumps()) as cache:
        cache.set("tea", {"price": 3})
        assert cache.get("tea") == {"price": 3}
    with SharedCache(MemoryBackend(), namespace="shop") as cache:
        for refused in ((1, 2), {1: 2}, {1}, b"bytes"):
            with pytest.raises(SerializationError, match=type(refused).__name__ + "|int"):
                cache.set("k", refused)


def test_e10_pydantic(backend: MemoryBackend) -> None:
    pytest.importorskip("pydantic")
    from areole.serializers import PydanticSerializer

    with SharedCache(backend, namespace="shop", serializer=PydanticSerializer(dict[int, datetime])) as cache:
        value = {7: datetime(2026, 11, 28, tzinfo=UTC)}
        cache.set("tea", value)
        assert cache.get("tea") == value


def test_e11_e19_the_least_recently_used_is_evicted_from_the_backend(backend: MemoryBackend) -> None:
    with SharedCache(backend, namespace="shop", max_items=2, ttl=60) as cache:
        cache.set("a", 1)
        cache.set("b", 2)
        assert cache.get("a") == 1  # and so b is the least recently used
        cache.set("c", 3)
        assert cache.get_many(["a", "b", "c"]) == {"a": 1, "c": 3}
        info = cache.cache_info()
        assert (info.maxsize, info.currsize, info.evictions) == (2, 2, 1)


def test_e12_the_registered_store_is_used_if_none_is_given(backend: MemoryBackend) -> None:
    set_default_backend(backend)
    try:
        SharedCache(namespace="shop").set("tea", 1)
    finally:
        set_default_backend(None)
    assert names_in(backend) == ["shop:v1:tea"]


def test_e13_a_cache_is_generic(backend: MemoryBackend) -> None:
    cache = SharedCache[dict[str, int]](backend, namespace="shop")
    cache.set("tea", {"price": 3})
    assert cache.get("tea") == {"price": 3}


def test_e15_e16_e20_e21_none_is_never_and_the_default_is_left_out(backend: MemoryBackend, clock: ManualClock) -> None:
    with SharedCache(backend, namespace="shop", ttl=5) as cache:
        cache.set("default", 1)
        cache.set("never", 1, None)
        clock.advance(5)
        assert cache.get("default") is None and cache.get("never") == 1


def test_e18_bytes_pass_through_and_nothing_else(backend: MemoryBackend) -> None:
    with SharedCache(backend, namespace="shop", serializer="noop", envelope=False) as cache:
        cache.set("tea", b"\0\xff")
        assert cache.get("tea") == b"\0\xff" == backend.get("shop:tea")
        with pytest.raises((TypeError, ValueError)):
            cache.set("tea", "text")


def test_e23_a_value_has_expired_exactly_at_its_end(shop: SharedCache[Any], clock: ManualClock) -> None:
    shop.set("tea", 1, ttl=5)
    clock.advance(4.99)
    assert shop.get("tea") == 1
    clock.advance(0.01)
    assert shop.get("tea") is None and "tea" not in shop


def test_e24_e33_def_and_async_def(shop: SharedCache[Any]) -> None:
    @cached(shop, key="plain:{n}")
    def plain(n: int) -> int:
        """Say it."""
        return n

    @cached(shop, key="later:{n}")
    async def later(n: int) -> int:
        return n

    assert plain(1) == 1 and asyncio.run(later(1)) == 1
    assert (plain.__name__, plain.__doc__) == ("plain", "Say it.")
    assert inspect.signature(plain) == inspect.signature(plain.__wrapped__)
    assert inspect.iscoroutinefunction(later)
    assert shop.get_many(["plain:1", "later:1"]) == {"plain:1": 1, "later:1": 1}


def fetch(n: Any, *rest: Any) -> str:
    return f"{type(n).__name__}{n}{rest}"


def test_e25_e34_a_key_is_made_of_the_values_of_the_arguments(shop: SharedCache[Any]) -> None:
    decorated = cached(shop)(fetch)
    assert decorated([1, 2]) == decorated([1, 2]) and shop.cache_info().fills == 1
    assert decorated("1") != decorated(1)
    assert decorated("a b", "c") != decorated("a", "b c")
    with pytest.raises(TypeError, match="object"):
        decorated(object())


def test_e27_typed(shop: SharedCache[Any]) -> None:
    typed, plain = cached(shop, typed=True)(fetch), cached(shop, key="{n}")(fetch)
    assert (typed(3), typed(3.0)) == ("int3()", "float3.0()")
    assert plain(3) == "int3()"


def test_e28_e29_one_call_per_key_and_other_keys_in_parallel(shop: SharedCache[Any]) -> None:
    calls = []
    both = threading.Barrier(2, timeout=20)

    @cached(shop, key="{n}")
    def slow(n: int) -> int:
        calls.append(n)
        both.wait()  # two keys at the same time, or this breaks
        return n

    run_threads(*[lambda n=n: slow(n) for n in (1, 1, 1, 2, 2, 2)])
    assert sorted(calls) == [1, 2]


def test_e30_a_lock_around_each_fill(shop: SharedCache[Any]) -> None:
    inside, most = 0, 0

    @contextmanager
    def one_at_a_time() -> Iterator[None]:
        yield

    lock = threading.Lock()

    @cached(shop, key="{n}", lock=lock)
    def slow(n: int) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        inside -= 1
        assert lock.locked()
        return n

    run_threads(*[lambda n=n: slow(n) for n in range(6)])
    assert most == 1 and not lock.locked()


def test_e31_e32_counters_and_clear_are_the_functions_own(shop: SharedCache[Any]) -> None:
    one, other = cached(shop, key="one:{n}")(fetch), cached(shop, key="other:{n}")(fetch)
    one(1), one(1), other(2)
    assert [one.cache_info()[:2], other.cache_info()[:2], shop.cache_info()[:2]] == [(1, 1), (0, 1), (1, 2)]
    one.cache_clear()
    assert shop.get_many(["one:1", "other:2"]) == {"other:2": "int2()"}
    assert [one.cache_info()[:2], shop.cache_info()[:2]] == [(0, 0), (2, 3)]  # its own start again


def test_e35_leaving_the_block_clears_a_memory_backend(backend: MemoryBackend) -> None:
    with backend:
        backend.set("k", b"v")
        assert backend._storage.number_of_items == 1
    assert backend._storage.number_of_items == 0


def test_e37_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    for name in ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="neither"):
        SharedCache(namespace="shop")
    monkeypatch.setenv("REDIS_HOST", "cache")
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    with backend_from_url() as backend:
        assert "cache:6379" in repr(backend) and "secret" not in repr(backend)
    monkeypatch.setenv("REDIS_URL", "redis://cache")
    with pytest.raises(SettingsError, match="REDIS_URL and REDIS_HOST and REDIS_PASSWORD"):
        SharedCache(namespace="shop")


def test_e38_clear_is_for_this_prefix_alone(backend: MemoryBackend) -> None:
    backend.set("another program's", b"v")
    backend.set("shop2:v1:tea", b"v")
    for has_envelope in (True, False):
        cache = SharedCache(backend, namespace=f"shop{has_envelope}", envelope=has_envelope)
        cache.set_many({"tea": 1, "cake": 2})
        cache.clear()
        assert cache.get_many(["tea", "cake"]) == {}
    assert names_in(backend) == ["another program's", "shop2:v1:tea"]
