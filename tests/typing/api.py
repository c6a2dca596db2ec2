"""Checked by mypy and pyright in strict mode, and never run: what a user's types come to."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from enum import Enum
from threading import RLock
from typing import Any, TypeVar, assert_type

from areole import (
    CACHE_MISS,
    DEFAULT_TTL,
    NOT_MODIFIED,
    AsyncAtomicCache,
    AtomicCache,
    Cache,
    CacheInfo,
    CacheMissSentinel,
    Filled,
    RemovalCause,
    Resilience,
    SharedCache,
    Storage,
    cached,
    sources,
)
from areole.metrics.prometheus import CacheCollector
from areole.serializers import (
    Chain,
    JsonSerializer,
    PydanticSerializer,
    SignedPickle,
    ValueSerializer,
    ZstdCompression,
    as_serializer,
    pickle_deserializer,
    pickle_serializer,
    serializer_for,
)
from areole.testing import ManualClock, assert_valid, clear_all, disabled
from areole.typing import Memoized, SharedCacheInfo, Sourced

T = TypeVar("T")


def length(word: str) -> int:
    return len(word)


def a_cache() -> None:
    cache = AtomicCache(length, ttl=timedelta(minutes=1), stats=True, clock=ManualClock())
    assert_type(cache, AtomicCache[str, int])
    assert_type(cache["word"], int)
    assert_type(cache.fetch("word"), int)
    assert_type(cache.fetch_many(["word"]), dict[str, int])
    assert_type(cache.get("word"), int | None)
    assert_type(cache.get("word", "none"), int | str)
    assert_type(cache.peek("word"), int | None)
    assert_type(cache.get_many(["word"]), dict[str, int])
    assert_type(cache.refresh("word"), int)
    assert_type(cache.invalidate("word"), bool)
    assert_type(list(cache), list[str])
    assert_type(len(cache), int)
    assert_type(cache.cache_info(), CacheInfo)
    assert_type(cache.cache_info().hits, int | None)
    assert_valid(cache)
    cache[1]  # type: ignore[index]  # pyright: ignore[reportArgumentType]


def a_listener(key: str, value: int, cause: RemovalCause) -> None: ...


AtomicCache(length, on_removal=a_listener)
AtomicCache(length, ttl=lambda key, value: value * 2.0)
AtomicCache(length, ttl=lambda key, value: None, cache_exceptions=(ValueError, KeyError), wait_timeout=1)


AtomicCache(length, 60, resilience=Resilience(stale_ttl=timedelta(minutes=1), refresh_ahead="xfetch"))
assert_type(Storage[bytes]().get_or_fill("a", lambda key: b"", 60, Resilience(stale_ttl=5, fail_safe=True)), bytes)
Resilience(refresh_ahead="fetch")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@AtomicCache.memoize(60, resilience=Resilience(refresh_ahead=0.2, jitter=0.1))
def resilient(a: int) -> str:
    return str(a)


assert_type(resilient(1), str)
assert_type(resilient.peek(1), str | None)
assert_type(resilient.peek(1, default=0), str | int)


@AtomicCache.memoize
def bare(a: int, b: str = "", *, c: float = 0.0) -> list[str]:
    return [b] * a


@AtomicCache.memoize()
def called(a: int) -> str:
    return str(a)


@AtomicCache.memoize(60.0, typed=True, ignore=("session",), stats=True)
def with_arguments(a: int, session: object) -> str:
    return str(a)


@AtomicCache.memoize(ttl=timedelta(hours=1), key=str.lower, name="folded", index="dict")
def keyed(word: str) -> str:
    return word.lower()


def functions() -> None:
    assert_type(bare(1, "x", c=2.0), list[str])
    assert_type(bare(1), list[str])
    assert_type(bare.invalidate(1, b="x"), bool)
    assert_type(bare.refresh(1), list[str])
    assert_type(bare.peek(1), list[str] | None)
    assert_type(bare.cache_info(), CacheInfo)
    assert_type(bare.cache.size_in_bytes, int)
    assert_valid(bare.cache)
    assert_type(called(1), str)
    assert_type(with_arguments(1, object()), str)
    assert_type(keyed("x"), str)
    assert_type(AtomicCache.memoize(length, ttl=5)("word"), int)
    called("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    called.invalidate("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare(1, d=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class Shop:
    @AtomicCache.memoize
    def price(self, item: str, amount: int = 1) -> float:
        return float(amount)

    @AtomicCache.memoize(ttl=60)
    def stock(self, item: str) -> int:
        return len(item)

    @AtomicCache.memoize
    @classmethod
    def brand(cls, country: str) -> str:
        return country

    @AtomicCache.memoize(60)
    @classmethod
    def owner(cls, country: str) -> str:
        return country

    @AtomicCache.memoize
    @staticmethod
    def tax(country: str) -> float:
        return 0.0

    @AtomicCache.memoize(60)
    @staticmethod
    def duty(country: str) -> float:
        return 0.0

    @classmethod
    @AtomicCache.memoize
    def inner(cls, country: str) -> str:
        return country

    @staticmethod
    @AtomicCache.memoize
    def inmost(country: str) -> str:
        return country


def methods(shop: Shop) -> None:
    assert_type(shop.price("tea", amount=2), float)
    assert_type(Shop.price(shop, "tea"), float)
    assert_type(shop.price.invalidate("tea"), bool)
    assert_type(Shop.price.invalidate(shop, "tea"), bool)
    assert_type(shop.price.cache_info(), CacheInfo)
    assert_type(shop.stock("tea"), int)
    assert_type(shop.brand("fr"), str)
    assert_type(Shop.brand("fr"), str)
    assert_type(Shop.brand.invalidate("fr"), bool)
    assert_type(Shop.owner.refresh("fr"), str)
    assert_type(Shop.tax("fr"), float)  # through `shop` mypy takes it for a method
    assert_type(Shop.tax.peek("fr"), float | None)
    assert_type(Shop.duty("fr"), float)
    assert_type(Shop.inner("fr"), str)
    assert_type(Shop.inmost("fr"), str)
    shop.price(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    shop.price.invalidate()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Shop.brand(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Shop.tax(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@AtomicCache.memoize
def of_object(a: object, b: int = 0) -> str:
    return str(a)


@AtomicCache.memoize(ttl=60)
def of_hashable(a: Hashable) -> str:
    return str(a)


@AtomicCache.memoize
def of_any(a: Any, *more: Any, **others: Any) -> str:
    return str(a)


@AtomicCache.memoize
def of_objects(*all: object) -> str:
    return str(all)


@AtomicCache.memoize
def gives_any(a: int) -> Any:
    return a


@AtomicCache.memoize()
def first_of(words: Sequence[T]) -> T:
    return words[0]


@AtomicCache.memoize
def itself(a: T) -> T:
    return a


def what_could_be_taken_for_classmethods_and_coroutines() -> None:
    """A first parameter that takes anything takes a class too; a result that may be anything may be a coroutine."""
    assert_type(of_object(a=1, b=2), str)
    assert_type(of_object.invalidate(a=1), bool)
    assert_type(of_hashable(a="a"), str)
    assert_type(of_objects(), str)
    of_any(a=1, c=2)
    assert_type(gives_any(1), Any)
    assert_type(gives_any(a=1), Any)
    assert_type(first_of([1]), int)
    itself(1)
    assert_type(bare.__name__, str)
    of_object(a=1, b="b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def takes_any_memoized(function: Memoized[[int], str]) -> str:
    return function(1)


takes_any_memoized(called)
functools.reduce(lambda total, n: total + len(called(n)), range(3), 0)


def a_storage(when: datetime) -> None:
    with Storage[bytes](size_limit_in_bytes=4096, max_items=10, default_ttl=timedelta(minutes=1)) as storage:
        assert_type(storage, Storage[bytes])
        assert_type(storage.set("key", b"", ttl=5), bool)
        assert_type(storage.get("key"), bytes | CacheMissSentinel)
        assert_type(storage.get("key", None), bytes | None)
        assert_type(storage["key"], bytes)
        assert_type(storage.ttl_of("key"), float | None | CacheMissSentinel)
        assert_type(storage.get_or_fill("key", lambda key: b""), bytes)
        assert_type(storage.get_many(["key"]), dict[Any, bytes])
        assert_type(storage.expire_at("key", when), bool)
        assert_type(storage.expire_at("key", None), bool)
        assert_type(storage.expire_in("key"), bool)
        assert_type(storage.max_items, int | None)
        assert_type(storage.default_ttl, float | None)
        assert_type(storage.peek("key"), bytes | CacheMissSentinel)
        assert_type(storage.peek("key", None), bytes | None)
        assert_type(storage.pop("key"), bytes | CacheMissSentinel)
        assert_type(storage.pop("key", 0), bytes | int)
        assert_type(list(storage), list[Any])
        assert_type(storage.number_of_items, int)
        storage["key"] = b""
        storage["key"] = ""  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
    Storage[list[int]](size_limit_in_bytes=4096, weigher=lambda key, value: len(value), policy="s3fifo")


def a_cache_of_any_value() -> None:
    with Cache(size_limit_in_bytes=4096, default_ttl=timedelta(minutes=1), policy="s3fifo", stats=True) as cache:
        assert_type(cache, Cache[Any])
        assert_type(cache.set("key", {"a": 1}, ttl=5), bool)
        assert_type(cache.add("key", [1, 2]), bool)
        assert_type(cache.set_many({"key": 1, "other": "text"}), int)
        assert_type(cache.get("key"), Any | CacheMissSentinel)
        assert_type(cache.get("key", None), Any | None)
        assert_type(cache.peek("key"), Any | CacheMissSentinel)
        assert_type(cache.pop("key", 0), Any | int)
        assert_type(cache["key"], Any)
        assert_type(cache.get_many(["key"]), dict[Any, Any])
        assert_type(cache.get_or_fill("key", lambda key: {key: 1}), Any)
        assert_type(list(cache), list[Any])
        cache["key"] = {"a": object()}
    users = Cache[list[int]](max_items=10, weigher=lambda key, data: len(data))
    assert_type(users.get("key"), list[int] | CacheMissSentinel)
    assert_type(users.get("key", None), list[int] | None)
    assert_type(users["key"], list[int])
    assert_type(users.get_many(["key"]), dict[Any, list[int]])
    assert_type(users.get_or_fill("key", lambda key: [1]), list[int])
    users.set("key", "text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Cache(max_itms=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Cache(serializer="json+zlib")
    Cache(serializer=JsonSerializer())
    Cache(serializer=json)
    Cache(serializer=(pickle_serializer, pickle_deserializer))
    Cache(serializer=pickle_serializer, deserializer=pickle_deserializer)
    Cache(serializer=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Cache(serializer=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def serializers() -> None:
    ours: list[ValueSerializer] = [JsonSerializer(), PydanticSerializer(int), SignedPickle(keys=[b"k" * 16])]
    chain = Chain(ours[0], ZstdCompression(level=3))
    assert_type(chain.dumps({"a": 1}), bytes)
    assert_type(as_serializer("json+zstd"), ValueSerializer)
    assert_type(as_serializer(chain), ValueSerializer)
    assert_type(serializer_for(list[int]), ValueSerializer | None)
    as_serializer(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


AtomicCache(length, max_items=10)
AtomicCache(length, max_bytes=10, weigher=lambda key, value: value, policy="lru")


async def slow_length(word: str) -> int:
    return len(word)


async def an_async_cache() -> None:
    cache = AsyncAtomicCache(slow_length, ttl=timedelta(minutes=1), on_abandon="complete", clock=ManualClock())
    assert_type(cache, AsyncAtomicCache[str, int])
    assert_type(await cache["word"], int)
    assert_type(await cache.fetch("word"), int)
    assert_type(await cache.fetch_many(["word"]), dict[str, int])
    assert_type(await cache.refresh("word"), int)
    assert_type(cache.get("word"), int | None)
    assert_type(cache.peek("word"), int | None)
    assert_type(cache.get_many(["word"]), dict[str, int])
    assert_type(cache.invalidate("word"), Any)
    assert_type(list(cache), list[str])
    assert_type(cache.cache_info(), CacheInfo)
    assert_type(cache.sync, AtomicCache[str, int])
    assert_type(cache.sync["word"], int)
    assert_type(AtomicCache(length).aio, AsyncAtomicCache[str, int])
    assert_type(AsyncAtomicCache(length, inline=True, max_items=5), AsyncAtomicCache[str, int])
    assert_valid(cache)
    await cache[1]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@AtomicCache.memoize
async def bare_async(a: int, b: str = "", *, c: float = 0.0) -> list[str]:
    return [b] * a


@AsyncAtomicCache.memoize()
async def called_async(a: int) -> str:
    return str(a)


@AsyncAtomicCache.memoize(60.0, typed=True, on_abandon="complete", inline=True)
async def async_with_arguments(a: int) -> str:
    return str(a)


@AsyncAtomicCache.memoize
def plain(a: int) -> str:
    return str(a)


async def coroutine_functions() -> None:
    assert_type(await bare_async(1, "x", c=2.0), list[str])
    assert_type(bare_async.invalidate(1, b="x"), Any)
    assert_type(await bare_async.refresh(1), list[str])
    assert_type(bare_async.peek(1), list[str] | None)
    assert_type(bare_async.cache_info(), CacheInfo)
    assert_type(await called_async(1), str)
    assert_type(await async_with_arguments(1), str)
    assert_type(await AtomicCache.memoize(slow_length, ttl=5)("word"), int)
    assert_type(plain(1), str)
    await called_async("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    called_async.invalidate("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class AsyncShop:
    @AtomicCache.memoize
    async def price(self, item: str, amount: int = 1) -> float:
        return float(amount)

    @AsyncAtomicCache.memoize(ttl=60)
    async def stock(self, item: str) -> int:
        return len(item)

    @AtomicCache.memoize
    @classmethod
    async def brand(cls, country: str) -> str:
        return country

    @AtomicCache.memoize(60)
    @classmethod
    async def owner(cls, country: str) -> str:
        return country

    @AtomicCache.memoize
    @staticmethod
    async def tax(country: str) -> float:
        return 0.0

    @AsyncAtomicCache.memoize(60)
    @staticmethod
    async def duty(country: str) -> float:
        return 0.0

    @classmethod
    @AtomicCache.memoize
    async def inner(cls, country: str) -> str:
        return country


async def async_methods(shop: AsyncShop) -> None:
    assert_type(await shop.price("tea", amount=2), float)
    assert_type(await AsyncShop.price(shop, "tea"), float)
    assert_type(shop.price.invalidate("tea"), Any)
    assert_type(shop.price.peek("tea"), float | None)
    assert_type(await shop.stock("tea"), int)
    assert_type(await shop.brand("fr"), str)
    assert_type(await AsyncShop.brand("fr"), str)
    assert_type(AsyncShop.brand.invalidate("fr"), Any)
    assert_type(await AsyncShop.owner.refresh("fr"), str)
    assert_type(await AsyncShop.tax("fr"), float)
    assert_type(AsyncShop.tax.peek("fr"), float | None)
    assert_type(await AsyncShop.duty("fr"), float)
    assert_type(await AsyncShop.inner("fr"), str)
    await shop.price(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    shop.price.invalidate()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await AsyncShop.brand(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


SHARED = Storage[Any](max_items=10)


@cached(SHARED)
def cached_plain(a: int, b: str = "") -> list[str]:
    return [b] * a


@cached(Cache(), ttl=lambda key, value: 5.0, skip=lambda result: not result, typed=True)
async def cached_async(a: int) -> str:
    return str(a)


class CachedShop:
    @cached(AtomicCache(length), ttl=timedelta(seconds=5))
    def price(self, item: str) -> float:
        return 0.0

    @cached(AsyncAtomicCache(slow_length))
    async def stock(self, item: str) -> int:
        return 0


async def cached_functions(shop: CachedShop) -> None:
    assert_type(cached_plain(1, b="b"), list[str])
    assert_type(cached_plain.refresh(1), list[str])
    assert_type(cached_plain.peek(1), list[str] | None)
    assert_type(cached_plain.invalidate(1), bool)
    assert_type(cached_plain.cache_info(), CacheInfo)
    assert_type(await cached_async(1), str)
    assert_type(await cached_async.refresh(1), str)
    assert_type(shop.price("tea"), float)
    assert_type(shop.price.invalidate("tea"), bool)
    assert_type(await shop.stock("tea"), int)
    cached_plain("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(1)  # type: ignore[call-overload]  # pyright: ignore


@cached(lambda: Storage[Any](), key="user:{user_id}", lock=RLock())
def chosen(user_id: int) -> str:
    return str(user_id)


@cached(Storage[Any](), exclude=lambda key, result: result is None, lock=asyncio.Lock())
async def chosen_async(user_id: int) -> str | None:
    return str(user_id)


async def cached_with_options() -> None:
    assert_type(chosen(1), str)
    assert_type(chosen.purge(1), bool)
    assert_type(await chosen_async(1), str | None)
    cached(Storage[Any](), lock=1)  # type: ignore[call-overload]  # pyright: ignore
    cached(Storage[Any](), wait=1)  # type: ignore[call-overload]  # pyright: ignore


SHOP = SharedCache[Any]("memory://", namespace="shop")


@cached(SHOP, key="rate:{day}:{unit}", ttl=60, wait=2, serializer="msgpack")
def rate(day: str, unit: str = "EUR") -> float:
    return 1.0


@cached(SHOP, name="stock", version=2, lock=asyncio.Lock())
async def stock(item: str) -> int | None:
    return 1


def cache_of(shop: object, *args: object) -> SharedCache[Any]:
    return SHOP


class SharedShop:
    name = "shop"

    @cached(SHOP, key="{self.name}:{item}")
    def price(self, item: str) -> float:
        return 1.5

    @cached(cache_of, key="{self.name}:{item}")
    async def left(self, item: str) -> int:
        return 7

    @classmethod
    @cached(SHOP)
    def kinds(cls: type[object], item: str) -> list[str]:
        return [item]

    @staticmethod
    @cached(SHOP, key="tax:{item}")
    def tax(item: str) -> float:
        return 0.2


async def cached_in_a_shared_cache(shop: SharedShop) -> None:
    assert_type(rate("today"), float)
    assert_type(rate.refresh("today", unit="USD"), float)
    assert_type(rate.peek("today"), float | None)
    assert_type(rate.peek("today", default=0), float | int)
    assert_type(rate.purge("today"), bool)
    assert_type(rate.invalidate("today"), bool)
    assert_type(rate.cache_info(), SharedCacheInfo)
    rate.cache_clear()
    rate(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await stock("tea"), int | None)
    assert_type(await stock.refresh("tea"), int | None)
    assert_type(await stock.peek("tea"), int | None)
    assert_type(await stock.invalidate("tea"), bool)
    assert_type(await stock.purge("tea"), bool)
    await stock.cache_clear()
    assert_type(stock.cache_info(), SharedCacheInfo)
    assert_type(shop.price("tea"), float)
    assert_type(shop.price.invalidate("tea"), bool)
    assert_type(await shop.left("tea"), int)
    assert_type(await shop.left.invalidate("tea"), bool)
    assert_type(shop.left.cache_info(), CacheInfo | SharedCacheInfo)
    assert_type(SharedShop.kinds("tea"), list[str])
    assert_type(SharedShop.tax("tea"), float)


def what_is_refused_does_not_end_the_check(cache: AtomicCache[str, int], awaited: AsyncAtomicCache[str, int]) -> None:
    cache["word"] = 1  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    del cache["word"]  # type: ignore[attr-defined]  # pyright: ignore[reportIndexIssue]
    awaited["word"] = 1  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    del awaited["word"]  # type: ignore[attr-defined]  # pyright: ignore[reportIndexIssue]
    called("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_miss_is_narrowed_by_is(storage: Storage[bytes]) -> None:
    value = storage.get("key")
    if value is not CACHE_MISS:
        assert_type(value, bytes)
    if value is CACHE_MISS:
        return
    assert_type(value, bytes)
    left = storage.ttl_of("key")
    if left is not CACHE_MISS and left is not None:
        assert_type(left, float)
    storage.set("key", b"", ttl=DEFAULT_TTL)


AtomicCache(length, max_items=5, policy="lru", index="dict")
AtomicCache(length, max_items=5, policy="lfu")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
AtomicCache(length, index="hash")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
AtomicCache.memoize(length, policy="fifo")  # type: ignore[call-overload]  # pyright: ignore
AtomicCache.memoize(max_items=5, policy="lru", index="auto", on_abandon="complete")
Storage[bytes](policy="fifo")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

assert_type(called.__qualname__, str)
assert_type(called.__doc__, str | None)


def a_store_of_anything() -> None:
    anything = Storage(max_items=5)
    assert_type(anything, Storage[Any])
    anything.set("key", 1)
    anything.set("key", b"")


def a_store_as_a_dict(store: Storage[int]) -> None:
    assert_type(store.setdefault("key", 1), int)
    assert_type(store.popitem(), tuple[Any, int])
    assert_type(clear_all(), None)
    CacheCollector(prefix=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(list(store.values()), list[int])
    assert_type(list(store.items()), list[tuple[Any, int]])
    assert_type(list(store.keys()), list[Any])
    store.update({"key": 1}, other=2)
    store.update(key="text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@AtomicCache.memoize
def same(value: T) -> T:
    return value


@AtomicCache.memoize(max_items=5)
def first(values: Sequence[T]) -> T:
    return values[0]


@cached(Storage[Any]())
def same_cached(value: T) -> T:
    return value


def a_generic_function_stays_generic() -> None:
    assert_type(same(1), int)
    assert_type(same("a"), str)
    assert_type(first([1]), int)
    assert_type(same_cached(1), int)
    same.peek(1)
    assert_type(same.invalidate(1), bool)
    assert_type(pair(1), list[int])
    assert_type(same.refresh("a"), str)
    same()  # type: ignore[call-arg, misc]  # pyright: ignore[reportCallIssue]


@AtomicCache.memoize
def of_any_value(value: Any) -> Any:
    return value


@cached(Storage[Any]())
def of_any_value_cached(value: Any) -> Any:
    return value


def takes_a_callable(function: Callable[[int], int]) -> None: ...


def what_takes_and_gives_anything_is_a_callable(executor: Executor) -> None:
    assert_type(list(map(of_any_value, [1])), list[Any])
    assert_type(list(map(of_any_value_cached, [1])), list[Any])
    assert_type(sorted([1], key=of_any_value), list[int])
    assert_type(executor.submit(of_any_value, 1).result(), Any)
    takes_a_callable(of_any_value)
    takes_a_callable(of_any_value_cached)
    takes_a_callable(same)
    assert_type(list(map(same, [1])), list[int])


@AtomicCache.memoize(60)
def pair(value: T) -> list[T]:
    return [value, value]


@AsyncAtomicCache.memoize
async def later(value: T) -> T:
    return value


async def a_generic_async_def() -> None:
    assert_type(await later(1), int)


@AtomicCache.memoize
def count(anything: object) -> int:
    return len(str(anything))


assert_type(count.peek(1), int | None)
count.invalidate()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def told(key: str, value: int, cause: RemovalCause) -> None:
    pass


def a_listener_leaves_the_types_as_they_are() -> None:
    assert_type(AtomicCache(length, on_removal=told), AtomicCache[str, int])
    cache = AtomicCache(length, ttl=60, on_removal=lambda key, value, cause: print(key.upper(), value + 1, cause.value))
    assert_type(cache, AtomicCache[str, int])


class Colour(Enum):
    RED = 1

    @AtomicCache.memoize
    def squared(self) -> int:
        return 1


def a_method_of_an_enum(colour: Colour) -> None:
    assert_type(Colour.RED.squared(), int)
    assert_type(colour.squared(), int)


# ---- what a fill says besides its value is not seen by those who read


def gives_filled(key: str) -> Filled[int]:
    return Filled(1, ttl=timedelta(minutes=1), weight=5)


def gives_either(key: str) -> int | Filled[int]:
    return Filled(1, store=False) if key else 1


async def gives_filled_later(key: str) -> Filled[int]:
    return Filled(1, ttl=None)


async def gives_either_later(key: str) -> int | Filled[int]:
    return 1


class HasFills:
    @AtomicCache.memoize(ttl=3)
    def either(self, x: int) -> int | Filled[int]:
        return 1


def gives_it_again(key: str, *, previous: int | None = None) -> int | Filled[int]:
    return NOT_MODIFIED if previous else 1


@AtomicCache.memoize(previous="old")
def memoized_with_old(key: str, *, old: int | None = None) -> int | Filled[int]:
    return NOT_MODIFIED if old else 1


def filled(shop: SharedCache[int]) -> None:
    assert_type(AtomicCache(gives_it_again).refresh("x"), int)
    assert_type(shop.refresh("x", gives_it_again), int)
    assert_type(memoized_with_old.refresh("x"), int)
    assert_type(AtomicCache(length, idle=timedelta(minutes=1))["x"], int)
    assert_type(Storage[int](idle=5).idle, float | None)
    AtomicCache.memoize(ttl=60, idle=5)(length)
    assert_type(AtomicCache(gives_filled)["x"], int)
    assert_type(AtomicCache(gives_either)["x"], int)
    assert_type(AtomicCache.memoize(gives_filled)("x"), int)
    assert_type(AtomicCache.memoize(ttl=3)(gives_either)("x"), int)
    assert_type(HasFills().either(1), int)
    assert_type(Storage[int]().get_or_fill("x", gives_filled), int)
    assert_type(shop.get_or_fill("x", gives_either), int)
    assert_type(shop.get_or_fill("x", gives_either, tags=["a"]), int)
    assert_type(shop.set("x", 1, tags=["a"]), bool)
    assert_type(shop.invalidate_tags("a", "b"), bool)
    assert_type(cached(Storage())(gives_filled)("x"), int)
    assert_type(cached(shop)(gives_either)("x"), int)
    Filled(1, tll=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def filled_later(shop: SharedCache[int]) -> None:
    assert_type(await AsyncAtomicCache(gives_filled_later)["x"], int)
    assert_type(await AsyncAtomicCache(gives_either_later)["x"], int)
    assert_type(await AsyncAtomicCache(gives_filled)["x"], int)
    assert_type(await AtomicCache.memoize(gives_either_later)("x"), int)
    assert_type(await AtomicCache.memoize(ttl=5)(gives_filled_later)("x"), int)
    assert_type(await cached(shop)(gives_either_later)("x"), int)
    assert_type(await shop.aio.get_or_fill("x", gives_filled_later), int)


# ---- fill_many


def lengths(words: list[str]) -> dict[str, int]:
    return {word: len(word) for word in words}


def lengths_in_order(words: list[str]) -> list[int]:
    return [len(word) for word in words]


async def slow_lengths(words: list[str]) -> dict[str, int]:
    return lengths(words)


def batches(shop: SharedCache[int]) -> None:
    assert_type(AtomicCache(fill_many=lengths), AtomicCache[str, int])
    assert_type(AtomicCache(fill_many=lengths_in_order, ttl=60, coalesce=0.002, max_batch=100), AtomicCache[str, int])
    assert_type(AtomicCache(fill_many=lengths)["word"], int)
    assert_type(AsyncAtomicCache(fill_many=slow_lengths), AsyncAtomicCache[str, int])
    assert_type(AsyncAtomicCache(fill_many=lengths_in_order, inline=True), AsyncAtomicCache[str, int])
    assert_type(AtomicCache(fill_many=lengths, shared=shop, copies=True), AtomicCache[str, int])
    assert_type(shop.get_or_fill_many(["word"], lengths), dict[Any, int])
    AtomicCache(fill_many=length)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@AtomicCache.memoize(shared=SHOP, copies=True, local_ttl=30, tags=["rates"])
async def shared_rate(day: str) -> float:
    return 1.0


class SharedRates:
    @AtomicCache.memoize(shared=SHOP, key="rate:{self}:{day}")
    async def rate(self, day: str) -> float:
        return 1.0

    @AtomicCache.memoize(shared=SHOP, key="of:{day}")
    @classmethod
    async def of_class(cls, day: str) -> float:
        return 1.0


async def changes_of_an_async_function_can_be_awaited(cache: AsyncAtomicCache[str, int], rates: SharedRates) -> None:
    assert_type(await shared_rate("today"), float)
    assert_type(await shared_rate.refresh("today"), float)
    assert_type(shared_rate.peek("today"), float | None)
    await shared_rate.invalidate("today")
    await shared_rate.purge("today")
    await shared_rate.invalidate_tags("rates")
    await shared_rate.cache_clear()
    await rates.rate.invalidate("today")
    await SharedRates.of_class.invalidate("today")
    await SharedRates.of_class.cache_clear()
    await cache.invalidate("x")
    await cache.invalidate_tags("x")
    await cache.clear()
    shared_rate.invalidate(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def tiers(copies: Storage[float]) -> None:
    near = SharedCache[float]("memory://", namespace="near", local=copies, copies=True, plane="messages")
    with near.bypass("local", "shared"), sources() as seen, disabled():
        assert_type(near.get("tea"), float | None)
        assert_type(seen, list[Sourced])
    near.bypass("redis")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# ---- tags


@AtomicCache.memoize(tags=["user:{user_id}"])
def tagged(user_id: int) -> str:
    return "Ada"


def tags_of_user(user_id: int) -> list[str]:
    return [f"user:{user_id}"]


@AtomicCache.memoize(tags=tags_of_user)
async def tagged_later(user_id: int) -> str:
    return "Ada"


def tags(store: Storage[int]) -> None:
    assert_type(tagged.invalidate_tags("user:7", "all"), int)
    assert_type(tagged_later.invalidate_tags("user:7"), Any)
    assert_type(tagged.cache.invalidate_tags("user:7"), int)
    assert_type(AtomicCache(gives_filled, tags=()).invalidate_tags("x"), int)
    assert_type(cached(store, tags=["x"])(gives_filled).invalidate_tags("x"), int)
    assert_type(store.set("key", 1, tags=["x"]), bool)
    assert_type(store.get_or_fill("x", gives_filled, tags={"a", "b"}), int)
    AtomicCache(gives_filled, tags=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
