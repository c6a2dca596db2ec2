"""Fills against invalidate, tags and clear: no value from before an invalidation is seen after it, none filled twice.

Proves: a get that starts after invalidate or clear has returned never yields a value whose fill began before, and no
such value is stored later (invariant 3); a removal acts on what it found (invariant 9).

Hunts:
    1. A claims the key and fills it from version 1
    2. B makes version 2, invalidates, returns      -- finds no value yet, or takes A's flight out
    3. A publishes: into the index, by key          -- what was invalidated is back
    4. C reads version 1.
and, in `clear`, the entry that its snapshot does not see; the same by a tag, where 1. is noted after the fill.

Allowed: a fill that was running reaches those who had joined it before the invalidation returned; a fill that began
while it ran may stay or not; at most one more fill of the key for each invalidation that overlaps.
"""

from __future__ import annotations

from ..scenario import Scenario
from ..subject import make_tagged
from ..worker import Worker

__all__ = ["Invalidate"]


class Invalidate(Scenario):
    needs = ("invalidate",)
    more_makers = (make_tagged,)

    def step(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        if drawn < 0.65:
            self.read(worker, key)
        elif drawn < 0.75:
            self.peek(worker, key)
        elif drawn < 0.97:
            self.invalidate(worker, key)
        else:
            self.clear(worker)
