"""fill_many: one call for all keys that nobody fills, each with a flight of its own. Threads."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache, FillDeadlockError, Filled, FillTimeout, RecursiveFillError, Resilience, errors

from ..interleave import EXHAUSTIVE, Injected, before_each, inject, signal_steps
from ..kit import Gate, ManualClock, assert_valid, collect, run_threads, start_threads, wait_until_waiting
from .test_interrupts import check_all_works, interrupt


class Source:
    """Gives of each key its double, but of "none"; notes what it was asked for."""

    def __init__(self, gives: Callable[[list[Any]], Any] | None = None) -> None:
        self.calls: list[list[Any]] = []
        self.gives = gives or (lambda keys: {key: key * 2 for key in keys if key != "none"})

    def __call__(self, keys: list[Any]) -> Any:
        self.calls.append(list(keys))
        return self.gives(keys)


def test_one_call_is_made_for_all_that_is_missing_and_none_for_what_is_there() -> None:
    source = Source()
    cache: Any = AtomicCache(fill_many=source)
    assert cache["a"] == "aa"
    assert cache.fetch_many(["b", "a", "c", "b"]) == {"b": "bb", "a": "aa", "c": "cc"}
    assert list(cache.fetch_many(["c", "d", "a"])) == ["c", "d", "a"]
    assert source.calls == [["a"], ["b", "c"], ["d"]]
    info = cache.cache_info()
    assert (info.misses, info.fills, info.failures, info.currsize) == (4, 4, 0, 4)
    assert_valid(cache)


def test_values_may_come_in_the_order_of_the_keys() -> None:
    cache: Any = AtomicCache(fill_many=lambda keys: [key + 1 for key in keys], max_batch=2)
    assert cache.fetch_many(range(5)) == {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}
    assert cache[9] == 10


def test_a_large_call_is_split_by_max_batch_and_stops_where_the_fill_raises() -> None:
    source = Source(lambda keys: [1 // key for key in keys])
    cache: Any = AtomicCache(fill_many=source, max_batch=2)
    with pytest.raises(ZeroDivisionError):
        cache.fetch_many([1, 2, 3, 0, 5])
    assert source.calls == [[1, 2], [3, 0]]
    assert sorted(cache) == [1, 2]
    assert_valid(cache)


@pytest.mark.parametrize(
    ("gives", "error", "says"),
    [
        ([1], ValueError, "returned 1 values for 2 keys"),
        ([1, 2, 3], ValueError, "returned 3 values for 2 keys"),
        ("ab", TypeError, "not str"),
        ({1, 2}, TypeError, "not set"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_what_is_no_answer_for_the_keys_is_an_error_that_says_so(gives: Any, error: Any, says: str) -> None:
    cache: Any = AtomicCache(fill_many=lambda keys: gives)
    with pytest.raises(error, match=says):
        cache.fetch_many(["a", "b"])
    assert len(cache) == 0
    assert_valid(cache)


def test_a_cache_takes_either_fill_or_fill_many() -> None:
    for options in ({}, {"fill": len, "fill_many": len}):
        with pytest.raises(TypeError, match=r"pass fill, called with one key, or fill_many"):
            AtomicCache(**options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_batch is for a cache with fill_many"):
        AtomicCache(len, max_batch=1)
    with pytest.raises(ValueError, match="max_batch"):
        AtomicCache(fill_many=list, max_batch=0)

    async def load(keys: list[int]) -> list[int]:
        return keys

    with pytest.raises(TypeError, match=r"fill_many, .*load, is an async def.*use AsyncAtomicCache"):
        AtomicCache(fill_many=load)  # type: ignore[arg-type]


# ---- keys that are left out, and errors


def test_a_key_that_is_left_out_is_a_key_error_for_it_alone() -> None:
    source = Source()
    cache: Any = AtomicCache(fill_many=source)
    for lookup in (lambda: cache.fetch_many(["a", "none", "b"]), lambda: cache["none"]):
        with pytest.raises(KeyError) as caught:
            lookup()
        assert type(caught.value) is errors.KeyLeftOutError and caught.value.args == ("none",)
    assert cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
    assert source.calls == [["a", "none", "b"], ["none"]]
    assert cache.cache_info().failures == 2
    assert_valid(cache)


def test_negative_ttl_keeps_what_was_left_out_for_this_long_and_no_other_error() -> None:
    clock, source = ManualClock(), Source()
    cache: Any = AtomicCache(fill_many=source, ttl=9, clock=clock, resilience=Resilience(negative_ttl=5))
    for _ in range(2):
        with pytest.raises(KeyError):
            cache.fetch_many(["a", "none"])
        with pytest.raises(KeyError):
            cache["none"]
    assert source.calls == [["a", "none"]]
    clock.advance(5)
    with pytest.raises(KeyError):
        cache["none"]
    source.gives = lambda keys: 1 // 0  # type: ignore[assignment]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache["b"]
    assert source.calls == [["a", "none"], ["none"], ["b"], ["b"]]
    assert_valid(cache)


def test_what_the_fill_raises_reaches_its_caller_and_a_copy_each_of_those_who_wait() -> None:
    gate = Gate()

    def load(keys: list[Any]) -> Any:
        gate.enter()
        raise ValueError("no")

    cache: Any = AtomicCache(fill_many=load)
    leader = start_threads(lambda: cache.fetch_many(["a", "b"]))
    gate.wait_until_entered()
    waiters = start_threads(lambda: cache["a"], lambda: cache["b"], lambda: cache.fetch_many(["b", "a"]))
    wait_until_waiting(cache, 3)
    gate.open()
    raised = leader() + waiters()
    assert [repr(each) for each in raised] == ["ValueError('no')"] * 4
    assert len({id(each) for each in raised}) == 4
    assert cache.cache_info().failures == 2
    assert_valid(cache)


def test_the_tags_of_one_key_that_raise_fail_that_key_alone() -> None:
    source = Source()
    cache: Any = AtomicCache(fill_many=source, tags=lambda key: [{"a": "of a", "b": "of b"}[key]])
    with pytest.raises(KeyError, match="'d'"):
        cache.fetch_many(["a", "d", "b"])
    assert sorted(cache) == ["a", "b"] and cache.cache_info()[:4] == (None, 3, None, 2)
    with pytest.raises(KeyError, match="'d'"):
        asyncio.run(cache.aio.fetch_many(["a", "d"]))
    assert cache.invalidate_tags("of a", "of b") == 2 and cache.cache_info().failures == 2
    assert_valid(cache)


def test_the_ttl_of_one_key_that_raises_fails_that_key_alone() -> None:
    cache: Any = AtomicCache(fill_many=Source(), ttl=lambda key, value: {"a": 9, "b": 0, "c": None}[key])
    with pytest.raises(KeyError, match="'d'"):
        cache.fetch_many(["a", "d", "b", "c"])
    assert sorted(cache) == ["a", "c"]  # "b" has expired at once
    assert_valid(cache)


async def raised_by(start: Any) -> Any:
    try:
        await start()
    except KeyError as error:
        return weakref.ref(error)


def test_an_error_leaves_nothing_for_the_garbage_collector() -> None:
    class Mine(Exception):
        pass

    def load(keys: list[Any]) -> Any:
        raise Mine

    failing: Any = AtomicCache(fill_many=load)
    leaving_out: Any = AtomicCache(fill_many=lambda keys: {"b": 1, "c": 2})
    gathering: Any = AtomicCache(fill_many=lambda keys: {}, coalesce=0.001)
    collect()
    gc.disable()
    try:
        for lookup in (
            lambda: failing.fetch_many(["a", "b"]),
            lambda: failing["a"],
            lambda: leaving_out.fetch_many(["b", "a", "c"]),
            lambda: leaving_out.fetch_many(["b", "d"]),
            lambda: leaving_out["a"],
            lambda: gathering["a"],
        ):
            try:
                lookup()
            except (Mine, KeyError) as error:
                gone = weakref.ref(error)
            assert gone() is None
        for start in (lambda: leaving_out.aio.fetch_many(["a", "d"]), lambda: gathering.aio.fetch("a")):
            gone = asyncio.run(raised_by(start))
            assert gone() is None
    finally:
        gc.enable()


# ---- other callers


def test_keys_that_others_fill_are_joined_and_each_key_can_be_joined() -> None:
    gates = {"a": Gate(), "b": Gate()}

    def load(keys: list[str]) -> list[str]:
        gates[keys[0]].enter()
        return [key * 2 for key in keys]

    source = Source(load)
    cache: Any = AtomicCache(fill_many=source)
    first = start_threads(lambda: cache.fetch_many(["a", "x"]))
    gates["a"].wait_until_entered()
    second = start_threads(lambda: cache.fetch_many(["b", "x", "y"]))
    gates["b"].wait_until_entered()
    singles = start_threads(lambda: cache["x"], lambda: cache["y"])
    gates["b"].open()
    assert cache["b"] == "bb"  # published, though its caller still waits for x
    gates["a"].open()
    assert first() + second() == [{"a": "aa", "x": "xx"}, {"b": "bb", "x": "xx", "y": "yy"}]
    assert singles() == ["xx", "yy"]
    assert source.calls == [["a", "x"], ["b", "y"]]
    assert_valid(cache)


def test_many_batches_of_the_same_keys_in_any_order_fill_each_once() -> None:
    source = Source(lambda keys: [key * 2 for key in keys])
    cache: Any = AtomicCache(fill_many=source)
    orders = list(itertools.permutations(range(4)))[::3]
    expected = {key: key * 2 for key in range(4)}
    assert run_threads(*[lambda order=order: cache.fetch_many(order) for order in orders]) == [expected] * 8
    assert sorted(itertools.chain(*source.calls)) == [0, 1, 2, 3]
    assert_valid(cache)


def test_a_fill_that_asks_for_a_key_of_its_own_batch_is_an_error_and_one_for_a_cycle_too() -> None:
    def load(keys: list[Any]) -> Any:
        return [cache["b"] for _ in keys]

    cache: Any = AtomicCache(fill_many=load)
    with pytest.raises(RecursiveFillError):
        cache.fetch_many(["a", "b"])

    gates = Gate(), Gate()

    def load_crosswise(keys: list[Any]) -> Any:
        mine = keys[0]
        gates[mine].enter()
        return crosswise.fetch_many([1 - mine, 3 - mine])

    crosswise: Any = AtomicCache(fill_many=lambda keys: {key: load_crosswise(keys) for key in keys})
    join = start_threads(lambda: crosswise.fetch_many([0, 2]), lambda: crosswise.fetch_many([1, 3]))
    for gate in gates:
        gate.wait_until_entered()
    for gate in gates:
        gate.open()
    raised = {type(each) for each in join()}
    assert FillDeadlockError in raised
    assert_valid(crosswise)


def test_a_waiter_of_one_key_that_is_too_slow_times_out_alone() -> None:
    gate = Gate()
    cache: Any = AtomicCache(fill_many=lambda keys: [gate.enter() or key for key in keys], wait_timeout=0.01)
    leader = start_threads(lambda: cache.fetch_many([1, 2]))
    gate.wait_until_entered()
    with pytest.raises(FillTimeout):
        cache.fetch_many([2])
    gate.open()
    assert leader() == [{1: 1, 2: 2}]
    assert_valid(cache)


# ---- options


def test_limits_removals_and_hits_are_those_of_single_fills() -> None:
    removed: list[Any] = []
    cache: Any = AtomicCache(
        fill_many=Source(),
        max_items=2,
        policy="lru",
        stats=True,
        on_removal=lambda key, value, cause: removed.append((key, cause.name)),
    )
    assert cache.fetch_many(["a", "b", "c"]) == {"a": "aa", "b": "bb", "c": "cc"}
    assert cache.fetch_many(["c", "b"]) == {"c": "cc", "b": "bb"}
    assert removed == [("a", "EVICTED")]
    info = cache.cache_info()
    assert (info.hits, info.misses, info.evictions) == (2, 3, 1)
    assert_valid(cache)


@pytest.mark.parametrize("timeouts", [{}, {"soft_timeout": 20, "hard_timeout": 40}], ids=["here", "in a worker"])
def test_stale_values_are_served_where_a_batch_fails(timeouts: dict[str, Any]) -> None:
    clock, source = ManualClock(), Source()
    resilience = Resilience(stale_ttl=100, fail_safe=True, **timeouts)
    cache: Any = AtomicCache(fill_many=source, ttl=10, clock=clock, resilience=resilience)
    assert cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
    clock.advance(10)
    source.gives = lambda keys: 1 // 0  # type: ignore[assignment]
    assert cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
    assert cache.fetch_many(["b", "a"]) == {"b": "bb", "a": "aa"}  # not tried again so soon
    assert source.calls == [["a", "b"]] * 2
    with pytest.raises(ZeroDivisionError):
        cache.fetch_many(["a", "c"])
    info = cache.cache_info()
    assert (info.stale_hits, info.misses, info.failures) == (5, 3, 3)
    assert_valid(cache)


def test_a_slow_batch_under_a_soft_timeout_gives_stale_values_and_one_under_a_hard_timeout_an_error() -> None:
    clock, gate = ManualClock(), Gate()
    source = Source()
    resilience = Resilience(stale_ttl=100, fail_safe=True, soft_timeout=0.01, hard_timeout=0.02)
    cache: Any = AtomicCache(fill_many=source, ttl=10, clock=clock, resilience=resilience)
    cache.fetch_many(["a", "b"])
    clock.advance(10)
    source.gives = lambda keys: gate.enter() or [key * 3 for key in keys]  # type: ignore[func-returns-value]
    assert cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
    with pytest.raises(FillTimeout):
        cache.fetch_many(["c", "d"])
    gate.open()
    clock.advance(2)
    assert cache.fetch_many(["a", "b", "c", "d"]) == {key: key * 3 for key in "abcd"}
    assert_valid(cache)


def test_a_stale_value_without_fail_safe_is_served_at_once_beside_what_is_filled() -> None:
    clock, source = ManualClock(), Source()
    cache: Any = AtomicCache(fill_many=source, ttl=10, clock=clock, resilience=Resilience(stale_ttl=9))
    cache.fetch_many(["a"])
    clock.advance(10)
    assert cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
    assert source.calls[1] == ["b"] or source.calls[2] == ["b"]
    assert cache.cache_info().stale_hits == 1


def test_each_key_has_tags_of_its_own_and_its_value_may_be_a_filled() -> None:
    source = Source(lambda keys: {key: Filled(key * 2, ttl=5 if key == "a" else 9) for key in keys})
    clock = ManualClock()
    cache: Any = AtomicCache(fill_many=source, tags=["of {key}", "all"], clock=clock, ttl=7)
    assert cache.fetch_many(["a", "b", "c"]) == {"a": "aa", "b": "bb", "c": "cc"}
    assert cache.invalidate_tags("of b") == 1
    clock.advance(5)
    assert list(cache) == ["c"]
    assert cache.invalidate_tags("all") == 1
    assert_valid(cache)


def test_an_invalidated_tag_of_one_key_during_the_batch_detaches_that_key_alone() -> None:
    source = Source(lambda keys: cache.invalidate_tags("of b") and {key: key * 2 for key in keys})
    cache: Any = AtomicCache(fill_many=source, tags=["of {key}"])
    assert cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
    assert list(cache) == ["a"]
    assert_valid(cache)


def test_a_refresh_and_the_view_for_tasks_call_it_with_one_key() -> None:
    source = Source()
    cache: Any = AtomicCache(fill_many=source)
    cache.fetch_many(["a", "b"])
    assert cache.refresh("b") == "bb"
    assert source.calls == [["a", "b"], ["b"]]


# ---- interrupts


def test_an_interrupt_before_any_instruction_of_a_batch_leaves_a_cache_that_works() -> None:
    """Invariant 4. Here one interrupt; the latch of the batch is opened whatever comes.

    1. A's batch leads x and y      2. A is interrupted while it publishes x      3. B waits for y for ever
    """
    assert before_each(signal_steps, interrupted_batch, stride=1 if EXHAUSTIVE else 2) > 100


def interrupted_batch(at: int) -> Injected:
    calls: list[Any] = []
    cache: Any = AtomicCache(fill_many=lambda keys: calls.append(keys) or [("value of", key) for key in keys], ttl=9)
    injected = inject(lambda: cache.fetch_many(["key", "other"]), interrupt, at)
    if injected.places:
        assert isinstance(injected.result, KeyboardInterrupt), f"{injected!r}: swallowed, for {injected.result!r}"
    check_all_works(cache, cache.__getitem__)
    assert len(calls) <= 3
    assert_valid(cache)
    return injected
