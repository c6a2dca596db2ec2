"""Measure hits of areole beside functools.lru_cache, a bare dict, cereggii and others; then fills and memory.

    python -m benchmarks.hits              about a minute; --quick: about 10 seconds
    python -m benchmarks.hits --stats      only what counting hits costs (stats=True)
    python -m benchmarks.hits --cached     only what a function costs that is cached in a Storage, beside a memoized one
    python -m benchmarks.hits --check      exit status 1 if a bound of issue 2 or 8 is missed
    python -m benchmarks.hits --json F     raw samples, with the machine that they came from
    python -m benchmarks.hits --against S  areole alone, beside another source tree: see benchmarks.against

What counts is the ratios: all contenders run in one process and in turn, in each of at least 15 rounds.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from . import against, report
from .build import Build, this_build
from .command import finish, installed, introduce, make_parser
from .contenders import ITEM, LOOPS, METHOD, ONE, SET, Contender, all_contenders, counting_pairs
from .crew import Crew
from .decorators import decorators
from .measure import (
    QUICK,
    Plan,
    bytes_a_key,
    measure_cached,
    measure_counting,
    measure_fills,
    measure_hits,
    measure_memory,
    measure_threads,
)
from .samples import Samples
from .targets import Target, cached_targets, counting_targets, targets_of

__all__ = ["Results", "main", "run"]


@dataclass(frozen=True, slots=True)
class Results:
    build: Build
    plan: Plan
    hits: Samples
    threads: Samples
    fills: Samples
    memory: dict[str, float]
    counting: Samples = field(default_factory=Samples)
    cached: Samples = field(default_factory=Samples)

    def targets(self) -> list[Target]:
        targets = targets_of(self.build, self.hits, self.threads, self.fills, self.memory)
        return targets + counting_targets(self.build, self.counting) + cached_targets(self.cached)

    def missed(self) -> list[str]:
        return [each.what for each in self.targets() if each.is_missed]

    def as_json(self) -> dict[str, Any]:
        return {
            "build": self.build.as_json(),
            "plan": asdict(self.plan),
            "unit": "nanoseconds an operation, one number a round, by case and number of threads",
            "hits": self.hits.as_json(),
            "threads": self.threads.as_json(),
            "fills": self.fills.as_json(),
            "counting hits": self.counting.as_json(),
            "cached hits": self.cached.as_json(),
            "bytes a key": {name: round(value, 2) for name, value in self.memory.items()},
            "targets": [asdict(each) | {"verdict": each.verdict} for each in self.targets()],
        }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says; return the exit status."""
    options = _parse(arguments)
    if options.serve or options.against:
        return against.run("benchmarks.hits", rows(options.quick), options)
    plan = replace(QUICK if options.quick else Plan(), threads=options.threads)
    if options.cached:
        results = run_cached(plan)
    else:
        results = run_counting(plan) if options.stats else run(plan, [*all_contenders(), *decorators()])
    return finish(results, options)


def run(plan: Plan, contenders: list[Contender]) -> Results:
    """Measure everything, and print each table as soon as it is there."""
    start = time.perf_counter()
    build, contenders = introduce(contenders), installed(contenders)
    with Crew(max(plan.threads)) as crew:
        hits = measure_hits(crew, contenders, plan)
        print(report.hit_table(hits), flush=True)
        threads = measure_threads(crew, contenders, plan)
        print(report.thread_table(threads, build), flush=True)
        fills = measure_fills(crew, contenders, plan)
        print(report.fill_table(fills), flush=True)
        counting = measure_counting(crew, plan)
        print(report.counting_table(counting), flush=True)
    memory = measure_memory(plan)
    print(report.memory_table(memory), flush=True)

    results = Results(build, plan, hits, threads, fills, memory, counting)
    print(report.target_table(results.targets()))
    print(f"\n{time.perf_counter() - start:.0f} s")
    return results


def run_counting(plan: Plan) -> Results:
    """Measure what counting hits costs, and nothing else."""
    build = this_build({})
    print(*build.lines(), sep="\n")
    with Crew(max(plan.threads)) as crew:
        counting = measure_counting(crew, plan)
    print(report.counting_table(counting))
    results = Results(build, plan, Samples(), Samples(), Samples(), {}, counting)
    print(report.target_table(results.targets()))
    return results


def rows(quick: bool) -> against.Rows:
    """Return what is compared with another source tree."""
    areole = [each for each in all_contenders() if each.distribution == "areole"]
    filled = [each for each in areole if each.name in ("areole", "areole atomic", "areole ttl")]
    areole += itertools.chain.from_iterable(counting_pairs(10_000))
    memory = {
        f"memory, {name}: bytes a key": against.Row(lambda name=name: lambda: bytes_a_key(name, 20_000), once=True)  # type: ignore[misc]
        for name in ("entry, dict index", "entry, atomic index")
    }
    one = against.hit_rows(areole, set(LOOPS) - {SET}) | against.fill_rows(filled, (ONE, ITEM)) | memory
    if quick:
        return one
    return one | against.hit_rows(filled, (ONE, METHOD, ITEM), 2) | against.fill_rows(filled, (ONE, ITEM), 2)


def run_cached(plan: Plan) -> Results:
    """Measure hits of cached functions beside memoized ones, and nothing else."""
    build = this_build({})
    print(*build.lines(), sep="\n")
    with Crew(max(plan.threads)) as crew:
        cached = measure_cached(crew, plan)
    print(report.cached_table(cached))
    results = Results(build, plan, Samples(), Samples(), Samples(), {}, cached=cached)
    print(report.target_table(results.targets()))
    return results


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser("hits", __doc__)
    parser.add_argument("--cached", action="store_true", help="only what cached functions cost beside memoized ones")
    parser.add_argument("--stats", action="store_true", help="only what counting hits costs")
    parser.add_argument("--threads", type=_counts, default=(1, 2), help="numbers of threads to compare (default: 1,2)")
    return parser.parse_args(arguments)


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = {int(each) for each in text.split(",")} | {1}  # all others are compared with one thread
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers, such as 1,2") from None
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("a number of threads is at least 1")
    return tuple(sorted(counts))


if __name__ == "__main__":
    sys.exit(main())
