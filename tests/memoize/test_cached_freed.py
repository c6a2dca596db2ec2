"""The results of a function that was `cached` leave the cache once the function has been freed."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, RemovalCause, Resilience, Storage, cached
from areole._expiry import freed_functions as freed_functions
from areole._expiry.freed_functions import LOOKED_AT_EACH, LOOKED_AT_ONCE, REMOVED_AT_ONCE

from ..kit import assert_valid, collect, is_free_threaded, run_threads

MAKERS: dict[str, Callable[..., Any]] = {
    "Storage": lambda **options: Storage(**options),
    "Storage, s3fifo": lambda **options: Storage(policy="s3fifo", **options),
    "Cache": lambda **options: Cache(**options),
    "AtomicCache": lambda **options: AtomicCache(str, **options),
    "AtomicCache, atomic index": lambda **options: AtomicCache(str, index="atomic", **options),
    "AtomicCache with limits": lambda **options: AtomicCache(str, max_items=10_000, **options),
    "AtomicCache with a ttl": lambda **options: AtomicCache(str, 60, **options),
    "with a Resilience": lambda **options: AtomicCache(str, 60, resilience=Resilience(stale_ttl=5), **options),
    "AsyncAtomicCache": lambda **options: AsyncAtomicCache(str, **options),
    "aio view": lambda **options: AtomicCache(str, **options).aio,
}
every_maker = pytest.mark.parametrize("maker", MAKERS)


def define(cache: Any, count: int = 10) -> Any:
    """Define a function that is cached in `cache`, and call it for `count` arguments."""

    @cached(cache)
    def function(n: int) -> Any:
        return [n]

    for n in range(count):
        function(n)
    return function


def free_all() -> None:
    """On free-threaded builds reference counts may be deferred, and one run of the collector is not enough."""
    collect(3 if is_free_threaded() else 1)


def drop(cache: Any, count: int = 10) -> None:
    define(cache, count)
    free_all()


@every_maker
def test_functions_that_come_and_go_do_not_fill_the_cache(maker: str) -> None:
    cache = MAKERS[maker]()
    kept = define(cache)
    for _ in range(12):
        drop(cache)
        assert len(cache) <= 3 * 10
    assert [kept.peek(n) for n in range(10)] == [[n] for n in range(10)], "those of a function that lives stay"
    cache.sweep()
    assert len(cache) == 10
    assert_valid(cache)


@every_maker
def test_an_async_def_too(maker: str) -> None:
    cache = MAKERS[maker]()

    def define_it() -> None:
        @cached(cache)
        async def function(n: int) -> int:
            return n

        asyncio.run(function(1))

    define_it()
    assert len(cache) == 1
    free_all()
    cache.sweep()
    assert len(cache) == 0
    assert_valid(cache)


@pytest.mark.skipif(is_free_threaded() and sys.version_info < (3, 14), reason="classes may be immortal")
@every_maker
def test_one_in_a_class_too(maker: str) -> None:
    cache = MAKERS[maker]()

    def define_it() -> None:
        class Owner:
            @cached(cache)
            @staticmethod
            def static(n: int) -> int:
                return n

        assert Owner.static(1) == 1

    define_it()
    assert len(cache) == 1
    free_all()
    cache.sweep()
    assert len(cache) == 0
    assert_valid(cache)


def test_a_recursive_function_is_freed_by_the_collector() -> None:
    store = Storage[Any]()

    def define_it() -> None:
        @cached(store)
        def fibonacci(n: int) -> int:
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        assert fibonacci(10) == 55

    define_it()
    free_all()
    store.set("a", 1)
    assert list(store) == ["a"]
    assert_valid(store)


@pytest.mark.parametrize("helper", ["invalidate", "peek", "cache_clear"])
def test_who_has_a_helper_can_still_read_the_results(helper: str) -> None:
    store = Storage[Any]()
    kept = getattr(define(store), helper)
    free_all()
    store.sweep()
    assert len(store) == 10
    del kept
    free_all()
    store.sweep()
    assert len(store) == 0


OPERATIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "set": ("Storage", lambda store: store.set("a", 1)),
    "add": ("Storage", lambda store: store.add("a", 1)),
    "set of a Cache": ("Cache", lambda store: store.set("a", 1)),
    "get_or_fill": ("Storage", lambda store: store.get_or_fill("a", str)),
    "get_or_fill with a Resilience": (
        "Storage",
        lambda store: store.get_or_fill("a", str, 60, Resilience(stale_ttl=5)),
    ),
    "get_or_fill of a Cache": ("Cache", lambda store: store.get_or_fill("a", str)),
    "sweep": ("AtomicCache", lambda cache: cache.sweep()),
    "cached": ("AtomicCache", lambda cache: cached(cache)(len)),
    "another's call": ("AtomicCache", lambda cache: cached(cache)(len)("abc")),
    "own fill": ("AtomicCache", lambda cache: cache[1]),
    "own fill on a loop": ("AsyncAtomicCache", lambda cache: asyncio.run(cache.fetch(1))),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_next_operation_that_stores_something_removes_them(operation: str) -> None:
    maker, operate = OPERATIONS[operation]
    told: list[Any] = []
    cache = MAKERS[maker](on_removal=lambda key, value, cause: told.append(cause))
    drop(cache)
    assert (len(cache), told) == (10, []), "not in a finalizer, which may run anywhere"
    operate(cache)
    assert told == [RemovalCause.EXPLICIT] * 10
    assert len(cache) <= 1
    assert_valid(cache)


VIEWS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "aio": (lambda: AtomicCache(str), lambda cache: cache.aio),
    "sync": (lambda: AsyncAtomicCache(str), lambda cache: cache.sync),
}


@pytest.mark.parametrize("views", VIEWS)
def test_those_of_one_view_are_removed_through_another(views: str) -> None:
    make, view_of = VIEWS[views]
    for cached_in, swept in [(view_of, lambda cache: cache), (lambda cache: cache, view_of), (view_of, view_of)]:
        cache = make()
        other = swept(cache)
        drop(cached_in(cache))
        assert len(other) == 10
        other.sweep()
        assert len(other) == 0
        drop(cached_in(cache))
        result = other["own"]
        if asyncio.iscoroutine(result):
            asyncio.run(result)
        assert list(cache) == ["own"]
        assert_valid(cache)


@pytest.mark.parametrize("options", [{}, {"resilience": Resilience()}])
@pytest.mark.parametrize("ask", ["fetch", "refresh"])
def test_the_listener_of_a_cache_for_tasks_is_called_on_the_loop(ask: str, options: dict[str, Any]) -> None:
    """Not in the executor, in which a plain fill runs."""
    told_in: list[int] = []
    cache = AsyncAtomicCache[Any, Any](
        str, on_removal=lambda key, value, cause: told_in.append(threading.get_ident()), **options
    )
    drop(cache)
    asyncio.run(getattr(cache, ask)("own"))
    assert told_in == [threading.get_ident()] * 10
    assert_valid(cache)


def test_one_operation_removes_a_bounded_number_and_looks_rarely() -> None:
    store = Storage[Any]()
    count = 10 * REMOVED_AT_ONCE
    drop(store, count)
    looks: list[int] = []
    snapshot = store._state.index.snapshot
    for done in range(1, 11):
        store.set("a", 1)
        assert len(store) - 1 == count - done * REMOVED_AT_ONCE
    many = 100 * LOOKED_AT_EACH
    store.set_many((n, n) for n in range(many))
    drop(store, 1)  # its own call is told of the number of entries by the next look
    store.sweep()

    class Counting(type(store._state.index)):  # type: ignore[misc]
        __slots__ = ()

        def snapshot(self) -> Any:
            looks.append(1)
            return super().snapshot()

    store._state.index.__class__ = Counting
    drop(store, 1)
    for n in range(90):
        store.set(n, n)
    assert looks == []
    for n in range(20):
        store.set(n, n)
    assert looks == [1] and store.number_of_items == many + 1
    assert snapshot
    assert_valid(store)


def test_an_operation_looks_through_a_bounded_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: one operation looked through all, which took 42 ms for 300,000."""
    store = Storage[Any]()
    parts = 5
    store.set_many((n, n) for n in range(parts * LOOKED_AT_ONCE))
    define(store)
    looked_at: list[Any] = []
    is_left = freed_functions._is_left
    monkeypatch.setattr(freed_functions, "_is_left", lambda key: looked_at.append(key) or is_left(key))
    free_all()
    for done in range(1, parts + 1):
        store.set(0, 0)
        assert len(looked_at) == done * LOOKED_AT_ONCE
    assert len(store) == parts * LOOKED_AT_ONCE + 10
    store.set(0, 0)
    assert len(store) == parts * LOOKED_AT_ONCE and not store._state.freed
    store.set(0, 0)
    assert len(looked_at) == parts * LOOKED_AT_ONCE + 10, "it looks once"
    assert not store._state.freed._unseen
    assert_valid(store)


