"""What is kept, and what is let go: nothing for a key that is gone, and no reference cycle that only the garbage
collector could undo.

With the collector off, an object that a cycle holds stays. A weak reference to an object held only by a frame, or by
the key or value, of the use in question tells.
"""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from areole import AtomicCache, RecursiveFillError

from ..kit import ManualClock, assert_valid, collect, every_index, is_free_threaded


class Thing:
    """A key, or a value, or what a frame holds: takes weak references."""


class Unhashable(Thing):
    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def no_collector() -> Iterator[None]:
    collect()
    gc.disable()
    yield
    gc.enable()


def is_freed(ref: weakref.ref[Any]) -> bool:
    """Say whether it has been freed: at once, by its reference count, on a build with a GIL."""
    if is_free_threaded():
        collect()  # a count may be deferred there
    return ref() is None


@pytest.mark.parametrize("how", ["invalidate", "clear", "expire", "refresh"])
@pytest.mark.usefixtures("no_collector")
def test_a_value_that_left_is_freed(how: str) -> None:
    clock = ManualClock()
    cache = AtomicCache(lambda key: Thing(), 10, clock=clock)
    ref = weakref.ref(cache["a"])
    assert ref() is not None
    take_out(cache, how, clock)
    assert is_freed(ref)
    assert_valid(cache)


@pytest.mark.parametrize("ttl", [None, 60])
@pytest.mark.parametrize("at_once", [True, False], ids=["all filled, then all invalidated", "each after its fill"])
def test_20_000_invalidated_keys_leave_nothing_behind(at_once: bool, ttl: float | None) -> None:
    """By tracemalloc: two bytes for each key would fail this; of the atomic index this is not promised."""
    cache = AtomicCache(lambda key: None, ttl, index="dict")
    cache[-1]  # what the first fill of a thread makes for good
    cache.invalidate(-1)
    keys = range(20_000)
    collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for some in [keys] if at_once else [[key] for key in keys]:
            for key in some:
                cache[key]
            for key in some:
                cache.invalidate(key)
        collect()
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert left < 40_000, left
    assert_valid(cache)


@pytest.mark.parametrize("how", ["invalidate", "clear", "expire"])
@pytest.mark.usefixtures("no_collector")
def test_a_key_that_is_gone_is_freed(how: str) -> None:
    clock = ManualClock()
    cache = AtomicCache(lambda key: 1, 10, clock=clock)
    key = Thing()
    cache[key]
    ref = weakref.ref(key)
    if how == "invalidate":
        cache.invalidate(key)
    elif how == "clear":
        cache.clear()
    else:
        clock.advance(10)
        assert key not in cache
    del key
    assert is_freed(ref)
    assert cache._state.index.entries == {}  # type: ignore[comparison-overlap]
    assert_valid(cache)


def take_out(cache: AtomicCache[Any, Any], how: str, clock: ManualClock) -> None:
    if how == "invalidate":
        cache.invalidate("a")
    elif how == "clear":
        cache.clear()
    elif how == "refresh":
        cache.refresh("a")
    else:
        clock.advance(10)
        assert "a" not in cache


@every_index
@pytest.mark.usefixtures("no_collector")
def test_an_invalidated_value_is_freed_over_either_index(index: str) -> None:
    cache = AtomicCache(lambda key: Thing(), index=index)
    ref = weakref.ref(cache["a"])
    cache.invalidate("a")
    assert is_freed(ref)
    assert_valid(cache)


@pytest.mark.usefixtures("no_collector")
def test_nothing_is_kept_for_keys_that_only_failed_or_were_only_asked_for() -> None:
    def fill(key: Thing) -> int:
        raise ValueError

    cache = AtomicCache(fill)
    key = Thing()
    with contextlib.suppress(ValueError):
        cache[key]
    cache.get(key), cache.peek(key), key in cache, cache.invalidate(key)
    with contextlib.suppress(ValueError):
        cache.refresh(key)
    ref = weakref.ref(key)
    del key
    assert is_freed(ref)
    assert cache._state.index.entries == {}  # type: ignore[comparison-overlap]
    assert_valid(cache)


def test_a_cache_is_freed_with_all_that_is_in_it() -> None:
    cache = AtomicCache(lambda key: Thing())
    ref = weakref.ref(cache["a"])
    del cache
    collect()
    assert ref() is None


