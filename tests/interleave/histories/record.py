"""Random programs of a few threads on a few keys, run on a cache, and what came of them.

On real threads the operations overlap where the machine lets them; so that they do, what the library calls of the
user's (fills, clocks, `__hash__` of keys) gives up the processor now and then, which any such code may do. Under the
scheduler of `tests.interleave` they overlap as PCT says.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from cereggii import AtomicInt64

from areole import CACHE_MISS, AtomicCache, Storage
from areole.testing import assert_valid

from .. import Scenario, point
from .checker import check
from .model import ABSENT, EVERY_KEY, FillRun, Operation, Raised, Rules

__all__ = ["PATIENCE", "SUBJECTS", "History", "overlap", "run_free", "scheduled"]

THREADS: Final = 3
OPERATIONS: Final = 5
PATIENCE: Final = 60.0
_CACHE_KINDS = {"ask": 8, "get": 4, "invalidate": 4, "refresh": 2, "clear": 1}
_STORE_KINDS = {"ask": 6, "get": 4, "set": 3, "add": 3, "delete": 2, "pop": 2, "invalidate": 2, "clear": 1}


class FillFailed(Exception):
    """Raised by some fills, with their names."""


class Key:
    """A key whose hash may take a while."""

    __slots__ = ("_history", "name")

    def __init__(self, name: str, history: History) -> None:
        self.name = name
        self._history = history

    def __hash__(self) -> int:
        self._history.pause()
        return hash(self.name)


@dataclass(frozen=True)
class Subject:
    """A kind of cache: how it is made from a fill and a clock, and what can be asked of it."""

    make: Callable[[Callable[[Any], Any], Callable[[], float]], Any]
    kinds: dict[str, int]
    rules: Rules = Rules()  # noqa: RUF009 - a tuple


def _cache(rules: Rules, **options: Any) -> Subject:
    return Subject(lambda fill, clock: AtomicCache(fill, clock=clock, **options), _CACHE_KINDS, rules)


def _store(**options: Any) -> Subject:
    def make(fill: Callable[[Any], Any], clock: Callable[[], float]) -> Any:
        return Storage(clock=clock, expiration_thread_max_checks_per_iteration=0, **options)

    return Subject(make, _STORE_KINDS, Rules(may_evict="max_items" in options))


SUBJECTS: Final[dict[str, Subject]] = {
    "dict": _cache(Rules(gets_join=True), index="dict"),
    "atomic": _cache(Rules(gets_join=True, clears=THREADS), index="atomic"),
    "one-lru": _cache(Rules(may_evict=True), max_items=1, policy="lru"),
    "one-s3fifo": _cache(Rules(may_evict=True), max_items=1, policy="s3fifo"),
    "store": _store(),
    "store-one-lru": _store(max_items=1, policy="lru"),
    "store-one-s3fifo": _store(max_items=1, policy="s3fifo"),
}


@dataclass
class History:
    """One program and what came of it. The subject and the seed give the program; its timing they do not give."""

    subject: str
    seed: str
    pauses: bool = False
    operations: list[list[Operation]] = field(default_factory=list)

    def __post_init__(self) -> None:
        choices, kinds = random.Random(f"{self.subject} {self.seed}"), SUBJECTS[self.subject].kinds
        self._events = AtomicInt64(0)
        self._keys = {name: Key(name, self) for name in ("a", "b")}
        self._local = threading.local()
        names = [f"{thread}.{number}" for thread in range(THREADS) for number in range(OPERATIONS)]
        chance = choices.choice((0.0, 0.0, 0.3))
        self._failing = {name for name in names if choices.random() < chance}
        self.cache = SUBJECTS[self.subject].make(self._fill, self._clock)
        self.operations = [
            [self._choose(choices, kinds, thread, number) for number in range(OPERATIONS)] for thread in range(THREADS)
        ]

    def _choose(self, choices: random.Random, kinds: dict[str, int], thread: int, number: int) -> Operation:
        kind = choices.choices(list(kinds), list(kinds.values()))[0]
        key = EVERY_KEY if kind == "clear" else choices.choices("ab", (3, 1))[0]
        return Operation(thread, kind, key, f"{thread}.{number}" if kind in ("set", "add") else None)

    # ---- while it runs

    def run_thread(self, thread: int) -> None:
        self._local.random = random.Random(f"{self.seed} {thread}") if self.pauses else None
        for number, operation in enumerate(self.operations[thread]):
            self._local.operation, self._local.name = operation, f"{thread}.{number}"
            operation.began = self._event()
            try:
                operation.result = self._call(operation)
            except FillFailed as error:
                operation.result = Raised(error.args[0])
            operation.ended = self._event()

    def _event(self) -> int:
        event: int = self._events.increment_and_get()
        return event

    def _call(self, operation: Operation) -> Any:
        cache, kind = self.cache, operation.kind
        if kind == "clear":
            return cache.clear()
        key = self._keys[operation.key]
        if kind == "ask":
            return cache[key] if isinstance(cache, AtomicCache) else cache.get_or_fill(key, self._fill)
        if kind in ("set", "add"):
            return getattr(cache, kind)(key, operation.given)
        result = getattr(cache, kind)(key)
        return ABSENT if kind in ("get", "pop") and (result is None or result is CACHE_MISS) else result

    def _fill(self, key: Key) -> str:
        operation, name = self._local.operation, str(self._local.name)
        assert operation.fill is None, f"one {operation.kind} ran two fills"
        operation.fill = fill = FillRun(name, name in self._failing, self._event())
        self.pause()
        fill.ended = self._event()
        if fill.fails:
            raise FillFailed(name)
        return name

    def _clock(self) -> float:
        self.pause()
        return 0.0

    def pause(self) -> None:
        """Let others run, now and then: called wherever the library calls what is the user's."""
        point()
        choices = getattr(self._local, "random", None)
        if choices is not None and choices.random() < 0.25:
            time.sleep(choices.choice((0, 0, 1e-6, 2e-5)))

    # ---- while no operation is running

    def check(self) -> list[str]:
        """Return what is wrong with it, a message for each key."""
        assert_valid(self.cache)
        operations = [operation for of_thread in self.operations for operation in of_thread]
        messages = check(operations, SUBJECTS[self.subject].rules)
        return [f"{self.subject}, program {self.seed}: {message}" for message in messages]


