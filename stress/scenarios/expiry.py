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
moves only in steps that the workers make, so that the exact deadline is met; two under the machine's. A stranger's
cache stands under the first if its factory takes a clock. It may count a ttl from the start of a fill, and drop a value
early; it may have one at its deadline, or within 20 ms of it under a clock of its own; but not later.
"""

from __future__ import annotations

import time
from functools import partial

from areole.testing import ManualClock

from ..oracle import Fill, Findings
from ..scenario import Scenario
from ..stranger import load
from ..subject import Subject, makers_of, rough_clock
from ..worker import Worker

__all__ = ["Expiry"]

TICKS = 3.0
SECONDS = 100e-6
CLOCKS_APART = 0.02
"""Seconds that a stranger's clock, which is not known, may be from ours within a ttl."""


class Expiry(Scenario):
    variants = ("dict",)  # the atomic index takes no ttl
    needs = ("ttl",)

    def __init__(self, variant: str, findings: Findings) -> None:
        super().__init__(variant, findings)
        self.ticks = ManualClock()
        self.ttl = TICKS
        self.seconds = SECONDS
        self.grace = 0.0  # a value that is had so long after its deadline is stale
        if not self.is_ours:
            stranger = load(variant)
            self.takes_clock = "clock" in stranger.options
            self.seconds, self.grace = stranger.least_ttl, 1.0 if self.takes_clock else CLOCKS_APART

    def start_round(self, number: int) -> None:
        super().start_round(number)
        by_ticks = number % 4 < 2 if self.is_ours else self.takes_clock  # the order of `make_subjects`
        self.ttl = TICKS if by_ticks else self.seconds
        self.oracle.clock = self.ticks if by_ticks else time.monotonic

    def make_subjects(self) -> list[Subject]:
        """Make all four; the ttl is a callable in one half and a number in the other."""
        clock = rough_clock(self.ticks, 0.12)
        if not self.is_ours:
            ttl = TICKS if self.takes_clock else self.seconds
            return [self.make_subject(*makers_of(self.variant), ttl=ttl, clock=clock)]
        ticking = partial(self.make_subject, ttl=self.ttl_of, clock=clock)
        timed = partial(self.make_subject, ttl=SECONDS)
        return [make(maker) for make in (ticking, timed) for maker in makers_of(self.variant)]

    def ttl_of(self, key: object, value: object) -> float:
        self.worker().pause(0.3)
        return TICKS

    def step(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        if drawn < 0.2:
            self.let_time_pass()
        elif drawn < 0.8:
            self.read(worker, key)
        elif drawn < 0.9:
            self.peek(worker, key)
        else:
            self.refresh(worker, key)

    def let_time_pass(self) -> None:
        """Move the clock; or wait for the machine's, where that moves too little in a round by itself."""
        self.ticks.advance(1)
        if self.ttl not in (TICKS, SECONDS):
            time.sleep(self.ttl / 4)

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return not self.is_ours or second.call.refreshes or second.clock_began >= first.clock_ended + self.ttl

    def check_round(self, workers: list[Worker]) -> None:
        super().check_round(workers)
        for worker in workers:
            for call in worker.answers:
                value = call.value
                if isinstance(value, Fill) and call.clock >= value.clock_over + self.ttl + self.grace:
                    times = f"had ended by {value.clock_over}, ttl {self.ttl}, asked for at {call.clock}"
                    self.oracle.findings.add("stale", f"{value!r} after its deadline: {times}")
