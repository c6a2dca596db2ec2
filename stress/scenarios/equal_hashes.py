"""Keys of one hash that Python code compares: once in the index each, whatever other threads insert and delete.

Proves: a key is filled by one caller at a time, and is in the index once (invariants 2 and 9); no value is seen from
before an invalidation (invariant 3); a lookup ends (invariant 4). Of frozen dataclasses, with an int of their hash
beside them, and tuples that hold such ones; with limits and without, under a ttl, and in stores.

Hunts:
    1. (GIL) a key is deleted: a dummy slot is left    3. B inserts P(-2, y): into the dummy slot
    2. A inserts P(-2, y): goes past the dummy, and    4. A goes on after its comparison, finds an empty slot, and
       compares with P(-1, y), in Python code             inserts P(-2, y) too: both lead, and the key is in twice
                                                       5. a removal takes out one of them; the other one is found again,
                                                          or is an entry with neither a value nor a flight: a lookup
                                                          goes round in circles for ever.

Allowed: one more fill of the key for each invalidation that overlaps. Nothing is evicted, and nothing expires.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from ..keys import NAMES, make_key, name_of
from ..oracle import Findings
from ..scenario import Scenario
from ..subject import INDEXES, POLICIES, Subject
from ..worker import Worker

__all__ = ["EqualHashes", "by_name"]


def by_name(subject: Subject) -> Subject:
    """Make a subject that is asked by the names of keys."""

    def named(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda name, *args: function(make_key(name), *args)

    return replace(
        subject,
        read=named(subject.read),
        peek=named(subject.peek),
        refresh=named(subject.refresh),
        invalidate=named(subject.invalidate),
        put=named(subject.put),
    )


class EqualHashes(Scenario):
    variants = (*INDEXES, *POLICIES, "ttl")
    keys: ClassVar[tuple[str, ...]] = NAMES

    def __init__(self, variant: str, findings: Findings) -> None:
        super().__init__("dict" if variant == "ttl" else variant, findings)
        self.limits: dict[str, Any] = {"ttl": 3600} if variant == "ttl" else {}
        if variant in POLICIES:
            self.limits = {"max_items": 2 * len(NAMES)}

    def make_subject(self, maker: Any, **options: Any) -> Subject:
        return by_name(super().make_subject(maker, **self.limits, **options))

    def fill(self, key: Any) -> Any:
        return super().fill(name_of(key))

    def step(self, worker: Worker) -> None:
        name, drawn = worker.choices.choice(self.keys), worker.choices.random()
        if drawn < 0.6:
            self.read(worker, name)
        elif drawn < 0.7:
            self.peek(worker, name)
        elif drawn < 0.8:
            self.refresh(worker, name)
        else:
            self.invalidate(worker, name)

    def may_follow(self, first: Any, second: Any) -> bool:
        return bool(second.call.refreshes)
