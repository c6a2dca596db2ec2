"""A storm of cancellations: tasks are cancelled before, while and after they wait; loops close with tasks in them.

Proves: a cancelled task takes nobody else with it: no waiter gets a CancelledError that was not meant for it, and none
waits for a fill that was cancelled (invariant 4).

Hunts:
    1. the last waiter of a fill is cancelled, and counts: nobody is left     3. the fill is cancelled
    2. another one joins                                                      4. and the other waits for ever, or gets
                                                                                 its CancelledError
Allowed: CancelledError in the task that was cancelled; a fill that overlaps one that was cancelled, since nobody waits
for that one any more. `on_abandon` is "cancel" in one half of the rounds, and how often a key is filled there is not
judged; it is "complete" in the other half.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..oracle import Fill
from ..tasks import TaskScenario
from ..worker import Worker

__all__ = ["Cancellations"]


class Cancellations(TaskScenario):
    only_ours = f"{TaskScenario.only_ours}; python -m stress.contenders has a row for it: loop_cancelled_leader"
    keys = ("a", "b")
    pauses = 0.9

    def options(self) -> list[dict[str, Any]]:
        return [{"on_abandon": "cancel"}, {"on_abandon": "complete"}]

    def step(self, worker: Worker) -> None:
        key = worker.choices.choice(self.keys)
        if worker.choices.random() < 0.3:
            self.invalidate(worker, key)
        else:
            self.read(worker, key)

    async def play_loop(self, worker: Worker) -> None:
        """Leave while some tasks are not done: closing the loop cancels them."""
        left = [asyncio.create_task(self.cache.fetch(key)) for key in self.keys]
        await super().play_loop(worker)
        if worker.choices.random() < 0.5:
            self.clear(worker)
            left += [asyncio.create_task(self.cache.fetch(key)) for key in self.keys]
            await asyncio.sleep(0)

    async def step_async(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        if drawn < 0.25:
            self.invalidate(worker, key)
            return
        task = asyncio.create_task(self.fetch(worker, key))
        is_cancelled = drawn < 0.75
        if is_cancelled:
            await asyncio.sleep(worker.choices.choice((0, 0, 1e-5, 1e-4)))
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            worker.operations += 1
            if not is_cancelled:
                self.oracle.findings.add("wrong", f"a CancelledError reached {worker.name}, which nobody had cancelled")

    def may_overlap(self, first: Fill, second: Fill) -> bool:
        is_abandoned = self.cache is self.caches[0]  # it may be: and it may end well before it is cancelled
        return is_abandoned or first.failed or second.failed

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return first.failed
