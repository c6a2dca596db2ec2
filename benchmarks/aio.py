"""Measure asynchronous hits beside async-lru, cachebox, aiocache and a bare coroutine; then count calls in a stampede.

    python -m benchmarks.aio              under a minute; --quick: about 15 seconds
    python -m benchmarks.aio --check      exit status 1 if a bound of issue 4 is missed
    python -m benchmarks.aio --json F     raw samples, with the machine that they came from
    python -m benchmarks.aio --against S  areole alone, beside another source tree: see benchmarks.against

What counts is the ratios: all contenders run in one process and in turn, in each round.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from . import against
from .aio_contenders import BARE, Ask, AsyncContender, async_contenders
from .build import Build
from .command import finish, installed, introduce, make_parser
from .samples import Case, Samples
from .stampede import SCENARIOS, Outcome, run_apart

__all__ = ["Plan", "Results", "main", "run"]

SHAPE = "await f(k)"
BOUND = 1.5
"""How many times async-lru's hit ours may take."""


@dataclass(frozen=True, slots=True)
class Plan:
    keys: int = 1000
    rounds: int = 21
    burst: float = 0.05
    """Seconds each contender is given in a round."""
    deadline: float = 20.0


QUICK = Plan(rounds=7, burst=0.02, deadline=10.0)


