"""Callers that take turns at each call of a store, in an order that a test chooses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

from ..kit import PATIENCE

__all__ = ["Caller", "SteppedCache", "orders", "run_in_order"]

_of_thread = threading.local()
_threads = ThreadPoolExecutor()  # to make a thread for each order would take most of the time


class Caller:
    """Runs a function in a thread, which stops before each call of a store until it is its turn."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._go, self._stopped = threading.Lock(), threading.Lock()  # released in turn, by the one for the other
        self._go.acquire()
        self._stopped.acquire()
        self.has_ended = False
        self.error: BaseException | None = None
        self._run_to_end = _threads.submit(self._run)

    def _run(self) -> None:
        _of_thread.caller = self
        assert self._go.acquire(timeout=PATIENCE)
        try:
            self._function()
        except BaseException as error:
            self.error = error
        _of_thread.caller = None
        self.has_ended = True
        self._stopped.release()

    def stop(self) -> None:
        self._stopped.release()
        assert self._go.acquire(timeout=PATIENCE)

    def step(self) -> None:
        """Let it go on until it is before its next call, or has ended."""
        if self.has_ended:
            return
        self._go.release()
        assert self._stopped.acquire(timeout=PATIENCE), "a caller hangs"

    def end(self) -> None:
        while not self.has_ended:
            self.step()
        self._run_to_end.result(PATIENCE)
        if self.error is not None:
            raise self.error


def run_in_order(functions: Iterable[Callable[[], Any]], order: Iterable[int]) -> None:
    """Run each function as a caller; `order` says whose turn is next, and after it each goes on to its end."""
    callers = [Caller(function) for function in functions]
    for turn in order:
        callers[turn].step()
    for caller in callers:
        caller.end()


def orders(first: int, second: int) -> Iterator[list[int]]:
    """Yield every order of the steps of two callers."""
    for turns in combinations(range(first + second), first):
        chosen = set(turns)
        yield [0 if turn in chosen else 1 for turn in range(first + second)]


class SteppedCache:
    """One of Django's caches, at each of whose steps a caller stops; one of many keys is a step for each key.

    That is how Django's own caches do many keys unless their engine can, and the weakest that a cache may be.
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self.steps = 0

    def _step(self, method: str, *args: Any) -> Any:
        caller = getattr(_of_thread, "caller", None)
        if caller is not None:
            caller.stop()
        self.steps += 1
        return getattr(self._cache, method)(*args)

    def get(self, *args: Any) -> Any:
        return self._step("get", *args)

    def set(self, *args: Any) -> Any:
        return self._step("set", *args)

    def add(self, *args: Any) -> Any:
        return self._step("add", *args)

    def touch(self, *args: Any) -> Any:
        return self._step("touch", *args)

    def delete(self, *args: Any) -> Any:
        return self._step("delete", *args)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        found = {key: self.get(key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def set_many(self, items: dict[str, Any], timeout: Any) -> list[str]:
        for key, value in items.items():
            self.set(key, value, timeout)
        return []

    def delete_many(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.delete(key)
