"""Calls with different Resiliences for the same keys, whose fills fail half of the time: each call comes to an end.

Proves: what one call leaves behind keeps no other from going on, whatever that one may serve, wait for or retry
(invariant 4); a value is the key's and is from after the last removal (invariant 3); a key has one fill at a time
(invariant 2).

Hunts:
    1. a call with fail_safe fails: the stale value is served, and nobody fills again before `throttled_until`
    2. a call without stale_ttl may not serve it; its claim leaves the entry alone, since it is not time yet
    3. it looks again, and again, on a whole CPU, until the clock has reached `throttled_until`.

Allowed: a value of the key, however old it is: scenarios/expiry judges that; an error that a fill of the key raised; a
fill that begins after the one before it has ended; one more for each invalidation that overlaps. None is in the
background, so that nothing runs when no caller does.
"""

from __future__ import annotations

import logging
from typing import Any

from areole import Resilience, Storage
from areole.testing import ManualClock

from ..oracle import Fill, Findings
from ..scenario import Scenario
from ..subject import POLICIES, make_subject
from ..worker import Worker, current_worker

__all__ = ["Resiliences"]

TTL, STALE = 3.0, 6.0
READINGS = 5000
"""How often one lookup may read the clock: one that goes round in circles reads it in every turn."""

RESILIENCES = (
    Resilience(),
    Resilience(stale_ttl=STALE, fail_safe=True, negative_ttl=1),
    Resilience(stale_ttl=STALE, fail_safe=True, negative_ttl=5),
    Resilience(stale_ttl=2 * STALE, fail_safe=True, negative_ttl=2),
)


class FillFailed(Exception):
    """What a fill raises."""


class Resiliences(Scenario):
    only_ours = "Resilience is areole's own"
    variants = POLICIES
    operations = 30

    def __init__(self, variant: str, findings: Findings) -> None:
        super().__init__(variant, findings)
        self.ticks = ManualClock()
        logging.getLogger("areole").addHandler(logging.NullHandler())  # it tells of every failure that a value hides

    def make_subjects(self) -> list[Any]:
        limit: Any = {"policy": self.variant, "max_items": 2 * len(self.keys)}
        unswept: Any = {"expiration_thread_max_checks_per_iteration": 0, "default_ttl": TTL}
        store: Storage[Fill] = Storage(clock=self.clock, **limit, **unswept)

        def read(key: str) -> Fill:
            resilience = self.worker().choices.choice(RESILIENCES)
            return store.get_or_fill(key, self.fill, resilience=resilience)

        return [make_subject(store, self.variant, read, store.peek, read, store.invalidate, store.clear, store.set)]

    def clock(self) -> float:
        worker = current_worker()
        if worker is not None and not worker.resting:
            worker.readings += 1
            if worker.readings > READINGS:
                raise AssertionError(f"a lookup goes round in circles: it has read the clock {READINGS} times")
            worker.pause(0.04)
        return self.ticks()

    def fill(self, key: str) -> Fill:
        worker = self.worker()
        with self.oracle.start_fill(worker, key) as fill:
            worker.pause(self.pauses)
            if worker.choices.random() < 0.5:
                raise FillFailed(key)
        return fill

    def step(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        worker.readings = 0
        if drawn < 0.15:
            self.ticks.advance(1)
            worker.operations += 1
        elif drawn < 0.25:
            self.invalidate(worker, key)
        else:
            self.look_up(worker, key)

    def look_up(self, worker: Worker, key: str) -> None:
        call = self.oracle.ask(worker, self.subject.read, key, falls_back=True, raises=(FillFailed,))
        if call.error is not None and call.error.args != (key,):
            self.oracle.findings.add("wrong", f"{key!r} raised {call.error!r}")

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return True
