"""What a flight brings: a value, and for whom it is fresh enough."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["Outcome"]


class Outcome:
    """The value of a flight, when its fill began, and until when it was known to be fresh: by `time.monotonic`.

    A caller that began after `fresh_at`, and after the flight, must not take it. Another process may have invalidated
    the key before that caller came:

    1. A's fill reads the source        3. C, in A's process, joins A's fill, and would get the value of before 2,
    2. B invalidates, and returns       though it asked after that.

    A token that stood when a step was sent has stood from the beginning of the fill, so that nothing was invalidated in
    between: a caller that began before that step may have the value.
    """

    __slots__ = ("began", "fresh_at", "leader", "payload", "value", "version")

    def __init__(self, leader: object) -> None:
        self.leader = leader
        self.began = time.monotonic()
        self.fresh_at: float | None = None
        self.value: Any = None
        self.payload: bytes | None = None  # `value` packed, under `version`
        self.version: bytes | None = None

    def serves(self, caller: object, began: float) -> bool:
        if self.leader is caller or self.began >= began:
            return True
        return self.fresh_at is not None and began <= self.fresh_at
