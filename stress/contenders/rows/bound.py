"""The limit of items is never exceeded.

Asks: four threads call 1,000 keys at random in a cache of 100 items, one in ten calls removes a key where that can be
done; a fifth thread asks for the count.
Survives: no count is over 100 or under 0. How many values are alive when it is idle is reported.
"""

from __future__ import annotations

import random
import time
import weakref
from collections.abc import Callable
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, Tracked, alive, together

LIMIT = 100


def run(contender: Contender, effort: Effort) -> str:
    references: list[weakref.ref[Any]] = []
    cached = contender.cached(lambda key: Tracked(key, references), max_items=LIMIT)
    end = time.perf_counter() + effort.seconds
    removes = cached.offers("invalidate")

    def churn() -> tuple[int, int]:
        drawn = random.Random()
        while time.perf_counter() < end:
            for _ in range(20):
                cached.call(drawn.randrange(1000))
            if removes:
                cached.invalidate(drawn.randrange(1000))
            if len(references) > 200_000:
                del references[:100_000]
        return LIMIT, 0

    def sample() -> tuple[int, int]:
        most = least = 0
        while time.perf_counter() < end:
            count = cached.count()
            most, least = max(most, count), min(least, count)
            time.sleep(0.0005)
        return most, least

    threads: list[Callable[[], Any]] = [churn] * 4
    samples = together(effort, "one of four callers", [*threads, sample], effort.seconds)
    most, least = samples[-1]
    most = max(most, cached.count())
    reported = f"{most} at most, {alive(references)} values alive when idle"
    if most > LIMIT or least < 0:
        raise Wrong(reported + (f", {least} at least" if least < 0 else ""))
    return reported
