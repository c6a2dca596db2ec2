"""Stampede: how often a cold key's function is called when many ask at once, on one loop and on several.

    python -m benchmarks.stampede NAME SCENARIO      one contender; prints JSON

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .aio_contenders import Ask, contender_named

__all__ = ["SCENARIOS", "Outcome", "run_apart"]

ROOT = Path(__file__).parent.parent

SCENARIOS: dict[str, tuple[int, int]] = {
    "1,000 tasks": (1, 1000),
    "4 loops x 250 tasks": (4, 250),
    "16 threads": (16, 1),
}
"""Name -> how many loops there are, each in a thread of its own, and how many tasks ask on each."""

TAKES = 0.05
"""Seconds that the function sleeps, so that all can ask before it has ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many calls were made; what those who asked got besides values; or that it hung."""

    calls: int | None
    errors: dict[str, int]
    asked: int

    def __str__(self) -> str:
        if self.calls is None:
            return "hangs"
        failed = [f"{count} of {self.asked} {name}" for name, count in self.errors.items()]
        return ", ".join([str(self.calls), *failed])


def run_apart(name: str, scenario: str, deadline: float = 20.0) -> Outcome:
    """Run one contender in an interpreter of its own."""
    loops, tasks = SCENARIOS[scenario]
    command = [sys.executable, "-m", "benchmarks.stampede", name, scenario]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=deadline, env=environment, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return Outcome(None, {}, loops * tasks)
    if ran.returncode:
        return Outcome(0, {f"exit status {ran.returncode}": loops * tasks}, loops * tasks)
    outcome = json.loads(ran.stdout.splitlines()[-1])
    return Outcome(outcome["calls"], outcome["errors"], loops * tasks)


def main(name: str, scenario: str) -> None:
    """Ask for one cold key from everywhere at once; print what came of it."""
    loops, tasks = SCENARIOS[scenario]
    calls: list[int] = []

    async def fill(key: int) -> int:
        calls.append(key)
        await asyncio.sleep(TAKES)
        return -key

    ask = contender_named(name).wrap(fill)
    results: list[Any] = []
    barrier = threading.Barrier(loops)

    def ask_on_a_loop() -> None:
        barrier.wait()
        results.extend(asyncio.run(_ask_all(ask, tasks)))

    threads = [threading.Thread(target=ask_on_a_loop) for _ in range(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = collections.Counter(type(each).__name__ for each in results if isinstance(each, BaseException))
    wrong = sum(each != -7 for each in results if not isinstance(each, BaseException)) + loops * tasks - len(results)
    print(json.dumps({"calls": len(calls), "errors": dict(errors) | ({"without a value": wrong} if wrong else {})}))


async def _ask_all(ask: Ask, tasks: int) -> list[Any]:
    async def one() -> Any:
        return await ask(7)

    return await asyncio.gather(*[one() for _ in range(tasks)], return_exceptions=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
