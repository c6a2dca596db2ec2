"""Measure stores under mixes of `get` and `set`, `get` by size, and the slowest calls of a full store.

    python -m benchmarks.mixes [--quick] [--json F]     about two minutes; --quick: 10 seconds, without the slowest

    95/5, 50/50, inserts    19 gets and a set in turn, 10 and 10, 1 and 19; the keys of gets and of the first two's sets
                            are drawn from twice as many as there is room for, inserts have keys that were never there
    get by size             keys drawn from all of a full store, of 1,000 to 1,000,000 items
    the slowest             the 99.9th percentile of get and set while a full store of 1,000,000 evicts and expires

`set` by size, and bytes per entry, are in `benchmarks.storage`.
"""

from __future__ import annotations

import gc
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from .build import Build
from .command import finish, installed, introduce, make_plain_parser
from .contenders import GET, LOCKED_GET, LOCKED_SET, LOOPS, SET, Contender, loop_of_its_own
from .crew import Crew
from .measure import interleaved
from .report import table
from .samples import Case, Samples
from .storage import POLICIES, of_size, stores, stores_of_sizes
from .storage import QUICK as STORAGE_QUICK
from .storage import Plan as StoragePlan

__all__ = ["MIXES", "QUICK", "Plan", "Results", "main", "measure_mixes", "measure_slowest", "percentile"]

MIXES = {"95/5": (19, 1), "50/50": (10, 10), "inserts": (1, 19)}
_Turns = list[tuple[list[int], list[int]]]


@dataclass(frozen=True, slots=True)
class Plan:
    room: int = 10_000  # items of a store
    turns: int = 200  # of 20 operations each, a burst
    rounds: int = 21
    threads: tuple[int, ...] = (1, 2)
    sizes: tuple[int, ...] = StoragePlan().sizes
    slowest_items: int = 1_000_000  # 0: leave the slowest out
    slowest_calls: int = 200_000


QUICK = Plan(room=1000, turns=50, rounds=7, sizes=STORAGE_QUICK.sizes, slowest_items=0)


@dataclass(frozen=True, slots=True)
class Results:
    build: Build
    plan: Plan
    mixes: Samples
    sizes: Samples
    slowest: dict[str, dict[str, float]] = field(default_factory=dict)

    def missed(self) -> list[str]:
        return []

    def as_json(self) -> dict[str, Any]:
        return {
            "build": self.build.as_json(),
            "plan": asdict(self.plan),
            "unit": "nanoseconds an operation, one number a round, by case and number of threads",
            "mixes": self.mixes.as_json(),
            "get by size": self.sizes.as_json(),
            "slowest, us": self.slowest,
        }


def measure_mixes(crew: Crew, contenders: list[Contender], plan: Plan) -> Samples:
    """Measure every store under every mix, with each number of threads in each round; all is full before."""
    samples = Samples()
    full = [(each, name, _full(crew, each, plan)) for each in contenders for name in MIXES]
    seeds = itertools.count(1)
    for i, (contender, name, target) in enumerate(interleaved(full, plan.rounds + 1)):
        for n in plan.threads:
            seed = next(seeds)
            turns = crew.run(n, lambda j, m=name, s=seed: _turns(m, plan, s * 100 + j))  # type: ignore[misc]
            do = _mixed(contender, target)
            seconds = crew.time(n, lambda j, t=turns, d=do: d(t[j]))  # type: ignore[misc]
            if i >= len(full):  # the first round warms up
                samples.add(Case(contender.name, name), n, seconds / (n * plan.turns * 20) * 1e9)
    return samples


def _full(crew: Crew, contender: Contender, plan: Plan) -> Any:
    target = contender.make(contender.shapes[1])
    crew.run(1, lambda _: contender.warm(contender.shapes[1], target, range(plan.room)))
    return target


def _turns(mix: str, plan: Plan, seed: int) -> _Turns:
    """Return the keys of gets and sets, turn by turn, made by the thread that will use them."""
    gets, sets = MIXES[mix]
    draw = random.Random(seed).randrange
    new = itertools.count((seed + 1) * 10_000_000)
    write = (lambda: next(new)) if mix == "inserts" else (lambda: draw(2 * plan.room))
    return [([draw(2 * plan.room) for _ in range(gets)], [write() for _ in range(sets)]) for _ in range(plan.turns)]


def _mixed(contender: Contender, target: Any) -> Callable[[_Turns], None]:
    is_locked = LOCKED_GET in contender.shapes
    get = loop_of_its_own(LOCKED_GET if is_locked else GET)
    put = loop_of_its_own(LOCKED_SET if is_locked else SET)

    def do(turns: _Turns) -> None:
        for gets, sets in turns:
            get(target, gets)
            put(target, sets)

    return do


