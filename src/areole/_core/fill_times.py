"""How long fills take: a histogram, of caches with `stats=True`."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from cereggii import AtomicInt64

from ..typing import Clock

__all__ = ["BOUNDS", "FillTimes"]

BOUNDS: Final = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper bounds of its buckets, in seconds; one more bucket is for all that took longer."""

MOST: Final = 1e6
"""Seconds: a clock may say anything, and the sum has 63 bits for nanoseconds."""


class FillTimes:
    """Each number is exact while no fill is running. One fill is an atomic step for each of two of them."""

    __slots__ = ("_counts", "_nanoseconds")

    def __init__(self) -> None:
        self._counts = [AtomicInt64(0) for _ in range(len(BOUNDS) + 1)]
        self._nanoseconds: Any = AtomicInt64(0)

    def end(self, flight: Any, clock: Clock) -> None:
        """Note a fill that has ended, if that was not noted yet."""
        began, flight.began = getattr(flight, "began", None), None
        if began is not None:
            self.note(clock() - began)

    def note(self, seconds: float) -> None:
        seconds = min(seconds, MOST) if seconds > 0 else 0.0
        self._counts[bisect_left(BOUNDS, seconds)].increment_and_get()
        self._nanoseconds += int(seconds * 1e9)

    def read(self) -> tuple[list[int], float]:
        """Return how many fills are in each bucket, and how many seconds all took together."""
        return [count.get() for count in self._counts], self._nanoseconds.get() / 1e9

    def reset(self) -> None:
        for count in (*self._counts, self._nanoseconds):
            count.set(0)
