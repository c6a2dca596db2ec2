"""Operations written once, and run by threads and by tasks.

An operation is a generator that yields what its backend gives. For threads that is a result, which is sent back at
once; for tasks it is an awaitable. A call that raises, raises in the generator either way:

    raw = yield backend.get(key)
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

__all__ = ["Steps", "run", "run_async"]

R = TypeVar("R")

Steps: TypeAlias = Generator[Any, Any, R]


def run(steps: Steps[R]) -> R:
    """Run an operation whose steps are results already.

    What interrupts it between two steps is raised here, not in the operation: its `finally` blocks run by `close`, and
    not when the traceback, which leads to it, is dropped.
    """
    try:
        step = next(steps)
        while True:
            step = steps.send(step)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    except BaseException:
        steps.close()
        raise


async def run_async(steps: Steps[R]) -> R:
    """Run an operation whose steps are awaitables; a cancellation is raised where it waits."""
    try:
        step = next(steps)
        while True:
            try:
                result = await step
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    except BaseException:
        steps.close()
        raise
