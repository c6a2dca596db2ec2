"""Refreshes against reads and invalidate: a refresh replaces what it found, and nothing else.

Proves: a refreshed value whose fill began before an invalidation is not seen after it (invariant 3); there is one
flight of a key at a time, be it a fill or a refresh (invariant 2); a value that a refresh has replaced does not come
back.

Hunts:
    1. A refreshes the key, from version 1          3. A replaces the key's value by its own, of version 1
    2. B makes version 2 and invalidates, returns   4. C reads version 1.
and two refreshes at once, of which the older publishes last; and a refresh whose entry, which shows the old value, is
not found by the tag of that.

Allowed: readers get the old value while a refresh is running; a refresh joins a running fill or
refresh; the key fills again for each invalidation that overlaps, and once for each refresh, one after the other.

In half of the rounds nothing is invalidated: there nobody gets an older value than anybody has got before. (Where
invalidations overlap, "older" would say nothing: a refresh that was taken out ends whenever it likes.)
"""

from __future__ import annotations

from ..oracle import Fill
from ..scenario import Scenario
from ..subject import make_tagged
from ..worker import Worker

__all__ = ["Refresh"]


class Refresh(Scenario):
    only_ours = "a stranger is asked for no refresh"
    more_makers = (make_tagged,)
    keys = ("a", "b")
    pauses = 0.6

    def nothing_leaves(self) -> bool:
        return self.is_calm

    def step(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        if drawn < 0.3:
            self.refresh(worker, key)
        elif drawn < 0.7:
            self.read(worker, key)
        elif drawn < 0.85 or self.is_calm:
            self.peek(worker, key)
        else:
            self.invalidate(worker, key)

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return second.call.refreshes
