"""gather: coroutines that run together, and end together."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["gather"]

V = TypeVar("V")


async def gather(coroutines: Iterable[Coroutine[Any, Any, V]]) -> list[V]:
    """Run all at once; as soon as one raises, or this is cancelled, cancel the others, and wait until they have ended.

    The caller may then close what the fills use, as after an `await` of one. A second cancellation ends this wait.
    """
    import asyncio

    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            if not task.cancelling():  # as after a cancellation, which `gather` hands on: once more would end its wait
                task.cancel()
        await asyncio.wait(tasks)
        raise
    finally:
        del tasks  # the traceback keeps this frame: it must not lead back to the exception
