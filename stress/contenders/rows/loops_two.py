"""Two event loops can share one cache.

Asks: two threads, each with a loop of its own, call one cold key at once; then three loops one after another call a
second key.
Survives: all get the value, and each key is filled once.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, together


def run(contender: Contender, effort: Effort) -> str:
    warnings.simplefilter("ignore")
    calls: list[str] = []
    arrived: list[str] = []

    async def fill(key: str) -> str:
        calls.append(key)
        while key == "at once" and len(arrived) < 2:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)  # for the other to come from its mark to the cache
        return key

    cached = contender.cached(fill)

    async def ask(key: str) -> Any:
        arrived.append(key)
        return await cached.call(key)

    values = together(effort, "one of two loops", [lambda: asyncio.run(ask("at once"))] * 2)
    values += [together(effort, "a later loop", [lambda: asyncio.run(ask("later"))])[0] for _ in range(3)]
    if values != ["at once"] * 2 + ["later"] * 3:
        raise Wrong(f"values {values!r}")
    if len(calls) > 2:
        at_once, later = calls.count("at once"), calls.count("later")
        raise Wrong(f"{at_once} fills for two loops at once, {later} for three one after another")
    return ""