def test_one_thread_at_a_time_begins_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Storage[Any]()
    drop(store)
    taken = 0
    snapshot = type(store._state.index).snapshot

    class Counting(type(store._state.index)):  # type: ignore[misc]
        __slots__ = ()

        def snapshot(self) -> Any:
            nonlocal taken
            taken += 1
            run_threads(*[lambda: store.set("other", 1)] * 3)
            return snapshot(self)

    store._state.index.__class__ = Counting
    store.set("a", 1)
    assert taken == 1
    store._state.index.__class__ = Counting.__base__
    assert sorted(store) == ["a", "other"]
    assert_valid(store)


def test_nothing_is_kept_for_what_was_cleared() -> None:
    store = Storage[Any]()

    class Value:
        pass

    def define_it() -> list[weakref.ref[Any]]:
        @cached(store)
        def function(n: int) -> Any:
            return Value()

        return [weakref.ref(function(n)) for n in range(3 * REMOVED_AT_ONCE)]

    refs = define_it()
    free_all()
    store.set("a", 1)  # has found them all, and removed some
    assert 0 < sum(ref() is not None for ref in refs) < len(refs)
    store.clear()
    free_all()
    assert [ref for ref in refs if ref() is not None] == []
    assert_valid(store)


def test_a_key_that_raises_does_no_harm_to_the_operation() -> None:
    class Key:
        raises = False

        def __hash__(self) -> int:
            if self.raises:
                raise LookupError("the key")
            return 1

    store = Storage[Any]()
    key = Key()

    def define_it() -> None:
        @cached(store)
        def function(key: Key) -> int:
            return 1

        function(key)

    define_it()
    free_all()
    Key.raises = True
    assert store.set("a", 1) and store.get("a") == 1


def test_a_finalizer_may_store_in_the_middle_of_an_operation() -> None:
    """What a removed value's finalizer stores comes while the entries of the dropped function are being removed."""
    store = Storage[Any]()

    class Value:
        def __del__(self) -> None:
            store.set("from the finalizer", 1)

    def define_it() -> None:
        @cached(store)
        def function(n: int) -> Any:
            return Value()

        for n in range(5):
            function(n)

    define_it()
    free_all()
    store.set("a", 1)
    assert sorted(store) == ["a", "from the finalizer"]
    assert_valid(store)


def test_threads_that_define_and_drop_functions_leave_nothing() -> None:
    store = Storage[Any]()
    kept = define(store)

    def work() -> None:
        for _ in range(30):
            define(store, 5)

    assert run_threads(*[work] * 4) == [None] * 4
    free_all()
    store.sweep()
    assert len(store) == 10 and [kept(n) for n in range(10)] == [[n] for n in range(10)]
    assert_valid(store)
