"""A function that asks for its own key gets an error.

Asks: the function calls the cache for the very key that it fills.
Survives: an error that says so, and other keys work afterwards. A RecursionError is "raises": the function ran into
itself hundreds of times first.
"""

from __future__ import annotations

from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, start


def run(contender: Contender, effort: Effort) -> str:
    contender.require_fills()

    def fill(key: Any) -> Any:
        return cached.call(key) if key == 1 else "value"

    cached = contender.cached(fill)
    task = start(effort, "a function that asks for its own key", cached.call, 1).join()
    if task.error is None:
        raise Wrong(f"no error: {task.value!r}")
    if isinstance(task.error, RecursionError) or not isinstance(task.error, Exception):
        raise task.error
    if start(effort, "another key afterwards", cached.call, 2).result() != "value":
        raise Wrong("another key has no value afterwards")
    return type(task.error).__name__
