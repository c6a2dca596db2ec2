"""Measure SharedCache beside bare redis-py, aiocache, cashews, dogpile.cache, Django's cache and diskcache.

    python -m benchmarks.shared             about two minutes; --quick: about 20 seconds
    python -m benchmarks.shared --check     exit status 1 if a bound of issue 10 is missed
    python -m benchmarks.shared --json F    raw samples, with the machine that they came from
    python -m benchmarks.shared --profile   where a hit spends its time: areole json, over Redis

It starts a redis-server, on a Unix socket. All contenders run in one process and in turn, in each round; what counts is
the ratios in the same round. A miss is of a key that is not there; `get_or_fill` is done by hand where a library has
none, and is then not one fill for many callers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .build import Build
from .command import finish, installed, introduce, make_plain_parser
from .report import table, target_table
from .samples import Case, Samples
from .shared_contenders import (
    COLD,
    CONTENDERS,
    GET_MANY,
    GET_OR_FILL,
    GETS,
    HIT,
    IN_STORE,
    MISS,
    PREPARE,
    SET,
    Operation,
    Place,
    SharedContender,
)
from .targets import Target

__all__ = ["QUICK", "Plan", "Results", "case_of", "main", "measure", "run"]

SHAPES = (HIT, IN_STORE, MISS, SET, GET_MANY, GETS, GET_OR_FILL, COLD)
KEYS = [f"user:{i}" for i in range(100)]
ABSENT = [f"absent:{i}" for i in range(100)]


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int = 31
    burst: float = 0.03
    """Seconds each case is given in a round; a block of 100 keys at least."""


QUICK = Plan(rounds=7, burst=0.01)

Measure = Callable[[float], float]
"""Given seconds, returns the nanoseconds that one key takes, or one call where it takes many keys."""


@dataclass(frozen=True, slots=True)
class Results:
    build: Build
    plan: Plan
    samples: Samples

    def targets(self) -> list[Target]:
        """Return the bounds of issue 10 whose cases were measured."""
        found = [
            self._ratio("a hit, JSON, over bare GET", HIT, "areole json", "redis-py", 1.3),
            self._ratio("a hit, envelope=False, JSON, over bare GET", HIT, "areole bare json", "redis-py", 1.15),
            self._ratio("a hit, envelope=False, bytes, over bare GET", HIT, "areole bare bytes", "redis-py", 1.15),
            self._ratio("a SQLite hit over diskcache's", HIT, "areole json", "diskcache", 1.0, "SQLite"),
            *(self._many(name, family) for name, family in self._ours()),
        ]
        return [each for each in found if each is not None]

    def _ours(self) -> list[tuple[str, str]]:
        return [(each.name, each.family) for each in CONTENDERS if each.distribution == "areole"]

    def _ratio(
        self, what: str, shape: str, ours: str, theirs: str, bound: float, family: str = "Redis"
    ) -> Target | None:
        a, b = case_of(shape, family, ours), case_of(shape, family, theirs)
        if a not in self.samples or b not in self.samples:
            return None
        return Target(what, self.samples.ratio(a, b).median, bound)

    def _many(self, name: str, family: str) -> Target | None:
        many, gets = case_of(GET_MANY, family, name), case_of(GETS, family, name)
        if many not in self.samples:
            return None
        ratio = self.samples.ratio(many, gets).median / len(KEYS)
        applies = family == "Redis"  # over SQLite a get is no request: 100 of them have nothing to save
        return Target(f"get_many of 100 over 100 gets, {name}, {family}", ratio, 0.1, applies=applies)

    def missed(self) -> list[str]:
        return [f"{each.what}: {each.reached:.2f}, not {each.bound_text}" for each in self.targets() if each.is_missed]

    def as_json(self) -> dict[str, Any]:
        return {
            "build": self.build.as_json(),
            "plan": asdict(self.plan),
            "unit": "nanoseconds a key, or a call of get_many; one number a round",
            "samples": self.samples.as_json(),
            "missed": self.missed(),
        }


def case_of(shape: str, family: str, name: str) -> Case:
    return Case(f"{family}: {name}", shape)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line says; return the exit status."""
    options = _parser().parse_args(arguments)
    wanted = options.only or [""]
    contenders = [each for each in CONTENDERS if any(text in f"{each.family}: {each.name}" for text in wanted)]
    if options.profile:
        return profile()
    results = run(QUICK if options.quick else Plan(), contenders)
    return finish(results, options)


def _parser() -> argparse.ArgumentParser:
    parser = make_plain_parser("shared", __doc__, 20)
    parser.add_argument("--only", action="append", metavar="TEXT", help='only those with TEXT in "family: name"')
    parser.add_argument("--profile", action="store_true", help="profile hits instead")
    return parser


