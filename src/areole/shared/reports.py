"""Removals that are reported elsewhere than in the thread of the plane.

1. the plane hears of a change, and removes a value      3. for as long as `on_removal` runs, or for ever if it
2. `on_removal` is called, and takes its time               raises SystemExit, nothing is heard, and nothing dropped
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .._platform.worker_pool import Client, pool
from .plane import Plane

__all__ = ["Reports"]

_log = logging.getLogger("areole")


class Reports:
    """A listener of removals, called in a thread of the pool where the plane removes something."""

    def __init__(self, listener: Callable[..., Any], plane: Plane, name: str) -> None:
        self._listener = listener
        self._plane = plane
        self._client = Client(self, name, int)
        self._waiting: deque[tuple[Any, ...]] = deque()

    def __call__(self, *removal: Any) -> None:
        if not self._plane.is_here():
            self._listener(*removal)
            return
        self._waiting.append(removal)
        pool.submit(self._report, self._client)  # where it refuses, those that it has queued report this too

    def _report(self) -> None:
        while True:
            try:
                removal = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._listener(*removal)
            except BaseException as error:  # SystemExit too: this thread is the pool's
                with suppress(Exception):
                    _log.error("%s: on_removal raised %s", self._client.name, type(error).__name__)
