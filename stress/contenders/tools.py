"""What many programs use: threads with a bound on waiting, a gate for fills, memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .outcome import Hangs, Wrong

__all__ = ["Effort", "Gate", "Task", "Tracked", "alive", "pause", "resident_bytes", "start", "together", "until"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try.

    `seconds`: of the programs that race against the clock. `scale`: of counts, 1 in a full run. `patience`: seconds
    until a thread that should have come back counts as hanging.
    """

    seconds: float = 1.0
    scale: float = 1.0
    patience: float = 4.0

    def count(self, full: int, least: int = 1) -> int:
        return max(least, int(full * self.scale))


class Task:
    """A function on a daemon thread of its own; what it returns or raises is kept."""

    def __init__(self, function: Callable[[], Any], effort: Effort, what: str) -> None:
        self._function, self._effort, self._what = function, effort, what
        self.value: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.value = self._function()
        except BaseException as error:
            self.error = error

    def ends_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Any:
        """Wait for the end; return what was returned, or raise what was raised, or Hangs."""
        self.join()
        if self.error is not None:
            raise self.error
        return self.value

    def join(self) -> Task:
        if not self.ends_within(self._effort.patience):
            raise Hangs(f"{self._what} never comes back")
        return self


def start(effort: Effort, what: str, function: Callable[..., Any], *arguments: Any) -> Task:
    """Run a function on a thread; `what` names it if it never comes back."""
    return Task(lambda: function(*arguments), effort, what)


def together(effort: Effort, what: str, functions: Iterable[Callable[[], Any]], seconds: float = 0.0) -> list[Any]:
    """Run functions on threads, started at once, for `seconds` and patience; return what they returned.

    Raises what the first of them raised.
    """
    functions = list(functions)
    barrier = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        barrier.wait()
        return function()

    tasks = [start(effort, what, run, function) for function in functions]
    deadline = time.perf_counter() + seconds + effort.patience
    for task in tasks:
        if not task.ends_within(max(0.0, deadline - time.perf_counter())):
            raise Hangs(f"{what} never comes back")
    return [task.result() for task in tasks]


def pause() -> None:
    """Let threads that are about to wait begin to.

    Nobody can see from outside a foreign cache that a thread waits in it. A pause too short makes the question easier,
    never the answer unjust.
    """
    time.sleep(0.1)


class Gate:
    """A fill that stops until it is let through."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self.entered = threading.Event()
        self._open = threading.Event()

    def enter(self) -> None:
        self.entered.set()
        self._open.wait()

    def wait_until_entered(self) -> None:
        if not self.entered.wait(self._effort.patience):
            raise Hangs("the function is never called")

    def open(self) -> None:
        self._open.set()


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds, or so many seconds; say whether it does."""
    deadline = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > deadline:
            return False
        time.sleep(0.01)
    return True


class Tracked:
    """A value that says whether it is still alive."""

    __slots__ = ("__weakref__", "key")

    def __init__(self, key: Any, references: list[weakref.ref[Any]]) -> None:
        self.key = key
        references.append(weakref.ref(self))


def alive(references: list[weakref.ref[Any]]) -> int:
    """Count those of the objects that are alive, after a collection."""
    for _ in range(3):
        gc.collect()
    return sum(reference() is not None for reference in references)


def resident_bytes() -> int:
    """Return the memory of this process, once what could be given back to the system has been."""
    gc.collect()
    if sys.platform != "linux":
        raise Wrong("cannot tell: memory is read from /proc, which this system has not")
    with contextlib.suppress(AttributeError):  # musl has none
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
