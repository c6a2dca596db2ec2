"""A reading process of `stress/scenarios/tiers`: reads an AtomicCache and an AsyncAtomicCache before a SharedCache.

    python -m stress.shared.tier_reader SETTINGS

It notes which invalidations it has heard, by a mark that the writer sends after each, by the same channel.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import deque
from typing import Any, Final

from .ledger import Counts
from .reader import Reader, start
from .settings import KEYS, MARK

__all__ = ["TierReader"]

LOCAL_TTL: Final = 60.0  # seconds: a value that should have been dropped is seen for long
MARGIN: Final = 1.0
"""Seconds beside `lag` that a thread may not get to run, on a machine that is busy."""
LOOK_EVERY: Final = 0.05
AT_ONCE: Final = 50  # reads between two looks whether the run is over


class TierReader(Reader):
    def __init__(self, settings: Any, cache: Any) -> None:
        from areole import AsyncAtomicCache, AtomicCache
        from areole.shared.plane import LAG, Plane

        super().__init__(settings, cache)
        logging.getLogger("areole").setLevel(logging.CRITICAL)  # what fails in the background, while the store is away
        self.local = AtomicCache(self.fill, shared=cache, local_ttl=LOCAL_TTL)
        self.of_tasks = AsyncAtomicCache(self.fill_async, shared=cache, local_ttl=LOCAL_TTL)
        self.heard = [0] * len(KEYS)  # the version whose invalidation this process has heard
        self.overdue = [0] * len(KEYS)  # one that it must have heard, or have noticed that it hears nothing
        self.allowed = LAG + MARGIN
        changed = Plane.changed

        def note(plane: Plane, name: str) -> None:
            changed(plane, name)
            _, is_mark, what = name.partition(MARK)
            if is_mark:
                number, version = map(int, what.split(":"))
                self.heard[number] = max(self.heard[number], version)

        Plane.changed = note  # type: ignore[method-assign]
        threading.Thread(target=self.look_back, daemon=True).start()

    def look_back(self) -> None:
        """Keep what had been published so long ago that nothing older may be served any more."""
        seen: deque[tuple[float, list[int]]] = deque()
        while not self.ledger.is_over:
            seen.append((time.monotonic() + self.allowed, list(self.ledger.published)))
            while seen and seen[0][0] <= time.monotonic():
                self.overdue = seen.popleft()[1]
            time.sleep(LOOK_EVERY)

    def floors(self, numbers: list[int]) -> list[int]:
        overdue = self.overdue
        return [max(self.heard[number], overdue[number]) for number in numbers]

    def read(self, choices: random.Random, counts: Counts) -> None:
        for _ in range(AT_ONCE):
            numbers = _choose(choices)
            drawn = choices.random()
            with self.checking(counts, numbers, self.floors(numbers)) as check:
                if drawn < 0.002:
                    self.local.invalidate(KEYS[numbers[0]])
                elif drawn < 0.003:
                    check([self.local.refresh(KEYS[numbers[0]])])
                elif drawn < 0.1:
                    check([self.of_tasks.get(KEYS[numbers[0]])])
                else:
                    check([self.local[KEYS[numbers[0]]]])

    async def read_in_task(self, cache: Any, choices: random.Random, counts: Counts) -> None:
        while not self.ledger.is_over:
            for _ in range(AT_ONCE):
                numbers = _choose(choices)
                drawn = choices.random()
                with self.checking(counts, numbers, self.floors(numbers)) as check:
                    if drawn < 0.002:
                        await self.of_tasks.invalidate(KEYS[numbers[0]])
                    elif drawn < 0.003:
                        check([await self.of_tasks.refresh(KEYS[numbers[0]])])
                    else:
                        check([await self.of_tasks[KEYS[numbers[0]]]])
            await asyncio.sleep(0)


def _choose(choices: random.Random) -> list[int]:
    return [min(choices.randrange(len(KEYS)), choices.randrange(len(KEYS)))]


if __name__ == "__main__":
    start(TierReader)
