"""The measurements: hits, fills and memory. Rounds are interleaved: each round measures every case once.

What a round begins with moves on by one case a round, so that no case always follows the same neighbour.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from .contenders import (
    EMPTY,
    GET,
    ITEM,
    LOOPS,
    METHOD,
    ONE,
    THREE,
    Areole,
    Contender,
    Loop,
    cached_pairs,
    counting_pairs,
    loop_of_its_own,
)
from .crew import Crew
from .decorators import NoCache
from .samples import Case, Samples

__all__ = [
    "QUICK",
    "Plan",
    "Runner",
    "bytes_a_key",
    "cases_of",
    "interleaved",
    "make_block",
    "measure_cached",
    "measure_counting",
    "measure_fills",
    "measure_hits",
    "measure_memory",
    "measure_threads",
    "warm_runner",
]

T = TypeVar("T")
_ToMeasure: TypeAlias = tuple[Contender, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. Bursts are in seconds: how long one case is to run in one round."""

    threads: tuple[int, ...] = (1, 2)
    keys: int = 1000  # a block of keys to hit, one per thread
    hit_rounds: int = 41
    hit_burst: float = 0.004
    thread_rounds: int = 21
    thread_burst: float = 0.015  # with a GIL, several of the 5 ms after which threads take turns
    fill_rounds: int = 21
    fill_keys: int = 5000  # a block of cold keys, one per thread
    memory_keys: int = 100_000


QUICK = Plan(
    hit_rounds=15,
    hit_burst=0.002,
    thread_rounds=15,
    thread_burst=0.005,
    fill_rounds=15,
    fill_keys=1500,
    memory_keys=20_000,
)


@dataclass(slots=True)
class Runner:
    """A case with its target, and how often a burst goes over a block of keys."""

    case: Case
    target: Any
    loop: Loop
    passes: int = 1

    def burst(self, keys: Sequence[int]) -> None:
        loop, target = self.loop, self.target
        for _ in range(self.passes):
            loop(target, keys)


THREAD_SHAPES = (EMPTY, ONE, THREE, METHOD, ITEM)


def measure_hits(crew: Crew, contenders: list[Contender], plan: Plan) -> Samples:
    """Measure hits on one thread: every contender in each of its shapes."""
    return _measure_hits(crew, cases_of(contenders, LOOPS), plan.keys, (1,), plan.hit_rounds, plan.hit_burst)


def measure_threads(crew: Crew, contenders: list[Contender], plan: Plan) -> Samples:
    """Measure hits on each number of threads, one and more in each round."""
    cases = cases_of(contenders, THREAD_SHAPES)
    return _measure_hits(crew, cases, plan.keys, plan.threads, plan.thread_rounds, plan.thread_burst)


def measure_counting(crew: Crew, plan: Plan) -> Samples:
    """Measure hits of each kind of areole's caches without counts of hits and with them, side by side."""
    pairs = counting_pairs(2 * max(plan.threads) * plan.keys)
    contenders = [each for pair in pairs for each in pair]
    cases = [(each, shape) for shape in COUNTED_SHAPES for each in contenders if shape in each.shapes]
    return _measure_hits(crew, cases, plan.keys, plan.threads, plan.thread_rounds, plan.hit_burst)


def measure_cached(crew: Crew, plan: Plan) -> Samples:
    """Measure hits of functions that are cached in a Storage, and memoized under the same limit, side by side."""
    contenders = [each for pair in cached_pairs(2 * max(plan.threads) * plan.keys) for each in pair]
    cases = [(each, shape) for shape in (ONE, THREE) for each in contenders]
    return _measure_hits(crew, cases, plan.keys, plan.threads, plan.thread_rounds, plan.hit_burst)


COUNTED_SHAPES = (ONE, METHOD, ITEM, GET)


def cases_of(contenders: list[Contender], shapes: Collection[str]) -> list[_ToMeasure]:
    return [(each, shape) for each in contenders for shape in each.shapes if shape in shapes]


def _measure_hits(
    crew: Crew, cases: list[_ToMeasure], block_size: int, threads: Sequence[int], rounds: int, burst: float
) -> Samples:
    keys = crew.run(max(threads), lambda i: make_block(i, block_size))
    runners = [warm_runner(crew, contender, shape, keys) for contender, shape in cases]
    for runner in runners:
        once = crew.time(1, lambda i, r=runner: r.burst(keys[i]))  # type: ignore[misc]
        runner.passes = max(1, round(burst / once))
    samples = Samples()
    for runner in interleaved(runners, rounds):
        for n in threads:
            seconds = crew.time(n, lambda i, r=runner: r.burst(keys[i]))  # type: ignore[misc]
            operations = runner.passes * sum(map(len, keys[:n]))
            samples.add(runner.case, n, seconds / operations * 1e9)
    return samples


