"""Values replaced while they are read are never another key's.

Asks: three threads read 50 keys while a fourth removes them (or clears, or, with a limit of 25, they put each other
out) as fast as it can.
Survives: every value is one that the function gave for that very key. How many were older than a removal that had
returned before the call began is reported; what makes those is asked, without luck, by `removed_during_fill`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, together

KEYS = 50


def run(contender: Contender, effort: Effort) -> str:
    versions = [0] * KEYS
    floors = [0] * KEYS
    options: dict[str, Any] = {}
    cached = contender.cached(lambda key: (key, versions[key]))
    if not cached.offers("invalidate") and not cached.offers("clear"):
        options["max_items"] = KEYS // 2
        cached = contender.cached(lambda key: (key, versions[key]), **options)
    end = time.perf_counter() + 2 * effort.seconds

    def read() -> tuple[int, int, int]:
        calls = wrong = stale = 0
        drawn = random.Random()
        while time.perf_counter() < end:
            for _ in range(50):
                key = drawn.randrange(KEYS)
                floor = floors[key]
                value = cached.call(key)
                calls += 1
                if not (type(value) is tuple and value[0] == key):
                    wrong += 1
                elif value[1] < floor:
                    stale += 1
        return calls, wrong, stale

    def replace() -> tuple[int, int, int]:
        while time.perf_counter() < end and not options:
            for key in range(KEYS):
                version = versions[key] = versions[key] + 1
                cached.remove(key)
                floors[key] = version
            time.sleep(0)
        return 0, 0, 0

    readers: list[Callable[[], Any]] = [read] * 3
    counts = together(effort, "a reader", [*readers, replace], 2 * effort.seconds)
    calls, wrong, stale = (sum(column) for column in zip(*counts, strict=True))
    reported = f"{calls:,} calls" + (f", {stale} values older than a removal" if stale else "")
    if wrong:
        raise Wrong(f"{wrong} values that are not the key's, in {reported}")
    return reported
