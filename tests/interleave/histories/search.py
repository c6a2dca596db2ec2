"""Run histories by the hundred, on real threads and under the scheduler, and count what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from .. import BadSchedule, sample
from ..explore import Bad
from .record import PATIENCE, History, overlap, run_free, scheduled

__all__ = ["Outcome", "search_free", "search_scheduled"]

BATCH: Final = 100
"""Histories whose caches live at once: the process has no more than 256 AtomicDicts."""

DEPTHS: Final = (2, 3, 5, 8)


@dataclass
class Outcome:
    """How many histories there were, in how many operations overlapped, and what was wrong."""

    histories: int = 0
    overlapped: int = 0
    messages: list[str] = field(default_factory=list)
    bad: list[tuple[str, Bad]] = field(default_factory=list)  # the name of a scenario, and a schedule of it

    @property
    def share(self) -> float:
        return self.overlapped / max(self.histories, 1)

    def __add__(self, other: Outcome) -> Outcome:
        counts = self.histories + other.histories, self.overlapped + other.overlapped
        return Outcome(*counts, self.messages + other.messages, self.bad + other.bad)

    def note(self, histories: Iterable[History]) -> None:
        for history in histories:
            self.histories += 1
            self.overlapped += overlap(history)


def search_free(subject: str, count: int, seed: int, patience: float = PATIENCE) -> Iterator[Outcome]:
    """Record so many histories on real threads, in batches, and check each; yield what came of a batch."""
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        histories = [History(subject, f"{seed}-{number}", pauses=True) for number in numbers]
        outcome = Outcome()
        try:
            run_free(histories, patience)
        except Exception as error:
            outcome.messages.append(f"{subject}, seed {seed}: {error!r}")
        else:
            outcome.note(histories)
            outcome.messages += [message for history in histories for message in history.check()]
        yield outcome


def search_scheduled(subject: str, count: int, seed: int) -> Iterator[Outcome]:
    """Run so many programs each under a schedule without preemptions and two that PCT chooses, by turns at every
    instruction and where something is shared; yield what came of each program."""
    for number in range(count):
        outcome, histories = Outcome(), list[History]()
        steps, depth = ("shared", "every")[number % 2], DEPTHS[number // 2 % len(DEPTHS)]
        name = f"{seed}-{number}"
        try:
            sample(scheduled(subject, name, histories), 2, seed, depth, steps)
        except BadSchedule as error:
            outcome.messages.append(str(error))
            outcome.bad.append((f"history/{subject}/{name}", error.bad))
        outcome.note(histories)
        yield outcome
