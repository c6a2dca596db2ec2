"""CircuitBreaker: a store that has failed several times in a row is not asked for a while (Nygard, "Release It!")."""

from __future__ import annotations

from ..errors import BackendError
from ..typing import Clock

__all__ = ["CircuitBreaker"]


class CircuitBreaker:
    """Refuses calls for `pause` seconds after `failures` of them in a row have failed; then one call tries again.

    The numbers are hints: threads that fail at once may be counted once, or let one call more through.
    """

    __slots__ = ("_clock", "_most", "_opens_at", "_pause", "failures")

    def __init__(self, failures: int, pause: float, clock: Clock) -> None:
        self._most = failures
        self._pause = pause
        self._clock = clock
        self.failures = 0
        self._opens_at = 0.0

    def check(self) -> None:
        """Raise BackendError while calls are refused."""
        if self.failures >= self._most:
            now = self._clock()
            if now < self._opens_at <= now + self._pause:  # else the clock was set back
                raise BackendError(
                    f"the store was not asked: {self.failures} calls in a row have failed, and it is tried again in "
                    f"{self._opens_at - now:.2f} s"
                )
            self._opens_at = now + self._pause  # this call tries; the others wait for what comes of it

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self) -> None:
        self.failures += 1
        if self.failures >= self._most:
            self._opens_at = self._clock() + self._pause
