"""Fills that ask for other keys, in any order, so that cycles close: each raises or succeeds, and nobody blocks.

Proves: waiting for oneself is an error, not a hang (invariant 5), within one thread and across threads; and the error
is raised only where there is a cycle. A stranger's cache gets no cycles: none but ours promises an error for them.

Hunts:
    1. A fills x, B fills y                         3. B asks for x: waits for A
    2. A asks for y: waits for B                    4. nobody is left who would see it
and a look for cycles that is not one step with what it guards: both look, see none, and wait.

Allowed: RecursiveFillError or FillDeadlockError, from the lookup or passed on by the fill that met it, and then a fill
may follow; or a value, of one fill. In half of the rounds each fill asks only for keys that come after its own, so
there are no cycles: any error is wrong there.
"""

from __future__ import annotations

from typing import Any

from areole import FillDeadlockError, RecursiveFillError

from ..oracle import Fill
from ..scenario import Scenario
from ..worker import Worker

__all__ = ["Recursion"]


class Recursion(Scenario):
    keys = ("a", "b", "c", "d", "e", "f")
    operations = 12

    @property
    def is_calm(self) -> bool:
        return super().is_calm or not self.is_ours

    def fill(self, key: Any) -> Fill:
        worker = self.worker()
        with self.oracle.start_fill(worker, key) as fill:
            others = [other for other in self.keys if other > key or not self.is_calm]
            for other in worker.choices.sample(others, min(len(others), worker.choices.choice((0, 1, 1, 2)))):
                worker.pause(self.pauses)
                self.ask(worker, other, passes_on=worker.choices.random() < 0.5)
        return fill

    def ask(self, worker: Worker, key: str, passes_on: bool) -> None:
        raises = () if self.is_calm else (RecursiveFillError, FillDeadlockError)
        call = self.oracle.ask(worker, self.subject.read, key, raises=raises)
        if passes_on and call.error is not None:
            raise call.error

    def step(self, worker: Worker) -> None:
        self.ask(worker, worker.choices.choice(self.keys), passes_on=False)

    def nothing_leaves(self) -> bool:
        return True

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return first.failed
