"""The byte limit under churn: at every moment that anybody can look, the sizes add up to no more than the limit.

Proves: the weights are never negative, their sum is what is reported, and within the limit whenever the lock is
released (invariant 7), while values of all sizes come by fill and by `set`, grow and shrink in place, and leave; a
value over the limit reaches its caller and is stored nowhere.

Hunts:
    1. A stores x, releases the lock           3. B looks: the store is over its limit, or less than empty
    2. C evicts x, and subtracts its weight        4. A adds the weight of x, which is no longer there
and a waiter that looks into the store for the value of a fill that was too large to be there.

Allowed: any fill that begins after the one before had ended. Each key is set and invalidated by one thread, so that
the floor of versions holds for `set` too: see Oracle.put.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..oracle import Fill
from ..scenario import Scenario
from ..subject import POLICIES, Subject
from ..worker import Worker

__all__ = ["ByteLimit"]

LIMIT = 8192
LARGEST = 9000


class ByteLimit(Scenario):
    only_ours = "its values are weighed by a weigher; python -m stress.contenders has a row for it: bytes_limit"
    variants = POLICIES
    keys: ClassVar[tuple[str, ...]] = tuple("abcdefghijkl")

    def make_subject(self, maker: Any, **options: Any) -> Subject:
        return super().make_subject(maker, max_bytes=LIMIT, weigher=self.weigh, **options)

    def weigh(self, key: Any, value: Fill) -> int:
        """Weigh a value: by nothing but itself, a third of them by little, some by more than may be."""
        self.worker().pause(0.1)
        drawn = value.began * 7919 % LARGEST
        return drawn if drawn % 3 else drawn // 50

    def step(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        own = self.keys[worker.number :: self.threads]  # those that no other thread changes
        if drawn < 0.5 or not own:
            self.read(worker, key)
        elif drawn < 0.65:
            self.refresh(worker, key)
        elif drawn < 0.95:
            self.oracle.put(worker, self.subject.put, worker.choices.choice(own))
        else:
            self.invalidate(worker, worker.choices.choice(own))
        items, weight = self.subject.size()
        if not (0 <= weight <= LIMIT and (weight > 0) == (items > 0)):
            self.oracle.findings.add("wrong", f"{items} items of {weight} bytes, and there may be {LIMIT}")

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return True
