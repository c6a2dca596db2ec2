"""What a call on an event loop starts and returns, to be awaited or not: it is done either way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Final

__all__ = ["Done", "in_background"]

_log = logging.getLogger("areole")

_running: Final[set[Any]] = set()
"""The tasks that run: asyncio itself holds them by weak references alone."""


class Done:
    """Gives a result that is there already to who awaits it."""

    __slots__ = ("_result",)

    def __init__(self, result: Any) -> None:
        self._result = result

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._result
        yield


def in_background(steps: Coroutine[Any, Any, Any], queue: Callable[[], object]) -> Any:
    """Run `steps` in a task, and return that; what it raises is logged, and raised where it is awaited.

    `queue` is called if the task is cancelled, also before its first step, as when its loop ends.
    """
    import asyncio

    task = asyncio.ensure_future(steps)
    _running.add(task)
    task.add_done_callback(partial(_end, queue))
    return task


def _end(queue: Callable[[], object], task: Any) -> None:
    _running.discard(task)
    if task.cancelled():
        queue()
    error = "it was cancelled, as its event loop ended" if task.cancelled() else task.exception()
    if error is not None:
        _log.warning("an invalidation was made in this process, but has failed in the store: %s", error)
