"""Cancelling the task that fills does not cancel those that wait.

Asks: a task fills a key, two others wait for it; the first is cancelled.
Survives: the two get the value.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, start


def run(contender: Contender, effort: Effort) -> str:
    async def play() -> list[Any]:
        entered, gate = asyncio.Event(), asyncio.Event()

        async def fill(key: int) -> str:
            entered.set()
            await gate.wait()
            return "value"

        cached = contender.cached(fill)

        async def ask() -> Any:
            return await cached.call(1)

        leader = asyncio.create_task(ask())
        await entered.wait()
        waiters = [asyncio.create_task(ask()) for _ in range(2)]
        await asyncio.sleep(0.05)
        leader.cancel()
        await asyncio.sleep(0.05)
        gate.set()
        return await asyncio.gather(*waiters, return_exceptions=True)

    got = start(effort, "one that waits for a cancelled task", lambda: asyncio.run(play())).result()
    if got != ["value", "value"]:
        raise Wrong(f"those who waited got {', '.join(dict.fromkeys(type(each).__name__ for each in got))}")
    return ""
