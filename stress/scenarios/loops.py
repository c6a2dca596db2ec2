"""Event loops and threads on one cache: a key is filled once for all of them, and all of them get that value.

Proves: a task leads for threads, and a thread for tasks (invariants 2 and 4); no loop is blocked by a wait; nobody gets
a value from before an invalidation (invariant 3); a loop that has closed stops nobody else from being woken.

Hunts:
    1. a task on loop 1 leads; a task on loop 2, and a thread, wait      3. the leader wakes all: the first one is on a
    2. another waiter's loop closes                                         loop that has closed: RuntimeError, and the
                                                                            others sleep for ever
and a waiter that looks, finds the fill running, and enters the table after the leader has woken all who were in it.

Allowed: one fill of a key, and one more for each invalidation. In half of the rounds nothing is invalidated: there each
key has one fill, in a task or in a thread.
"""

from __future__ import annotations

from ..tasks import TaskScenario
from ..worker import Worker

__all__ = ["Loops"]


class Loops(TaskScenario):
    def nothing_leaves(self) -> bool:
        return self.is_calm

    def step(self, worker: Worker) -> None:
        key = worker.choices.choice(self.keys)
        if worker.choices.random() < 0.2 and not self.is_calm:
            self.invalidate(worker, key)
        else:
            self.read(worker, key)

    async def step_async(self, worker: Worker) -> None:
        key = worker.choices.choice(self.keys)
        if worker.choices.random() < 0.1 and not self.is_calm:
            self.invalidate(worker, key)
        else:
            await self.fetch(worker, key)
