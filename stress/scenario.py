"""Scenario: what all scenarios that run on threads have in common."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any, ClassVar

from .case import Case
from .oracle import Fill, Findings, Oracle
from .stranger import is_stranger
from .subject import POLICIES, Maker, Subject, makers_of, rough_clock
from .worker import Worker, current_worker

__all__ = ["Scenario"]

_ROUNDS_OF_A_CACHE = 64


class Scenario(Case):
    """A round is `start_round`, `play` in every thread at once, `check_round`.

    The rounds take turns between `cache[key]` and a memoized function, and under a policy also a Storage; or all are of
    a stranger's cache. All are new every 64 rounds: what happens the first time that a key is seen matters too.
    `start_round` and `check_round` run while all are idle, in any one thread.
    """

    keys: ClassVar[tuple[str, ...]] = ("a", "b", "c", "d")
    operations: ClassVar[int] = 40
    """Of each thread, in a round."""
    pauses: ClassVar[float] = 0.3
    """How many of the fills let others run."""
    more_makers: ClassVar[tuple[Maker, ...]] = ()
    """Those of caches of ours that only some scenarios use."""

    def __init__(self, variant: str, findings: Findings) -> None:
        self.variant = variant
        self.threads = 1  # set by the frame
        self.round = 0
        self.oracle = Oracle(findings)
        self.subjects: list[Subject] = []
        self.subject: Subject

    # ---- for a scenario to define

    def fill(self, key: Any) -> Any:
        """Make the value of a key. Pauses, so that others come meanwhile."""
        worker = self.worker()
        with self.oracle.start_fill(worker, key) as fill:
            worker.pause(self.pauses)
        return fill

    def step(self, worker: Worker) -> None:
        """Do one thing, chosen at random."""
        raise NotImplementedError

    def may_follow(self, first: Fill, second: Fill) -> bool:
        """Say whether `second` may have been run although `first`, which had ended, was not removed. See oracle."""
        return False

    def may_overlap(self, first: Fill, second: Fill) -> bool:
        """Say whether one may run while the other does: under a limit, what is being refreshed may be evicted."""
        return self.variant in POLICIES and (first.call.refreshes or second.call.refreshes)

    def nothing_leaves(self) -> bool:
        """Say whether this round has neither removals nor a ttl. See oracle."""
        return False

    def may_be_under_a_lock(self) -> bool:
        """Say whether what the cache calls may find its lock held by this thread: by a method of a key, that is."""
        return False

    # ---- a round

    def start_round(self, number: int) -> None:
        self.round = number
        if number % _ROUNDS_OF_A_CACHE == 1:
            self.subjects = []
            self.oracle.pickled.clear()
            gc.collect()  # a memoized function is part of cycles, and there may not be many AtomicDicts at a time
            self.subjects = self.make_subjects()
        self.subject = self.subjects[number % len(self.subjects)]
        self.subject.clear()
        self.oracle.start_round(self.keys, self.nothing_leaves())

    def make_subjects(self) -> list[Subject]:
        return [self.make_subject(maker) for maker in makers_of(self.variant, *self.more_makers)]

    def make_subject(self, maker: Maker, **options: Any) -> Subject:
        """Make one whose every callable notices when it is called under the cache's lock (invariant 6)."""
        made: list[Subject] = []
        options = {"clock": rough_clock(time.monotonic)} | options
        watched = {name: self._watch(name, each, made) if callable(each) else each for name, each in options.items()}
        made.append(maker(self._watch("fill", self.fill, made), self.variant, **watched))
        return made[0]

    def _watch(self, name: str, function: Callable[..., Any], made: list[Subject]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            if made and made[0].is_locked_by_me() and not self.may_be_under_a_lock():
                self.oracle.findings.add("wrong", f"the {name} was called under the cache's lock")
            return function(*args)

        return called

    def play(self, worker: Worker) -> None:
        for _ in range(self.operations):
            self.step(worker)

    def check_round(self, workers: list[Worker]) -> None:
        self.oracle.check_doubled(workers, self.may_follow, self.may_overlap)
        self.subject.check()

    # ---- for its steps

    @property
    def is_calm(self) -> bool:
        """True for two rounds in four, so for each cache in turn: a scenario may leave something out there."""
        return self.round % 4 > 1

    @property
    def is_ours(self) -> bool:
        return not is_stranger(self.variant)

    def worker(self) -> Worker:
        worker = current_worker()
        assert worker is not None, "a fill runs in a thread that is none of ours"
        return worker

    def read(self, worker: Worker, key: Any) -> None:
        self.oracle.ask(worker, self.subject.read, key)

    def peek(self, worker: Worker, key: Any) -> None:
        self.oracle.ask(worker, self.subject.peek, key, may_miss=True)

    def refresh(self, worker: Worker, key: Any) -> None:
        self.oracle.ask(worker, self.subject.refresh, key, refreshes=True)

    def invalidate(self, worker: Worker, key: Any) -> None:
        """Remove a key; read it, where nothing can be removed."""
        if self.subject.removes:
            self.oracle.invalidate(worker, self.subject.invalidate, key, self.subject.removes_again)
        else:
            self.read(worker, key)

    def clear(self, worker: Worker) -> None:
        if self.subject.clears:
            self.oracle.clear(worker, self.subject.clear)
