"""Measure how hits scale over threads: on one hot value, disjoint keys and immortal values; fit a curve for more CPUs.

    python -m benchmarks.scaling [--quick] [--json F]     about 90 seconds; --quick: about 15

The curve is Gunther's universal scalability law: n threads give n / (1 + s (n - 1) + k n (n - 1)) times what one gives.
What it says of 16 and 64 threads is a PROJECTION from no more threads than there are CPUs. With two CPUs only `s` can
be fitted: `k`, what threads cost each other in pairs, is taken as 0, and the projection is too high if it is not.
An `s` above 1 says that two threads together do less than one: they are in each other's way, and more will be worse.

The hot value is one object, which all threads get by equal keys of their own: a shared key would be contended itself.
Immortal values are small integers, as are their keys: from CPython 3.12 on nobody counts the references to them, so
that what threads still contend for is the cache's.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from .build import Build
from .command import finish, installed, introduce, make_plain_parser
from .contenders import EMPTY, GET, ITEM, LOCKED_GET, ONE, Contender, all_contenders
from .crew import Crew
from .measure import Runner, cases_of, interleaved, make_block, warm_runner
from .report import table
from .samples import Case, Samples
from .storage import stores

__all__ = ["PROJECTED", "QUICK", "Curve", "Plan", "Results", "fit", "main", "measure", "thread_counts"]

PROJECTED = (16, 64)
HOT, DISJOINT, IMMORTAL = "one hot value", "disjoint keys", "immortal values"
SHAPES = (EMPTY, ONE, ITEM, GET, LOCKED_GET)


@dataclass(frozen=True, slots=True)
class Plan:
    keys: int = 1000
    rounds: int = 15
    burst: float = 0.015  # seconds that one case is to run in one round


QUICK = Plan(rounds=5, burst=0.005)


class Curve(NamedTuple):
    """The two numbers of the universal scalability law; `crosstalk` is None where two counts of threads are too few."""

    contention: float
    crosstalk: float | None

    def times(self, threads: int) -> float:
        """Return how many times the throughput of one thread so many threads give."""
        pairs = (self.crosstalk or 0.0) * threads * (threads - 1)
        return threads / (1 + self.contention * (threads - 1) + pairs)


def fit(times: Mapping[int, float]) -> Curve:
    """Fit the law by least squares to the throughput over that of one thread, by number of threads.

    Neither number is let below 0: no curve says that n threads give more than n times what one gives.
    """
    points = [(n - 1, n * (n - 1), n / c - 1) for n, c in sorted(times.items()) if n > 1]
    if not points:
        raise ValueError("fit() needs a throughput on two threads or more: give one for a number of threads above 1")
    aa, ab, bb = (sum(p[i] * p[j] for p in points) for i, j in ((0, 0), (0, 1), (1, 1)))
    ay, by = (sum(p[i] * p[2] for p in points) for i in (0, 1))
    if len(points) == 1:
        return Curve(max(0.0, ay / aa), None)
    determinant = aa * bb - ab * ab
    contention, crosstalk = (ay * bb - by * ab) / determinant, (by * aa - ay * ab) / determinant
    if crosstalk < 0:
        return Curve(max(0.0, ay / aa), 0.0)
    return Curve(contention, crosstalk) if contention >= 0 else Curve(0.0, max(0.0, by / bb))


def thread_counts(cpus: int) -> tuple[int, ...]:
    """Return 1, 2, 4 and so on, up to the number of CPUs, and at least 1 and 2."""
    doubled = [1 << i for i in range(cpus.bit_length()) if 1 << i <= cpus]
    return tuple(sorted({1, 2, *doubled, cpus}))


@dataclass(frozen=True, slots=True)
class Results:
    build: Build
    plan: Plan
    samples: dict[str, Samples]

    def missed(self) -> list[str]:
        return []

    def curves(self) -> Iterator[tuple[str, Case, dict[int, float], Curve]]:
        for keys, samples in self.samples.items():
            for case in samples.by_case:
                times = {n: samples.scaling(case, n).median for n in samples.threads()}
                yield keys, case, times, fit(times)

    def as_json(self) -> dict[str, Any]:
        fitted = [
            {"keys": keys, "case": str(case), "measured": times, **curve._asdict()}
            | {"projection": {n: round(curve.times(n), 3) for n in PROJECTED}}
            for keys, case, times, curve in self.curves()
        ]
        return {
            "build": self.build.as_json(),
            "plan": asdict(self.plan),
            "unit": "nanoseconds an operation, one number a round, by case and number of threads",
            "samples": {keys: samples.as_json() for keys, samples in self.samples.items()},
            "curves; what they say of 16 and 64 threads is a projection": fitted,
        }


def measure(crew: Crew, contenders: list[Contender], threads: tuple[int, ...], plan: Plan) -> dict[str, Samples]:
    """Measure each case with each number of threads in each round."""
    keys = crew.run(max(threads), lambda i: make_block(i, plan.keys))
    runners = [warm_runner(crew, each, shape, keys) for each, shape in cases_of(contenders, SHAPES)]
    hot = crew.run(max(threads), lambda _: make_block(0, 1) * plan.keys)  # an equal key, of each thread's own
    immortal = crew.run(max(threads), lambda _: list(range(-5, 6)) * (plan.keys // 11 + 1))  # values too: k, or -k
    for runner, (each, shape) in zip(runners, cases_of(contenders, SHAPES), strict=True):
        each.warm(shape, runner.target, immortal[0])
    samples = {HOT: Samples(), DISJOINT: Samples(), IMMORTAL: Samples()}
    for runner in runners:
        once = statistics.median(crew.time(1, lambda i, r=runner: r.burst(keys[i])) for _ in range(3))  # type: ignore[misc]
        runner.passes = max(1, round(plan.burst / once))
    for runner in interleaved(runners, plan.rounds):
        for name, blocks in ((HOT, hot), (DISJOINT, keys), (IMMORTAL, immortal)):
            for n in threads:
                samples[name].add(runner.case, n, _nanoseconds(crew, runner, blocks, n))
    return samples


def _nanoseconds(crew: Crew, runner: Runner, blocks: list[list[int]], threads: int) -> float:
    seconds = crew.time(threads, lambda i: runner.burst(blocks[i]))
    return seconds / (runner.passes * threads * len(blocks[0])) * 1e9


def scaling_table(results: Results) -> str:
    rows: list[list[str]] = []
    counts = results.samples[HOT].threads()
    for keys, case, times, curve in results.curves():
        rate = 1000 / results.samples[keys].nanoseconds(case).median
        fitted = [f"{curve.contention:.3f}", "-" if curve.crosstalk is None else f"{curve.crosstalk:.4f}"]
        projected = [f"{curve.times(n):.1f}" for n in PROJECTED]
        rows.append([keys, str(case), f"{rate:.1f}", *(f"{times[n]:.2f}" for n in counts[1:]), *fitted, *projected])
    header = ["keys", "case", "M/s on 1", *(f"{n} / 1" for n in counts[1:]), "s", "k"]
    header += [f"PROJECTED {n} / 1" for n in PROJECTED]
    return table("Hits over threads, and the fitted universal scalability law", header, rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says; return the exit status."""
    options = make_plain_parser("scaling", __doc__, 10).parse_args(arguments)
    plan = QUICK if options.quick else Plan()
    names = ("-", "dict", "lru_cache", "areole", "areole atomic", "areole ttl", "cereggii")
    contenders = [each for each in all_contenders() if each.name in names] + stores(1 << 20)
    build = introduce(contenders)
    threads = thread_counts(build.cpus)
    with Crew(max(threads)) as crew:
        results = Results(build, plan, measure(crew, installed(contenders), threads, plan))
    print(scaling_table(results))
    print(f"\nWhat stands under PROJECTED was not measured: there are {build.cpus} CPUs.")
    return finish(results, options)


if __name__ == "__main__":
    sys.exit(main())
