"""Threads that come and go leave nothing behind.

Asks: 20,000 short threads, one after another, each call a warm key.
Survives: the calls of the last tenth take at most three times as long as those of the first, and memory grows by less
than 200 bytes a thread. What is compared is each tenth's quick ones, which other work on the machine does not touch,
over the quick ones of a plain call in the same threads, which run now on this processor and now on that; in a short run
it is reported, not judged.
"""

from __future__ import annotations

import threading
import time
from array import array

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, resident_bytes


def run(contender: Contender, effort: Effort) -> str:
    cached = contender.cached(lambda key: key)
    cached.call(1)
    number = effort.count(20_000, least=2_000)
    times, plain_times = array("d", [0.0]) * number, array("d", [0.0]) * number
    places = iter(range(number))

    def look_up() -> None:
        began = time.perf_counter()
        _plain(1)
        between = time.perf_counter()
        cached.call(1)
        ended = time.perf_counter()
        place = next(places)
        plain_times[place], times[place] = between - began, ended - between

    def come_and_go(threads: int) -> None:
        for _ in range(threads):
            thread = threading.Thread(target=look_up)
            thread.start()
            thread.join()

    come_and_go(number // 5)
    early = resident_bytes()
    come_and_go(number - number // 5)
    grown = (resident_bytes() - early) / (number - number // 5)
    first, last = slice(number // 10), slice(-(number // 10), None)
    plain_ratio = _quick(plain_times[last]) / _quick(plain_times[first])
    ratio = _quick(times[last]) / _quick(times[first]) / plain_ratio
    reported = f"{ratio:.1f} times the first lookups' time, {max(0.0, grown):.0f} bytes a thread"
    if (ratio > 3 and effort.scale >= 1) or grown > max(200.0, 3_000_000 / number):
        raise Wrong(reported)
    return reported


def _plain(key: int) -> list[int]:
    return [key + i for i in range(10)]


def _quick(times: array[float]) -> float:
    return sorted(times)[len(times) // 10]
