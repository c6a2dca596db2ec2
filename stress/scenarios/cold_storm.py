"""A storm on cold keys: all threads ask for the same missing keys at once, again and again; each is filled once.

Proves: a miss runs the fill in one thread, and all others get that one's value (invariants 1 and 2).

Hunts:
    1. A looks: nothing there                  3. A claims, fills, publishes
    2. B looks: nothing there                  4. B fills too: it did not look again, or had a slot of its own
and, on the AtomicDict, the same between two threads that see a key for the very first time and both make its cell.

Allowed: in every burst exactly one fill of each key, and its value for everybody. Keys are new in each burst. A thread
that has got a value finds it there.
"""

from __future__ import annotations

from ..oracle import fills_by_key
from ..scenario import Scenario
from ..worker import Worker

__all__ = ["ColdStorm"]

KEYS_IN_A_BURST = 8


class ColdStorm(Scenario):
    def start_round(self, number: int) -> None:
        self.keys = tuple(f"{number}-{i}" for i in range(KEYS_IN_A_BURST))  # type: ignore[misc]
        super().start_round(number)

    def play(self, worker: Worker) -> None:
        """Ask for all keys; in one order, so that the threads meet at each, or in an order of its own."""
        keys = list(self.keys)
        if self.is_calm:
            worker.choices.shuffle(keys)
        for key in keys:
            self.read(worker, key)
            if worker.choices.random() < 0.3:
                self.peek(worker, key)

    def nothing_leaves(self) -> bool:
        return True

    def check_round(self, workers: list[Worker]) -> None:
        super().check_round(workers)
        filled = fills_by_key(workers)
        for key in self.keys:
            if key not in filled:
                self.oracle.findings.add("wrong", f"{key!r} was asked for by every thread and never filled")
