"""Loops to run tests on, and what a test may not leave behind on one."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import pytest

from .processes import is_free_threaded
from .threads import PATIENCE

try:
    import uvloop
except ImportError:
    uvloop = None

__all__ = ["LOOPS", "AsyncGate", "assert_no_complaints", "run", "until"]

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
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: _complaints.append((test, context)))
        result = runner.run(_guarded(main))
        if next(_runs) % COLLECTED_EACH == 0:
            gc.collect()  # what asyncio complains of, it does as a task or a future is freed
    assert_no_complaints()
    return result


COLLECTED_EACH: Final = 16 if is_free_threaded() else 1
"""So many runs: without a GIL a collection takes the longer the more all earlier tests have left."""

_runs = itertools.count(1)
_complaints: list[tuple[str, dict[str, Any]]] = []


def assert_no_complaints() -> None:
    """Fail if an event loop has complained; it says of which test, since that may be an earlier one."""
    found = _complaints.copy()
    _complaints.clear()
    assert found == []


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
