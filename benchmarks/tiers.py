"""Measure what keeps values in this process, in front of a store that all processes share.

    python -m benchmarks.tiers              about three minutes; --quick: about 40 seconds
    python -m benchmarks.tiers --check      exit status 1 if a bound of issue 11 is missed
    python -m benchmarks.tiers --json F     raw samples, with the machine that they came from

Three parts. Speed: hits here, hits in the store, and fills, measured as in `benchmarks.shared`. Lag: from the call that
changes a value until another process, which has kept the old one, reads the new one; it looks about each 0.1 ms.
Stampede: how often a cold key is filled that four processes ask for at once, from sixteen threads or tasks each; the
bound is for `wait=`, without which each process fills once.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import shared
from .command import finish, make_plain_parser
from .report import table, target_table
from .shared_contenders import HIT
from .targets import Target
from .tier_contenders import LOCAL, LOCAL_TASKS, TIER_CONTENDERS
from .tier_processes import ASKERS, KEEPERS, Askers, Keeper, ask_cold_keys, keep, only_possible

__all__ = ["QUICK", "Plan", "Results", "Stampede", "main", "measure_lag", "measure_stampede", "run"]

PROCESSES, ASKING = 4, 16
DEADLINE = 120.0
"""Seconds after which a process that says nothing is taken to hang."""


@dataclass(frozen=True, slots=True)
class Plan:
    speed: shared.Plan = field(default_factory=shared.Plan)
    changes: int = 500
    stampedes: int = 20


QUICK = Plan(shared.QUICK, changes=50, stampedes=3)


@dataclass(frozen=True, slots=True)
class Stampede:
    """How often each key was filled, and how many seconds it took until the last one had its value."""

    fills: list[int]
    seconds: list[float]


@dataclass(frozen=True, slots=True)
class Results:
    speed: shared.Results
    lags: dict[str, list[float]]
    """Contender -> seconds of each change."""
    stampedes: dict[str, Stampede]

    def targets(self) -> list[Target]:
        """Return the bounds of issue 11."""
        return [*self._hit_targets(), *self._fill_targets()]

    def _hit_targets(self) -> list[Target]:
        found = []
        for family, name in ((LOCAL, "cache[k]"), (LOCAL, "f(k)"), (LOCAL_TASKS, "cache[k]")):
            tier, alone = shared.case_of(HIT, family, f"{name}, shared="), shared.case_of(HIT, family, name)
            reached = self.speed.samples.ratio(tier, alone).median
            found.append(Target(f"{name} {family}: a hit over one without shared=", reached, 1.05))
        return found

    def _fill_targets(self) -> list[Target]:
        bounds = {each.name: each.fills for each in ASKERS if each.fills is not None}
        return [
            Target(f"{name}: most fills of {PROCESSES} x {ASKING}", max(self.stampedes[name].fills), bound)
            for name, bound in bounds.items()
        ]

    def missed(self) -> list[str]:
        return [f"{each.what}: {each.reached:.2f}, not {each.bound_text}" for each in self.targets() if each.is_missed]

    def as_json(self) -> dict[str, Any]:
        lags = {name: [round(each * 1000, 4) for each in lags] for name, lags in self.lags.items()}
        stampedes = {
            name: {"fills": each.fills, "milliseconds": [round(one * 1000, 2) for one in each.seconds]}
            for name, each in self.stampedes.items()
        }
        return self.speed.as_json() | {"lag, milliseconds": lags, "stampedes": stampedes, "missed": self.missed()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line says; return the exit status."""
    options = make_plain_parser("tiers", __doc__, 40).parse_args(arguments)
    return finish(run(QUICK if options.quick else Plan()), options)


