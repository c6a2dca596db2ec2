"""A reading process: threads, and tasks of an event loop, that read through one SharedCache and check what they get.

    python -m stress.shared.reader SETTINGS

The rule, and why it never alarms without cause, is in stress/scenarios/shared.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Any, Final

from .ledger import Counts, Ledger
from .settings import KEYS, Settings, end_with_parent, make_cache, put_clocks_off, report

__all__ = ["Reader", "start"]

NUMBERS: Final = {key: number for number, key in enumerate(KEYS)}
WAIT: Final = 0.5  # seconds
CHILD_LIVES: Final = 30  # seconds, on a machine that is very busy
READS_OF_A_CHILD: Final = 20
_OF_FILLS = 0  # slots in the ledger
_OF_FORKS = 1
_OF_THREADS = 2


class Reader:
    def __init__(self, settings: Settings, cache: Any) -> None:
        from areole.errors import BackendError

        self.settings, self.cache, self.backend_error = settings, cache, BackendError
        self.ledger = Ledger(settings.folder)
        self.of_fills = self.ledger.counts(settings.place, _OF_FILLS)
        self.lock_of_fills = threading.Lock()
        self.standstill = [threading.Lock() for _ in range(settings.threads)]
        self.is_free_threaded = not getattr(sys, "_is_gil_enabled", lambda: True)()

    def run(self) -> None:
        threads = [threading.Thread(target=self.read_on, args=(i,)) for i in range(self.settings.threads)]
        if self.settings.tasks and not (self.settings.forks and self.is_free_threaded):  # see `fork`
            threads.append(threading.Thread(target=lambda: asyncio.run(self.read_in_tasks(self.settings.threads))))
        for thread in threads:
            thread.start()
        self.ledger.ready[self.settings.place] = 1
        while self.settings.forks and not self.ledger.is_over:
            self.fork()
        for thread in threads:
            thread.join()
        info = self.cache.cache_info()
        self.of_fills.add("refused", info.refused_stores)

    # ---- fills

    def fill(self, key: str) -> list[Any]:
        value = self.begin_fill(key)
        time.sleep(_pause())
        while self.ledger.hold[self.settings.place]:
            time.sleep(1e-3)
        self.end_fill()
        return value

    async def fill_async(self, key: str) -> list[Any]:
        value = self.begin_fill(key)
        await asyncio.sleep(_pause())
        while self.ledger.hold[self.settings.place]:
            await asyncio.sleep(1e-3)
        self.end_fill()
        return value

    def begin_fill(self, key: str) -> list[Any]:
        """Read the source, once and first; then say that a fill is running."""
        value = [key, self.ledger.source[NUMBERS[key]]]
        with self.lock_of_fills:
            self.of_fills.add("fills")
        return value

    def end_fill(self) -> None:
        with self.lock_of_fills:
            self.of_fills.add("filled")

    # ---- reads

    def read_on(self, slot: int) -> None:
        counts = self.ledger.counts(self.settings.place, _OF_THREADS + slot)
        choices = random.Random(f"{self.settings.seed}/{self.settings.place}/{slot}")
        while not self.ledger.is_over:
            if not self.is_free_threaded:
                self.read(choices, counts)
                continue
            with self.standstill[slot]:  # see `fork`
                self.read(choices, counts)

    def read(self, choices: random.Random, counts: Counts) -> None:
        numbers, options = _choose(choices)
        keys = [KEYS[number] for number in numbers]
        floors = [self.ledger.published[number] for number in numbers]  # before the read
        with self.checking(counts, numbers, floors) as check:
            if options is not None:
                options = {**options, "tags": self.settings.tags_of(numbers[0]) or None}
                check([self.cache.get_or_fill(keys[0], self.fill, **options)])
            elif len(keys) == 1:
                check([self.cache.get(keys[0])])
            else:
                found = self.cache.get_many(keys)
                check([found.get(key) for key in keys])

    async def read_in_tasks(self, slot: int) -> None:
        counts = self.ledger.counts(self.settings.place, _OF_THREADS + slot)
        async with self.cache.aio as cache, asyncio.TaskGroup() as group:
            for i in range(self.settings.tasks):
                choices = random.Random(f"{self.settings.seed}/{self.settings.place}/task {i}")
                group.create_task(self.read_in_task(cache, choices, counts))

    async def read_in_task(self, cache: Any, choices: random.Random, counts: Counts) -> None:
        while not self.ledger.is_over:
            numbers, options = _choose(choices)
            keys = [KEYS[number] for number in numbers]
            floors = [self.ledger.published[number] for number in numbers]
            with self.checking(counts, numbers, floors) as check:
                if options is not None:
                    options = {**options, "tags": self.settings.tags_of(numbers[0]) or None}
                    check([await cache.get_or_fill(keys[0], self.fill_async, **options)])
                elif len(keys) == 1:
                    check([await cache.get(keys[0])])
                else:
                    found = await cache.get_many(keys)
                    check([found.get(key) for key in keys])
            await asyncio.sleep(0)

    def checking(self, counts: Counts, numbers: Sequence[int], floors: Sequence[int]) -> _Checking:
        return _Checking(self, counts, numbers, floors)

    def check(self, counts: Counts, number: int, floor: int, value: Any) -> None:
        key, version = value
        newest = self.ledger.source[number]
        if key != KEYS[number]:
            self.report(counts, "wrong", f"{KEYS[number]!r} gave the value of {key!r}")
        elif version < floor:
            self.report(counts, "stale", f"{key[:20]!r} gave {version}; {floor} had been invalidated before")
        elif version > newest:
            self.report(counts, "wrong", f"{key!r} gave {version}; the source had come to {newest}")

    def failed(self, counts: Counts, error: Exception) -> None:
        """Count what a read raised, if it may; else it is a finding."""
        if isinstance(error, self.backend_error) and self.settings.on_error == "raise":
            counts.add("errors")
            time.sleep(1e-3)
        else:
            self.report(counts, "wrong", "".join(traceback.format_exception(error, limit=-5)))

    # ---- forks

    def fork(self) -> None:
        """Fork while others read and fill; the child reads too, and must end.

        Without a GIL no thread is in a read meanwhile, and there are no tasks, as in stress/scenarios/fork: CPython's
        own locks may stay held. A child that needs one does not even come to its alarm.
        """
        counts = self.ledger.counts(self.settings.place, _OF_FORKS)
        time.sleep(random.random() * 0.05)
        with ExitStack() as stack:
            for lock in self.standstill if self.is_free_threaded else ():
                stack.enter_context(lock)
            child = os.fork()
            if not child:
                self.live_in_child(counts)
        status = os.waitpid(child, 0)[1]
        counts.add("forks")
        if status:
            late = f": not within {CHILD_LIVES} s" if status == signal.SIGALRM else ""
            self.report(counts, "wrong", f"a child of fork ended with status {status}{late}")

    def live_in_child(self, counts: Counts) -> None:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(CHILD_LIVES)
            self.lock_of_fills = threading.Lock()
            self.of_fills = counts
            choices = random.Random(os.getpid())
            for _ in range(READS_OF_A_CHILD):
                self.read(choices, counts)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def report(self, counts: Counts, kind: str, text: str) -> None:
        counts.add(kind)
        report(self.settings, f"{kind}: reader {self.settings.place}, {text}")


class _Checking:
    """Around one read: what it gave is checked by a call of this; what it raised is counted, or found."""

    __slots__ = ("counts", "floors", "numbers", "reader")

    def __init__(self, reader: Reader, counts: Counts, numbers: Sequence[int], floors: Sequence[int]) -> None:
        self.reader, self.counts, self.numbers, self.floors = reader, counts, numbers, floors

    def __enter__(self) -> Callable[[list[Any]], None]:
        return self.check

    def check(self, values: list[Any]) -> None:
        self.counts.add("reads", len(values))
        for number, floor, value in zip(self.numbers, self.floors, values, strict=True):
            if value is None:
                continue
            self.counts.add("hits")
            self.reader.check(self.counts, number, floor, value)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self.reader.failed(self.counts, error)
        return True


def _choose(choices: random.Random) -> tuple[list[int], dict[str, Any] | None]:
    """Choose keys, and the options of `get_or_fill`; None: they are only looked up."""
    number = min(choices.randrange(len(KEYS)), choices.randrange(len(KEYS)))
    drawn = choices.random()
    if drawn < 0.6:
        return [number], {}
    if drawn < 0.7:
        return [number], {"wait": WAIT}
    if drawn < 0.9:
        return [number], None
    return choices.sample(range(len(KEYS)), 4), None


def _pause() -> float:
    """Choose how many seconds a fill takes: mostly none, some a moment, few much longer."""
    drawn = random.random()
    return 0.02 * random.random() if drawn < 0.03 else 0.003 * random.random() if drawn < 0.4 else 0.0


def start(kind: type[Reader]) -> None:
    """Be a reading process of this kind."""
    settings = Settings.load(sys.argv[1])
    if settings.clock_off:
        put_clocks_off(settings.clock_off)
    warnings.simplefilter("ignore", DeprecationWarning)  # of fork, in a process with threads: that is what is tried
    # Registers what a fork calls; imported while another thread forks, it releases a lock that nobody holds.
    import_module("concurrent.futures.thread")
    end_with_parent()
    with make_cache(settings) as cache:
        kind(settings, cache).run()


if __name__ == "__main__":
    start(Reader)
