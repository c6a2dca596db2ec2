"""The same keys of one hash, asked for by tasks on event loops and by threads: each is filled for all of them at once.

Proves: what `equal_hashes` does, for `AsyncAtomicCache`: a task leads for threads and a thread for tasks, and there is
one fill of a key at a time (invariants 2, 3, 4 and 9).

Hunts:
    1. a task claims P(-2, y), which is compared in Python code      3. the task's insertion goes on, into another slot
    2. a thread claims P(-2, y) meanwhile                            4. both lead, and only one of them is ever found.

Allowed: one more fill of the key for each invalidation that overlaps.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..keys import NAMES, make_key, name_of
from ..oracle import Fill
from ..subject import Subject
from ..tasks import TaskScenario
from ..worker import Worker
from .equal_hashes import by_name

__all__ = ["EqualHashesLoops"]


class EqualHashesLoops(TaskScenario):
    keys: ClassVar[tuple[str, ...]] = NAMES

    def make_view(self, cache: Any) -> Subject:
        return by_name(super().make_view(cache))

    async def fill_async(self, key: Any) -> Fill:
        return await super().fill_async(name_of(key))

    def step(self, worker: Worker) -> None:
        name = worker.choices.choice(self.keys)
        if worker.choices.random() < 0.25:
            self.invalidate(worker, name)
        else:
            self.read(worker, name)

    async def step_async(self, worker: Worker) -> None:
        name = worker.choices.choice(self.keys)
        if worker.choices.random() < 0.2:
            self.invalidate(worker, name)
        else:
            with self.calling(worker, name) as got:
                got.append(await self.cache.fetch(make_key(name)))
