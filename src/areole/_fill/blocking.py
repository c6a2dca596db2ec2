"""BlockingFill: an asynchronous fill for threads: the leading thread runs it to its end, on a loop of its own."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from .._core.flight import Flight
from .._core.wait_graph import Wait, add_wait, current_fill, current_participant, end_wait
from .._platform.arguments import is_async_function
from .task_waiter import running_loop

__all__ = ["BlockingFill"]


class BlockingFill:
    """Calls `fill`, and runs to its end in this thread what it returns, if that is to be awaited."""

    __slots__ = ("fill", "is_async", "name")

    def __init__(self, fill: Callable[[Any], Any], name: str) -> None:
        self.fill = fill
        self.name = name
        self.is_async = is_async_function(fill)

    def __call__(self, key: Any) -> Any:
        if self.is_async:  # before it is called: a coroutine that is never awaited gives a warning
            self._refuse_running_loop()
        value = self.fill(key)
        if not inspect.isawaitable(value):
            return value
        self._refuse_running_loop()
        return _run_to_end(value)

    def _refuse_running_loop(self) -> None:
        if running_loop() is not None:
            raise RuntimeError(
                f"{self.name}: this thread runs an event loop, which a fill in it would block: "
                "await the asynchronous cache itself"
            )


class _LoopRun(Flight):
    """Stands, in the graph of waits, for what a leading thread's own loop does: the thread waits for it."""

    __slots__ = ()
    runs_a_loop = True


def _run_to_end(value: Awaitable[Any]) -> Any:
    import asyncio

    me = current_participant()
    run = _LoopRun(None)
    run.leader = type(me)(host=me)
    wait = Wait(run, me, None)
    try:
        add_wait(wait, run)
        return asyncio.run(_await_as_fill(run, value))
    finally:
        wait.flight = None  # one store: no interrupt leaves the edge behind
        end_wait(wait, run)
        run.entry.flight = None


async def _await_as_fill(run: Flight, value: Awaitable[Any]) -> Any:
    current_fill.set(run.leader)
    return await value
