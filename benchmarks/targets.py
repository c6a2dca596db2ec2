"""The bounds of issue 2, "Speed to reach", beside what was reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .build import Build
from .contenders import ITEM, KEYWORDS, METHOD, ONE, THREE
from .samples import Case, Samples

__all__ = ["Target", "cached_cases", "cached_targets", "counted_cases", "counting_targets", "targets_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """One bound. `applies` is False where the issue sets it for another kind of build: it is shown, and not checked."""

    what: str
    reached: float
    bound: float
    at_least: bool = False
    applies: bool = True
    unit: str = ""

    @property
    def is_reached(self) -> bool:
        return self.reached >= self.bound if self.at_least else self.reached <= self.bound

    @property
    def is_missed(self) -> bool:
        return self.applies and not self.is_reached

    @property
    def verdict(self) -> str:
        verdict = "reached" if self.is_reached else "missed"
        return verdict if self.applies else f"({verdict}; not set for this build)"

    @property
    def bound_text(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}{self.unit}"


LRU_ONE = Case("lru_cache", ONE)
LRU_THREE = Case("lru_cache", THREE)
LRU_KEYWORDS = Case("lru_cache", KEYWORDS)
LRU_METHOD = Case("lru_cache", METHOD)


def targets_of(
    build: Build, hits: Samples, threads: Samples, fills: Samples, memory: dict[str, float], *, index: str = "areole"
) -> list[Target]:
    """Return all bounds whose cases were measured. `index` names the contender that stands for the default index."""
    found = [*_hit_targets(build, hits, index), *_against_cereggii(build, hits, index)]
    return [*found, *_thread_targets(build, threads, index), *_fill_targets(fills), *_memory_targets(memory)]


def _bounds_hits(build: Build) -> bool:
    """Say whether the bounds on hits by one thread are set for this build: with a GIL, from 3.13 on."""
    return build.has_gil and build.version >= (3, 13)


def _hit_targets(build: Build, hits: Samples, index: str) -> Iterator[Target]:
    """The first line of the issue. "With three arguments at most 2.4" can be read in two ways: both are checked."""
    bounds = [
        ("f(k) / lru_cache's", Case(index, ONE), LRU_ONE, 1.6),
        ("f(k, 1, 2) / lru_cache's f(k)", Case(index, THREE), LRU_ONE, 2.4),
        ("f(k, 1, 2) / lru_cache's own", Case(index, THREE), LRU_THREE, 2.4),
        ("f(k, b=1, c=2) / lru_cache's own", Case(index, KEYWORDS), LRU_KEYWORDS, 1.0),
        ("obj.m(k) / lru_cache's own", Case(index, METHOD), LRU_METHOD, 3.3),
        ("cache[k] / lru_cache's f(k)", Case(index, ITEM), LRU_ONE, 2.0),
        ("f(k) under a ttl / lru_cache's f(k)", Case("areole ttl", ONE), LRU_ONE, 2.5),
        ("f(k) with resilience / f(k) under a ttl", Case("areole resilient", ONE), Case("areole ttl", ONE), 1.1),
    ]
    for what, case, other, bound in bounds:
        if case in hits and other in hits:
            yield Target(what, hits.ratio(case, other).median, bound, applies=_bounds_hits(build))


def _against_cereggii(build: Build, hits: Samples, index: str) -> Iterator[Target]:
    ours_and_theirs = [(index, "cereggii"), ("areole ttl", "cereggii ttl")]
    for ours, theirs in ours_and_theirs:
        for shape in (ONE, THREE, KEYWORDS, ITEM):
            case, other = Case(ours, shape), Case(theirs, shape)
            if case in hits and other in hits:
                what = f"cereggii's {shape}{' under a ttl' if 'ttl' in ours else ''} / areole's"
                reached = hits.ratio(other, case).median
                yield Target(what, reached, 4.0, at_least=True, applies=_bounds_hits(build))


def _thread_targets(build: Build, threads: Samples, index: str) -> Iterator[Target]:
    """Scaling: 1.6 where reference counts can be deferred; elsewhere no worse than each peer.

    "No worse" allows for 5 percent, which is less than two runs of one contender differ by. A slow contender scales
    better, since what threads fight over is a smaller part of it; so the throughput itself is compared too.
    """
    if not {1, 2} <= set(threads.threads()):
        return
    method = Case(index, METHOD)
    if method in threads:
        scaling, applies = threads.scaling(method, 2).median, build.is_free_threaded
        yield Target(f"{METHOD}: throughput of 2 threads / of 1", scaling, 1.0, at_least=True, applies=applies)
    for ours in (Case(index, ONE), Case(index, ITEM)):
        if ours not in threads:
            continue
        scaling = threads.scaling(ours, 2).median
        deferred = build.is_free_threaded and build.defers_refcounts
        yield Target(f"{ours.shape}: throughput of 2 threads / of 1", scaling, 1.6, at_least=True, applies=deferred)
        peers = (LRU_ONE, Case("cereggii", ours.shape))
        for peer in (peer for peer in peers if peer in threads):
            applies = build.is_free_threaded and not build.defers_refcounts
            what, reached = (
                f"{ours.shape}: 2 threads / 1, over that of {peer}",
                scaling / threads.scaling(peer, 2).median,
            )
            yield Target(what, reached, 0.95, at_least=True, applies=applies)
            what, reached = f"{ours.shape}: throughput of 2 threads / {peer}'s", threads.ratio(peer, ours, 2).median
            yield Target(what, reached, 0.95, at_least=True, applies=False)


def _fill_targets(fills: Samples) -> Iterator[Target]:
    bare = Case("no cache", ONE)
    for contender in ("areole", "areole atomic"):
        for shape in (ONE, ITEM):
            case = Case(contender, shape)
            if case in fills and bare in fills:
                reached = fills.difference(case, bare).median / 1000
                yield Target(f"what a fill adds, {case}", reached, 3.0, unit=" us")


def counted_cases(samples: Samples) -> list[tuple[Case, Case]]:
    """Return each case whose hits are not counted, with the same where they are."""
    pairs = [(case, Case(f"{case.contender} stats", case.shape)) for case in samples.by_case]
    return [(case, counted) for case, counted in pairs if counted in samples]


def cached_cases(samples: Samples) -> list[tuple[Case, Case]]:
    """Return each case of a memoized function, with the same of one that is cached in a Storage."""
    pairs = [(case, Case(case.contender.replace("memoize", "cached"), case.shape)) for case in samples.by_case]
    return [(memoized, cached) for memoized, cached in pairs if memoized != cached and cached in samples]


def cached_targets(cached: Samples) -> list[Target]:
    """Return the bounds on what a namespace in the key costs a hit.

    With one argument, which is the key of a memoized function, it makes a tuple of the key. With several it is one more
    item of the tuple.
    """
    return [
        Target(f"{case}, cached / memoized", cached.ratio(other, case).median, 1.3 if case.shape == THREE else 2.3)
        for case, other in cached_cases(cached)
    ]


def counting_targets(build: Build, counting: Samples) -> list[Target]:
    """Return the bounds of issue 8 on what `stats=True` costs a hit."""
    bound = 1.75 if build.has_gil else 2.0
    return [
        Target(f"{case}, counted / not", counting.ratio(counted, case).median, bound)
        for case, counted in counted_cases(counting)
    ]


def _memory_targets(memory: dict[str, float]) -> Iterator[Target]:
    """Of "nothing behind" the bound is a byte a key: 100 kB."""
    bounds = {
        "entry, dict index": 200.0,
        "left of filled, then invalidated": 1.0,
        "left of each invalidated after its fill": 1.0,
    }
    for what, bound in bounds.items():
        if what in memory:
            yield Target(f"bytes a key: {what}", memory[what], bound, unit=" B")
