"""A fill that can be watched, for the contract tests."""

from __future__ import annotations

from typing import Any

from areole.testing import ManualClock

__all__ = ["Fill", "unhashable_list"]


class Fill:
    """Gives (key, number of the fill of that key), or raises `error` while there is one.

    With a clock, each fill takes so many seconds of it: what is counted from the end of a fill can be told from what is
    counted from its beginning.
    """

    def __init__(self, clock: ManualClock | None = None, takes: float = 0) -> None:
        self.keys: list[Any] = []
        self.error: BaseException | None = None
        self._clock = clock
        self._takes = takes

    def __call__(self, key: Any) -> Any:
        self.keys.append(key)
        if self._clock is not None:
            self._clock.advance(self._takes)
        if self.error is not None:
            raise self.error
        return key, self.keys.count(key)


def unhashable_list() -> Any:
    """Return a key that cannot be one; typed so that mypy lets tests pass it."""
    return ["secret"]
