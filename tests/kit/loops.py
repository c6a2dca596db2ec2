"""Loops to run tests on, and what a test may not leave behind on one."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from .threads import PATIENCE

try:
    import uvloop
except ImportError:
    uvloop = None

__all__ = ["LOOPS", "AsyncGate", "run", "until"]

T = TypeVar("T")
Factory = Callable[[], asyncio.AbstractEventLoop]

needs_uvloop = pytest.mark.skipif(uvloop is None, reason="uvloop is not installed")


def debug_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = PATIENCE  # CI's machine may be slow, and that is no fault
    return loop


def fast_loop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


LOOPS = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(debug_loop, id="debug"),
    pytest.param(fast_loop, id="uvloop", marks=needs_uvloop),
]
"""Kinds of loops: asyncio's, the same in debug mode, and uvloop's."""


def run(main: Callable[[], Coroutine[Any, Any, T]], new_loop: Factory = asyncio.new_event_loop) -> T:
    """Run `main()` on a new loop; fail if it takes for ever, leaves tasks that do not end, or exceptions unseen."""
    complaints: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        result = runner.run(_guarded(main))
        gc.collect()  # what asyncio complains of, it does as a task or a future is freed
    assert complaints == []
    return result


async def _guarded(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    result = await asyncio.wait_for(main(), PATIENCE)
    me = asyncio.current_task()
    await until(lambda: asyncio.all_tasks() <= {me})
    return result


async def until(condition: Callable[[], Any]) -> None:
    """Let others run until `condition()` holds."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + PATIENCE
    turns = 0
    while not condition():
        assert loop.time() < give_up, "it never came to that"
        turns += 1
        await asyncio.sleep(0 if turns < 100 else 0.001)


class AsyncGate:
    """A fill that stops until it is let through, by whatever thread; counts who came and who was cancelled there."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.entered = 0
        self.cancelled = 0

    async def enter(self) -> None:
        self.entered += 1
        try:
            await until(self._open.is_set)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def open(self) -> None:
        self._open.set()
