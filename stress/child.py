"""ChildScenario: one whose every round is a process of its own, since it interrupts, forks or ends it.

    python -m stress.child SCENARIO VARIANT SEED SECONDS THREADS

plays one round, and prints what came of it as a line of JSON, the last thing before it exits. The parent waits for
that exit. A child that does not come to it in the time given, and that again as PATIENCE says, is blocked: it then
dumps the stacks of all its threads, and ends.
"""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import areole

from .case import Case, Result, seeded
from .oracle import KINDS

__all__ = ["ChildScenario", "run_children"]

STARTING: float = 20.0  # seconds that an interpreter may take to start and to end, on a machine that is very busy


class ChildScenario(Case):
    """A round is `play`, in the main thread of a new process, which exits after it."""

    seconds_each: ClassVar[float] = 5.0
    """How long one child plays at most."""

    def __init__(self, variant: str, seed: str, seconds: float, threads: int) -> None:
        self.variant = variant
        self.choices = seeded(seed)
        self.ends = time.monotonic() + seconds
        self.threads = threads
        self.counts: Counter[str] = Counter()
        self.findings: list[tuple[str, str]] = []

    def play(self) -> None:
        raise NotImplementedError

    @property
    def has_time(self) -> bool:
        return time.monotonic() < self.ends

    def expect(self, condition: bool, message: str) -> None:
        if not condition:
            self.findings.append(("wrong", message))

    def as_json(self) -> str:
        return json.dumps({"counts": self.counts, "findings": self.findings[:8]})


def run_children(
    scenario: type[ChildScenario],
    on_progress: Callable[[Result], None],
    *,
    variant: str,
    threads: int,
    seed: int,
    patience: float,
    seconds: float | None = None,
    rounds: int | None = None,
    is_over: Callable[[Result], bool],
) -> Result:
    """Run one child after the other, until the time or the rounds are over, or `is_over` says so."""
    result, began = Result(scenario.name(), variant, seed, threads), time.monotonic()
    while True:
        left = scenario.seconds_each if seconds is None else began + seconds - time.monotonic()
        given = min(scenario.seconds_each, max(left, 0.0))
        result.rounds += 1
        _run_child(result, f"{seed}/{result.rounds}", given, patience, lambda: on_progress(result))
        result.seconds = time.monotonic() - began
        is_last = (rounds is not None and result.rounds >= rounds) or (seconds is not None and result.seconds > seconds)
        if is_last or is_over(result) or result.blocked:
            return result


def _run_child(result: Result, seed: str, seconds: float, patience: float, on_wait: Callable[[], None]) -> None:
    arguments = [result.scenario, result.variant, seed, seconds, result.threads, patience]
    command = [sys.executable, "-m", "stress.child", *map(str, arguments)]
    with subprocess.Popen(
        command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        deadline = time.monotonic() + seconds + patience + 2 * STARTING
        try:
            while True:
                try:
                    out, err = child.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    on_wait()
                    if time.monotonic() > deadline:
                        child.kill()
        finally:  # after a KeyboardInterrupt too
            child.kill()
    _judge(result, child.returncode, out, err)


def _judge(result: Result, status: int, out: str, err: str) -> None:
    lines = out.splitlines()
    reported: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    for name, count in reported.get("counts", {}).items():
        if hasattr(result, name):
            setattr(result, name, getattr(result, name) + count)
        else:
            result.also[name] = result.also.get(name, 0) + count
    for kind, message in reported.get("findings", []):
        assert kind in KINDS, kind
        setattr(result, kind, getattr(result, kind) + 1)
        _keep(result, f"{kind}: {message}")
    if status == 0 and reported and not err:
        return
    is_blocked = "Timeout (" in err or status < 0
    kind = "blocked" if is_blocked else "wrong"
    setattr(result, kind, getattr(result, kind) + 1)
    _keep(
        result, f"{kind}: round {result.rounds} ended with status {status}{'' if is_blocked else ':' + chr(10) + err}"
    )
    result.stacks = err if is_blocked else result.stacks


def _keep(result: Result, message: str) -> None:
    if message not in result.messages and len(result.messages) < 8:
        result.messages.append(message)


def _environment() -> dict[str, str]:
    """Return one in which the child finds the very `areole` and `stress` that run here."""
    places = [os.path.dirname(os.path.dirname(os.path.abspath(module))) for module in (areole.__file__, __file__)]
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(places)}


def main() -> None:
    from .scenarios import SCENARIOS

    name, variant, seed, seconds, threads, patience = sys.argv[1:]
    faulthandler.dump_traceback_later(float(seconds) + float(patience) + STARTING, exit=True)
    warnings.simplefilter("ignore", DeprecationWarning)  # of fork, in a process with threads: that is what is tried
    scenario_type: Any = SCENARIOS[name]
    scenario: ChildScenario = scenario_type(variant, f"{seed}/{name}/{variant}", float(seconds), int(threads))
    try:
        scenario.play()
    except BaseException:
        scenario.expect(False, traceback.format_exc(limit=-4))
    print(scenario.as_json(), flush=True)


if __name__ == "__main__":
    main()
