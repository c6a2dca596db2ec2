"""The timer of an entry that was removed does not expire a newer one.

Asks: under a ttl of one second a key is removed (or the cache cleared) while a task fills it, filled again, and, when
the old task has ended, removed and filled a third time, 0.7 s after the second; then it is called once the ttl of the
second is over, and that of the third is not.
Survives: the third value is still there.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ..contender import Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort, start

TTL = 1.0
TRIES = 5
"""On a machine so slow that the third value has expired by then, nothing was learned, and it is asked again."""


def run(contender: Contender, effort: Effort) -> str:
    for _ in range(TRIES):
        ask = start(effort, "a call under a ttl", lambda: asyncio.run(_play(contender)))
        if not ask.ends_within(5 * TTL):
            ask.join()
        is_there, age = ask.result()
        if is_there:
            return ""
        if age < TTL:
            raise Wrong(f"a value is gone after {age:.1f} s of {TTL:.0f}")
    return "the machine is too slow to tell"


async def _play(contender: Contender) -> tuple[bool, float]:
    gate, entered, calls = asyncio.Event(), asyncio.Event(), []

    async def fill(key: int) -> int:
        calls.append(key)
        version = len(calls)
        if version == 1:
            entered.set()
            await gate.wait()
        return version

    cached = contender.cached(fill, ttl=TTL)
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
    await asyncio.sleep(0.7 * TTL)
    await cached.remove_in_loop(1)
    began = time.monotonic()
    third = await ask()
    await asyncio.sleep(0.5 * TTL)
    return await ask() == third, time.monotonic() - began
