"""Batches of keys in any order, beside single lookups and invalidations; some of their fills are interrupted.

Proves: each key of a batch has a flight of its own (invariants 1 to 3); batches that have keys in common, in whatever
orders, never wait for each other for ever (5); one that is interrupted leaves no flight held (4).

Hunts:
    1. A leads x, and finds y led by B      3. A waits for y before it has filled x
    2. B leads y, and finds x led by A      4. B waits for x: a deadlock, or an error that says so
and:
    1. A's fill of x and y is interrupted   2. A clears up after x       3. B waits for y for ever
and:
    1. A's fill reads x and y      2. B makes a version 2 of y, and invalidates it      3. A stores version 1 of y.

Allowed: a value that is as old as the call that brought it, or newer; a BaseException from a fill, for the caller whose
batch ran it.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from areole import AtomicCache

from ..oracle import Findings
from ..scenario import Scenario
from ..subject import Subject, make_subject
from ..worker import Worker

__all__ = ["Batches"]


class BatchKilled(BaseException):
    """Interrupts a fill."""


class Batches(Scenario):
    only_ours = "a stranger is asked for no batches"
    variants = ("dict",)
    operations = 30

    def __init__(self, variant: str, findings: Findings) -> None:
        super().__init__(variant, findings)
        self.versions: Counter[str] = Counter()
        self.floors: Counter[str] = Counter()  # those for which an invalidation has returned
        self.lock = threading.Lock()  # makes one step of reading and raising either

    def make_subjects(self) -> list[Subject]:
        self.cache: Any = AtomicCache(fill_many=self.fill_many, index=self.variant)  # type: ignore[arg-type]
        cache = self.cache
        functions = cache.__getitem__, cache.get, cache.refresh, cache.invalidate, cache.clear
        return [make_subject(cache, self.variant, *functions)]

    def fill_many(self, keys: list[str]) -> dict[str, tuple[str, int]]:
        worker = self.worker()
        worker.fills_run += len(keys)
        found = {key: (key, self.versions[key]) for key in keys}
        worker.pause(self.pauses)
        if not self.is_calm and worker.choices.random() < 0.1:
            raise BatchKilled
        return found

    def step(self, worker: Worker) -> None:
        keys, drawn = list(self.keys), worker.choices.random()
        worker.choices.shuffle(keys)
        if drawn < 0.6:
            self.expect(worker, keys[: worker.choices.choice((2, 3, 4))], self.cache.fetch_many)
        elif drawn < 0.8:
            self.expect(worker, keys[:1], lambda asked: {asked[0]: self.cache[asked[0]]})
        else:
            self.change(keys[0])

    def change(self, key: str) -> None:
        with self.lock:
            self.versions[key] += 1
            version = self.versions[key]
        self.cache.invalidate(key)
        with self.lock:
            self.floors[key] = max(self.floors[key], version)

    def expect(self, worker: Worker, keys: list[str], ask: Any) -> None:
        floors, ran = {key: self.floors[key] for key in keys}, worker.fills_run
        worker.operations += 1
        try:
            values = ask(keys)
        except BatchKilled:
            if worker.fills_run == ran:
                self.oracle.findings.add("wrong", "an interrupt reached a call that had run no fill")
            return
        worker.hits += worker.fills_run == ran
        if list(values) != keys:
            self.oracle.findings.add("wrong", f"asked for {keys}, and got {list(values)}")
        for key, (of, version) in values.items():
            if of != key:
                self.oracle.findings.add("wrong", f"{key!r} gave the value of {of!r}")
            elif version < floors[key]:
                self.oracle.findings.add("stale", f"{key!r} gave version {version}, invalidated for {floors[key]}")

    def check_round(self, workers: list[Worker]) -> None:
        self.subject.check()
