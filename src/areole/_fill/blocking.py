"""How a fill is called that does not suit its caller: a plain one by a task, an asynchronous one by a thread."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from .._core.flight import Flight
from .._core.wait_graph import Wait, add_wait, current_fill, current_participant, end_wait
from .._platform.arguments import is_async_function
from .task_waiter import running_loop

__all__ = ["BlockingFill", "call_fill"]


class BlockingFill:
    """A fill for threads: calls `fill`, and runs an awaitable that it returns to its end, on a loop of its own."""

    __slots__ = ("fill", "is_async", "name")

    def __init__(self, fill: Callable[[Any], Any], name: str) -> None:
        self.fill = fill
        self.name = name
        self.is_async = is_async_function(fill)

    def __call__(self, key: Any, **previous: Any) -> Any:
        if self.is_async:  # before it is called: a coroutine that is never awaited gives a warning
            self._refuse_running_loop()
        value = self.fill(key, **previous)
        if not inspect.isawaitable(value):
            return value
        self._refuse_running_loop()
        return _run_to_end(value)

    def refresh(self, key: Any) -> Any:
        """Do the same with the `refresh` of a fill that has one: see `shared.tier`."""
        again: Any = self.fill
        return BlockingFill(again.refresh, self.name)(key)

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


async def call_fill(call: Callable[[], Any], offloads: bool) -> Any:
    """Call a fill, in the loop's executor if it is to be offloaded; await what it returns, if that can be."""
    if offloads:
        import asyncio

        # What the thread raises is carried here as a value: a future that is given a StopIteration never ends on 3.11.
        loop = asyncio.get_running_loop()
        value, error = await loop.run_in_executor(None, copy_context().run, _attempt, call)
        if error is not None:
            try:
                raise error
            finally:
                del error
    else:
        value = call()
    return await value if inspect.isawaitable(value) else value


def _attempt(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:
        return None, error
