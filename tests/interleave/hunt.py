"""python -m tests.interleave.hunt: interleavings and histories against the areole that is importable, until a fault
shows.

Exit status 1 with the first fault, and 0 if there was none in `--seconds`. What is quick comes first: every race with
one preemption, scheduled histories, random schedules, histories of real threads; then, with another seed each time, all
that again and deeper. For planted faults: see tests.interleave.saved for what a found schedule is good for.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from .__main__ import run_race
from .histories.record import SUBJECTS
from .histories.search import search_free, search_scheduled
from .races import RACES

__all__ = ["find_fault", "main"]

PATIENCE = 20.0
"""Seconds without any progress of real threads."""


def find_fault(seconds: float, seed: int = 0) -> str:
    """Look for a fault for so many seconds; return what was found first, or an empty string."""
    ends = time.monotonic() + seconds
    for look in _looks(seed):
        if found := look():
            return found
        if time.monotonic() > ends:
            break
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interleave.hunt", description=__doc__)
    parser.add_argument("--seconds", type=float, default=45.0, help="to go on for, if nothing is found (default 45)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    found = find_fault(options.seconds, options.seed)
    print(found or "nothing found")
    return bool(found)


def _looks(seed: int) -> Iterator[Callable[[], str]]:
    """Yield, for ever, functions that each look for about a second and return what they have found."""
    for preemptions in (1, 2):
        yield from (partial(_look_at_race, name, preemptions, 5, seed) for name in RACES)
        yield from (partial(_look_at_histories, subject, seed) for subject in SUBJECTS)
    while True:
        seed += 1
        yield from (partial(_look_at_histories, subject, seed) for subject in SUBJECTS)
        yield from (partial(_look_at_race, name, 0, 50, seed) for name in RACES)


def _look_at_race(name: str, preemptions: int, runs: int, seed: int) -> str:
    race = RACES[name]
    try:
        run_race(race, min(preemptions, race.preemptions), runs, seed)
    except Exception as error:  # a planted fault may break a scenario before its threads begin
        return f"{name}: {error}"
    return ""


def _look_at_histories(subject: str, seed: int) -> str:
    try:
        outcomes = [*search_scheduled(subject, 8, seed), *search_free(subject, 100, seed, PATIENCE)]
    except Exception as error:
        return f"histories of {subject}: {error!r}"
    messages = [f"histories of {subject}: {message}" for outcome in outcomes for message in outcome.messages]
    return messages[0] if messages else ""


if __name__ == "__main__":
    sys.exit(main())
