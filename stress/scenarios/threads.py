"""Thread churn: every lookup is made by a thread of its own, which it may end; 5,000 a second, 100,000 in all.

Proves: a thread that has ended leaves nothing behind that others wait for (invariant 4), is mistaken for no other
although its number is given out again (invariants 5 and 9), and its hits are counted for good.

Hunts:
    1. thread 7 leads a fill, and raises SystemExit         3. it asks for the same key: "its own fill, in this same
    2. a new thread gets the number 7                         thread, asks for it" -- or waits for one that is gone
and a tally of hits that goes with its thread.

Allowed: one fill of a key more for each that died, or that an invalidation overlaps.
"""

from __future__ import annotations

import threading
import traceback
from typing import Any

from ..oracle import Fill
from ..scenario import Scenario
from ..stranger import is_stranger, load
from ..subject import Subject
from ..worker import Worker

__all__ = ["Threads"]


class Threads(Scenario):
    operations = 15
    pauses = 0.1

    @classmethod
    def why_variant_skipped(cls, variant: str) -> str:
        is_async = is_stranger(variant) and load(variant).is_async
        return "its callers are tasks, which no thread ends" if is_async else super().why_variant_skipped(variant)

    def make_subject(self, maker: Any, **options: Any) -> Subject:
        return super().make_subject(maker, stats=True, **options)

    def start_round(self, number: int) -> None:
        super().start_round(number)
        self.counted_before = self.count()

    def count(self) -> int | None:
        info = self.subject.info and self.subject.info()
        return (info.hits or 0) + info.misses if info else None

    def fill(self, key: Any) -> Fill:
        worker = self.worker()
        with self.oracle.start_fill(worker, key) as fill:
            worker.pause(self.pauses)
            if worker.choices.random() < 0.1:
                raise SystemExit
        return fill

    def step(self, worker: Worker) -> None:
        """Start a thread that takes this worker's part, and wait for its end."""
        key, removes = worker.choices.choice(self.keys), worker.choices.random() < 0.15
        thread = threading.Thread(target=self.live, args=(worker, key, removes), name=f"short-{worker.name}")
        thread.start()
        thread.join()

    def live(self, worker: Worker, key: Any, removes: bool) -> None:
        worker.enter_thread()
        try:
            if removes:
                self.invalidate(worker, key)
            self.oracle.ask(worker, self.subject.read, key, raises=(SystemExit,))  # and the thread ends
        except BaseException:
            self.oracle.findings.add("wrong", f"a short thread ended by\n{traceback.format_exc(limit=-3)}")

    def may_follow(self, first: Fill, second: Fill) -> bool:
        return first.failed

    def check_round(self, workers: list[Worker]) -> None:
        super().check_round(workers)
        asked = sum(len(worker.answers) for worker in workers)
        before, now = self.counted_before, self.count()
        if before is not None and now is not None and now - before != asked:
            counted = now - before
            self.oracle.findings.add("wrong", f"{asked} lookups, and {counted} hits and misses were counted")
