"""Checked by mypy and pyright, and never run: every form of each decorator, generic functions included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, assert_type

from areole import AsyncAtomicCache, AtomicCache, Cache, CacheInfo, SharedCache, Storage, cached
from areole.typing import SharedCacheInfo

T = TypeVar("T")

STORE = Storage[Any]()
LOCAL = AtomicCache(str)
SHARED = SharedCache[Any]("memory://", namespace="types")


def choose(*args: object) -> Storage[Any]:
    return STORE


def plain(a: int, b: str = "") -> list[str]:
    return [b] * a


async def later(a: int, b: str = "") -> list[str]:
    return [b] * a


def same(value: T) -> T:
    return value


def first(values: Sequence[T], default: T) -> T:
    return values[0]


async def same_later(value: T) -> T:
    return value


# ---- memoize: bare, called, with a ttl, with options, and as a function


def memoized_functions() -> None:
    for each in (
        AtomicCache.memoize(plain),
        AtomicCache.memoize()(plain),
        AtomicCache.memoize(60)(plain),
        AtomicCache.memoize(ttl=60, max_items=5, key="{a}")(plain),
        AtomicCache.memoize(plain, ttl=5, stats=True),
        AsyncAtomicCache.memoize(plain),
    ):
        assert_type(each(1, b="b"), list[str])
        assert_type(each.refresh(1), list[str])
        assert_type(each.peek(1), list[str] | None)
        assert_type(each.peek(1, default=0), list[str] | int)
        assert_type(each.invalidate(1), bool)
        assert_type(each.purge(1, "b"), bool)
        assert_type(each.invalidate_tags("tag"), int)
        assert_type(each.cache_info(), CacheInfo)
        assert_type(each.cache_clear(), None)
        each("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        each.peek("1")  # type: ignore[call-overload]  # pyright: ignore


async def memoized_coroutines() -> None:
    for each in (
        AtomicCache.memoize(later),
        AtomicCache.memoize()(later),
        AtomicCache.memoize(60)(later),
        AsyncAtomicCache.memoize(ttl=60, on_abandon="complete")(later),
        AsyncAtomicCache.memoize(later, ttl=5),
    ):
        assert_type(await each(1, b="b"), list[str])
        assert_type(await each.refresh(1), list[str])
        assert_type(each.peek(1), list[str] | None)
        assert_type(each.invalidate(1), Any)
        await each("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def memoized_generic_functions() -> None:
    for each in (AtomicCache.memoize(same), AtomicCache.memoize()(same), AtomicCache.memoize(60, max_items=5)(same)):
        assert_type(each(1), int)
        assert_type(each("a"), str)
        assert_type(each.refresh([1]), list[int])
        assert_type(each.invalidate(1), bool)
        each()  # type: ignore[call-arg, misc]  # pyright: ignore[reportCallIssue]
    assert_type(AtomicCache.memoize(first)([1], 2), int)
    assert_type(AtomicCache.memoize(60)(first)(["a"], default="b"), str)
    for awaited in (AtomicCache.memoize(same_later), AsyncAtomicCache.memoize(60)(same_later)):
        assert_type(await awaited(1), int)
        assert_type(await awaited("a"), str)


# ---- cached: in a store, a read-through cache, a shared cache, and one that is chosen


async def cached_functions() -> None:
    for each in (cached(STORE)(plain), cached(Cache[Any](), ttl=5)(plain), cached(LOCAL, key="{a}")(plain)):
        assert_type(each(1, b="b"), list[str])
        assert_type(each.refresh(1), list[str])
        assert_type(each.peek(1), list[str] | None)
        assert_type(each.purge(1), bool)
        assert_type(each.cache_info(), CacheInfo)
        each("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    for awaited in (cached(STORE)(later), cached(LOCAL, ttl=5)(later)):
        assert_type(await awaited(1, b="b"), list[str])
        assert_type(await awaited.refresh(1), list[str])
        assert_type(awaited.peek(1), list[str] | None)
    assert_type(cached(STORE)(same)(1), int)
    assert_type(cached(LOCAL, ttl=5)(first)(["a"], "b"), str)
    assert_type(await cached(STORE)(same_later)("a"), str)


async def cached_in_shared_caches() -> None:
    shared, chosen = cached(SHARED, ttl=60)(plain), cached(choose)(plain)
    assert_type(shared(1, b="b"), list[str])
    assert_type(shared.refresh(1), list[str])
    assert_type(shared.peek(1), list[str] | None)
    assert_type(shared.cache_info(), SharedCacheInfo)
    assert_type(chosen(1, b="b"), list[str])
    assert_type(chosen.invalidate(1), bool)
    assert_type(chosen.cache_info(1), CacheInfo | SharedCacheInfo)
    shared_later, chosen_later = cached(SHARED)(later), cached(choose)(later)
    assert_type(await shared_later(1), list[str])
    assert_type(await shared_later.peek(1), list[str] | None)
    assert_type(await shared_later.invalidate(1), bool)
    assert_type(await chosen_later(1), list[str])
    assert_type(await chosen_later.purge(1), bool)
    shared("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    chosen("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(cached(SHARED)(same)(1), int)
    assert_type(cached(choose)(first)(["a"], "b"), str)
    assert_type(await cached(SHARED)(same_later)("a"), str)
    assert_type(cached(SHARED)(same).cache_info(), SharedCacheInfo)


# ---- methods


class Box(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value

    @AtomicCache.memoize
    def get(self, times: int) -> list[T]:
        return [self.value] * times

    @AtomicCache.memoize(ttl=60)
    async def get_later(self, times: int) -> list[T]:
        return [self.value] * times

    @cached(STORE, key="{self.value}:{times}")
    def get_cached(self, times: int) -> list[T]:
        return [self.value] * times

    @cached(SHARED, key="{self.value}:{times}")
    async def get_shared(self, times: int) -> list[T]:
        return [self.value] * times

    @cached(STORE)
    @staticmethod
    def size(of: str) -> int:
        return len(of)

    @classmethod
    @cached(STORE)
    def named(cls: type[object], of: str) -> str:
        return of


async def methods_of_a_generic_class(box: Box[int]) -> None:
    assert_type(box.get(1), list[int])
    assert_type(box.get.peek(1), list[int] | None)
    assert_type(await box.get_later(1), list[int])
    assert_type(box.get_cached(times=1), list[int])
    assert_type(box.get_cached.refresh(1), list[int])
    assert_type(await box.get_shared(1), list[int])
    assert_type(Box.size("a"), int)
    assert_type(Box.named("a"), str)
    box.get("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
