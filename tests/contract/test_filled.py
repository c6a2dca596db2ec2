"""Filled: what a fill may return instead of a plain value; the same in every kind of cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, Filled, RemovalCause, Resilience, SharedCache, Storage, cached
from areole.testing import ManualClock, assert_valid

from ..kit import Gate, start_threads, wait_until_waiting


class Subject(NamedTuple):
    """A cache as these tests see it: `ask` gives the value of "k", `peek` what is stored of it, or None."""

    ask: Callable[[], Any]
    peek: Callable[[], Any]
    refresh: Callable[[], Any]
    own: Any = None


def of_cache(cache: Any) -> Subject:
    return Subject(lambda: cache["k"], lambda: cache.peek("k"), lambda: cache.refresh("k"), cache)


def of_function(function: Any) -> Subject:
    return Subject(lambda: function("k"), lambda: function.peek("k"), lambda: function.refresh("k"), function.cache)


def of_coroutines(ask: Any, peek: Any, refresh: Any) -> Subject:
    return Subject(lambda: asyncio.run(ask("k")), lambda: peek("k"), lambda: asyncio.run(refresh("k")))


def atomic(fill: Any, clock: Any) -> Subject:
    return of_cache(AtomicCache(fill, clock=clock))


def atomic_with_ttl(fill: Any, clock: Any) -> Subject:
    return of_cache(AtomicCache(fill, ttl=100, clock=clock))


def atomic_bounded(fill: Any, clock: Any) -> Subject:
    return of_cache(AtomicCache(fill, max_items=5, clock=clock))


def atomic_of_cells(fill: Any, clock: Any) -> Subject:
    return of_cache(AtomicCache(fill, index="atomic", clock=clock))


def atomic_resilient(fill: Any, clock: Any) -> Subject:
    return of_cache(AtomicCache(fill, 100, clock=clock, resilience=Resilience(hard_timeout=20)))


def atomic_aio(fill: Any, clock: Any) -> Subject:
    async def later(key: str) -> Any:
        return fill(key)

    cache: Any = AsyncAtomicCache(later, clock=clock)
    return of_coroutines(cache.fetch, cache.peek, cache.refresh)


def memoized(fill: Any, clock: Any) -> Subject:
    return of_function(AtomicCache.memoize(fill, clock=clock, allow_single_use=True))


def memoized_method(fill: Any, clock: Any) -> Subject:
    class Owner:
        @AtomicCache.memoize(clock=clock)
        def method(self, key: str) -> Any:
            return fill(key)

    return of_function(Owner().method)


def memoized_async(fill: Any, clock: Any) -> Subject:
    @AtomicCache.memoize(clock=clock)
    async def later(key: str) -> Any:
        return fill(key)

    return of_coroutines(later, later.peek, later.refresh)


def cached_in_storage(fill: Any, clock: Any) -> Subject:
    return of_function(cached(Storage(clock=clock))(fill))


def cached_in_read_through(fill: Any, clock: Any) -> Subject:
    return of_function(cached(AtomicCache(str, clock=clock))(fill))


def storage(fill: Any, clock: Any) -> Subject:
    store: Any = Storage(clock=clock)
    return Subject(lambda: store.get_or_fill("k", fill), lambda: store.get("k", None), lambda: None, store)


def cache_of_bytes(fill: Any, clock: Any) -> Subject:
    store: Any = Cache(clock=clock)
    return Subject(lambda: store.get_or_fill("k", fill), lambda: store.get("k", None), lambda: None, store)


OWN = [
    atomic,
    atomic_with_ttl,
    atomic_bounded,
    atomic_of_cells,
    atomic_resilient,
    atomic_aio,
    memoized,
    memoized_method,
    memoized_async,
    cached_in_storage,
    cached_in_read_through,
    storage,
    cache_of_bytes,
]
REFRESHED = [each for each in OWN if each not in (storage, cache_of_bytes)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def giving(*results: Any) -> Callable[[str], Any]:
    """Make a fill that returns these one after the other."""
    left: Iterator[Any] = iter(results)

    def fill(key: str) -> Any:
        return next(left)

    return fill


@pytest.mark.parametrize("make", OWN)
def test_its_ttl_counts_and_its_value_is_what_callers_get(make: Any, clock: ManualClock) -> None:
    subject = make(giving(Filled([1], ttl=5), [2]), clock)
    assert subject.ask() == [1]
    clock.advance(4.9)
    assert subject.ask() == subject.peek() == [1]
    clock.advance(0.1)
    assert subject.peek() is None
    assert subject.ask() == [2]
    if subject.own is not None:
        assert_valid(subject.own)


@pytest.mark.parametrize("make", OWN)
def test_what_is_not_to_be_stored_reaches_its_caller_alone(make: Any, clock: ManualClock) -> None:
    subject = make(giving(Filled(1, store=False), Filled(2, ttl=0), Filled(3, ttl=None), 4), clock)
    assert subject.ask() == 1
    assert subject.peek() is None
    assert subject.ask() == 2
    assert subject.peek() is None
    assert subject.ask() == 3
    clock.advance(1_000_000)
    assert subject.ask() == 3


@pytest.mark.parametrize("make", REFRESHED)
def test_on_a_refresh_an_unstored_value_leaves_the_old_one_and_an_expired_one_removes_it(
    make: Any, clock: ManualClock
) -> None:
    subject = make(giving(1, Filled(2, store=False), Filled(3, ttl=-1)), clock)
    assert subject.ask() == 1
    assert subject.refresh() == 2
    assert subject.ask() == 1
    assert subject.refresh() == 3
    assert subject.peek() is None


def test_waiters_get_the_value() -> None:
    gate = Gate()

    def fill(key: str) -> Any:
        gate.enter()
        return Filled(7, store=False)

    cache = AtomicCache(fill)
    asking = start_threads(lambda: cache["k"], lambda: cache["k"])
    wait_until_waiting(cache, 1)
    gate.open()
    assert asking() == [7, 7]
    assert "k" not in cache


def test_values_with_a_ttl_leave_a_cache_without_one_as_others_are_filled(clock: ManualClock) -> None:
    """Also one whose entry was in the index before the cache knew of any ttl, and one that is removed meanwhile."""
    removed: list[tuple[int, RemovalCause]] = []

    def fill(key: int) -> Any:
        if key == 0:
            cache.invalidate(0)
        if key == 1:
            assert cache[2] == 2  # the first one with a ttl, while 1 is in the index
        return Filled(key, ttl=5) if key < 10 else key

    cache: AtomicCache[int, Any] = AtomicCache(
        fill, clock=clock, on_removal=lambda key, _, cause: removed.append((key, cause))
    )
    assert cache[1] == 1
    assert cache[0] == 0
    clock.advance(5)
    for key in range(10, 200):
        assert cache[key] == key
    assert sorted(removed) == [(1, RemovalCause.EXPIRED), (2, RemovalCause.EXPIRED)]
    assert_valid(cache)
    assert 0 not in [entry.key for entry in cache._state.expirer._few]


def test_its_weight_counts_under_a_limit_in_bytes() -> None:
    plain: Storage[bytes] = Storage(size_limit_in_bytes=8192)
    plain.get_or_fill("k", lambda key: b"v")
    store: Storage[bytes] = Storage(size_limit_in_bytes=8192)
    store.get_or_fill("k", lambda key: Filled(b"v", weight=1001))
    assert store.size_in_bytes == plain.size_in_bytes + 1000
    assert store.get_or_fill("large", lambda key: Filled(b"v", weight=5000)) == b"v"
    assert "large" not in store
    without = AtomicCache(lambda key: Filled(key, weight=10**9), max_items=2)
    assert without["k"] == "k"
    assert "k" in without


def test_a_store_sweeps_for_it_and_one_that_ignores_every_ttl_ignores_it(clock: ManualClock) -> None:
    with Storage[int](clock=clock) as store, Storage[int](clock=clock, expiration_disabled=True) as endless:
        for each in (store, endless):
            each.get_or_fill("k", lambda key: Filled(1, ttl=5))
        clock.advance(5)
        assert store.sweep() == 1
        assert store._is_swept
        assert endless.get("k") == 1


def test_skip_is_asked_too(clock: ManualClock) -> None:
    function = cached(Storage(clock=clock), skip=bool)(lambda k: Filled(k, ttl=5))
    assert function(1) == 1
    assert function.peek(1) is None


def test_where_no_cache_is_chosen_the_value_is_returned() -> None:
    function = cached(lambda: None)(giving(Filled(1), Filled(2)))

    @cached(lambda: None)
    async def later(key: str) -> Any:
        return Filled(key)

    assert (function("k"), function.refresh("k")) == (1, 2)
    assert asyncio.run(later("k")) == asyncio.run(later.refresh("k")) == "k"


@pytest.mark.parametrize("allow", [False, True])
def test_a_value_that_can_be_used_once_is_refused_in_it_too(allow: bool) -> None:
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: Filled(iter(c for c in key)), allow_single_use=allow)
    if allow:
        assert list(cache["ab"]) == ["a", "b"]
    else:
        with pytest.raises(TypeError, match="a generator"):
            cache["ab"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ttl": "5"}, TypeError, "ttl of Filled must be seconds"),
        ({"ttl": float("nan")}, ValueError, "ttl of Filled must be finite"),
        ({"store": 1}, TypeError, "store of Filled must be a bool"),
        ({"weight": -1}, ValueError, "weight of Filled must be an int of at least 0"),
        ({"expire": 5}, TypeError, "ttl"),
    ],
)
def test_what_is_wrong_is_said(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Filled(1, **options)
    with pytest.raises(TypeError, match="another Filled"):
        Filled(Filled(1))


def test_the_ttl_of_a_fill_that_does_not_end_when_it_is_cancelled_is_no_failure() -> None:
    async def fill(key: str) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Filled(key, ttl=5)

    async def main() -> None:
        cache: AsyncAtomicCache[str, Any] = AsyncAtomicCache(fill)
        lookup = asyncio.create_task(cache.fetch("k"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        lookup.cancel()
        await asyncio.wait([lookup])
        assert cache.cache_info().fills == 1 and cache.cache_info().failures == 0
        assert "k" not in cache
        assert_valid(cache)

    asyncio.run(main())


# ---- with a shared cache


def test_in_a_shared_cache_it_says_the_same() -> None:
    with SharedCache[Any]("memory://", namespace="filled") as shop:
        assert shop.get_or_fill("k", lambda key: Filled(1, ttl=50)) == 1
        assert 40 < shop.ttl_of("k") <= 50  # type: ignore[operator]
        assert shop.refresh("k", lambda key: Filled(2, store=False)) == 2
        assert shop["k"] == 1
        assert shop.refresh("k", lambda key: Filled(3, ttl=0)) == 3
        assert "k" not in shop
        function = cached(shop, key="f:{key}")(giving(Filled(4, ttl=None)))
        assert function("k") == shop["f:k"] == 4
        assert shop.ttl_of("f:k") is None


def test_in_front_of_a_shared_cache_its_ttl_is_that_of_both_and_its_weight_that_of_the_copy() -> None:
    with SharedCache[Any]("memory://", namespace="filled") as shop:
        cache: AtomicCache[str, Any] = AtomicCache(
            giving(Filled(1, ttl=50, weight=1001), Filled(2, store=False), 3),
            shared=shop,
            max_bytes=10_000,
            weigher=lambda key, value: 1,
        )
        assert cache["k"] == shop["k"] == 1
        assert 40 < shop.ttl_of("k") <= 50  # type: ignore[operator]
        weight = cache.size_in_bytes
        assert cache.refresh("k") == 2
        assert cache["k"] == 1  # still in the store
        assert cache.size_in_bytes == weight - 1000  # a copy whose fill was not here
        later: Any = AsyncAtomicCache(giving_later(Filled(5)), shared=shop)
        assert asyncio.run(later.fetch("later")) == shop["later"] == 5


def giving_later(result: Any) -> Any:
    async def fill(key: str) -> Any:
        return result

    return fill
