"""Real threads of two processes' caches, stopped between any two instructions: an order of the calls explains them.

`test_schedules` tries all interleavings of the steps; here the store, the flights and the waits are interleaved too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest

from areole import SharedCache
from areole.backends import MemoryBackend
from areole.serializers import JsonSerializer

from ..interleave import point, sample
from ..interleave.explore import Scenario
from ..interleave.histories.model import ABSENT, FillRun, Operation
from ..kit import is_free_threaded
from .model import START, TTLS, explain

KINDS = ("get", "set", "add", "delete", "clear", "expire", "ask", "ask", "ask", "refresh")
PROGRAMS, RUNS = (3, 2) if is_free_threaded() else (6, 4)  # the scheduler takes several times as long there


class Recorded:
    """Two caches over one store, and what threads asked of one key, and got."""

    def __init__(self, start: str) -> None:
        self.backend = MemoryBackend()
        self.caches = [self._make_cache() for _ in range(2)]
        self.history: list[Operation] = []
        self.tick = count(1).__next__
        if start != "absent":
            self.record(-1, "set", 0, START)
        if start == "old":
            self.record(-1, "clear", 0)

    def _make_cache(self) -> SharedCache[Any]:
        return SharedCache(self.backend, namespace="shop", serializer=JsonSerializer())

    def record(self, thread: int, kind: str, process: int, name: str = "") -> None:
        operation = Operation(thread, kind, "key", name if kind in ("set", "add") else None, self.tick())
        self.history.append(operation)
        operation.result = self._call(self.caches[process], operation, name)
        operation.ended = self.tick()

    def _call(self, cache: SharedCache[Any], operation: Operation, name: str) -> Any:
        def fill(key: str) -> str:
            assert operation.fill is None, "one call has filled twice"
            operation.fill = FillRun(name, False, self.tick())
            point()
            operation.fill.ended = self.tick()
            return name

        match operation.kind:
            case "get":
                return cache.get("k", ABSENT)
            case "set" | "add":
                return getattr(cache, operation.kind)("k", name, TTLS.get(name, TTLS[operation.kind]))
            case "delete":
                return cache.delete("k")
            case "clear":
                return cache.clear(False)
            case "expire":
                return cache.expire_in("k", TTLS["expire"])
        ask = cache.get_or_fill if operation.kind == "ask" else cache.refresh
        return ask("k", fill, TTLS["fill"])

    def check(self, results: list[Any]) -> None:
        assert not any(results), results
        for process in range(2):
            self.record(-2 - process, "get", process)
        assert not (wrong := explain(self.history)), wrong
        assert not any(list(cache._state.flights.entries) for cache in self.caches), "a flight stays"
        assert not self.backend._tokens, "a token stays"


def scenario(start: str, program: Sequence[Sequence[tuple[str, int]]]) -> Scenario:
    def make() -> tuple[Callable[..., Any], ...]:
        recorded = Recorded(start)

        def thread(number: int) -> Callable[[], None]:
            def run() -> None:
                for i, (kind, process) in enumerate(program[number]):
                    recorded.record(number, kind, process, f"{kind} of {number}.{i}")

            return run

        return *map(thread, range(len(program))), recorded.check

    return make


@pytest.mark.parametrize("start", ["absent", "live", "old"])
def test_threads_under_the_scheduler(start: str) -> None:
    choices = random.Random(start)
    for seed in range(PROGRAMS):
        lengths = choices.choice(((1, 1), (1, 2), (1, 1, 1), (1, 1, 2)))
        program = [[(choices.choice(KINDS), choices.choice((0, 0, 1))) for _ in range(length)] for length in lengths]
        assert sample(scenario(start, program), RUNS, seed) > 100, program
