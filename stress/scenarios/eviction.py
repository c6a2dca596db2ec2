"""Eviction against fills, at max_items=1 with three keys: no fill, and no newer value, is evicted wrongly.

Proves: there is at most one item whenever the lock is released (invariant 7); an eviction takes out a stored entry by
identity, and never a flight (invariants 2 and 9); the accounting agrees with what is there; no user code runs under
the lock.

Hunts:
    1. A fills x and publishes: y must go          3. A takes out "y" -- by key, and with it B's flight:
    2. B finds y gone already, and fills y again      C finds nothing and fills y too
and an item that is counted after the lock is released, or counted out twice.

Allowed: any fill that begins after the one before it had ended, since that may have been evicted at once; one more that
overlaps for each invalidation that does.
"""

from __future__ import annotations

from typing import Any

from ..oracle import Fill
from ..scenario import Scenario
from ..subject import POLICIES, Subject
from ..worker import Worker

__all__ = ["Eviction"]


class Eviction(Scenario):
    variants = POLICIES
    needs = ("max_items", "count")
    keys = ("a", "b", "c")
    limit = 1

    def make_subject(self, maker: Any, **options: Any) -> Subject:
        return super().make_subject(maker, max_items=self.limit, on_removal=self.notice, **options)

    def notice(self, key: Any, value: Any, cause: Any) -> None:
        if type(value) is not Fill or value.key != key:
            self.oracle.findings.add("wrong", f"the listener was notified that {key!r} had {value!r}")

    def step(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        if drawn < 0.65:
            self.read(worker, key)
        elif drawn < 0.8:
            self.refresh(worker, key)
        elif drawn < 0.9:
            self.peek(worker, key)
        else:
            self.invalidate(worker, key)
        items, _ = self.subject.size()
        if not 0 <= items <= self.limit:
            self.oracle.findings.add("wrong", f"{items} items, and there may be {self.limit}")

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return True
