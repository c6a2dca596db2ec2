"""An exception that is cached does not grow.

Asks: a cached exception is raised 200 times.
Survives: its traceback is as long at the end as at the beginning.
"""

from __future__ import annotations

from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort


def run(contender: Contender, effort: Effort) -> str:
    def fill(key: Any) -> Any:
        raise LookupError

    cached = contender.cached(fill, cache_exceptions=True)
    lengths = [_frames_of(cached) for _ in range(200)]
    if lengths[-1] > lengths[1]:
        raise Wrong(f"its traceback grows from {lengths[0]} frames to {lengths[-1]}")
    return f"{lengths[-1]} frames"


def _frames_of(cached: Any) -> int:
    try:
        cached.call(1)
    except LookupError as error:
        frames, traceback = 0, error.__traceback__
        while traceback is not None:
            frames, traceback = frames + 1, traceback.tb_next
        return frames
    raise Wrong("the exception is not raised again")
