"""Reads under a tiny ttl: no value is returned after its deadline, and none is filled again before it.

Proves: a value has expired at exactly its deadline, ttl after the end of its fill by the cache's own clock; the reader
who finds it expired takes out that entry and no newer one (invariant 9).

Hunts:
    1. A finds entry E expired                      3. A removes the key -- and with it N, which is fresh;
    2. B finds it too, removes it, fills N             or: a value outlives its deadline, or has none;
                                                       or: B refreshes E, and A removes it with B's flight.

Stale. The deadline is a reading of the clock, taken between the end of the fill and the return of the call that ran
it, plus ttl. With L the clock *after* that return, it is at most L + ttl, since clocks do not go back. A caller reads
the clock *before* its lookup begins, C; a lookup that finds the value in the cache reads it later, at C or more. If
C >= L + ttl, the value had expired for that lookup. And a caller that waited for the fill had begun before it was over:
its C is at most L. So C >= L + ttl means a value returned after its deadline, whatever the delays. (L is known later
than the value, so this is judged at the end of the round. Adding ttl rounds, but in one direction for all.)

Doubled. The deadline is at least ttl after the clock at the end of the fill, E. The remover had read a clock
that has reached the deadline, and the next fill was claimed, and began, after that. Nothing is invalidated here, so one
that begins before E + ttl is doubled, unless it is a refresh and begins after the end.

Allowed: any fill that begins at E + ttl or later; any value while C < L + ttl. Two caches stand under a clock that
moves only in steps that the workers make, so that the exact deadline is met; two under the machine's.
"""

from __future__ import annotations

import time
from functools import partial

from areole.testing import ManualClock

from ..oracle import Fill, Findings
from ..scenario import Scenario
from ..subject import MAKERS, Subject, rough_clock
from ..worker import Worker

__all__ = ["Expiry"]

TICKS = 3.0
SECONDS = 100e-6


class Expiry(Scenario):
    variants = ("dict",)  # the atomic index takes no ttl

    def __init__(self, variant: str, findings: Findings) -> None:
        super().__init__(variant, findings)
        self.ticks = ManualClock()
        self.ttl = TICKS

    def start_round(self, number: int) -> None:
        super().start_round(number)
        by_ticks = number % 4 < 2  # the order of `make_subjects`
        self.ttl = TICKS if by_ticks else SECONDS
        self.oracle.clock = self.ticks if by_ticks else time.monotonic

    def make_subjects(self) -> list[Subject]:
        """Make all four; the ttl is a callable in one half and a number in the other."""
        ticking = partial(self.make_subject, ttl=self.ttl_of, clock=rough_clock(self.ticks, 0.12))
        timed = partial(self.make_subject, ttl=SECONDS)
        return [make(maker) for make in (ticking, timed) for maker in MAKERS]

    def ttl_of(self, key: object, value: object) -> float:
        self.worker().pause(0.3)
        return TICKS

    def step(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        if drawn < 0.2:
            self.ticks.advance(1)
        elif drawn < 0.8:
            self.read(worker, key)
        elif drawn < 0.9:
            self.peek(worker, key)
        else:
            self.refresh(worker, key)

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return second.call.refreshes or second.clock_began >= first.clock_ended + self.ttl

    def check_round(self, workers: list[Worker]) -> None:
        super().check_round(workers)
        for worker in workers:
            for call in worker.answers:
                value = call.value
                if isinstance(value, Fill) and call.clock >= value.clock_over + self.ttl:
                    times = f"had ended by {value.clock_over}, ttl {self.ttl}, asked for at {call.clock}"
                    self.oracle.findings.add("stale", f"{value!r} after its deadline: {times}")
