"""Measure Storage and bounded memoized calls beside atomic_lru, cachetools.TTLCache and functools.lru_cache.

    python -m benchmarks.storage              about a minute; --quick: about 10 seconds
    python -m benchmarks.storage --check      exit status 1 if a bound of issue 3 is missed
    python -m benchmarks.storage --json F     raw samples, with the machine that they came from
    python -m benchmarks.storage --longest    the longest `set` alone, about 30 seconds
    python -m benchmarks.storage --against S  areole alone, beside another source tree: see benchmarks.against

As in `benchmarks.hits`, what counts is the ratios: all contenders run in one process and in turn, in each of at least
15 rounds. `set` is measured with keys that were never there, on stores that are full: each puts another one out.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from . import against
from .build import Build, this_build
from .command import finish, installed, introduce, make_parser
from .contenders import (
    GET,
    LOCKED_GET,
    LOCKED_SET,
    ONE,
    SET,
    Areole,
    AreoleStorage,
    AtomicLru,
    BoundedLruCache,
    Contender,
    LockedTtlCache,
    Loop,
    loop_of_its_own,
)
from .crew import Crew
from .decorators import other_stores
from .measure import _measure_hits, cases_of, interleaved, make_block
from .report import table
from .samples import Case, Samples
from .targets import Target

__all__ = ["QUICK", "Plan", "Results", "main", "of_size", "run", "targets_of"]

POLICIES = ("lru", "s3fifo")
MANY = 1 << 20
"""Limit of the stores that hits are measured on: nothing is evicted there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. Bursts are in seconds: how long one case is to run in one round."""

    keys: int = 1000  # a block of keys to hit, one per thread; the limit of what is bounded
    rounds: int = 41
    burst: float = 0.004
    thread_rounds: int = 21
    thread_burst: float = 0.015  # with a GIL, several of the 5 ms after which threads take turns
    set_rounds: int = 41
    sets: int = 2000  # a burst
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    memory_keys: int = 40_000  # up to twice as many, in four steps: tables of dicts grow in leaps
    longest_items: int = 1_000_000  # of the store whose longest `set` is looked for
    longest_sets: int = 12_000


QUICK = Plan(
    rounds=15,
    burst=0.002,
    thread_rounds=15,
    thread_burst=0.005,
    set_rounds=15,
    sets=1000,
    sizes=(1_000, 10_000, 100_000),
    memory_keys=10_000,
    longest_items=100_000,
    longest_sets=2_000,
)


@dataclass(frozen=True, slots=True)
class Results:
    build: Build
    plan: Plan
    hits: Samples
    threads: Samples
    sets: Samples
    sizes: Samples
    memory: dict[str, float]
    longest: dict[str, float] = field(default_factory=dict)

    def targets(self) -> list[Target]:
        return targets_of(self)

    def missed(self) -> list[str]:
        return [each.what for each in self.targets() if each.is_missed]

    def as_json(self) -> dict[str, Any]:
        return {
            "build": self.build.as_json(),
            "plan": asdict(self.plan),
            "unit": "nanoseconds an operation, one number a round, by case and number of threads",
            "hits": self.hits.as_json(),
            "threads": self.threads.as_json(),
            "sets": self.sets.as_json(),
            "sets by size": self.sizes.as_json(),
            "bytes an entry": {name: round(value, 2) for name, value in self.memory.items()},
            "longest set, ms": {name: round(value, 4) for name, value in self.longest.items()},
            "targets": [asdict(each) | {"verdict": each.verdict} for each in self.targets()],
        }


# ---- contenders


def memoizing(plan: Plan) -> list[Contender]:
    areole = [Areole(f"areole {policy}", (ONE,), max_items=plan.keys, policy=policy) for policy in POLICIES]
    return [BoundedLruCache(plan.keys), *areole]


def stores(max_items: int) -> list[Contender]:
    """Return a store of each kind; those of areole under a ttl, of an hour, stand beside the TTLCache."""
    areole = [AreoleStorage(f"areole {policy}", max_items, policy=policy) for policy in POLICIES]
    with_ttl = [
        AreoleStorage(f"areole {policy} ttl", max_items, policy=policy, default_ttl=3600.0) for policy in POLICIES
    ]
    return [AtomicLru(max_items), LockedTtlCache(max_items), *areole, *with_ttl, *other_stores(max_items)]


def stores_of_sizes(policy: str, plan: Plan) -> list[Contender]:
    return [AreoleStorage(of_size(policy, size), size, policy=policy) for size in plan.sizes]


def of_size(policy: str, size: int) -> str:
    return f"areole {policy}, {size:,} items"


# ---- measurements


def measure_hits(crew: Crew, contenders: list[Contender], plan: Plan) -> Samples:
    cases = cases_of(contenders, (ONE, GET, LOCKED_GET))
    return _measure_hits(crew, cases, plan.keys, (1,), plan.rounds, plan.burst)


def measure_threads(crew: Crew, contenders: list[Contender], plan: Plan) -> Samples:
    cases = cases_of(contenders, (GET, LOCKED_GET))
    return _measure_hits(crew, cases, plan.keys, (1, 2), plan.thread_rounds, plan.thread_burst)


def measure_sets(crew: Crew, contenders: list[Contender], plan: Plan) -> Samples:
    """Measure `set` of new keys on full stores, with the collector on; each burst has keys of its own, made before."""
    numbers = itertools.count(1)
    setters = [_full_store(crew, each, shape) for each, shape in cases_of(contenders, (SET, LOCKED_SET))]
    samples = Samples()
    for i, (case, target, loop) in enumerate(interleaved(setters, plan.set_rounds + 1)):
        keys = crew.run(1, lambda _: make_block(next(numbers), plan.sets))[0]
        seconds = crew.time(1, lambda _, k=keys, t=target, f=loop: f(t, k))  # type: ignore[misc]
        if i >= len(setters):  # the first round warms up
            samples.add(case, 1, seconds / plan.sets * 1e9)
    return samples


def _full_store(crew: Crew, contender: Any, shape: str) -> tuple[Case, Any, Loop]:
    target = contender.make(shape)
    crew.run(1, lambda _: contender.warm(shape, target, make_block(0, contender.max_items)))
    return Case(contender.name, shape), target, loop_of_its_own(shape)


def measure_sizes(crew: Crew, plan: Plan) -> Samples:
    """Measure `set` on full stores of each size, one policy after the other, to halve the memory that it takes."""
    samples = Samples()
    for policy in POLICIES:
        gc.collect()
        samples.by_case |= measure_sets(crew, stores_of_sizes(policy, plan), plan).by_case
    return samples


def measure_memory(plan: Plan) -> dict[str, float]:
    """Measure bytes an entry beyond its key and value, by tracemalloc; the mean over sizes, and the highest."""
    memory = {}
    sizes = [plan.memory_keys * (4 + i) // 4 for i in range(4)]
    for policy, (name, ttl, work) in itertools.product(POLICIES, _MEMORY_CASES):
        found = [_bytes_an_entry(size, work, policy=policy, default_ttl=ttl) for size in sizes]
        memory[f"{policy}, {name}"] = sum(found) / len(found)
        memory[f"{policy}, {name}, highest"] = max(found)
    return memory


def _bytes_an_entry(size: int, work: Callable[[Any, list[int], int], None], **options: Any) -> float:
    from areole import Storage

    keys = make_block(0, 5 * size)
    store: Any = Storage(1 << 40, size, weigher=lambda key, value: 0, **options)  # weighed, as under a limit in bytes
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work(store, keys, size)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        store.close()
    assert store.number_of_items == size
    return taken / size


def _fill(store: Any, keys: list[int], size: int) -> None:
    for k in keys[:size]:
        store.set(k, None)


def _churn(store: Any, keys: list[int], size: int) -> None:
    """Set five times as many keys as there is room for."""
    for k in keys:
        store.set(k, None)


def _use(store: Any, keys: list[int], size: int) -> None:
    """Use each of a full store's keys, then put a tenth of them out."""
    _fill(store, keys, size)
    for k in keys[:size]:
        store.get(k)
    for k in keys[size : size + size // 10]:
        store.set(k, None)


_MEMORY_CASES: tuple[tuple[str, float | None, Callable[[Any, list[int], int], None]], ...] = (
    ("filled", None, _fill),
    ("churned", None, _churn),
    ("used", None, _use),
    ("filled, ttl", 3600.0, _fill),
    ("churned, ttl", 3600.0, _churn),
)


def measure_longest_sets(plan: Plan) -> dict[str, float]:
    """Measure the longest `set` on a full store of which all was used, in milliseconds of its thread's own time.

    The collector is off, as its pauses are not the store's. `a dict's` is what the same keys take in a dict alone.
    """
    orders: dict[str, Callable[[list[int]], object]] = {
        "in order": lambda keys: None,
        "backwards": list.reverse,
        "at random": random.Random(1).shuffle,
    }
    longest = {}
    for policy, (order, arrange) in itertools.product(POLICIES, orders.items()):
        keys = make_block(0, plan.longest_items + plan.longest_sets)
        old, new = keys[: plan.longest_items], keys[plan.longest_items :]
        used = old.copy()
        arrange(used)
        longest[f"{policy}, used {order}"] = _longest_set(policy, old, used, new)
    longest["a dict's"] = _longest_step(_full_dict_setter(plan.longest_items), range(-plan.longest_sets, 0))
    return longest


def _longest_set(policy: str, old: list[int], used: list[int], new: list[int]) -> float:
    from areole import Storage

    store: Any = Storage(max_items=len(old), policy=policy, weigher=lambda key, value: 0)
    for key in old:
        store.set(key, None)
    for key in used:
        store.get(key)
    try:
        return _longest_step(lambda key: store.set(key, None), new)
    finally:
        store.close()


def _full_dict_setter(size: int) -> Callable[[int], object]:
    full: dict[int, None] = dict.fromkeys(range(size))
    oldest = itertools.count()

    def set_in_dict(key: int) -> None:
        del full[next(oldest)]
        full[key] = None

    return set_in_dict


def _longest_step(step: Callable[[int], object], keys: Iterable[int]) -> float:
    longest, clock, was_on = 0, time.thread_time_ns, gc.isenabled()
    gc.disable()
    try:
        for key in keys:
            start = clock()
            step(key)
            longest = max(longest, clock() - start)
    finally:
        if was_on:
            gc.enable()
    return longest / 1e6


# ---- tables


def time_table(title: str, samples: Samples, references: dict[str, list[Case]]) -> str:
    """Show nanoseconds, and how many times as long each reference takes: above 1, ours is the faster."""
    header = ["case", "contender", "ns", "quartiles", *(f"{name} /" for name in references)]
    rows = []
    for case in samples.by_case:
        spread = samples.nanoseconds(case)
        cells = [
            case.shape,
            case.contender,
            f"{spread.median:.0f}",
            f"{spread.quarter:.0f}..{spread.three_quarters:.0f}",
        ]
        for cases in references.values():
            found = [samples.ratio(other, case).median for other in cases if other in samples]
            cells.append(f"{found[0]:.2f}" if found else "")
        rows.append(cells)
    return table(title, header, rows)


def thread_table(samples: Samples) -> str:
    rows = []
    for case in samples.by_case:
        throughput = [f"{1000 / samples.nanoseconds(case, n).median:.2f}" for n in (1, 2)]
        scaling = samples.scaling(case, 2)
        quartiles = f"{scaling.quarter:.2f}..{scaling.three_quarters:.2f}"
        rows.append([case.shape, case.contender, *throughput, f"{scaling.median:.2f}", quartiles])
    title = "Hits on threads, each with its own block of keys, set by itself: throughput in millions a second"
    return table(title, ("case", "contender", "M/s on 1", "M/s on 2", "2 / 1", "quartiles"), rows)


def memory_table(memory: dict[str, float]) -> str:
    rows = [(name, "", f"{value:.0f}") for name, value in memory.items()]
    return table("Memory of Storage beyond keys and values, by tracemalloc", ("what", "", "bytes an entry"), rows)


def longest_table(longest: dict[str, float]) -> str:
    rows = [(name, "", f"{value:.2f}") for name, value in longest.items()]
    return table("Longest set after all values were used, ms of the thread's own time", ("what", "", "ms"), rows)


def target_table(targets: list[Target]) -> str:
    rows = [(t.what, t.verdict, t.bound_text, f"{t.reached:.2f}{t.unit}") for t in targets]
    return table('Targets of issue 3, "Speed"', ("what", "verdict", "target", "reached"), rows)


ATOMIC_LRU_GET, ATOMIC_LRU_SET = Case("atomic_lru", GET), Case("atomic_lru", SET)
TTL_CACHE_GET, TTL_CACHE_SET = Case("TTLCache", LOCKED_GET), Case("TTLCache", LOCKED_SET)


# ---- targets


def targets_of(results: Results) -> list[Target]:
    """Return all bounds whose cases were measured."""
    found = [*_store_targets(results.hits, results.sets), *_size_targets(results.sizes, results.plan)]
    found += _longest_targets(results.longest, results.plan)
    return [*found, *_memoize_targets(results.hits, results.build, results.plan)]


def _store_targets(hits: Samples, sets: Samples) -> Iterator[Target]:
    bounds = [
        (hits, GET, ATOMIC_LRU_GET, 4.0),
        (hits, GET, TTL_CACHE_GET, 2.0),
        (sets, SET, ATOMIC_LRU_SET, 1.0),
        (sets, SET, TTL_CACHE_SET, 1.0),
    ]
    for (samples, shape, other, bound), policy in itertools.product(bounds, POLICIES):
        ours = Case(f"areole {policy}", shape)
        if ours in samples and other in samples:
            what = f"{other.contender}'s {shape.partition('(')[0]} / {policy}'s"
            yield Target(what, samples.ratio(other, ours).median, bound, at_least=True)


def _size_targets(sizes: Samples, plan: Plan) -> Iterator[Target]:
    """Flat: no size takes more than twice as long as any other."""
    for policy in POLICIES:
        cases = [Case(of_size(policy, size), SET) for size in plan.sizes]
        if all(case in sizes for case in cases):
            dearest = max(sizes.ratio(case, other).median for case in cases for other in cases)
            what = f"{policy}'s set, {min(plan.sizes):,} to {max(plan.sizes):,} items: dearest / cheapest"
            yield Target(what, dearest, 2.0)


def _longest_targets(longest: dict[str, float], plan: Plan) -> Iterator[Target]:
    for name, reached in longest.items():
        if name != "a dict's":
            yield Target(
                f"longest set of {plan.longest_items:,}, {name}", reached - longest["a dict's"], 5.0, unit=" ms"
            )


def _memoize_targets(hits: Samples, build: Build, plan: Plan) -> Iterator[Target]:
    """As the bounds of issue 2 on hits, set for builds with a GIL, from 3.13 on."""
    other = Case(f"lru_cache({plan.keys})", ONE)
    for policy in POLICIES:
        ours = Case(f"areole {policy}", ONE)
        if ours in hits and other in hits:
            applies = build.has_gil and build.version >= (3, 13)
            what = f"memoized hit, {policy} / {other.contender}'s"
            yield Target(what, hits.ratio(ours, other).median, 2.2, applies=applies)


# ---- the program


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says; return the exit status."""
    options = _parse(arguments)
    if options.serve or options.against:
        return against.run("benchmarks.storage", rows(options.quick), options)
    plan = QUICK if options.quick else Plan()
    results = run_longest(plan) if options.longest else run(plan)
    return finish(results, options)


def run(plan: Plan) -> Results:
    """Measure everything, and print each table as soon as it is there."""
    start = time.perf_counter()
    build = introduce([*memoizing(plan), *stores(plan.keys)])
    with Crew(2) as crew:
        hits = measure_hits(crew, installed([*memoizing(plan), *stores(MANY)]), plan)
        references = {"lru_cache": [Case(f"lru_cache({plan.keys})", ONE)]}
        references |= {"atomic_lru": [ATOMIC_LRU_GET], "TTLCache": [TTL_CACHE_GET]}
        print(time_table("Hits on one thread (medians; loop included)", hits, references), flush=True)
        threads = measure_threads(crew, installed(stores(MANY)), plan)
        print(thread_table(threads), flush=True)
        sets = measure_sets(crew, installed(stores(plan.keys)), plan)
        references = {"atomic_lru": [ATOMIC_LRU_SET], "TTLCache": [TTL_CACHE_SET]}
        print(time_table(f"set with eviction: {plan.keys:,} items at most", sets, references), flush=True)
        sizes = measure_sizes(crew, plan)
        references = {"least": [Case(of_size(policy, min(plan.sizes)), SET) for policy in POLICIES]}
        print(time_table("set with eviction, by size", sizes, references), flush=True)
    memory = measure_memory(plan)
    print(memory_table(memory), flush=True)
    longest = measure_longest_sets(plan)
    print(longest_table(longest), flush=True)

    results = Results(build, plan, hits, threads, sets, sizes, memory, longest)
    print(target_table(results.targets()))
    print(f"\n{time.perf_counter() - start:.0f} s")
    return results


def run_longest(plan: Plan) -> Results:
    longest = measure_longest_sets(plan)
    results = Results(this_build({}), plan, Samples(), Samples(), Samples(), Samples(), {}, longest)
    print(*results.build.lines(), sep="\n")
    print(longest_table(longest))
    print(target_table(results.targets()))
    return results


def rows(quick: bool) -> against.Rows:
    """Return what is compared with another source tree."""
    memoized = [each for each in memoizing(Plan()) if each.distribution == "areole"]
    hit = [each for each in stores(MANY) if each.distribution == "areole"]
    full = [each for each in stores(1000) if each.distribution == "areole"]
    full += [each for policy in POLICIES for each in stores_of_sizes(policy, QUICK)[1:]]
    found = against.hit_rows(memoized, (ONE,)) | against.hit_rows(hit, (GET,)) | _set_rows(full)
    for policy, (name, ttl, work) in itertools.product(POLICIES, _MEMORY_CASES):
        found[f"memory, {policy}, {name}: bytes an entry"] = against.Row(
            lambda p=policy, t=ttl, w=work: lambda: _bytes_an_entry(10_000, w, policy=p, default_ttl=t),  # type: ignore[misc]
            once=True,
        )
    if not quick:
        found |= against.hit_rows(hit, (GET,), 2)
        found["longest set, ms"] = against.Row(lambda: lambda: max(measure_longest_sets(QUICK).values()), once=True)
    return found


def _set_rows(contenders: list[Contender]) -> against.Rows:
    """Return rows of `set` with new keys on full stores."""
    return {f"set, {each.name}": against.Row(lambda c=each: _setter(c)) for each in contenders}  # type: ignore[misc]


def _setter(contender: Any) -> Callable[[], float]:
    target, loop, numbers = contender.make(SET), loop_of_its_own(SET), itertools.count(1)
    contender.warm(SET, target, make_block(0, contender.max_items))

    def measure() -> float:
        keys = make_block(next(numbers), 1000)
        return against.cpu_time(lambda: loop(target, keys)) / len(keys)

    return measure


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser("storage", __doc__)
    parser.add_argument("--longest", action="store_true", help="the longest set alone, about 30 seconds")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
