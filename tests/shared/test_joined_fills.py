"""Who may have the value of another caller's fill in the same process: none who came after an invalidation elsewhere.

1. A's fill reads the source        3. C, in A's process, joins A's fill: it must not get the value of before 2
2. B, in another process, changes the source and invalidates; the call returns
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from areole import SharedCache
from areole.backends import MemoryBackend
from areole.errors import BackendError
from tests.kit import PATIENCE, Gate, start_threads

from .servers import wait_until


class Dear(MemoryBackend):
    """As a server: `clear` does not walk over its keys."""

    clears_cheaply = False


class Broken(MemoryBackend):
    """Fails, for one of two processes."""

    def get_many(self, *args: Any) -> Any:
        raise BackendError("the connection is cut")

    take = store_if_mine = get_many


def join_after(backend: MemoryBackend, invalidate: Callable[[], object], **options: Any) -> list[Any]:
    """Return what A and C get."""
    gate, source = Gate(), [1]

    def fill(key: str) -> int:
        value = source[0]
        if value == 1:
            gate.enter()
        return value

    with SharedCache[int](backend, namespace="n", **options) as cache:
        join_a = start_threads(lambda: cache.get_or_fill("k", fill))
        gate.wait_until_entered()
        source[0] = 2
        invalidate()
        join_c = start_threads(lambda: cache.get_or_fill("k", fill))
        wait_until(lambda: cache.cache_info().waits, "C joins", PATIENCE)
        gate.open()
        return [*join_a(), *join_c()]


@pytest.mark.parametrize("how", ["clear", "delete"])
@pytest.mark.parametrize("kind", [MemoryBackend, Dear])
def test_a_caller_that_came_after_an_invalidation_by_another_process_gets_no_older_value(
    kind: type[MemoryBackend], how: str
) -> None:
    backend = kind()
    elsewhere = SharedCache[int](backend, namespace="n")
    assert join_after(backend, lambda: elsewhere.clear() if how == "clear" else elsewhere.delete("k")) == [1, 2]


def test_nor_does_one_whose_store_fails() -> None:
    assert join_after(Broken(), lambda: None, on_error="miss") == [1, 2]


def test_a_caller_that_came_while_nothing_was_invalidated_gets_the_value_of_the_fill_that_it_joined() -> None:
    gate, fills = Gate(), []

    def fill(key: str) -> int:
        fills.append(key)
        gate.enter()
        return len(fills)

    with SharedCache[int](Dear(), namespace="n") as cache:
        cache.clear()
        join = start_threads(*[lambda: cache.get_or_fill("k", fill)] * 4)
        gate.wait_until_entered()
        wait_until(lambda: cache.cache_info().waits == 3, "all others join", PATIENCE)
        gate.open()
        assert join() == [1] * 4
