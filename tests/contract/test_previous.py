"""`previous=`, the value that a fill is to replace, and NOT_MODIFIED, by which that stays."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from areole import NOT_MODIFIED, AsyncAtomicCache, AtomicCache, Cache, Filled, Resilience, SharedCache, Storage, cached
from areole.testing import ManualClock, assert_valid

from ..kit import wait_until_settled


class Source:
    """A source that says whether what one has is still right; `seen` is what its fills were given."""

    def __init__(self) -> None:
        self.value = "first"
        self.seen: list[Any] = []

    def fill(self, key: str, *, previous: str | None = None) -> Any:
        self.seen.append(previous)
        return NOT_MODIFIED if previous == self.value else self.value

    async def fill_later(self, key: str, *, previous: str | None = None) -> Any:
        return self.fill(key, previous=previous)


Asks = tuple[Callable[[], Any], Callable[[], Any]]
"""What asks for the value of "k", and what refreshes it."""


def atomic(source: Source, **options: Any) -> Asks:
    cache = AtomicCache(source.fill, **options)
    return (lambda: cache["k"]), (lambda: cache.refresh("k"))


def atomic_with_timeouts(source: Source, **options: Any) -> Asks:
    return atomic(source, resilience=Resilience(hard_timeout=20), **options)


def atomic_for_tasks(source: Source, **options: Any) -> Asks:
    cache: Any = AsyncAtomicCache(source.fill_later, **options)
    return (lambda: asyncio.run(cache.fetch("k"))), (lambda: asyncio.run(cache.refresh("k")))


def its_view_for_threads(source: Source, **options: Any) -> Asks:
    cache: Any = AsyncAtomicCache(source.fill_later, **options).sync
    return (lambda: cache["k"]), (lambda: cache.refresh("k"))


def beside_a_cached_function(source: Source, **options: Any) -> Asks:
    cache = AtomicCache(source.fill, **options)
    cached(cache)(lambda x: x)(1)
    return (lambda: cache["k"]), (lambda: cache.refresh("k"))


def memoized(source: Source, **options: Any) -> Asks:
    @AtomicCache.memoize(previous="old", **options)
    def function(key: str, *, old: str | None = None) -> Any:
        return source.fill(key, previous=old)

    return (lambda: function("k")), (lambda: function.refresh("k"))


def memoized_method(source: Source, **options: Any) -> Asks:
    class Owner:
        @AtomicCache.memoize(previous="old", **options)
        async def method(self, key: str, *, old: str | None = None) -> Any:
            return source.fill(key, previous=old)

    owner = Owner()
    return (lambda: asyncio.run(owner.method("k"))), (lambda: asyncio.run(owner.method.refresh("k")))


KINDS = [
    atomic,
    atomic_with_timeouts,
    atomic_for_tasks,
    its_view_for_threads,
    beside_a_cached_function,
    memoized,
    memoized_method,
]


@pytest.mark.parametrize("make", KINDS)
def test_a_refresh_gives_the_old_value_and_may_leave_it_with_a_new_ttl(make: Any) -> None:
    clock, source, removed = ManualClock(), Source(), list[Any]()
    ask, refresh = make(source, ttl=10, clock=clock, on_removal=lambda *removal: removed.append(removal))
    assert ask() == "first"
    clock.advance(9)
    assert refresh() == "first"
    clock.advance(9)
    assert ask() == "first"
    assert source.seen == [None, "first"]
    assert "first" not in [value for _, value, _ in removed], "it has not left"
    source.value = "second"
    assert refresh() == ask() == "second"
    assert source.seen == [None, "first", "first"]
    clock.advance(10)
    assert ask() == "second"
    assert source.seen[3] is None, "without a stale time, a value that has expired is gone"


def test_shared_values_are_those_of_the_store() -> None:
    with SharedCache[Any]("memory://", namespace="previous", ttl=100) as shop:
        source = Source()
        assert shop.refresh("k", source.fill) == "first"
        shop.expire_in("k", 5)
        assert shop.refresh("k", source.fill) == "first"
        assert shop.ttl_of("k") > 50  # type: ignore[operator]
        assert asyncio.run(shop.aio.refresh("k", source.fill_later)) == "first"
        cache = AtomicCache(source.fill, shared=shop)
        assert cache["k"] == "first"
        shop["k"] = "of another process"
        assert cache.refresh("k") == shop["k"] == "first"
        assert source.seen == [None, "first", "first", "of another process"]

        @AtomicCache.memoize(shared=shop, previous="old", name="function")
        def function(key: str, *, old: str | None = None) -> Any:
            return source.fill(key, previous=old)

        assert [function("k"), function.refresh("k")] == ["first", "first"]
        assert source.seen[4:] == [None, "first"]


def test_a_refresh_in_the_background_gives_it_too() -> None:
    clock, source = ManualClock(), Source()
    cache = AtomicCache(source.fill, 10, clock=clock, resilience=Resilience(stale_ttl=5))
    assert cache["k"] == "first"
    clock.advance(12)
    assert cache["k"] == "first"
    while len(source.seen) < 2:
        wait_until_settled(cache)
    wait_until_settled(cache)
    assert source.seen == [None, "first"]
    clock.advance(9)
    assert cache["k"] == "first"
    assert len(source.seen) == 2, "it has a new ttl"
    assert_valid(cache)


def test_a_value_that_has_left_meanwhile_is_not_stored_again() -> None:
    removed: list[Any] = []

    def fill(key: str) -> Any:
        if key == "k" and "k" in cache:
            assert cache["other"] == "other"  # there is room for one
            return NOT_MODIFIED
        return key

    cache: AtomicCache[str, Any] = AtomicCache(
        fill, max_items=1, policy="lru", on_removal=lambda *removal: removed.append(removal)
    )
    assert cache["k"] == "k"
    assert cache.refresh("k") == "k"
    assert "k" not in cache
    assert len(removed) == 1
    assert_valid(cache)


def test_a_value_that_stays_keeps_its_tags() -> None:
    def fill(key: str, *, previous: str | None = None) -> Any:
        return Filled(key, tags=["late"]) if previous is None else NOT_MODIFIED

    cache: AtomicCache[str, Any] = AtomicCache(fill, tags=["of:{key}"])
    for tag in ("late", "of:k"):
        assert cache["k"] == cache.refresh("k") == cache.refresh("k") == "k"
        assert cache.invalidate_tags(tag) == 1
        assert "k" not in cache
    with SharedCache[Any]("memory://", namespace="previous") as shop:
        shop.set("k", "old", tags=["a"])
        assert shop.refresh("k", lambda key, previous=None: NOT_MODIFIED, tags=["b"]) == "old"
        assert shop.refresh("k", lambda key, previous=None: NOT_MODIFIED) == "old"
        assert shop.refresh("k", lambda key, previous=None: shop.invalidate_tags("a") and NOT_MODIFIED) == "old"
        assert "k" not in shop
        shop.set("k", "old", tags=["a"])
        assert shop.refresh("k", lambda key, previous=None: NOT_MODIFIED, tags=["b"]) == "old"
        assert shop.invalidate_tags("b")
        assert "k" not in shop


@pytest.mark.parametrize("is_filled", [False, True])
def test_in_a_cache_of_bytes_it_stands_for_the_old_value_and_not_for_its_bytes(is_filled: bool) -> None:
    clock, seen = ManualClock(), list[Any]()
    answers: list[Any] = [{"a": 1}, Filled(NOT_MODIFIED, ttl=20) if is_filled else NOT_MODIFIED]
    store: Cache[Any] = Cache(clock=clock)

    @cached(store, ttl=20, skip=lambda result: seen.append(result))
    def ask(key: str) -> Any:
        return answers.pop(0)

    assert ask("k") == {"a": 1}
    clock.advance(15)
    assert ask.refresh("k") == {"a": 1}
    clock.advance(15)
    assert ask("k") == {"a": 1} and seen == [{"a": 1}] * 2
    assert_valid(store)


def test_where_no_cache_is_chosen_it_is_an_error_too() -> None:
    @cached(lambda: None)
    def ask(key: str) -> Any:
        return NOT_MODIFIED

    for call in (ask, ask.refresh):
        with pytest.raises(TypeError, match=r"cached: .*ask returned NOT_MODIFIED, but there is no value"):
            call("k")


def test_it_may_come_from_another_process() -> None:
    assert pickle.loads(pickle.dumps(NOT_MODIFIED)) is NOT_MODIFIED is copy.deepcopy(NOT_MODIFIED)


def test_it_may_come_with_a_ttl() -> None:
    clock = ManualClock()
    cache: AtomicCache[str, Any] = AtomicCache(
        lambda key, previous=None: key if previous is None else Filled(NOT_MODIFIED, ttl=3), ttl=10, clock=clock
    )
    assert cache["k"] == cache.refresh("k") == "k"
    clock.advance(3)
    assert "k" not in cache


@pytest.mark.parametrize("answer", [NOT_MODIFIED, Filled(NOT_MODIFIED)])
def test_without_an_old_value_it_is_an_error(answer: Any) -> None:
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: answer)
    for ask in (cache.fetch, cache.refresh):
        with pytest.raises(TypeError, match=r"AtomicCache: the fill of .* returned NOT_MODIFIED, but there is no"):
            ask("k")
    with pytest.raises(TypeError, match=r"get_or_fill: the fill for Storage at .*test_previous:\d+ returned NOT_MOD"):
        Storage[Any]().get_or_fill("k", lambda key: answer)
    with (
        SharedCache[Any]("memory://", namespace="previous") as shop,
        pytest.raises(TypeError, match="get_or_fill: the fill for previous returned NOT_MODIFIED"),
    ):
        shop.get_or_fill("k", lambda key: answer)


def test_what_takes_it_is_checked() -> None:
    assert AtomicCache(lambda previous: previous)["the key may have that name"]
    assert AtomicCache(int)["1"] == 1
    with pytest.raises(TypeError, match="its parameter previous needs a default"):
        AtomicCache(lambda key, previous: key)  # type: ignore[arg-type,misc]
    with pytest.raises(ValueError, match="must name a keyword-only parameter with a default"):
        AtomicCache.memoize(previous="old")(lambda key, old=None: key)
    with pytest.raises(TypeError, match="previous must be the name of a parameter"):
        AtomicCache.memoize(previous=True)(len)  # type: ignore[call-overload]
