"""A cold key asked for by many tasks at once is filled once.

Asks: 16 tasks of one loop call one cold key, burst after burst; the function returns only once all have called.
Survives: each burst runs the function once, and all 16 get that very object.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, start

TASKS = 16


def run(contender: Contender, effort: Effort) -> str:
    calls: dict[int, int] = {}
    arrived: dict[int, int] = {}

    async def fill(key: int) -> object:
        calls[key] = calls.get(key, 0) + 1
        while arrived[key] < TASKS:
            await asyncio.sleep(0)
        return object()

    cached = contender.cached(fill)

    async def ask(key: int) -> Any:
        arrived[key] = arrived.get(key, 0) + 1
        return await cached.call(key)

    async def all_bursts() -> list[set[int]]:
        return [set(map(id, await asyncio.gather(*(ask(key) for _ in range(TASKS))))) for key in range(20)]

    got = start(effort, "one of 16 tasks", lambda: asyncio.run(all_bursts())).result()
    doubled = [key for key, count in calls.items() if count > 1]
    if doubled:
        raise Wrong(f"more than one call in {len(doubled)} of 20 bursts, up to {max(calls.values())} of 16")
    if any(len(objects) > 1 for objects in got):
        raise Wrong("one call, and different objects returned")
    return "20 bursts"
