"""No value is seen past its ttl.

Asks: three threads read 20 keys under a small ttl for some time.
Survives: no call gives a value that some call had already given longer than the ttl before it began.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, together

GRAIN = 0.02
"""Seconds that clocks may differ by: caches read others than this program does."""


class Value:
    seen: float | None = None


def run(contender: Contender, effort: Effort) -> str:
    ttl = contender.least_ttl
    calls: list[int] = []

    def fill(key: Any) -> Value:
        calls.append(key)
        return Value()

    cached = contender.cached(fill, ttl=ttl)
    seconds = max(effort.seconds, 2.5 * ttl)

    def read() -> float:
        worst, end, drawn = 0.0, time.monotonic() + seconds, random.Random()
        while (began := time.monotonic()) < end or (len(calls) <= 20 and began < end + effort.patience / 2):
            value = cached.call(drawn.randrange(20))
            if value.seen is None:
                value.seen = time.monotonic()
            worst = max(worst, began - value.seen)
            if len(calls) % 50 == 0:
                time.sleep(0)
        return worst

    readers: list[Callable[[], Any]] = [read] * 3
    worst = max(together(effort, "a reader", readers, seconds))
    if worst > ttl + GRAIN:
        raise Wrong(f"a value {worst:.2f} s old under a ttl of {ttl} s")
    if len(calls) <= 20:
        raise Wrong(f"{len(calls)} fills of 20 keys in {seconds:.1f} s: nothing expires")
    return f"{len(calls)} fills"
