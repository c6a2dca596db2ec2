"""The writing process: changes the source, invalidates, and says so, one key after the other.

    python -m stress.shared.writer SETTINGS

A thread has the even keys, an event loop the odd ones, so that each key has one writer. See stress/scenarios/shared.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

from .ledger import Ledger
from .settings import KEYS, MARK, Settings, end_with_parent, make_cache, report

__all__ = ["Writer"]


class Writer:
    """Invalidates the keys of one parity, until the run is over."""

    def __init__(self, settings: Settings, parity: int) -> None:
        from areole.errors import BackendError

        self.settings, self.backend_error, self.tags_of = settings, BackendError, settings.tags_of
        self.ledger = Ledger(settings.folder)
        self.counts = self.ledger.counts(settings.place, parity)
        self.numbers = range(parity, len(KEYS), 2)
        self.way: Any = None
        self.choices = random.Random(f"{settings.seed}/writer {parity}")

    def choose(self) -> tuple[str, list[int]]:
        """Choose what is done with which keys."""
        number = min(self.choices.choice(self.numbers), self.choices.choice(self.numbers))
        drawn = self.choices.random()
        if drawn < 0.03:
            return "clear", list(self.numbers)
        if drawn < 0.15:
            return "delete_many", self.choices.sample(self.numbers, 3)
        if drawn > 0.5 and self.settings.tags:
            return "invalidate_tags", [other for other in self.numbers if self.tags_of(other) == self.tags_of(number)]
        if drawn < 0.4 and self.settings.sets:
            return self.choices.choice(["set", "set_many"]), [number]
        return "delete", [number]

    def arguments(self, how: str, numbers: list[int]) -> list[Any]:
        values = {KEYS[number]: [KEYS[number], self.ledger.source[number]] for number in numbers}
        key = KEYS[numbers[0]]
        given: dict[str, list[Any]] = {
            "clear": [self.choices.choice([None, True])],
            "delete": [key],
            "invalidate_tags": self.tags_of(numbers[0]),
            "delete_many": [list(values)],
            "set": [key, values[key]],
            "set_many": [values],
        }
        return given[how]

    def options(self, how: str, numbers: list[int]) -> dict[str, Any]:
        return {"tags": self.tags_of(numbers[0])} if how in ("set", "set_many") else {}

    def pause(self) -> float:
        return self.settings.pause * self.choices.random()

    def raise_source(self, numbers: list[int]) -> None:
        for number in numbers:
            self.ledger.source[number] += 1

    def publish(self, numbers: list[int]) -> None:
        """Say that what was before these versions is invalidated: the call that did it has returned."""
        for number in numbers:
            self.ledger.published[number] = self.ledger.source[number]
        if self.settings.marks:
            self.send_marks(numbers)
        self.counts.add("invalidations", len(numbers))

    def send_marks(self, numbers: list[int]) -> None:
        """Say it where caches hear of changes, so that it is heard after them."""
        marks = [f"{MARK}{number}:{self.ledger.source[number]}" for number in numbers]
        with suppress(Exception):  # while the server is away
            if "://" in self.settings.marks:
                import redis

                self.way = self.way or redis.Redis.from_url(self.settings.marks, socket_timeout=0.25)
                self.way.publish("areole:changes:v1", "mark " + "\n".join(marks))
            else:
                self.way = self.way or sqlite3.connect(self.settings.marks, timeout=5, isolation_level=None)
                self.way.executemany("INSERT INTO changes (key) VALUES (?)", [(mark,) for mark in marks])

    def failed(self, error: Exception) -> None:
        """Count it; it is then done again, until it has succeeded: only then it has been invalidated."""
        if isinstance(error, self.backend_error):
            self.counts.add("errors")
            return
        self.counts.add("wrong")
        report(self.settings, "wrong: writer, " + "".join(traceback.format_exception(error, limit=-5)))

    def look_back(self, numbers: list[int], found: Any) -> None:
        """Check what this process reads after an invalidation that has failed: it is queued, so nothing older."""
        for number in numbers:
            key, version = found.get(KEYS[number], (KEYS[number], self.ledger.source[number]))
            if key != KEYS[number] or version < self.ledger.source[number]:
                self.counts.add("stale")
                report(
                    self.settings, f"stale: writer, {key[:20]!r} gave {version} after an invalidation that has failed"
                )

    def run(self, cache: Any) -> None:
        while not self.ledger.is_over:
            how, numbers = self.choose()
            self.raise_source(numbers)
            while not self.ledger.is_over:
                try:
                    getattr(cache, how)(*self.arguments(how, numbers), **self.options(how, numbers))
                except Exception as error:
                    self.failed(error)
                    with suppress(self.backend_error):
                        self.look_back(numbers, cache.get_many([KEYS[number] for number in numbers]))
                    time.sleep(0.005)
                else:
                    self.publish(numbers)
                    break
            time.sleep(self.pause())

    async def run_on_loop(self, shared: Any) -> None:
        async with shared.aio as cache:
            while not self.ledger.is_over:
                how, numbers = self.choose()
                self.raise_source(numbers)
                while not self.ledger.is_over:
                    try:
                        await getattr(cache, how)(*self.arguments(how, numbers), **self.options(how, numbers))
                    except Exception as error:
                        self.failed(error)
                        with suppress(self.backend_error):
                            self.look_back(numbers, await cache.get_many([KEYS[number] for number in numbers]))
                        await asyncio.sleep(0.005)
                    else:
                        self.publish(numbers)
                        break
                await asyncio.sleep(self.pause())


def main() -> None:
    settings = Settings.load(sys.argv[1])
    end_with_parent()
    with make_cache(settings) as cache:
        odd = Writer(settings, 1)
        thread = threading.Thread(target=lambda: asyncio.run(odd.run_on_loop(cache)))
        thread.start()
        odd.ledger.ready[settings.place] = 1
        Writer(settings, 0).run(cache)
        thread.join()


if __name__ == "__main__":
    main()
