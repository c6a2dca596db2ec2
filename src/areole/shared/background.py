"""What a call on an event loop starts and returns, to be awaited or not: it is done either way."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Generator
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


def in_background(steps: Coroutine[Any, Any, Any]) -> Any:
    """Run `steps` in a task, and return that; what it raises is logged, and raised where it is awaited."""
    import asyncio

    task = asyncio.ensure_future(steps)
    _running.add(task)
    task.add_done_callback(_end)
    return task


def _end(task: Any) -> None:
    _running.discard(task)
    error = "it was cancelled, as its event loop ended" if task.cancelled() else task.exception()
    if error is not None:
        _log.warning("an invalidation has failed in the store, and was made in this process alone: %s", error)
