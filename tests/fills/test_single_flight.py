"""One fill, one leader, everybody else waits: invariants 1, 2 and 4 under threads.

Outcomes allowed for any number of threads that ask for one cold key at once: the fill runs exactly once, and all get
that very object.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, FillTimeout

from ..kit import (
    PATIENCE,
    Gate,
    assert_valid,
    every_index,
    is_free_threaded,
    run_threads,
    start_threads,
    wait_until_waiting,
)

THREADS = 16
BURSTS = 12 if is_free_threaded() else 40  # one takes ten times as long there


def as_mapping(fill: Callable[[Any], Any], index: str) -> tuple[Callable[[Any], Any], AtomicCache[Any, Any]]:
    cache = AtomicCache(fill, index=index)
    return cache.__getitem__, cache


def as_refresh(fill: Callable[[Any], Any], index: str) -> tuple[Callable[[Any], Any], AtomicCache[Any, Any]]:
    cache = AtomicCache(fill, index=index)
    return cache.refresh, cache


def as_memoized_function(fill: Callable[[Any], Any], index: str) -> tuple[Callable[[Any], Any], AtomicCache[Any, Any]]:
    memoized = AtomicCache.memoize(fill, index=index)
    return memoized, memoized.cache


def as_memoized_method(fill: Callable[[Any], Any], index: str) -> tuple[Callable[[Any], Any], AtomicCache[Any, Any]]:
    class Owner:
        @AtomicCache.memoize(index=index)
        def method(self, key: Any) -> Any:
            return fill(key)

    owner = Owner()
    return owner.method, owner.method.cache


def as_awaited(fill: Callable[[Any], Any], index: str) -> tuple[Callable[[Any], Any], AtomicCache[Any, Any]]:
    """Each thread asks on a loop of its own."""
    cache = AsyncAtomicCache(fill, index=index)
    return (lambda key: asyncio.run(cache.fetch(key))), cache.sync


def as_memoized_coroutine_function(fill: Callable[[Any], Any], index: str) -> Any:
    @AtomicCache.memoize(index=index)
    async def memoized(key: Any) -> Any:
        return await asyncio.to_thread(fill, key)

    return (lambda key: asyncio.run(memoized(key))), memoized.cache


every_way = pytest.mark.parametrize(
    "way", [as_mapping, as_memoized_function, as_memoized_method, as_awaited, as_memoized_coroutine_function]
)


def call_repeatedly(function: Callable[[Any], Any], arguments: Any) -> Callable[[], list[Any]]:
    return lambda: [function(argument) for argument in arguments]


@every_index
@every_way
def test_a_cold_key_asked_for_by_sixteen_threads_is_filled_once_in_each_burst(way: Any, index: str) -> None:
    """Invariant 2. Known fault: cold key, 16 threads, 40 bursts, more than one call (cachetools lock 22 bursts,
    moka-py 21, cachebox lock=True 4, functools.lru_cache all 16 calls); waiters get different objects (otter #137,
    CPython gh-150708).

    1. A misses, and begins to fill      2. B misses: A has stored nothing yet      3. B fills too

    The fill ends only when all others wait, so none of them can come late and merely hit.
    """
    calls: list[int] = []

    def fill(burst: int) -> object:
        calls.append(burst)
        wait_until_waiting(cache, (THREADS - 1) * (burst + 1))
        return object()

    ask, cache = way(fill, index)
    for burst in range(BURSTS):
        results = run_threads(*[lambda burst=burst: ask(burst)] * THREADS)
        assert len({id(result) for result in results}) == 1, results
        assert type(results[0]) is object
    assert calls == list(range(BURSTS))
    assert_valid(cache)


@every_index
@pytest.mark.parametrize("way", [as_mapping, as_refresh, as_memoized_function, as_memoized_method])
def test_no_key_is_filled_twice_where_fills_end_at_once(way: Any, index: str) -> None:
    """Invariant 2. Known fault: the slot is released before the value is published, or nobody looks again after
    winning (moka #195, otter #152 #184, cachetools #294).

    1. B looks: nothing      2. A fills, publishes and lets go of the slot      3. B takes the slot, fills again

    A refresh may fill again once another one has ended: there only what all threads saw last must agree.
    """
    calls: list[int] = []

    def fill(key: int) -> object:
        calls.append(key)
        return object()

    ask, cache = way(fill, index)
    keys = range(200)
    results = run_threads(*[call_repeatedly(ask, keys)] * 8)
    if way is not as_refresh:
        assert sorted(calls) == list(keys)
        assert all(len({id(row[key]) for row in results}) == 1 for key in keys)
    assert all(cache.peek(key) in [row[key] for row in results] for key in keys)
    assert_valid(cache)


@every_index
def test_a_recursive_function_called_cold_by_many_threads_runs_once_for_each_argument(index: str) -> None:
    """Invariants 2 and 5: threads that wait for each other's parts of one recursion neither hang nor work twice."""
    calls: list[int] = []

    @AtomicCache.memoize(index=index)
    def fib(n: int) -> int:
        calls.append(n)
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    results = run_threads(*[lambda n=n: fib(n) for n in (60, 60, 59, 58, 60, 57, 30, 10)])
    assert results[0] == 1_548_008_755_920
    assert sorted(calls) == list(range(61))
    assert_valid(fib.cache)


@every_index
def test_distinct_keys_are_filled_at_the_same_time(index: str) -> None:
    """No lock is held over a fill: each of eight fills ends only when all eight run (invariant 6)."""
    together = threading.Barrier(8)
    cache = AtomicCache(lambda key: (key, together.wait(PATIENCE))[0], index=index)
    assert run_threads(*[lambda key=key: cache[key] for key in range(8)]) == list(range(8))
    assert_valid(cache)


@every_index
def test_a_waiter_gives_up_after_wait_timeout_while_the_fill_goes_on_and_is_stored(index: str) -> None:
    """FillTimeout is the waiter's alone; the leader is never timed (row `wait_timeout` of the issue)."""
    gate, calls = Gate(), []

    def fill(key: str) -> str:
        calls.append(key)
        gate.enter()
        return "value"

    cache = AtomicCache(fill, wait_timeout=0.01, name="prices", index=index)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()
    timed_out = run_threads(*[lambda: cache["key"]] * 3)
    assert [type(result) for result in timed_out] == [FillTimeout] * 3
    assert all(isinstance(result, TimeoutError) for result in timed_out)
    assert "prices: cannot wait for a key of type str" in str(timed_out[0])
    assert "key" not in cache
    gate.open()
    assert join() == ["value"]
    assert cache["key"] == "value"
    assert calls == ["key"]
    assert_valid(cache)


@every_index
def test_waiters_whose_fill_ends_in_time_get_its_value(index: str) -> None:
    def fill(key: str) -> object:
        wait_until_waiting(cache, 3)
        return object()

    cache = AtomicCache(fill, wait_timeout=PATIENCE, index=index)
    results = run_threads(*[lambda: cache["key"]] * 4)
    assert len({id(result) for result in results}) == 1
    assert_valid(cache)


@every_index
def test_counters_are_exact_at_rest_after_many_threads(index: str) -> None:
    """Known fault: counters drift (otter #139, CPython gh-148180)."""
    cache: AtomicCache[int, int] = AtomicCache(lambda key: -key, stats=True, index=index)
    run_threads(*[call_repeatedly(cache.__getitem__, range(300))] * 8)
    info = cache.cache_info()
    assert info.fills == 300
    assert info.currsize == 300
    assert info.failures == info.expirations == info.evictions == 0
    assert info.hits is not None
    assert info.hits + info.misses == 8 * 300
    assert info.misses >= info.fills + info.waits
    assert_valid(cache)


class Compared:
    """A key that collides with all others, and calls `Compared.hook` whenever it is compared, in Python."""

    hook: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        Compared.hook()
        return isinstance(other, Compared) and self.number == other.number


@pytest.mark.parametrize("at", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"ttl": 60}, {"max_items": 9}, {"index": "atomic"}], ids=str)
def test_a_key_that_is_looked_for_while_another_thread_compares_it_is_in_once(
    options: dict[str, Any], at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known fault A2: a dict's insertion passes the empty slot of a removed key, and calls `__eq__` of the next one.

    1. A's insertion passes the slot    2. B's insertion of the same key uses it    3. A goes on: the key is in twice.
    """
    fills: list[int] = []
    cache: AtomicCache[Compared, int] = AtomicCache(lambda key: fills.append(key.number) or key.number, **options)
    assert cache.fetch_many([Compared(1), Compared(2)]) and cache.invalidate(Compared(1))
    other = threading.Thread(target=lambda: cache[Compared(3)])
    left = iter(range(at))

    def run_the_other() -> None:
        if threading.current_thread() is not other and next(left, None) == at - 1:
            other.start()
            other.join(0.05)  # or it waits for a lock that this thread holds

    monkeypatch.setattr(Compared, "hook", staticmethod(run_the_other))
    assert cache[Compared(3)] == 3
    monkeypatch.undo()
    if other.ident is not None:
        other.join(PATIENCE)
    assert fills == [1, 2, 3]
    assert len(cache) == 2
    assert_valid(cache)
