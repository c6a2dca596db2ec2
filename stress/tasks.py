"""TaskScenario: what the scenarios with event loops have in common."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .oracle import Fill
from .scenario import Scenario
from .subject import INDEXES, Subject, make_subject
from .worker import Worker

__all__ = ["TaskScenario"]

TASKS = 6


class TaskScenario(Scenario):
    """Every second worker runs an event loop, a new one in each round, with six tasks; the others are plain threads.

    All of them ask one cache, the tasks with `await cache.fetch(key)`, the threads with `cache.sync[key]`. The fill is
    asynchronous: it runs in a task, or in a thread that has a loop for it.
    """

    variants = INDEXES
    only_ours = "threads and event loops share one AsyncAtomicCache"
    operations = 6
    """Of each task, or thread, in a round."""

    @classmethod
    def why_skipped(cls) -> str:
        try:
            importlib.import_module("areole")
        except ImportError:
            return "areole has no AsyncAtomicCache yet"
        return ""

    def make_subjects(self) -> list[Subject]:
        aio: Any = importlib.import_module("areole")
        self.caches = [aio.AsyncAtomicCache(self.fill_async, index=self.variant, **each) for each in self.options()]
        return [self.make_view(cache) for cache in self.caches]

    def options(self) -> list[dict[str, Any]]:
        """Return the options of each cache; the rounds take turns."""
        return [{}]

    def make_view(self, cache: Any) -> Subject:
        view = cache.sync
        functions = view.__getitem__, cache.get, view.refresh, cache.invalidate, cache.clear
        return make_subject(view, self.variant, *functions)

    @property
    def cache(self) -> Any:
        return self.caches[self.round % len(self.caches)]

    async def fill_async(self, key: Any) -> Fill:
        worker = self.worker()
        with self.oracle.start_loose_fill(worker, key) as fill:
            drawn = worker.noise.random()
            if drawn < self.pauses:
                await asyncio.sleep(drawn * 1e-3 if drawn < self.pauses / 2 else 0)
        return fill

    def play(self, worker: Worker) -> None:
        if worker.number % 2:
            super().play(worker)
        else:
            asyncio.run(self.play_loop(worker))

    async def play_loop(self, worker: Worker) -> None:
        await asyncio.gather(*[self.play_task(worker) for _ in range(TASKS)])

    async def play_task(self, worker: Worker) -> None:
        for _ in range(self.operations):
            await self.step_async(worker)

    async def step_async(self, worker: Worker) -> None:
        """Do one thing in a task, chosen at random."""
        raise NotImplementedError

    @contextmanager
    def calling(self, worker: Worker, key: Any) -> Iterator[list[Any]]:
        """Judge the value that is put into the list."""
        call = self.oracle.begin(key)
        got: list[Any] = []
        yield got
        if got:
            self.oracle.end(worker, call, got[0])
        else:
            worker.operations += 1

    def read(self, worker: Worker, key: Any) -> None:
        with self.calling(worker, key) as got:
            got.append(self.subject.read(key))

    async def fetch(self, worker: Worker, key: Any) -> None:
        with self.calling(worker, key) as got:
            got.append(await self.cache.fetch(key))
