"""A fill whose key was removed while it ran touches nothing of the newer one.

Asks: a key is removed (or the cache cleared) while a task fills it, and filled again by another; then the old task
ends, once with a value, once with an exception.
Survives: the newer value stays, and is not filled a third time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..contender import Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort, start


def run(contender: Contender, effort: Effort) -> str:
    for fails in (False, True):
        what = "a call after an old task has ended"
        calls, value = start(effort, what, lambda fails=fails: asyncio.run(_play(contender, fails))).result()
        how = "failed" if fails else "ended"
        if calls > 2:
            raise Wrong(f"an old task that {how} removes the newer value")
        if value != 2:
            raise Wrong(f"an old task that {how} puts its value in")
    return ""


async def _play(contender: Contender, fails: bool) -> tuple[int, Any]:
    gate, entered, calls = asyncio.Event(), asyncio.Event(), []

    async def fill(key: int) -> int:
        calls.append(key)
        version = len(calls)
        if version == 1:
            entered.set()
            await gate.wait()
            if fails:
                raise ZeroDivisionError
        return version

    cached = contender.cached(fill)
    if not cached.offers("invalidate") and not cached.offers("clear"):
        raise NotOffered("removing a key, nor clearing")

    async def ask() -> Any:
        return await cached.call(1)

    old = asyncio.create_task(ask())
    await entered.wait()
    await cached.remove_in_loop(1)
    newer = asyncio.create_task(ask())
    await asyncio.sleep(0.05)
    gate.set()
    await asyncio.gather(old, newer, return_exceptions=True)
    await asyncio.sleep(0.05)
    value = await ask()
    return len(calls), value
