"""Runs programs on contenders, each in a process of its own, with a deadline.

A process that does not end is killed with its whole process group, which it leads: those that it forked go with it,
and nobody else's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .catalogue import contender_called
from .child import MARK
from .outcome import CRASHES, HANGS, NOT_INSTALLED, Outcome
from .tools import Effort

__all__ = ["DEADLINE", "run_all", "run_command", "run_one"]

DEADLINE = 60.0
ROOT = Path(__file__).resolve().parents[2]


def run_all(
    pairs: Iterable[tuple[str, str]],
    effort: Effort,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    *,
    jobs: int = 2,
    deadline: float = DEADLINE,
) -> list[Outcome]:
    """Run (row, contender) pairs, `jobs` at a time; return their outcomes in the order of the pairs."""

    def run(pair: tuple[str, str]) -> Outcome:
        outcome = run_one(*pair, effort, deadline)
        on_outcome(outcome)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(run, pairs))


def run_one(row: str, contender: str, effort: Effort, deadline: float = DEADLINE) -> Outcome:
    if (why := contender_called(contender).missing()) is not None:
        return Outcome(row, contender, NOT_INSTALLED, why)
    numbers = [str(number) for number in (effort.seconds, effort.scale, effort.patience)]
    command = [sys.executable, "-m", "stress.contenders.child", row, contender, *numbers]
    return run_command(row, contender, command, deadline)


def run_command(row: str, contender: str, command: Sequence[str], deadline: float) -> Outcome:
    """Run a process, and say what came of it, whether or not it could say so itself."""
    began = time.perf_counter()
    paths = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        _end(process)
        return Outcome(row, contender, HANGS, f"the whole process, for {deadline:.0f} s", time.perf_counter() - began)
    except BaseException:
        _end(process)
        raise
    reported = [line.removeprefix(MARK) for line in out.splitlines() if line.startswith(MARK)]
    if process.returncode == 0 and reported:
        return Outcome.of_json(json.loads(reported[-1]))
    return Outcome(row, contender, CRASHES, _describe_end(process.returncode, err), time.perf_counter() - began)


def _end(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)  # it has not been waited for, so that the id is still its own
    process.communicate()


def _describe_end(status: int, err: str) -> str:
    if status < 0:
        return signal.Signals(-status).name
    last = err.strip().splitlines()[-1:] or ["no outcome was reported"]
    return f"exit status {status}: {last[0][:100]}"