def run(plan: Plan) -> Results:
    """Measure everything, and print the tables."""
    start = time.perf_counter()
    speed = shared.measure(plan.speed, TIER_CONTENDERS)
    lags = {each.name: measure_lag(each, plan.changes) for each in only_possible(KEEPERS)}
    print(_lag_table(lags), flush=True)
    stampedes = {each.name: measure_stampede(each, plan.stampedes) for each in only_possible(ASKERS)}
    print(_stampede_table(stampedes), flush=True)
    results = Results(speed, lags, stampedes)
    print(target_table(results.targets(), "Bounds of issue 11 (ratios: medians of those in the same round)"))
    print(f"\n{time.perf_counter() - start:.0f} s")
    return results


# ---- lag


def measure_lag(keeper: Keeper, changes: int) -> list[float]:
    """Return the seconds that each change has taken until another process read it."""
    with ExitStack() as stack:
        url = _store(keeper.store, stack)
        write, _ = keeper.make(url)
        write(0)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        _start(stack, theirs, keep, keeper.name, url)
        _hear(ours)
        lags = [_one_lag(ours, write, number) for number in range(1, changes + 1)]
        ours.send(None)
    return lags


def _one_lag(pipe: Any, write: Any, number: int) -> float:
    pipe.send(number)
    _hear(pipe)
    time.sleep(random.uniform(0.002, 0.02))  # at no certain moment of its looks
    begin = time.monotonic()  # the same clock in all processes
    write(number)
    return float(_hear(pipe)) - begin


def _lag_table(lags: dict[str, list[float]]) -> str:
    rows = []
    for name, each in lags.items():
        hundredths = statistics.quantiles([one * 1000 for one in each], n=100)
        cells = [f"{figure:.2f}" for figure in (hundredths[49], hundredths[98], max(each) * 1000)]
        rows.append((name, *cells))
    return table(
        f"Lag: milliseconds until another process reads what was changed, of {len(next(iter(lags.values())))} changes",
        ("", "median", "99 %", "most"),
        rows,
    )


# ---- stampede


def measure_stampede(askers: Askers, rounds: int) -> Stampede:
    """Return what comes of it if all processes ask for a cold key at once, so many times."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        url = _store("redis", stack)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="areole-"))
        barrier = context.Barrier(PROCESSES, timeout=DEADLINE)
        pipes = []
        for _ in range(PROCESSES):
            ours, theirs = context.Pipe()
            pipes.append(ours)
            _start(stack, theirs, ask_cold_keys, askers.name, url, folder, rounds, ASKING, barrier)
        taken = [_hear(pipe) for pipe in pipes]
        fills = [(Path(folder) / f"cold{each}").stat().st_size for each in range(rounds)]
    return Stampede(fills, [max(each) for each in zip(*taken, strict=True)])


def _stampede_table(stampedes: dict[str, Stampede]) -> str:
    rows = []
    for name, each in stampedes.items():
        milliseconds = statistics.median(each.seconds) * 1000
        rows.append((name, f"{statistics.median(each.fills):g}", str(max(each.fills)), f"{milliseconds:.0f}"))
    return table(
        f"Stampede: {PROCESSES} processes ask for a cold key from {ASKING} threads or tasks each; a fill takes 50 ms",
        ("", "fills, median", "most", "ms until all have it, median"),
        rows,
    )


# ---- processes


def _store(kind: str, stack: ExitStack) -> str:
    """Return the URL of a new store."""
    from tests.shared.servers import redis_server

    if kind == "redis":
        return stack.enter_context(redis_server()).url
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="areole-"))
    return f"sqlite:///{folder}/values.db"


def _start(stack: ExitStack, pipe: Any, function: Any, *args: Any) -> None:
    """Run a function in a process of its own, which ends with `stack`, and has the other end of a pipe."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=(pipe, *args), daemon=True)
    process.start()
    pipe.close()  # here: so that one that has failed is noticed
    stack.callback(_end, process)


def _end(process: Any) -> None:
    process.join(2)
    if process.is_alive():
        process.terminate()
        process.join()


def _hear(pipe: Any) -> Any:
    if not pipe.poll(DEADLINE):
        raise TimeoutError(f"another process has said nothing for {DEADLINE:g} s")
    return pipe.recv()


if __name__ == "__main__":
    sys.exit(main())
