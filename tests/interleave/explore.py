"""Run a scenario under every schedule with up to so many preemptions, or under random ones; replay one.

    explore(scenario, preemptions=2)        every one, at the steps that touch what threads share
    sample(scenario, runs=100, seed=1)      PCT, at every instruction
    replay(scenario, [(0, 1), (17, 0)])     one: thread 1 begins, and thread 0 goes on at decision 17

A preemption is the stop of a thread that could go on; which one runs where one has blocked or ended costs none (after
CHESS: Musuvathi and Qadeer, PLDI 2007, who found that most faults need two or fewer).
"""

from __future__ import annotations

import gc
import platform
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import areole
from areole._index import atomic as _index

from .locks import seen_locks
from .schedule import Choice, Deadlock, Fixed, Pct, Schedule, Strategy
from .steps import EXHAUSTIVE, StepsOf, every_step, shared_steps
from .tracing import afresh, watched

__all__ = [
    "STEPS",
    "Bad",
    "BadSchedule",
    "Scenario",
    "WithInvariant",
    "explore",
    "free_atomic_dicts",
    "replay",
    "run_each",
    "sample",
]

Scenario: TypeAlias = Callable[[], tuple[Callable[..., Any], ...]]
"""Makes a fresh cache; returns what each of the threads does and, last, a check of the list of their results."""

STEPS: Final[dict[str, StepsOf]] = {"shared": shared_steps, "every": every_step}


class WithInvariant:
    """A scenario's check, with what must also hold before every step, and may be read there without a lock."""

    def __init__(self, check: Callable[[list[Any]], None], invariant: Callable[[], None], cache: Any = None) -> None:
        self._check = check
        self.invariant = invariant
        self.cache = cache

    def __call__(self, results: list[Any]) -> None:
        self._check(results)


@dataclass(frozen=True)
class Bad:
    """A schedule that failed: all that a replay needs, and what it showed."""

    choices: tuple[Choice, ...]
    steps: str
    threads: int
    error: str
    places: tuple[str, ...]
    seed: str | None = None
    areole: str = areole.__version__
    python: str = f"{platform.python_version()} {sys.abiflags}".strip()

    def __str__(self) -> str:
        steps = "" if self.steps == "shared" else f", steps={self.steps!r}"
        return f"replay(scenario, {list(self.choices)}{steps}): {'; '.join(self.places)}: {self.error}"


class BadSchedule(AssertionError):
    """Raised where a schedule failed; `bad` is that with the fewest choices."""

    def __init__(self, bad: Bad, of: str) -> None:
        super().__init__(f"{of}; {bad}")
        self.bad = bad


@dataclass
class _Ran:
    schedule: Schedule
    threads: int
    error: BaseException | None

    def as_bad(self, steps: str, seed: str | None = None) -> Bad:
        schedule, error = self.schedule, _describe(self.error)
        return Bad(tuple(schedule.taken), steps, self.threads, error, tuple(schedule.places), seed)


def _describe(error: BaseException | None) -> str:
    """Give an error with its notes and the line that raised it: what an `assert` without a message says."""
    frames = traceback.extract_tb(error.__traceback__ if error is not None else None)
    notes = getattr(error, "__notes__", [])
    return "; ".join([repr(error), *notes, *[f"{each.line}" for each in frames[-1:]]])


def _run(scenario: Scenario, make_strategy: Callable[[], Strategy]) -> _Ran:
    return afresh(lambda: _run_once(scenario, make_strategy()))


def _run_once(scenario: Scenario, strategy: Strategy) -> _Ran:
    free_atomic_dicts(4)
    *functions, check = scenario()
    schedule = Schedule(strategy, getattr(check, "invariant", None))
    with _no_collection():
        results = schedule.run(*functions)
    try:
        assert not any(isinstance(result, Deadlock) for result in results), results
        if schedule.broken is not None:
            raise schedule.broken
        check(results)
    except Exception as error:
        return _Ran(schedule, len(functions), error)
    return _Ran(schedule, len(functions), None)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let nothing be collected: what a callback of a weak reference does in the midst of a run would be steps of it.

    Where reference counts are deferred, on 3.14t, every cache of a run before leaves in a collection.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def free_atomic_dicts(room: int) -> None:
    """Collect the caches of earlier runs where fewer AtomicDicts than `room` may be made: "atomic" would be a dict.

    What a collection has left it leaves the next time too, so that comes once `room` / 4 more have been made.
    """
    global _left
    count = _index._atomic_dicts.get()
    _left = min(_left, count)
    if count >= _index.MAX_ATOMIC_DICTS - room and count > _left + room // 4:
        gc.collect()
        _left = _index._atomic_dicts.get()