def warm_runner(crew: Crew, contender: Contender, shape: str, keys: list[list[int]]) -> Runner:
    """Make a runner whose target holds all keys, each filled by its own thread, and whose loop has run for a while."""
    target = contender.make(shape)
    runner = Runner(Case(contender.name, shape), target, loop_of_its_own(shape))
    crew.run(len(keys), lambda i: contender.warm(shape, target, keys[i]))
    for _ in range(3):
        crew.run(len(keys), lambda i: runner.burst(keys[i]))
    return runner


def interleaved(items: list[T], rounds: int) -> Iterator[T]:
    for each in range(rounds):
        start = each % len(items)
        yield from items[start:]
        yield from items[:start]


FILL_SHAPES = (ONE, ITEM)


def _fill_contenders(contenders: list[Contender]) -> list[Contender]:
    """Of the contenders, those with fills worth comparing; and the function without a cache."""
    names = ("lru_cache", "areole", "areole atomic", "areole ttl", "cereggii")
    return [NoCache(), *(each for each in contenders if each.name in names)]


def measure_fills(crew: Crew, contenders: list[Contender], plan: Plan) -> Samples:
    """Measure fills of cold keys by a new cache in each round, on each number of threads, with the collector on."""
    keys = crew.run(max(plan.threads), lambda i: make_block(i + 100, plan.fill_keys))
    cases = cases_of(_fill_contenders(contenders), FILL_SHAPES)
    samples = Samples()
    for contender, shape in interleaved(cases, plan.fill_rounds):
        gc.collect()  # what the cache of the round before has left
        for n in plan.threads:
            seconds = _time_fills(crew, contender, shape, keys, n)
            samples.add(Case(contender.name, shape), n, seconds / (n * plan.fill_keys) * 1e9)
    return samples


def _time_fills(crew: Crew, contender: Contender, shape: str, keys: list[list[int]], threads: int) -> float:
    loop, target = loop_of_its_own(shape), contender.make(shape)
    return crew.time(threads, lambda i: loop(target, keys[i]))


def make_block(number: int, size: int) -> list[int]:
    """Make keys that no other block has; all are objects, not Python's shared small integers."""
    start = (number + 1) * 10_000_000
    return list(range(start, start + size))


def measure_memory(plan: Plan) -> dict[str, float]:
    """Measure bytes a key, by tracemalloc: of an entry beyond its key and value, and of what stays when it is gone."""
    return {name: bytes_a_key(name, plan.memory_keys) for name in MEMORY_CASES}


def bytes_a_key(name: str, count: int) -> float:
    index, work = MEMORY_CASES[name]
    keys = make_block(0, count)
    cache = Areole("areole", (), index=index).mapping(_none)
    cache[-1]  # what the first fill of a thread makes for good
    cache.invalidate(-1)  # a dict frees its table once it is empty
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work(cache, keys)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / len(keys)
    finally:
        tracemalloc.stop()


def _none(key: int) -> None:
    return None


def _fill(cache: Any, keys: list[int]) -> None:
    for k in keys:
        cache[k]


def _fill_then_invalidate(cache: Any, keys: list[int]) -> None:
    _fill(cache, keys)
    for k in keys:
        cache.invalidate(k)


def _fill_then_clear(cache: Any, keys: list[int]) -> None:
    _fill(cache, keys)
    cache.clear()


def _fill_and_invalidate_each(cache: Any, keys: list[int]) -> None:
    for k in keys:
        cache[k]
        cache.invalidate(k)


MEMORY_CASES: dict[str, tuple[str, Callable[[Any, list[int]], None]]] = {
    "entry, dict index": ("dict", _fill),
    "entry, atomic index": ("atomic", _fill),
    "left of filled, then invalidated": ("dict", _fill_then_invalidate),
    "left of filled, then cleared": ("dict", _fill_then_clear),
    "left of each invalidated after its fill": ("dict", _fill_and_invalidate_each),
    "left the same way, atomic index": ("atomic", _fill_and_invalidate_each),
}
