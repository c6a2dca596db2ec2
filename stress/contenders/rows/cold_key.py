"""A cold key asked for by many threads at once is filled once.

Asks: 16 threads call one cold key, burst after burst. In each fifth burst the function returns only once all 16 have
called, so that all overlap; in the others at once, so that some call while the value is being stored.
Survives: each burst runs the function once, and all 16 get that very object.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, together

THREADS = 16


class Bursts:
    """What the function sees of the bursts, one key each."""

    def __init__(self) -> None:
        self.calls: dict[int, list[object]] = {}
        self.arrived: dict[int, int] = {}
        self._lock = threading.Lock()

    def arrive(self, key: int) -> None:
        with self._lock:
            self.arrived[key] = self.arrived.get(key, 0) + 1

    def fill(self, key: int) -> object:
        value = object()
        with self._lock:
            self.calls.setdefault(key, []).append(value)
        while key % 5 == 0 and self.arrived[key] < THREADS:
            time.sleep(0.001)
        if key % 5 == 0:
            time.sleep(0.005)  # the last have said that they are about to call: let them
        return value


def run(contender: Contender, effort: Effort) -> str:
    contender.require_fills()
    bursts = Bursts()
    cached = contender.cached(bursts.fill)
    keys = range(effort.count(400, least=20))
    barrier = threading.Barrier(THREADS)

    def ask() -> list[Any]:
        values = []
        for key in keys:
            barrier.wait()
            bursts.arrive(key)
            values.append(cached.call(key))
        return values

    asks: list[Callable[[], Any]] = [ask] * THREADS
    got = together(effort, "one of 16 callers", asks, seconds=10)
    doubled = [key for key in keys if len(bursts.calls[key]) > 1]
    if doubled:
        most = max(len(bursts.calls[key]) for key in keys)
        raise Wrong(f"more than one call in {len(doubled)} of {len(keys)} bursts, up to {most} of 16")
    if any(len({id(each[key]) for each in got}) > 1 for key in keys):
        raise Wrong("one call, and different objects returned")
    return f"{len(keys)} bursts"
