"""Threads that come and go leave nothing behind.

Asks: 20,000 short threads, one after another, each call a warm key.
Survives: the calls of the last tenth take at most three times as long as those of the first (each tenth's quick ones,
which other work on the machine does not touch; in a short run this is told, not judged), and memory grows by less than
200 bytes a thread.
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
    times = array("d", [0.0]) * number
    places = iter(range(number))

    def look_up() -> None:
        began = time.perf_counter()
        cached.call(1)
        times[next(places)] = time.perf_counter() - began

    def come_and_go(threads: int) -> None:
        for _ in range(threads):
            thread = threading.Thread(target=look_up)
            thread.start()
            thread.join()

    come_and_go(number // 5)
    early = resident_bytes()
    come_and_go(number - number // 5)
    grown = (resident_bytes() - early) / (number - number // 5)
    tenth = number // 10
    ratio = _quick(times[-tenth:]) / _quick(times[:tenth])
    told = f"{ratio:.1f} times the first lookups' time, {max(0.0, grown):.0f} bytes a thread"
    if (ratio > 3 and effort.scale >= 1) or grown > max(200.0, 3_000_000 / number):
        raise Wrong(told)
    return told


def _quick(times: array[float]) -> float:
    return sorted(times)[len(times) // 10]