def measure_sizes(crew: Crew, plan: Plan) -> Samples:
    """Measure `get` of keys drawn from all of a full store, for each size, one policy after the other."""
    samples = Samples()
    for policy in POLICIES:
        gc.collect()
        full: list[tuple[int, Any, list[int]]] = []
        for each, size in zip(stores_of_sizes(policy, StoragePlan(sizes=plan.sizes)), plan.sizes, strict=True):
            target, keys = each.make(GET), list(range(size))
            crew.run(1, lambda _, e=each, t=target, k=keys: e.warm(GET, t, k))  # type: ignore[misc]
            full.append((size, target, keys))
        draw = random.Random(1).choices
        for size, target, keys in interleaved(full, plan.rounds):
            drawn = draw(keys, k=plan.turns * 20)
            seconds = crew.time(1, lambda _, t=target, d=drawn: LOOPS[GET](t, d))  # type: ignore[misc]
            samples.add(Case(of_size(policy, size), GET), 1, seconds / len(drawn) * 1e9)
    return samples


def measure_slowest(policy: str, items: int, calls: int, longest_ttl: float = 30.0) -> dict[str, float]:
    """Return percentiles, in microseconds, of `get` and `set` while a full store evicts and expires; one thread.

    Each item has a ttl of its own, drawn evenly up to `longest_ttl` seconds, so that some expire all the time. The
    clock's own time is included, and the pauses of the collector and of the system.
    """
    from areole import Storage

    store: Any = Storage(max_items=items, policy=policy)
    draw = random.Random(1)
    for k in range(items):
        store.set(k, k, ttl=longest_ttl * (1 - draw.random()))
    new = itertools.count(items)
    steps: dict[str, Callable[[], object]] = {
        "get": lambda: store.get(draw.randrange(items)),
        "set": lambda: store.set(next(new), None, ttl=longest_ttl),
        "neither, but the clock": lambda: None,
    }
    try:
        times: dict[str, list[int]] = {name: [] for name in steps}
        for _ in range(calls):
            for name, step in steps.items():
                times[name].append(_time(step))
    finally:
        store.close()
    shares = {"median": 0.5, "99.9 %": 0.999, "most": 1.0}
    return {
        f"{name}, {what}": percentile(times[name], share) / 1000 for name in steps for what, share in shares.items()
    }


def _time(step: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    step()
    return time.perf_counter_ns() - start


def percentile(values: Iterable[float], share: float) -> float:
    """Return the least value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def mix_table(samples: Samples) -> str:
    """Show nanoseconds, and how many times as long each takes as areole's lru in the same rounds."""
    counts = samples.threads()
    header = ["mix", "contender", *(cell for n in counts for cell in (f"ns on {n}", f"/ areole lru on {n}"))]
    rows = []
    for case in sorted(samples.by_case, key=lambda case: list(MIXES).index(case.shape)):
        ours = Case("areole lru", case.shape)
        cells = [case.shape, case.contender]
        for n in counts:
            cells += [f"{samples.nanoseconds(case, n).median:.0f}", f"{samples.ratio(case, ours, n).median:.2f}"]
        rows.append(cells)
    return table("Mixes of get and set on full stores (medians; all threads together)", header, rows)


def size_table(samples: Samples) -> str:
    rows = [(case.shape, case.contender, f"{samples.nanoseconds(case).median:.0f}") for case in samples.by_case]
    return table("get of keys drawn from all of a full store, by size", ("case", "contender", "ns"), rows)


def slowest_table(slowest: dict[str, dict[str, float]]) -> str:
    rows = [(policy, what, f"{us:.1f}") for policy, found in slowest.items() for what, us in found.items()]
    return table("The slowest calls of a full store that evicts and expires", ("policy", "what", "us"), rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says; return the exit status."""
    options = make_plain_parser("mixes", __doc__, 10).parse_args(arguments)
    plan = QUICK if options.quick else Plan()
    contenders = stores(plan.room)
    build = introduce(contenders)
    with Crew(max(plan.threads)) as crew:
        mixes = measure_mixes(crew, installed(contenders), plan)
        print(mix_table(mixes), flush=True)
        sizes = measure_sizes(crew, plan)
        print(size_table(sizes), flush=True)
    slowest = {}
    if plan.slowest_items:
        slowest = {policy: measure_slowest(policy, plan.slowest_items, plan.slowest_calls) for policy in POLICIES}
        print(slowest_table(slowest), flush=True)
    return finish(Results(build, plan, mixes, sizes, slowest), options)


if __name__ == "__main__":
    sys.exit(main())