def test_a_cycle_through_a_cache_is_collected() -> None:
    for index in ("dict", "atomic"):
        cache = AtomicCache[str, Any](lambda key: Thing(), index=index)
        cache["a"].cache = cache
        ref = weakref.ref(cache["a"])
        del cache
        collect()
        assert ref() is None, index


def hit(thing: Thing, index: str) -> None:
    cache = AtomicCache(lambda key: [key], index=index)
    cache[1]
    cache.fetch(1)
    cache.get(1)
    held_by_the_fill = AtomicCache(lambda key: thing, index=index)
    assert held_by_the_fill[1] is held_by_the_fill[1] is thing
    held_by_the_fill.clear()


def fill_key(thing: Thing, index: str) -> None:
    cache = AtomicCache(lambda key: None, index=index)
    cache[thing]
    cache.invalidate(thing)


def refresh(thing: Thing, index: str) -> None:
    cache = AtomicCache(lambda key: thing, index=index)
    cache[1]
    cache.refresh(1)
    cache.invalidate(1)


def failing_fill(thing: Thing, index: str) -> None:
    def fill(key: Any) -> Any:
        kept = thing  # in the frame that the traceback holds
        raise ValueError(id(kept))

    cache = AtomicCache(fill, index=index)
    with contextlib.suppress(ValueError):
        cache[1]


def failing_memoized_fill(thing: Thing, index: str) -> None:
    @AtomicCache.memoize(index=index)
    def fill(key: Any) -> Any:
        kept = thing
        raise ValueError(id(kept))

    with contextlib.suppress(ValueError):
        fill(1)


def failing_refresh(thing: Thing, index: str) -> None:
    def fill(key: Any) -> Any:
        kept = thing
        if 1 in cache:
            raise ValueError(id(kept))

    cache = AtomicCache[Any, Any](fill, index=index)
    cache[1]
    with contextlib.suppress(ValueError):
        cache.refresh(1)
    break_own_cycle(fill)


def stored_exception(thing: Thing, index: str) -> None:
    def fill(key: Any) -> Any:
        raise ValueError

    cache = AtomicCache(fill, index=index, cache_exceptions=True)
    for _ in range(3):
        kept = thing  # in the frame that the tracebacks hold
        with contextlib.suppress(ValueError):
            cache[id(kept) and 1]
    cache.clear()


def unhashable_key(thing: Thing, index: str) -> None:
    cache = AtomicCache[Any, Any](lambda key: None, index=index)
    key = Unhashable()
    key.thing = thing  # type: ignore[attr-defined]
    for use in (cache.fetch, cache.get, cache.refresh, cache.invalidate):
        with contextlib.suppress(TypeError):
            use(key)


def failing_ttl(thing: Thing, index: str) -> None:
    def ttl(key: Any, value: Any) -> float:
        kept = thing
        raise ValueError(id(kept))

    cache = AtomicCache(lambda key: None, ttl)
    with contextlib.suppress(ValueError):
        cache[1]


def recursive_fill(thing: Thing, index: str) -> None:
    def fill(key: Any) -> Any:
        kept = thing
        return cache[id(kept) and key]

    cache = AtomicCache[Any, Any](fill, index=index)
    with contextlib.suppress(RecursiveFillError):
        cache[1]
    break_own_cycle(fill)


def break_own_cycle(fill: Any) -> None:
    """Undo the cycle that a test makes by itself: the fill's closure -> the cache -> the fill."""
    for cell in fill.__closure__:
        with contextlib.suppress(ValueError):
            del cell.cell_contents


USES = [
    hit,
    fill_key,
    refresh,
    failing_fill,
    failing_memoized_fill,
    failing_refresh,
    stored_exception,
    unhashable_key,
    failing_ttl,
    recursive_fill,
]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
@pytest.mark.usefixtures("no_collector")
def test_no_reference_cycle_is_left_by(use: Callable[[Thing, str], None]) -> None:
    thing = Thing()
    ref = weakref.ref(thing)
    use(thing, "dict")
    del thing
    if is_free_threaded() and ref() is not None:
        pytest.skip("reference counts of functions are deferred there, so only the collector frees what they hold")
    assert ref() is None, f"{use.__name__} leaves a cycle"
