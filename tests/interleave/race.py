"""Race: a small scenario of two or three threads, and the kinds of cache that it is run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from areole import AtomicCache
from areole._core.entry import UNPUBLISHED, Empty

from .explore import Scenario, WithInvariant
from .schedule import point

__all__ = ["INDEXES", "POLICIES", "RACES", "Race", "Started", "fill_with_key", "guarded", "race", "versioned"]

INDEXES = ("dict", "atomic")
POLICIES = ("lru", "s3fifo")

Started: TypeAlias = tuple[Callable[..., Any], ...]
"""What each of the threads does and, last, the check."""


@dataclass(frozen=True)
class Race:
    """A scenario by name; its header says what it proves, what it hunts and what is allowed."""

    name: str
    header: str
    scenario: Scenario
    preemptions: int
    symmetric: bool
    is_first: bool  # of the kinds of cache that it is run on: the others get one preemption where time is short


RACES: dict[str, Race] = {}


def race(
    preemptions: int = 2, *, symmetric: bool = False, **parameters: Sequence[str]
) -> Callable[[Callable[..., Started]], Callable[..., Started]]:
    """Register a function that begins a run as a race, once for each combination of its parameters."""

    def register(start: Callable[..., Started]) -> Callable[..., Started]:
        for values in product(*parameters.values()):
            arguments = dict(zip(parameters, values, strict=True))
            name = "/".join((start.__name__.replace("_", "-"), *values))
            assert name not in RACES, f"there are two races called {name}"
            header = start.__doc__ or ""
            is_first = values[0] == next(iter(parameters.values()))[0]
            RACES[name] = Race(name, header, _bind(start, arguments), preemptions, symmetric, is_first)
        return start

    return register


def _bind(start: Callable[..., Started], arguments: dict[str, str]) -> Scenario:
    return lambda: start(**arguments)


def guarded(cache: Any, check: Callable[[list[Any]], None]) -> WithInvariant:
    """Add to `check` what must hold of `cache` before every step, whatever is running.

    An entry that is published has a value (see _entry). And while the lock is free, no limit is exceeded.
    """
    index = cache._state.index

    def invariant() -> None:
        published = [entry for entry in index.snapshot() if entry.deadline != UNPUBLISHED]
        assert all(entry.value is not Empty for entry in published), "an entry is published before its value is stored"
        if index.max_items is not None and index.lock.is_free:
            assert len(published) <= index.max_items, "there are more items than may be"

    return WithInvariant(check, invariant, cache)


def fill_with_key(key: str) -> str:
    """Give the key as its value, after a point."""
    point()
    return key


def versioned(index: str, **options: Any) -> tuple[AtomicCache[str, int], list[int], list[int]]:
    """Make a cache whose fill reads a version and, a point later, returns it; the version; a list of the fills.

    `index` is "dict" or "atomic", or the policy of a store for two items.
    """
    version, fills = [0], list[int]()

    def fill(key: str) -> int:
        fills.append(version[0])
        read = version[0]
        point()
        return read

    if index in POLICIES:
        return AtomicCache(fill, max_items=2, policy=index, **options), version, fills
    return AtomicCache(fill, index=index, **options), version, fills
