"""coalesce: single misses of threads and tasks that come at about the same time are filled by one call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, FillDeadlockError, RecursiveFillError
from areole.errors import KeyLeftOutError

from ..interleave import EXHAUSTIVE, Injected, before_each, every_step, inject, signal_steps
from ..kit import PATIENCE, assert_valid, run, run_threads, start_threads, until
from .test_interrupts import check_all_works, interrupt


class Source:
    """Gives of each key its double, but of "none"; notes what it was asked for."""

    def __init__(self, first: Callable[[], object] = int) -> None:
        self.calls: list[list[Any]] = []
        self.first = first

    def __call__(self, keys: list[Any]) -> Any:
        self.calls.append(keys)
        if len(self.calls) == 1:
            self.first()
        return {key: key * 2 for key in keys if key != "none"}

    async def later(self, keys: list[Any]) -> Any:
        await asyncio.sleep(0)
        return self(keys)


def ask_all(cache: Any, *keys: Any) -> list[Any]:
    return run_threads(*[lambda key=key: cache[key] for key in keys])


def test_threads_that_ask_at_once_are_served_by_one_call_as_soon_as_it_is_full() -> None:
    source = Source()
    cache: Any = AtomicCache(fill_many=source, coalesce=PATIENCE, max_batch=4)
    assert ask_all(cache, "a", "b", "c", "d", "a") == ["aa", "bb", "cc", "dd", "aa"]
    assert [sorted(keys) for keys in source.calls] == [["a", "b", "c", "d"]]
    assert cache.cache_info().fills == 4
    assert_valid(cache)


def test_one_that_is_alone_waits_for_its_time_and_a_fetch_many_does_not_wait() -> None:
    source = Source()
    cache: Any = AtomicCache(fill_many=source, coalesce=0.001)
    assert cache["a"] == "aa"
    alone: Any = AtomicCache(fill_many=source, coalesce=PATIENCE)
    assert alone.fetch_many(["b", "c"]) == {"b": "bb", "c": "cc"}
    assert source.calls == [["a"], ["b", "c"]]
    assert_valid(cache)


def test_each_key_has_its_own_outcome_and_a_call_that_fails_fails_all() -> None:
    cache: Any = AtomicCache(fill_many=Source(), coalesce=PATIENCE, max_batch=2)
    results = ask_all(cache, "a", "none")
    assert results[0] == "aa" and repr(results[1]) == "KeyLeftOutError('none')"
    source = Source(lambda: 1 // 0)
    failing: Any = AtomicCache(fill_many=source, coalesce=PATIENCE, max_batch=3)
    raised = ask_all(failing, "a", "b", "c")
    assert [type(each) for each in raised] == [ZeroDivisionError] * 3
    assert len({id(each) for each in raised}) == 3 and len(source.calls) == 1
    assert failing.cache_info().failures == 3
    assert_valid(failing)


def test_an_interrupted_leader_leaves_the_others_able_to_go_on() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    source = Source(interrupted)
    cache: Any = AtomicCache(fill_many=source, coalesce=PATIENCE, max_batch=3)
    results = ask_all(cache, "a", "b", "c")
    assert sum(isinstance(each, KeyboardInterrupt) for each in results) == 1
    assert {each for each in results if isinstance(each, str)} < {"aa", "bb", "cc"} and len(source.calls) == 2
    assert_valid(cache)


def test_a_call_that_asks_for_a_key_of_its_own_gathering_is_an_error() -> None:
    cache: Any = AtomicCache(fill_many=lambda keys: [cache[key] for key in keys], coalesce=PATIENCE, max_batch=2)
    kinds = {type(each) for each in ask_all(cache, "a", "b")}
    assert kinds <= {RecursiveFillError, FillDeadlockError}
    assert_valid(cache)


def test_what_is_invalidated_while_it_is_gathered_is_not_stored() -> None:
    cache: Any = AtomicCache(fill_many=Source(lambda: cache.invalidate("a")), coalesce=PATIENCE, max_batch=2)
    assert ask_all(cache, "a", "b") == ["aa", "bb"]
    assert list(cache) == ["b"]


def test_tasks_and_threads_are_gathered_together_and_no_loop_is_blocked(on_loop: Any) -> None:
    async def main() -> None:
        source = Source()
        cache: Any = AsyncAtomicCache(fill_many=source.later, coalesce=PATIENCE, max_batch=4)
        tasks = [asyncio.create_task(cache.fetch(key)) for key in "ab"]
        thread = asyncio.create_task(asyncio.to_thread(cache.sync.fetch, "c"))
        await until(lambda: len(cache._state.index.snapshot()) == 3)
        tasks.append(asyncio.create_task(cache.fetch("d")))
        assert await asyncio.gather(*tasks, thread) == ["aa", "bb", "dd", "cc"]
        assert [sorted(keys) for keys in source.calls] == [["a", "b", "c", "d"]]
        assert_valid(cache)

    on_loop(main)


def test_two_callers_that_one_call_serves_with_the_same_failure_get_an_object_each() -> None:
    source = Source()
    cache: Any = AtomicCache(fill_many=source, coalesce=PATIENCE, max_batch=2)
    first = start_threads(lambda: cache["none"])
    while not cache._fill.gatherings._open:
        time.sleep(0)
    cache.invalidate("none")
    (later,), (before,) = run_threads(lambda: cache["none"]), first()
    assert type(before) is type(later) is KeyLeftOutError and before is not later
    assert source.calls == [["none"]]
    assert_valid(cache)


@pytest.mark.parametrize("turns", range(6))
def test_the_key_of_a_cancelled_lookup_is_not_asked_for_later(turns: int) -> None:
    async def main() -> None:
        source = Source()
        cache: Any = AsyncAtomicCache(fill_many=source.later, coalesce=PATIENCE, max_batch=2)
        alone = asyncio.create_task(cache.fetch("a"))
        for _ in range(turns):
            await asyncio.sleep(0)
        alone.cancel()
        await asyncio.wait([alone])
        assert await asyncio.gather(cache.fetch("b"), cache.fetch("c")) == ["bb", "cc"]
        assert source.calls == [["b", "c"]]
        assert_valid(cache)

    run(main)


def test_the_key_of_an_interrupted_lookup_is_not_asked_for_later() -> None:
    source = Source()
    cache: Any = AtomicCache(fill_many=source, coalesce=PATIENCE, max_batch=2)
    gatherings = cache._fill.gatherings
    closed, gatherings._close = [], lambda gathering: closed.append(gathering) or interrupt()
    gatherings._seconds = 0.0
    with pytest.raises(KeyboardInterrupt):
        cache["a"]
    del gatherings._close
    gatherings._seconds = PATIENCE
    assert closed and ask_all(cache, "b", "c") == ["bb", "cc"]
    assert [sorted(keys) for keys in source.calls] == [["b", "c"]]


def test_it_may_be_longer_than_any_lock_waits() -> None:
    cache: Any = AtomicCache(fill_many=Source(), coalesce=1e300, max_batch=2)
    assert ask_all(cache, "a", "b") == ["aa", "bb"]


def test_a_leading_task_that_is_cancelled_leaves_its_gathering_to_the_others() -> None:
    async def main() -> None:
        for turns in range(10):
            source = Source()
            cache: Any = AsyncAtomicCache(fill_many=source.later, coalesce=PATIENCE, max_batch=3)
            tasks = [asyncio.create_task(cache.fetch(key)) for key in "ab"]
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            for key in "cdefg":  # the gathering may be full without the one that was cancelled, or with it
                if not tasks[1].done():
                    tasks.append(asyncio.create_task(cache.fetch(key)))
                    for _ in range(20):
                        await asyncio.sleep(0)
            assert tasks[1].done() and await tasks[1] == "bb"
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert_valid(cache)

    run(main)


def test_an_interrupt_before_any_instruction_of_a_gathered_miss_leaves_a_cache_that_works() -> None:
    assert before_each(signal_steps, interrupted_miss, stride=1 if EXHAUSTIVE else 3) > 100


def interrupted_miss(at: int) -> Injected:
    cache: Any = AtomicCache(fill_many=lambda keys: [("value of", key) for key in keys], coalesce=PATIENCE, max_batch=1)
    injected = inject(lambda: cache["key"], interrupt, at)
    if injected.places:
        assert isinstance(injected.result, KeyboardInterrupt), f"{injected!r}: swallowed, for {injected.result!r}"
    check_all_works(cache, cache.__getitem__)
    assert_valid(cache)
    return injected


def test_a_lookup_by_a_finalizer_before_any_instruction_of_a_gathered_miss_gets_its_value_as_the_miss_does() -> None:
    assert before_each(steps_of_gatherings, nested_miss) > 10


def steps_of_gatherings(code: CodeType) -> frozenset[int]:
    return every_step(code) if EXHAUSTIVE or "gathering" in code.co_filename else frozenset()


def nested_miss(at: int) -> Injected:
    others: list[Any] = []
    cache: Any = AtomicCache(fill_many=Source(), coalesce=0.0001)
    injected = inject(lambda: cache["key"], lambda: others.append(cache["other"]), at)
    assert injected.result == "keykey", f"{injected!r}: {injected.result!r}"
    assert others == ["otherother"] * bool(injected.places)
    assert_valid(cache)
    return injected


def test_a_thread_whose_loop_runs_a_gathering_asks_apart() -> None:
    async def main() -> None:
        source = Source()
        cache: Any = AsyncAtomicCache(fill_many=source, inline=True, coalesce=0.05)
        task = asyncio.create_task(cache.fetch("a"))
        await until(lambda: cache._fill.gatherings._open is not None)
        assert cache.sync["b"] == "bb" and await task == "aa"
        assert source.calls == [["b"], ["a"]]

    run(main)
