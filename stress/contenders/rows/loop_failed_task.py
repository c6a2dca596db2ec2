"""A task that failed is not cached.

Asks: the function raises while two other tasks wait; then the key is called again.
Survives: the first gets the exception, the others that or a value; the next call calls the function again.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, start


class Failure(Exception):
    pass


def run(contender: Contender, effort: Effort) -> str:
    async def play() -> list[Any]:
        calls: list[int] = []

        async def fill(key: int) -> str:
            calls.append(key)
            await asyncio.sleep(0.05)
            if len(calls) == 1:
                raise Failure
            return "value"

        cached = contender.cached(fill)

        async def ask() -> Any:
            return await cached.call(1)

        first = await asyncio.gather(*(ask() for _ in range(3)), return_exceptions=True)
        return [*first, *await asyncio.gather(ask(), return_exceptions=True)]

    got = start(effort, "a call of a key whose task failed", lambda: asyncio.run(play())).result()
    if isinstance(got[-1], Failure):
        raise Wrong("the next call gets the old exception")
    if not isinstance(got[0], Failure):
        raise Wrong(f"the caller got {got[0]!r}, not the exception of its function")
    if any(not isinstance(each, Failure) and each != "value" for each in got) or got[-1] != "value":
        raise Wrong(f"got {got!r}")
    return f"of 2 who waited, {sum(isinstance(each, Failure) for each in got[1:3])} got the exception"