def overlap(history: History) -> bool:
    """Say whether two operations of different threads on one key ran at the same time."""
    operations = [operation for of_thread in history.operations for operation in of_thread]
    return any(
        a.thread != b.thread and a.key == b.key and a.began < b.ended and b.began < a.ended
        for i, a in enumerate(operations)
        for b in operations[:i]
    )


def run_free(histories: list[History], patience: float = PATIENCE) -> None:
    """Run each history on real threads, one history after the other; the threads begin each one together.

    Raises AssertionError if a thread makes no progress for `patience` seconds.
    """
    barrier = threading.Barrier(THREADS)
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for history in histories:
                barrier.wait(patience)
                history.run_thread(thread)
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [
        threading.Thread(target=work, args=(each,), daemon=True, name=f"thread-{each}") for each in range(THREADS)
    ]
    with _switching_often():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(patience)
    assert not any(thread.is_alive() for thread in threads), "a history hangs"
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error


@contextmanager
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def scheduled(subject: str, seed: str, into: list[History] | None = None) -> Scenario:
    """Make a scenario of the program of this seed, for `tests.interleave`; each run's history goes `into` the list."""

    def scenario() -> tuple[Callable[..., Any], ...]:
        history = History(subject, seed)
        if into is not None:
            into.append(history)

        def check(results: list[Any]) -> None:
            for result in results:
                if result is not None:
                    raise result
            assert not (messages := history.check()), "\n".join(messages)

        return *[lambda thread=thread: history.run_thread(thread) for thread in range(THREADS)], check

    return scenario
