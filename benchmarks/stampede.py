"""Stampede: how often a cold key's function is called when many ask at once, and how long the slowest of them waits.

    python -m benchmarks.stampede [--quick]          plain functions, asked for by 16 threads: seconds in any case
    python -m benchmarks.stampede NAME SCENARIO      one contender; prints JSON. Those of tasks are in `benchmarks.aio`

Each runs in an interpreter of its own, under a deadline, since some hang.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from .aio_contenders import Ask, contender_named
from .command import installed, introduce
from .contenders import ONE, Contender, all_contenders
from .decorators import decorators
from .report import table

__all__ = ["PLAIN", "SCENARIOS", "Outcome", "main", "plain_contenders", "run_apart"]

Answers: TypeAlias = list[tuple[Any, float]]
"""What each got, a value or an exception, and after how many seconds."""

ROOT = Path(__file__).parent.parent

SCENARIOS: dict[str, tuple[int, int]] = {
    "1,000 tasks": (1, 1000),
    "4 loops x 250 tasks": (4, 250),
    "16 threads": (16, 1),
}
"""Name -> how many loops there are, each in a thread of its own, and how many tasks ask on each."""

PLAIN = "16 threads, a plain function"

TAKES = 0.05
"""Seconds that the function sleeps, so that all can ask before it has ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many calls were made; what those who asked got besides values; or that it hung."""

    calls: int | None
    errors: dict[str, int]
    asked: int
    slowest: float = 0.0
    """Milliseconds that the slowest waited, of which the function takes 50."""

    def __str__(self) -> str:
        if self.calls is None:
            return "hangs"
        failed = [f"{count} of {self.asked} {name}" for name, count in self.errors.items()]
        return ", ".join([str(self.calls), *failed])


def run_apart(name: str, scenario: str, deadline: float = 20.0) -> Outcome:
    """Run one contender in an interpreter of its own."""
    loops, tasks = SCENARIOS.get(scenario, (16, 1))
    command = [sys.executable, "-m", "benchmarks.stampede", name, scenario]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=deadline, env=environment, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return Outcome(None, {}, loops * tasks)
    if ran.returncode:
        return Outcome(0, {f"exit status {ran.returncode}": loops * tasks}, loops * tasks)
    outcome = json.loads(ran.stdout.splitlines()[-1])
    return Outcome(outcome["calls"], outcome["errors"], loops * tasks, outcome["slowest"])


def ask_tasks(name: str, loops: int, tasks: int) -> tuple[int, Answers]:
    """Ask for one cold key from tasks of several loops at once; return the calls, and what each got."""
    calls: list[int] = []

    async def fill(key: int) -> int:
        calls.append(key)
        await asyncio.sleep(TAKES)
        return -key

    ask = contender_named(name).wrap(fill)
    answers = _at_once(loops, lambda: asyncio.run(_ask_all(ask, tasks)))
    return len(calls), answers


async def _ask_all(ask: Ask, tasks: int) -> Answers:
    async def one() -> tuple[Any, float]:
        began = time.perf_counter()
        try:
            return await ask(7), time.perf_counter() - began
        except BaseException as error:
            return error, time.perf_counter() - began

    return await asyncio.gather(*[one() for _ in range(tasks)])


def ask_threads(name: str, threads: int = 16) -> tuple[int, Answers]:
    """Ask for one cold key from threads at once."""
    calls: list[int] = []

    def fill(key: int) -> int:
        calls.append(key)
        time.sleep(TAKES)
        return -key

    ask = next(each for each in plain_contenders() if each.name == name).memoize(fill)

    def one() -> Answers:
        began = time.perf_counter()
        try:
            return [(ask(7), time.perf_counter() - began)]
        except BaseException as error:
            return [(error, time.perf_counter() - began)]

    answers = _at_once(threads, one)
    return len(calls), answers


def _at_once(threads: int, work: Callable[[], Answers]) -> Answers:
    answers: Answers = []
    barrier = threading.Barrier(threads)

    def run() -> None:
        barrier.wait()
        answers.extend(work())

    started = [threading.Thread(target=run) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return answers


def plain_contenders() -> list[Contender]:
    """Return those that memoize a plain function without a ttl or a limit, installed or not."""
    names = ("lru_cache", "areole", "cereggii")
    return [*decorators(), *(each for each in all_contenders() if each.name in names and ONE in each.shapes)]


def _tell(name: str, scenario: str) -> None:
    """Run one contender here, and print what came of it as JSON."""
    loops, tasks = SCENARIOS.get(scenario, (16, 1))
    calls, answers = ask_threads(name) if scenario == PLAIN else ask_tasks(name, loops, tasks)
    errors = collections.Counter(type(each).__name__ for each, _ in answers if isinstance(each, BaseException))
    wrong = sum(each != -7 for each, _ in answers if not isinstance(each, BaseException)) + loops * tasks - len(answers)
    slowest = round(1000 * max(seconds for _, seconds in answers), 1)
    found = {"calls": calls, "errors": dict(errors) | ({"without a value": wrong} if wrong else {}), "slowest": slowest}
    print(json.dumps(found))


def main() -> int:
    """Run all plain contenders; return the exit status, 1 if areole called its function more than once."""
    contenders = plain_contenders()
    introduce(contenders)
    found = {each.name: run_apart(each.name, PLAIN) for each in installed(contenders)}
    rows = [(name, str(each), f"{each.slowest:.0f}") for name, each in found.items()]
    header = ("contender", "calls, and who got no value", "slowest, ms")
    print(table(f"Stampede: {PLAIN} that takes 50 ms (one call is right)", header, rows))
    return int(str(found["areole"]) != "1")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _tell(*sys.argv[1:])
    else:
        sys.exit(main())