@dataclass(frozen=True, slots=True)
class Results:
    build: Build
    plan: Plan
    hits: Samples
    stampede: dict[str, dict[str, Outcome]]

    def missed(self) -> list[str]:
        """Name the bounds that were missed."""
        missed = []
        theirs = Case("async-lru", SHAPE)
        for name in ("areole memoize", "areole cache.fetch"):
            ours = Case(name, SHAPE)
            if theirs in self.hits and self.hits.ratio(ours, theirs).median > BOUND:
                missed.append(f"a hit of {name}: {self.hits.ratio(ours, theirs).median:.2f} times async-lru's")
        for scenario, outcome in self.stampede.get("areole memoize", {}).items():
            if str(outcome) != "1":
                missed.append(f"one call for {scenario}: {outcome}")
        return missed

    def as_json(self) -> dict[str, Any]:
        return {
            "build": self.build.as_json(),
            "plan": asdict(self.plan),
            "unit": "nanoseconds an operation, one number a round",
            "hits": self.hits.as_json(),
            "stampede": {
                name: {each: str(outcome) for each, outcome in row.items()} for name, row in self.stampede.items()
            },
            "slowest of a stampede, ms": {
                name: {each: outcome.slowest for each, outcome in row.items()} for name, row in self.stampede.items()
            },
            "missed": self.missed(),
        }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says; return the exit status."""
    options = make_parser("aio", __doc__).parse_args(arguments)
    if options.serve or options.against:
        return against.run("benchmarks.aio", rows(), options)
    results = run(QUICK if options.quick else Plan(), async_contenders())
    return finish(results, options)


def run(plan: Plan, contenders: list[AsyncContender]) -> Results:
    """Measure everything, and print each table as soon as it is there."""
    start = time.perf_counter()
    build, contenders = introduce(contenders), installed(contenders)
    hits = asyncio.run(measure_hits(plan, contenders))
    print(_hit_table(hits, contenders), flush=True)
    stampede = {
        each.name: {scenario: run_apart(each.name, scenario, plan.deadline) for scenario in SCENARIOS}
        for each in contenders
        if each.in_stampede
    }
    print(_stampede_table(stampede))
    print(f"\n{time.perf_counter() - start:.0f} s")
    return Results(build, plan, hits, stampede)


async def measure_hits(plan: Plan, contenders: list[AsyncContender]) -> Samples:
    """Await hits of all contenders in turn, in one task, round after round."""
    samples = Samples()
    keys = list(range(plan.keys))
    ready = [(each, each.wrap(_value_of)) for each in contenders]
    for _, ask in ready:
        await _hit_all(ask, keys)
    turns = itertools.cycle(range(len(ready)))
    for _ in range(plan.rounds):
        first = next(turns)  # who comes first in a round changes
        for each, ask in ready[first:] + ready[:first]:
            samples.add(Case(each.name, SHAPE), 1, await _burst(ask, keys, plan.burst))
    return samples


async def _value_of(key: int) -> int:
    return -key


async def _hit_all(ask: Ask, keys: list[int]) -> None:
    for key in keys:
        await ask(key)


async def _burst(ask: Ask, keys: list[int], seconds: float) -> float:
    """Return nanoseconds a hit."""
    hits = 0
    begin = time.perf_counter_ns()
    while not hits or time.perf_counter_ns() - begin < seconds * 1e9:
        await _hit_all(ask, keys)
        hits += len(keys)
    return (time.perf_counter_ns() - begin) / hits


def _hit_table(hits: Samples, contenders: list[AsyncContender]) -> str:
    lines = ["", f"Hits, {SHAPE} in one task: nanoseconds, and ratios in the same round (medians; loop included)", ""]
    lines.append(f"{'contender':26}{'ns':>8}{'quartiles':>16}{'/ async-lru':>13}{'/ bare':>8}")
    for each in contenders:
        case = Case(each.name, SHAPE)
        spread = hits.nanoseconds(case)
        ratios = [_ratio(hits, case, other) for other in ("async-lru", BARE)]
        quartiles = f"{spread.quarter:.0f}..{spread.three_quarters:.0f}"
        lines.append(f"{each.name:26}{spread.median:8.0f}{quartiles:>16}{ratios[0]:>13}{ratios[1]:>8}")
    return "\n".join(lines)


def _ratio(hits: Samples, case: Case, other: str) -> str:
    theirs = Case(other, SHAPE)
    return f"{hits.ratio(case, theirs).median:.2f}" if theirs in hits else "-"


def _shown(outcome: Outcome) -> str:
    return f"{outcome}; {outcome.slowest:.0f} ms" if outcome.slowest else str(outcome)


def _stampede_table(stampede: dict[str, dict[str, Outcome]]) -> str:
    lines = ["", "Stampede: calls for one cold key, who got no value, the slowest wait (the function takes 50 ms)", ""]
    lines.append(f"{'contender':26}" + "".join(f"{scenario:>40}" for scenario in SCENARIOS))
    for name, row in stampede.items():
        lines.append(f"{name:26}" + "".join(f"{_shown(row[scenario]):>40}" for scenario in SCENARIOS))
    return "\n".join(lines)


def rows() -> against.Rows:
    """Return what is compared with another source tree: hits, fills of cold keys, and tasks that join a fill."""
    areole = [each for each in async_contenders() if each.distribution == "areole"]
    found = {}
    for each in areole:
        found[f"hit, {each.name}"] = against.Row(lambda c=each: _awaiter(c, is_cold=False))  # type: ignore[misc]
        found[f"fill, {each.name}"] = against.Row(lambda c=each: _awaiter(c, is_cold=True))  # type: ignore[misc]
        found[f"join, {each.name}"] = against.Row(lambda c=each: _joiner(c))  # type: ignore[misc]
    return found


def _awaiter(contender: AsyncContender, is_cold: bool) -> Callable[[], float]:
    """Return a function that awaits 250 keys in one task: new ones in a new cache if `is_cold`."""
    runner, keys = asyncio.Runner(), list(range(1000, 1250))
    asks = [contender.wrap(_value_of)]

    def measure() -> float:
        if is_cold:
            asks[0] = contender.wrap(_value_of)
        else:
            runner.run(_hit_all(asks[0], keys))
        return against.cpu_time(lambda: runner.run(_hit_all(asks[0], keys))) / len(keys)

    return measure


def _joiner(contender: AsyncContender) -> Callable[[], float]:
    """Return a function in which 250 tasks ask for one cold key at once."""
    runner = asyncio.Runner()

    async def fill(key: int) -> int:
        await asyncio.sleep(0)
        return -key

    async def ask_for_one_key() -> None:
        ask = contender.wrap(fill)

        async def one() -> None:
            await ask(1000)

        await asyncio.gather(*[one() for _ in range(250)])

    return lambda: against.cpu_time(lambda: runner.run(ask_for_one_key())) / 250


if __name__ == "__main__":
    sys.exit(main())