def run(plan: Plan, contenders: Sequence[SharedContender]) -> Results:
    """Measure everything, and print the tables."""
    start = time.perf_counter()
    results = measure(plan, contenders)
    print(target_table(results.targets(), "Bounds of issue 10 (medians of the ratios in the same round)"))
    print(f"\n{time.perf_counter() - start:.0f} s")
    return results


def measure(plan: Plan, contenders: Sequence[SharedContender]) -> Results:
    """Measure those contenders that are possible, and print a table of each family."""
    possible = [each for each in contenders if each.is_possible()]
    build, left_out = introduce(possible), [each for each in contenders if not each.is_possible()]
    for each in left_out:
        print(f"SKIPPED: {each.name}: none of {', '.join(each.needs)} is installed")
    contenders = installed(possible)
    samples = Samples()
    with ExitStack() as stack:
        cases = prepare(contenders, stack)
        turns = itertools.cycle(range(len(cases)))
        for _ in range(plan.rounds):
            first = next(turns)  # which one is first in a round changes
            for case, measured in cases[first:] + cases[:first]:
                samples.add(case, 1, measured(plan.burst))
    for family in dict.fromkeys(each.family for each in contenders):
        print(_family_table(family, samples, contenders), flush=True)
    return Results(build, plan, samples)


def prepare(contenders: Sequence[SharedContender], stack: ExitStack) -> list[tuple[Case, Measure]]:
    """Start the server, make the contenders, fill them; return what is measured, shape by shape."""
    from tests.shared.servers import redis_server

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="areole-"))
    server = stack.enter_context(redis_server(databases=len(contenders) + 1))
    runner = stack.enter_context(asyncio.Runner())
    found: dict[str, list[tuple[Case, Measure]]] = {shape: [] for shape in SHAPES}
    for database, each in enumerate(contenders):
        place = Place(server.socket_path, server.port, database, Path(folder), stack)
        operations = each.make(place)
        if "close" in operations:
            stack.callback(lambda close=operations["close"]: runner.run(close([])))
        finish_run = runner.run if each.is_async else lambda result: result
        finish_run(operations.get(PREPARE, operations.get(SET))(KEYS))  # type: ignore[arg-type,misc]
        for shape in SHAPES:
            if shape in operations:
                measured = _measure(shape, operations[shape], runner if each.is_async else None)
                found[shape].append((case_of(shape, each.family, each.name), measured))
    return [case for shape in SHAPES for case in found[shape]]


def _measure(shape: str, operation: Operation, runner: asyncio.Runner | None) -> Measure:
    keys = ABSENT if shape == MISS else KEYS
    each = 1 if shape == GET_MANY else len(keys)

    def measure(seconds: float) -> float:
        blocks, begin = 0, time.perf_counter_ns()
        while not blocks or time.perf_counter_ns() - begin < seconds * 1e9:
            operation(keys)
            blocks += 1
        return (time.perf_counter_ns() - begin) / (blocks * each)

    async def measure_async(seconds: float) -> float:
        blocks, begin = 0, time.perf_counter_ns()
        while not blocks or time.perf_counter_ns() - begin < seconds * 1e9:
            await operation(keys)
            blocks += 1
        return (time.perf_counter_ns() - begin) / (blocks * each)

    return measure if runner is None else lambda seconds: runner.run(measure_async(seconds))


def _family_table(family: str, samples: Samples, contenders: Sequence[SharedContender]) -> str:
    names = [each.name for each in contenders if each.family == family]
    rows: list[Sequence[str]] = []
    for shape in SHAPES:
        measured = [name for name in names if case_of(shape, family, name) in samples]
        if measured:
            rows += [*(_row(samples, shape, family, name, measured[0]) for name in measured), ()]
    header = ("", "", "us", "quartiles", f"/ {names[0]}")
    return table(f"{family}: microseconds a key (get_many: a call), and ratios in the same round", header, rows[:-1])


def _row(samples: Samples, shape: str, family: str, name: str, first: str) -> Sequence[str]:
    case = case_of(shape, family, name)
    time_of, ratio = samples.nanoseconds(case), samples.ratio(case, case_of(shape, family, first))
    quartiles = f"{time_of.quarter / 1000:.3g}..{time_of.three_quarters / 1000:.3g}"
    return shape, name, f"{time_of.median / 1000:.3g}", quartiles, f"{ratio.median:.2f}"


def profile() -> int:
    """Print where 20,000 hits spend their time."""
    import cProfile
    import pstats

    with ExitStack() as stack:
        chosen = [each for each in CONTENDERS if (each.name, each.family) == ("areole json", "Redis")]
        measures = dict(prepare(chosen, stack))
        measure = measures[case_of(HIT, "Redis", "areole json")]
        measure(0.2)
        profiler = cProfile.Profile()
        profiler.runcall(measure, 2.0)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    return 0


if __name__ == "__main__":
    sys.exit(main())
