"""A reading process of `stress/scenarios/tiers`: reads an AtomicCache and an AsyncAtomicCache before a SharedCache.

    python -m stress.shared.tier_reader SETTINGS

It notes which invalidations it has heard, by a mark that the writer sends after each, by the same channel.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import threading
import time
from collections import deque
from typing import Any, Final

from .ledger import Counts
from .reader import NUMBERS, Reader, start
from .settings import KEYS, MARK, READS_AT_ONCE

__all__ = ["TierReader"]

LOCAL_TTL: Final = 60.0  # seconds: a value that should have been dropped is seen for long
TTL: Final = 0.2
MARGIN: Final = 1.0
"""Seconds beside `lag` that a thread may not get to run, on a machine that is busy."""
LOOK_EVERY: Final = 0.05
MOST_AWAKE: Final = 4 * LOOK_EVERY
"""What passes between two looks counts as so much at most: then this process was stopped, as was its plane."""
WEIGHTS: Final = list(itertools.accumulate(range(len(KEYS), 0, -1)))
"""The first keys are read most."""


class TierReader(Reader):
    def __init__(self, settings: Any, cache: Any) -> None:
        from areole import AsyncAtomicCache, AtomicCache, Resilience
        from areole.shared.plane import LAG, Plane

        super().__init__(settings, cache)
        logging.getLogger("areole").setLevel(logging.CRITICAL)  # what fails in the background, while the store is away
        options: dict[str, Any] = {"shared": cache, "local_ttl": LOCAL_TTL}
        if settings.is_resilient:
            rules = Resilience(stale_ttl=LOCAL_TTL, refresh_ahead=0.5)
            options |= {"ttl": TTL, "resilience": rules}
        known, late = (self.known_tags, ()) if settings.tags else (None, None)
        fill_async = self.fill_with_late_tags if settings.tags else self.fill_async
        self.local = AtomicCache(self.fill, tags=known, **options)
        self.of_tasks = AsyncAtomicCache(fill_async, tags=late, **options)
        self.of_many = AtomicCache(fill_many=self.fill_many, tags=known, **options)
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

    def known_tags(self, key: str) -> list[str]:
        return self.settings.tags_of(NUMBERS[key])

    def fill_many(self, keys: list[str]) -> list[Any]:
        return [self.fill(key) for key in keys]

    async def fill_with_late_tags(self, key: str) -> Any:
        from areole import Filled

        return Filled(await self.fill_async(key), tags=self.known_tags(key))

    def look_back(self) -> None:
        """Keep what had been published so long ago that nothing older may be served any more."""
        seen: deque[tuple[float, list[int]]] = deque()
        awake, looked = 0.0, time.monotonic()
        while not self.ledger.is_over:
            now = time.monotonic()
            awake, looked = awake + min(now - looked, MOST_AWAKE), now
            seen.append((awake + self.allowed, list(self.ledger.published)))
            while seen and seen[0][0] <= awake:
                self.overdue = seen.popleft()[1]
            time.sleep(LOOK_EVERY)

    def floor(self, number: int) -> int:
        return max(self.heard[number], self.overdue[number])

    # ---- reads: in a loop without a call for each, so that millions of them take seconds

    def read(self, choices: random.Random, counts: Counts) -> None:
        self.change(choices, counts)
        local, source, heard, done = self.local, self.ledger.source, self.heard, 0
        read = self.of_tasks.get if choices.random() < 0.1 else local.__getitem__
        for number in _choose(choices, READS_AT_ONCE):
            floor = max(heard[number], self.overdue[number])  # before the read
            try:
                value = read(KEYS[number])
            except Exception as error:
                self.failed(counts, error)
                continue
            done += 1
            if value is not None and not (value[0] == KEYS[number] and floor <= value[1] <= source[number]):
                self.check(counts, number, floor, value)
        counts.add("reads", done)
        counts.add("hits", done)

    def change(self, choices: random.Random, counts: Counts) -> None:
        """Now and then invalidate a key, or refresh it, or read what keeps values in another way."""
        drawn, [number] = choices.random(), _choose(choices, 1)
        floor = self.floor(number)
        several = sorted({number, *_choose(choices, 3)})
        floors = [self.floor(each) for each in several]
        try:
            if drawn < 0.02:
                self.local.invalidate(KEYS[number])
            elif drawn < 0.03:
                self.check(counts, number, floor, self.local.refresh(KEYS[number]))
            elif drawn < 0.035 and self.settings.tags:
                self.local.invalidate_tags(*self.settings.tags_of(number))
            elif 0.5 < drawn < 0.55:
                tags = self.settings.tags_of(number) or None
                self.check(counts, number, floor, self.cache.get_or_fill(KEYS[number], self.fill, tags=tags))
            elif drawn > 0.9:
                read = self.of_many.fetch_many if drawn > 0.95 else self.cache.get_many
                found = read([KEYS[each] for each in several])
                for each, least in zip(several, floors, strict=True):
                    if KEYS[each] in found:
                        self.check(counts, each, least, found[KEYS[each]])
        except Exception as error:
            self.failed(counts, error)

    async def read_in_task(self, cache: Any, choices: random.Random, counts: Counts) -> None:
        while not self.ledger.is_over:
            await self.change_in_task(choices, counts)
            local, source, heard, done = self.of_tasks, self.ledger.source, self.heard, 0
            for number in _choose(choices, READS_AT_ONCE):
                floor = max(heard[number], self.overdue[number])
                try:
                    value = await local[KEYS[number]]
                except Exception as error:
                    self.failed(counts, error)
                    continue
                done += 1
                if not (value[0] == KEYS[number] and floor <= value[1] <= source[number]):
                    self.check(counts, number, floor, value)
            counts.add("reads", done)
            counts.add("hits", done)
            await asyncio.sleep(0)

    async def change_in_task(self, choices: random.Random, counts: Counts) -> None:
        drawn, [number] = choices.random(), _choose(choices, 1)
        floor = self.floor(number)
        try:
            if drawn < 0.02:
                await self.of_tasks.invalidate(KEYS[number])
            elif drawn < 0.03:
                self.check(counts, number, floor, await self.of_tasks.refresh(KEYS[number]))
            elif drawn < 0.035 and self.settings.tags:
                await self.of_tasks.invalidate_tags(*self.settings.tags_of(number))
        except Exception as error:
            self.failed(counts, error)


def _choose(choices: random.Random, how_many: int) -> list[int]:
    return choices.choices(range(len(KEYS)), cum_weights=WEIGHTS, k=how_many)


if __name__ == "__main__":
    start(TierReader)
