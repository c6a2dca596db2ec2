"""A clock that stops, goes back, and leaps ten years: expiry is at its mercy, and nothing else is.

Proves: whatever the clock does, nobody is blocked, no key has two fills at once (invariant 2), no value survives an
invalidation (invariant 3), and the accounting is right (invariant 7). Where the clock stands still, nothing expires;
once it has passed all deadlines, all has.

Hunts:
    1. A reads the clock, finds E live              3. B takes out what "expired" in a future that is over
    2. the clock leaps, and goes back               4. what is in order of expiry is in none any more: a heap that
                                                       pops what is not there, a sweep that never ends
Allowed: any fill that begins after the one before it had ended, but none where the clock stands; a value that comes
back to life as the clock goes back, as long as nobody has taken it out.
"""

from __future__ import annotations

from typing import Any

from areole.testing import ManualClock

from ..oracle import Fill, Findings
from ..scenario import Scenario
from ..subject import POLICIES, Subject, rough_clock
from ..worker import Worker

__all__ = ["Clocks"]

TTL = 10.0
TEN_YEARS = 10 * 365 * 86400.0
LEAPS = (1.0, 5.0, 11.0, -1.0, -20.0, TEN_YEARS, -TEN_YEARS, -3 * TEN_YEARS)


class Clocks(Scenario):
    variants = ("dict", *POLICIES)
    needs = ("ttl", "clock", "get")

    def __init__(self, variant: str, findings: Findings) -> None:
        super().__init__(variant, findings)
        self.clock = ManualClock()

    def make_subject(self, maker: Any, **options: Any) -> Subject:
        limit = {"max_items": 3} if self.variant in POLICIES else {}
        return super().make_subject(maker, ttl=TTL, clock=rough_clock(self.clock, 0.12), **limit, **options)

    def step(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        if drawn < 0.15 and not self.is_calm:
            self.clock.advance(worker.choices.choice(LEAPS))
        elif drawn < 0.7:
            self.read(worker, key)
        elif drawn < 0.8:
            self.peek(worker, key)
        elif drawn < 0.9:
            self.refresh(worker, key)
        elif drawn < 0.97:
            self.invalidate(worker, key)
        else:
            self.clear(worker)

    def may_follow(self, first: Fill, second: Fill) -> bool:
        is_bounded = self.variant in POLICIES  # so it may have been evicted
        return not self.is_calm or is_bounded or second.call.refreshes

    def check_round(self, workers: list[Worker]) -> None:
        super().check_round(workers)
        self.clock.advance(100 * TEN_YEARS)  # further than a round can have gone back
        for key in self.keys:
            value = self.subject.peek(key)
            if value is not None:
                self.oracle.findings.add("stale", f"{value!r}, a thousand years later")
        self.clock.advance(-self.clock())