_left = 0  # so many AtomicDicts were left after the last collection, if fewer have not been seen since


@contextmanager
def _seen(steps: str) -> Iterator[None]:
    with seen_locks(), watched(STEPS[steps]):
        yield


def replay(scenario: Scenario, choices: Sequence[Choice], steps: str = "shared") -> None:
    """Run one schedule, and raise BadSchedule if it fails; ValueError, if the choices could not be taken."""
    with _seen(steps):
        ran = _run(scenario, lambda: Fixed(choices))
    assert isinstance(ran.schedule.strategy, Fixed)
    if misfits := ran.schedule.strategy.misfits:
        raise ValueError(f"the schedule is of another library or interpreter: {misfits} could not be chosen")
    if ran.error is not None:
        raise BadSchedule(ran.as_bad(steps), "the schedule replayed") from ran.error


def run_each(
    scenario: Scenario, preemptions: int, symmetric: bool = False, at_most: int | None = None
) -> Iterator[_Ran]:
    """Run every schedule with up to so many preemptions, those with fewer first.

    Of those with two, `at_most` so many, chosen by a seed that is the same in each run: AREOLE_EXHAUSTIVE=1 runs all.
    """
    pending: list[list[tuple[Choice, ...]]] = [[()], *[[] for _ in range(preemptions)]]
    with _seen("shared"):
        for preempted, of_level in enumerate(pending):
            if preempted > 1 and at_most is not None and len(of_level) > at_most and not EXHAUSTIVE:
                of_level[:] = random.Random(len(of_level)).sample(of_level, at_most)
            while of_level:
                choices = of_level.pop()
                ran = _run(scenario, lambda choices=choices: Fixed(choices))  # type: ignore[misc]
                yield ran
                assert isinstance(ran.schedule.strategy, Fixed)
                for choice, is_free in ran.schedule.strategy.others:
                    level = preempted + (not is_free)
                    if level <= preemptions and not (symmetric and choice[0] == 0):
                        pending[level].append((*choices, choice))


def explore(
    scenario: Scenario,
    preemptions: int = 2,
    *,
    symmetric: bool = False,
    at_least: int = 20,
    stops_early: bool = False,
    at_most: int | None = None,
) -> int:
    """Run every schedule with up to so many preemptions; fail with the shortest bad one, and say how many were bad.

    Returns how many were run. In a `symmetric` scenario all threads do the same, and which one begins does not matter.
    `at_least` keeps a scenario from becoming empty without anybody's noticing. `stops_early`: fail with the first one.
    `at_most`: see `run_each`.
    """
    bad: list[_Ran] = []
    number = 0
    for ran in run_each(scenario, preemptions, symmetric, at_most):
        number += 1
        if ran.error is not None:
            bad.append(ran)
            if stops_early:
                break
    if bad:
        shortest = min(bad, key=lambda each: len(each.schedule.taken))
        raise BadSchedule(shortest.as_bad("shared"), f"{len(bad)} of {number} schedules") from shortest.error
    assert number >= at_least, f"only {number} schedules: are there points any more?"
    return number


def sample(scenario: Scenario, runs: int, seed: int, depth: int = 3, steps: str = "every") -> int:
    """Run so many schedules that PCT chooses; fail with the first bad one. Returns how many decisions there were.

    How many steps a run has is taken from the run before; the first one has no preemption.
    """
    decisions = 0
    with _seen(steps):
        first = ran = _run(scenario, Fixed)
        for number in range(runs):
            length, name = ran.schedule.decisions, f"{seed}-{number}"
            if ran.error is None:
                ran = _run(scenario, lambda: Pct(name, first.threads, length, depth))  # noqa: B023 - called at once
            if ran.error is not None:
                raise BadSchedule(ran.as_bad(steps, name), f"run {number} of seed {seed}") from ran.error
            decisions += ran.schedule.decisions
    return decisions
