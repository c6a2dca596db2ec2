"""Fills that raise Exceptions and BaseExceptions at random: nobody is blocked, and nothing is stored.

Proves: every flight settles (invariant 4). An Exception reaches the leader and those who had joined, each its own copy;
a BaseException reaches the leader alone, and one of the others takes the lead; the next lookup fills again. A failing
fill that was invalidated meanwhile removes nothing newer (invariant 9).

Hunts:
    1. A claims the key, B waits for A              3. A's clean-up is skipped: B waits for ever, and so does
    2. A's fill raises a BaseException                 everybody after it, since the flight is still in the index
and:
    1. A fills; B invalidates; C fills again        2. A fails, and removes the key: C's flight is gone, D fills.

Stale errors. The error of a fill reaches those that joined it while its flight was in the index, and the flight is out
of it before the call that ran the fill is over. A call that began after that, and got that error, got a stored one.

Allowed: a fill may follow one that failed; a refresh may follow any; otherwise one more for each invalidation that
overlaps. In half of the rounds nothing is invalidated: there a value stays, whatever a refresh of it raises. A
stranger's cache may share one exception, and a BaseException too, between those who waited for the fill.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..oracle import Fill
from ..scenario import Scenario
from ..worker import Worker

__all__ = ["Failures"]


class FillFailed(Exception):
    """What a fill raises; knows which one."""

    def __init__(self, fill: Fill) -> None:
        super().__init__(fill)
        self.fill = fill


class FillKilled(BaseException):
    """The same, for what only the leader may get."""

    def __init__(self, fill: Fill) -> None:
        super().__init__(fill)
        self.fill = fill


ERRORS = (FillFailed, FillKilled)


class Failures(Scenario):
    operations = 20

    def fill(self, key: Any) -> Fill:
        worker = self.worker()
        with self.oracle.start_fill(worker, key) as fill:
            worker.pause(self.pauses)
            drawn = worker.choices.random()
            if drawn < 0.8:
                raise FillFailed(fill) if drawn < 0.45 else FillKilled(fill)
        return fill

    def step(self, worker: Worker) -> None:
        key, drawn = worker.choices.choice(self.keys), worker.choices.random()
        if drawn < 0.1 and not self.is_calm:
            self.invalidate(worker, key)
        elif drawn < 0.3:
            self.oracle.ask(worker, self.subject.refresh, key, refreshes=True, raises=ERRORS)
        else:
            self.oracle.ask(worker, self.subject.read, key, raises=ERRORS)

    def nothing_leaves(self) -> bool:
        return self.is_calm

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return first.failed or second.call.refreshes

    def check_round(self, workers: list[Worker]) -> None:
        super().check_round(workers)
        raised = [call for worker in workers for call in worker.answers if call.error is not None]
        report = self.oracle.findings.add
        for call in raised:
            fill = call.error.fill  # type: ignore[union-attr]
            if fill.key != call.key:
                report("wrong", f"{call.key!r} raised the error of {fill!r}")
            if self.is_ours and isinstance(call.error, FillKilled) and fill is not call.led:
                report("wrong", f"a BaseException reached a call that had not run {fill!r}")
            if call.began > fill.over:
                report("stale", f"the error of {fill!r}, over at {fill.over}, for a call begun at {call.began}")
        for error, count in Counter(id(call.error) for call in raised).items():
            if count > 1 and self.is_ours:
                report("wrong", f"{count} calls raised one and the same exception, at {error:#x}")
