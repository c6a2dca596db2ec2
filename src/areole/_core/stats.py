"""Counters that threads do not fight over.

A counter of hits is an `itertools.repeat` with a limit. A step of it is one call of C code (see `locks`), and it says
by `length_hint` how many steps are left. With a GIL all threads share one. Without a GIL that would be a contended
write, so each thread has its own. A step is written `for n in hits: break`, which calls nothing and makes no object.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import repeat
from operator import length_hint
from sys import maxsize
from typing import Any, Final

from cereggii import AtomicInt64

from .._platform.generated import define
from .._platform.refcount import defer, is_free_threaded

__all__ = ["Counters", "HitCounter", "InnerCounter", "make_hit_counter", "make_on_hit"]

_NAMES: Final = tuple(
    "background_fills evictions expirations failures fills hung_fills misses oversize stale_hits waits".split()  # noqa: SIM905
)
_OF_WHOLE_CACHE: Final = {"evictions", "expirations", "oversize"}
"""What leaves a cache is not counted by its parts."""


class Counters:
    """What is counted off the hit path: atomic integers, since every such step costs far more than they do.

    With an `outer`, they count for a part of a cache: each step of theirs is one of the outer counter too.
    """

    __slots__ = ("__weakref__", "_own", *_NAMES)
    background_fills: AtomicInt64
    evictions: AtomicInt64
    expirations: AtomicInt64
    failures: AtomicInt64
    fills: AtomicInt64
    hung_fills: AtomicInt64
    misses: AtomicInt64
    oversize: AtomicInt64
    stale_hits: AtomicInt64
    waits: AtomicInt64

    def __init__(self, outer: Counters | None = None) -> None:
        self._own = [name for name in _NAMES if outer is None or name not in _OF_WHOLE_CACHE]
        for name in _NAMES:
            counter = AtomicInt64(0) if outer is None else getattr(outer, name)
            setattr(self, name, InnerCounter(counter) if outer is not None and name in self._own else counter)

    def child(self) -> Counters:
        return Counters(self)

    def reset(self) -> None:
        """Start at 0 again. A lookup that is running may be counted before or after this, or half of it in each."""
        for name in self._own:
            getattr(self, name).set(0)

    def read(self) -> dict[str, int]:
        """Return all numbers, by the names that they have in a CacheInfo."""
        return {name: getattr(self, name).get() for name in _NAMES}


class InnerCounter:
    """A counter each step of which is one of an outer counter too."""

    __slots__ = ("_outer", "_own", "get", "set")

    def __init__(self, outer: Any) -> None:
        self._own, self._outer = AtomicInt64(0), outer
        self.get: Callable[[], int] = self._own.get
        self.set: Callable[[int], None] = self._own.set

    def increment_and_get(self) -> int:
        self._outer.increment_and_get()
        count: int = self._own.increment_and_get()
        return count

    def __iadd__(self, steps: int) -> InnerCounter:
        self._outer += steps
        self._own += steps
        return self


# ---- hits


def _new_counter() -> repeat[None]:
    return repeat(None, maxsize)


def _number_of(hits: repeat[None]) -> int:
    """Return how often `hits` was stepped."""
    return maxsize - length_hint(hits)


class _OneForAll:
    """What is a `threading.local` without a GIL."""

    __slots__ = ("hits",)

    def __init__(self) -> None:
        self.hits = _new_counter()


class HitCounter:
    """Counts hits. With a GIL, by one counter for all threads."""

    __slots__ = ("_base", "local")

    def __init__(self) -> None:
        self._base = 0
        self.local: Any = _OneForAll()
        """Has, as `hits`, the counter that this thread is to step; AttributeError: it has none yet, call `start`."""

    def write_step(self, s: str, number: int = 0) -> tuple[list[str], dict[str, Any]]:
        """Write the lines that count one hit, for generated code, and the names that they need, without the suffix `s`.

        `number` tells several counters in one function apart.
        """
        return [f"for n{s} in hits{number}{s}: break"], {f"hits{number}": self.local.hits}

    @property
    def stepped(self) -> Any:
        """What a hit in C steps: an iterator, or what has one as `hits`, of each thread."""
        return self.local.hits

    def total(self) -> int:
        """Return how many hits there were since the last reset: exact while no lookup is running."""
        return self._count_all() - self._base

    def reset(self) -> None:
        self._base = self._count_all()

    def _count_all(self) -> int:
        return _number_of(self.local.hits)

    def start(self) -> None:
        """Give this thread a counter, and count its first hit. Here all threads have one."""
        raise NotImplementedError


class _ThreadLife:
    """Is in a thread's `threading.local` alone, and dies with it."""

    __slots__ = ("__weakref__",)


