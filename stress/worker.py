"""Worker: one thread of a run, with its random choices, its pauses, and its log of the round."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .oracle import Call, Fill, Removal

__all__ = ["Worker", "current_worker"]

_local = threading.local()


def current_worker() -> Worker | None:
    """Return the worker that runs in this thread, if one does."""
    return getattr(_local, "worker", None)


class Worker:
    """Written by its own thread alone. The logs are read by others between two rounds; the counts at any time.

    `choices` decides what the worker does next, `noise` where it pauses. How often a pause is come to depends on the
    other threads, so the two are apart: the seed repeats what each worker asks for, in order, if not the interleaving.
    """

    def __init__(self, number: int, seed: str) -> None:
        self.number = number
        self.name = f"worker-{number}"
        self.seed = seed
        self.choices = random.Random()
        self.noise = random.Random()
        self.operations = 0
        self.hits = 0
        self.fills_run = 0
        self.depth = 0  # how many calls of the cache are one inside another: see scenarios/reentrant
        self.readings = 0  # of the clock, in this lookup: see scenarios/resiliences
        self.resting = False  # at the barrier, waiting for the others
        self.calls: list[Call] = []  # those that this thread is in, the innermost last
        self.answers: list[Call] = []
        self.fills: list[Fill] = []
        self.removals: list[Removal] = []

    def enter_thread(self) -> None:
        _local.worker = self

    def start_round(self, number: int) -> None:
        """Forget the last round; make this one's choices depend on the seed and its number alone."""
        self.choices.seed(f"{self.seed}/{number}/{self.number}")
        self.noise.seed(f"{self.seed}/{number}/{self.number}/noise")
        for log in (self.answers, self.fills, self.removals):
            log.clear()

    def pause(self, chance: float = 0.2) -> None:
        """Let others run, at random: not at all, for a moment, or for some ten microseconds. No one relies on it."""
        drawn = self.noise.random()
        if drawn < chance / 4:
            time.sleep(self.noise.random() * 5e-5)
        elif drawn < chance:
            time.sleep(0)
