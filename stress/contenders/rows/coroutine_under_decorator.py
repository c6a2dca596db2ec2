"""A coroutine function under the plain decorator does not give a coroutine twice.

Asks: the decorator is put on an `async def`, and one call awaited after another.
Survives: both give the value, or the decorator refuses at once.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from ..contender import Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort


def run(contender: Contender, effort: Effort) -> str:
    async def function(key: int) -> int:
        return -key

    warnings.simplefilter("ignore", RuntimeWarning)
    try:
        f = contender.decorate(function)
    except NotOffered:
        raise
    except Exception as error:
        return f"refused by a {type(error).__name__}"
    values: list[Any] = []

    async def call_twice() -> None:
        for _ in range(2):
            values.append(await f(1))

    try:
        asyncio.run(call_twice())
    except Exception as error:
        if values:
            raise Wrong(f"the second await fails: {type(error).__name__}, {error}") from None
        return f"refused by a {type(error).__name__}"
    if values != [-1, -1]:
        raise Wrong(f"{values!r} for two times -1")
    return ""