class _EndOfThread(weakref.ref[_ThreadLife]):
    """Has the counter that is free once the thread has ended."""

    __slots__ = ("hits",)
    hits: repeat[None]


class HitCounterByThread(HitCounter):
    """Counts hits without a GIL: each thread steps a counter of its own, so that no write is contended.

    `_made` has all counters, and none is ever removed, so their numbers outlive their threads. The counter of a thread
    that has ended is used again by one that starts, so there are no more of them than there were threads at once.

    No two threads step one counter: it is free once its thread's `life` is dead, and the thread has no other counter
    from `start` on. What makes it free is a call of C code, `_ended.append`, which cannot be interrupted. A thread that
    is interrupted in `start` may leave a counter that no thread uses any more. It is counted all the same.
    """

    __slots__ = ("_ended", "_ends", "_made")

    def __init__(self) -> None:
        self._base = 0
        self._made: list[repeat[None]] = []
        self._ended: deque[_EndOfThread] = deque()
        self._ends: dict[int, _EndOfThread] = {}  # by counter's id: a weak reference has to live to be called
        self.local = threading.local()
        defer(self.local)

    def write_step(self, s: str, number: int = 0) -> tuple[list[str], dict[str, Any]]:
        local, start = f"local{number}", f"start{number}"
        step = f"    for n{s} in {local}{s}.hits: break"
        lines = ["try:", step, f"except AttributeError{s}:", f"    {start}{s}()"]
        return lines, {local: self.local, start: self.start, "AttributeError": AttributeError}

    @property
    def stepped(self) -> Any:
        return self.local

    def start(self) -> None:
        """Give this thread a counter, and count its first hit.

        A finalizer may count a hit in here too, before this thread has `hits`, and then start a counter of its own.
        This one's takes its place, in an order in which the other becomes free after that.
        """
        hits = self._take_free()
        self.local.hits = hits
        self.local.life = life = _ThreadLife()
        end = _EndOfThread(life, self._ended.append)
        end.hits = hits
        self._ends[id(hits)] = end
        next(hits)

    def _take_free(self) -> repeat[None]:
        with suppress(IndexError, AttributeError):  # the latter: of a thread that was interrupted in `start`
            return self._ended.pop().hits
        hits = _new_counter()
        self._made.append(hits)
        return hits

    def _count_all(self) -> int:
        return sum([_number_of(hits) for hits in self._made.copy()])


def make_hit_counter() -> HitCounter:
    return HitCounterByThread() if is_free_threaded() else HitCounter()


def make_on_hit(counters: Sequence[HitCounter], policy: Any, calls_policy: bool = False) -> Callable[[Any], object]:
    """Make what is to be called with the entry of each hit: one function that counts it, and notes it for a policy.

    It has what the policy's `record_access` does written out, or, with `calls_policy`, calls that.
    """
    if policy is None and len(counters) == 1 and type(counters[0]) is HitCounter:
        return partial(next, counters[0].local.hits)  # called with the entry, which `next` takes for a default
    lines: list[str] = []
    names: dict[str, Any] = {}
    if calls_policy:
        lines.append("record_access(entry)")
        names["record_access"] = policy.record_access
    elif policy is not None:
        lines.append(policy.record_source.format(entry="entry", tick="tick"))
        names["tick"] = policy.record_with
    for number, counter in enumerate(counters):
        more_lines, more_names = counter.write_step("", number)
        lines += more_lines
        names |= more_names
    return define("\n    ".join(["def on_hit(entry):", *lines]), names)
