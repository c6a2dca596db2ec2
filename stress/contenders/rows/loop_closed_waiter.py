"""A waiter whose loop is closed does not keep the later ones from being woken.

Asks: one loop fills a key; a task in each of three other loops waits for it; the loop of the second is stopped and
closed; then the fill ends.
Survives: the first and the third get the value, the one that filled too.
"""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, pause, start


def run(contender: Contender, effort: Effort) -> str:
    warnings.simplefilter("ignore")
    entered, gate, calls = threading.Event(), threading.Event(), []
    unfinished: list[asyncio.Task[Any]] = []

    async def fill(key: int) -> str:
        calls.append(key)
        entered.set()
        while not gate.is_set():
            await asyncio.sleep(0.005)
        return "value"

    cached = contender.cached(fill)

    async def ask() -> Any:
        return await cached.call(1)

    def ask_and_close() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(ask())
        loop.call_later(0.1, loop.stop)
        loop.run_forever()
        loop.close()
        unfinished.append(task)

    leader = start(effort, "the loop that fills", lambda: asyncio.run(ask()))
    entered.wait(effort.patience)
    first = start(effort, "the first waiting loop", lambda: asyncio.run(ask()))
    pause()
    start(effort, "the loop that is closed", ask_and_close).join()
    third = start(effort, "the loop that waits behind a closed one", lambda: asyncio.run(ask()))
    pause()
    time.sleep(0.05)
    gate.set()
    if [task.result() for task in (leader, first, third)] != ["value"] * 3:
        raise Wrong("another value")
    if len(calls) > 1:
        raise Wrong(f"{len(calls)} fills for four loops")
    return ""
